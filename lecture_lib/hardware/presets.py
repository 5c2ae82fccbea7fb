"""Published peaks of well-known accelerators, plain data; specs.py makes HARDWARE of it.

Peaks are dense: datasheets like to print the figure for 2:4 sparse matrices, which is twice as
high and which no ordinary model reaches. Bandwidths and capacities are in units of 10^9 bytes, as
printed.
"""

T, G = 1e12, 1e9

_HOPPER_SXM = {
    "float16": 989.4 * T, "bfloat16": 989.4 * T, "float32": 66.9 * T, "tf32": 494.7 * T,
    "float8": 1978.9 * T, "int8": 1978.9 * T, "float64": 66.9 * T,
}  # fmt: skip
_HOPPER_SOURCE = (
    "NVIDIA H100 Tensor Core GPU Architecture (whitepaper V1.04), table of peak rates, dense; "
)
_AMPERE_A100 = {
    "float16": 312 * T, "bfloat16": 312 * T, "float32": 19.5 * T, "tf32": 156 * T,
    "int8": 624 * T, "int4": 1248 * T, "float64": 19.5 * T,
}  # fmt: skip
_A100_SOURCE = (
    "NVIDIA A100 Tensor Core GPU datasheet, dense (sparse: twice as much); float32 without "
    "tensor cores"
)

# Name: (peaks by dtype, the main one first, memory bandwidth, memory, source)
PRESETS: dict[str, tuple[dict[str, float], float, float, str]] = {
    "a100-40gb-sxm": (_AMPERE_A100, 1555 * G, 40 * G, _A100_SOURCE),
    "a100-80gb-pcie": (_AMPERE_A100, 1935 * G, 80 * G, _A100_SOURCE),
    "a100-80gb-sxm": (_AMPERE_A100, 2039 * G, 80 * G, _A100_SOURCE),
    "h100-80gb-sxm": (
        _HOPPER_SXM, 3350 * G, 80 * G,
        _HOPPER_SOURCE + "3.35 TB/s: H100 datasheet",
    ),
    "h200-141gb-sxm": (
        _HOPPER_SXM, 4800 * G, 141 * G,
        _HOPPER_SOURCE + "141 GB at 4.8 TB/s: NVIDIA H200 datasheet",
    ),
    "l4": (
        {"float16": 121 * T, "bfloat16": 121 * T, "float32": 30.3 * T, "tf32": 60 * T,
         "float8": 242.5 * T, "int8": 242.5 * T},
        300 * G, 24 * G,
        "NVIDIA L4 Tensor Core GPU datasheet, its sparse figures (242, 120, 485) halved",
    ),
    "rtx-4090": (
        {"float16": 165.2 * T, "bfloat16": 165.2 * T, "float32": 82.6 * T, "tf32": 82.6 * T,
         "float8": 330.3 * T, "int8": 660.6 * T},
        1008 * G, 24 * G,
        "NVIDIA Ada GPU Architecture whitepaper, appendix A, dense, sums in FP32 (with FP16 "
        "sums the FP16 peak is 330.3)",
    ),
    "rtx-a6000": (
        {"float16": 154.8 * T, "bfloat16": 154.8 * T, "float32": 38.7 * T, "tf32": 77.4 * T,
         "int8": 309.7 * T},
        768 * G, 48 * G,
        "NVIDIA RTX A6000 datasheet (309.7 TFLOPS are sparse, halved here)",
    ),
    "tpu-v5e": (
        {"bfloat16": 197 * T, "int8": 393 * T}, 819 * G, 16 * G,
        "Google Cloud documentation, TPU v5e: 197 TFLOPs bf16, 393 TOPs int8, 16 GB at 819 GB/s "
        "(later: 800 GiB/s)",
    ),
    "apple-m1": (
        {"float32": 2.6 * T}, 68.25 * G, 16 * G,
        "Apple's announcement, 10 November 2020: 2.6 teraflops (GPU, FP32); LPDDR4X-4266, 128 bit; "
        "the largest memory, shared with the CPU",
    ),
    "apple-m1-max": (
        {"float32": 10.4 * T}, 400 * G, 64 * G,
        "Apple's announcement, 18 October 2021: 10.4 teraflops (GPU, FP32), 400 GB/s, up to 64 GB "
        "shared with the CPU",
    ),
    "apple-m2": (
        {"float32": 3.6 * T}, 100 * G, 24 * G,
        "Apple's announcement, 6 June 2022: 3.6 teraflops (GPU, FP32), 100 GB/s, up to 24 GB "
        "shared with the CPU",
    ),
}  # fmt: skip
