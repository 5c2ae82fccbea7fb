"""Hardware: the few numbers of a device that the roofline needs; HARDWARE, published ones."""

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lecture_lib.checks import check_number, check_text, check_type, presets

#: The dtype whose peak counts for elements of so many bytes, the first that the device states.
_DTYPES_BY_BYTES = {
    8: ("float64",),
    4: ("float32",),
    2: ("float16", "bfloat16"),
    1: ("float8", "int8"),
}


@dataclass(frozen=True)
class Hardware:
    """One device: how fast it computes, how fast it reads, how much it holds.

    Args:
        name: what to call it.
        peak_flops: FLOP/s of dense matrix products in ``peak_dtype`` (a MAC is 2 FLOPs).
        memory_bandwidth: bytes/s between memory and chip.
        memory_bytes: bytes of memory. Presets have the printed GB, 10^9 bytes; drivers report a
            little more (an A100 80GB: 81,920 MiB), so what fits here fits there.
        peak_dtype: the dtype that ``peak_flops`` is of.
        peak_flops_by_dtype: FLOP/s of further dtypes ("float32", "bfloat16", "int8" ...);
            read-only in the finished Hardware, and ``peak_dtype`` is in it.
        source: where the numbers come from.

    Raises:
        ValueError: a number that is not positive and finite; the message names the argument.
    """

    name: str
    peak_flops: float
    memory_bandwidth: float
    memory_bytes: float
    peak_dtype: str = "float16"
    peak_flops_by_dtype: Mapping[str, float] = field(default_factory=dict, hash=False)
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "peak_dtype"):
            check_text(name, getattr(self, name))
        for name in ("peak_flops", "memory_bandwidth", "memory_bytes"):
            check_number(name, getattr(self, name), above=0)
        check_type("peak_flops_by_dtype", self.peak_flops_by_dtype, Mapping, "dtype -> FLOP/s")
        check_text("source", self.source, "")
        for dtype, peak in self.peak_flops_by_dtype.items():
            check_number(f"peak_flops_by_dtype[{dtype!r}]", peak, above=0)
        peaks = {**self.peak_flops_by_dtype, self.peak_dtype: self.peak_flops}
        object.__setattr__(self, "peak_flops_by_dtype", types.MappingProxyType(peaks))

    def __reduce__(self) -> tuple:
        """For copies and for other processes: Python can't pickle a read-only mapping."""
        values = {**vars(self), "peak_flops_by_dtype": dict(self.peak_flops_by_dtype)}
        return type(self), tuple(values.values())

    def peak(self, dtype: str | None = None) -> float:
        """Peak FLOP/s of a dtype ("float16", "torch.float16"), None: of ``peak_dtype``.

        Raises:
            ValueError: a dtype whose peak is not known for this device.
        """
        dtype = self.peak_dtype if dtype is None else str(dtype).removeprefix("torch.")
        if dtype not in self.peak_flops_by_dtype:
            raise ValueError(
                f"dtype: no peak of {dtype!r} is known for {self.name}, only of "
                f"{', '.join(self.peak_flops_by_dtype)}"
            )
        return self.peak_flops_by_dtype[dtype]

    def dtype_of(self, dtype_bytes: float) -> str:
        """The dtype whose peak counts when elements of ``dtype_bytes`` bytes are multiplied.

        A device that states no peak for that width computes in ``peak_dtype``.
        """
        check_number("dtype_bytes", dtype_bytes, above=0)
        known = [d for d in _DTYPES_BY_BYTES.get(dtype_bytes, ()) if d in self.peak_flops_by_dtype]
        return known[0] if known else self.peak_dtype

    def ridge(self, dtype: str | None = None) -> float:
        """Peak / bandwidth, FLOPs per byte: above this intensity computing is the limit."""
        return self.peak(dtype) / self.memory_bandwidth

    def seconds(self, flops: float, n_bytes: float, dtype: str | None = None) -> float:
        """Time by the roofline: the longer of computing and moving, which run at the same time.

        Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.
        """
        check_number("flops", flops, least=0)
        check_number("n_bytes", n_bytes, least=0)
        return max(flops / self.peak(dtype), n_bytes / self.memory_bandwidth)

    def bound(self, flops: float, n_bytes: float, dtype: str | None = None) -> str:
        """ "compute" or "memory": which of the two takes longer."""
        computing, moving = self.seconds(flops, 0, dtype), self.seconds(0, n_bytes, dtype)
        return "compute" if computing >= moving else "memory"


def _read(name: str) -> dict:
    """The numbers of a file beside this one."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text("utf-8"))


# TFLOP/s by dtype, the main one first; memory in GB/s and in GB, 10^9 bytes. The peaks are dense:
# datasheets like to print the figure for 2:4 sparse matrices, which is twice as high and which no
# ordinary model reaches.
_PRESETS = _read("presets")


def _published(
    name: str, tflops: dict[str, float], gb_per_s: float, gigabytes: float, source: str
) -> Hardware:
    peaks = {dtype: peak * 1e12 for dtype, peak in tflops.items()}
    dtype, peak = next(iter(peaks.items()))
    return Hardware(name, peak, gb_per_s * 1e9, gigabytes * 10**9, dtype, peaks, source)


#: Published hardware by name: read-only; an unknown name is a KeyError that suggests near ones.
HARDWARE = presets("hardware", {name: _published(name, **row) for name, row in _PRESETS.items()})

#: Milliseconds of a decode step on an H100 80GB, bfloat16, batch 1, behind 512 to 576 positions:
#: measured by benchmarks/decode_gpu.py.
H100_DECODE_MS = _read("h100_decode_ms")

#: What SmolLM2's operations reach there, in all layers together, beside the GPU's measured peak and
#: bandwidth: measured by benchmarks/roofline_points.py.
H100_ROOFLINE = _read("h100_roofline")


def as_hardware(hardware: Hardware | str) -> Hardware:
    """Hardware itself, or the preset of this name.

    Raises:
        ValueError: an unknown name (UnknownNameError), or something else altogether.
    """
    if isinstance(hardware, str):
        return HARDWARE[hardware]
    return check_type("hardware", hardware, Hardware, "a Hardware or the name of a preset")
