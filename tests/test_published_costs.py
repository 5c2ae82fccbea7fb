"""Numbers that others published, reproduced: each test names source, page, inputs, conventions.

Where a source contradicts itself or counts something oddly, the test says so and shows what it
must have counted.
"""

import dataclasses

import pytest
import sympy

from lecture_lib.costs import (
    critical_batch_size,
    kv_cache_bytes,
    lecture_table,
    op_costs,
    step_latency,
    weight_bytes,
)
from lecture_lib.hardware import HARDWARE, Hardware
from lecture_lib.model_spec import MODEL_SPECS, ModelSpec

# ---- Yuan et al.: LLM Inference Unveiled, arXiv 2402.16363v6, table 1 (section 2.2) -------------
# Llama-2-7b, FP16, Nvidia A6000 (155 TFLOP/s dense, 768 GB/s), sequence length 2048, batch 1; one
# layer, plain softmax attention (scores go to memory). Its code, LLM-Viewer, counts all L×L scores;
# in a decode step it attends to L positions, which here is a step behind L - 1. "M" and "G" are
# 10^6 and 10^9. Name: operations, bytes, intensity, attainable, bound. (It also counts operations
# of element-wise work, softmax 5, norm 7, add 1 an element; of these rows only bytes are here.)
TABLE_1 = {
    "prefill": {
        "q_proj": ("69G", "67M", "1024", "155T", "compute"),
        "k_proj": ("69G", "67M", "1024", "155T", "compute"),
        "v_proj": ("69G", "67M", "1024", "155T", "compute"),
        "o_proj": ("69G", "67M", "1024", "155T", "compute"),
        "gate_proj": ("185G", "152M", "1215", "155T", "compute"),
        "up_proj": ("185G", "152M", "1215", "155T", "compute"),
        "down_proj": ("185G", "152M", "1215", "155T", "compute"),
        "qk_matmul": ("34G", "302M", "114", "87T", "memory"),
        "sv_matmul": ("34G", "302M", "114", "87T", "memory"),
    },
    "decode": {
        "q_proj": ("34M", "34M", "1", "768G", "memory"),
        "k_proj": ("34M", "34M", "1", "768G", "memory"),
        "v_proj": ("34M", "34M", "1", "768G", "memory"),
        "o_proj": ("34M", "34M", "1", "768G", "memory"),
        "gate_proj": ("90M", "90M", "1", "768G", "memory"),
        "up_proj": ("90M", "90M", "1", "768G", "memory"),
        "down_proj": ("90M", "90M", "1", "768G", "memory"),
        "qk_matmul": ("17M", "17M", "0.99", "762G", "memory"),
        "sv_matmul": ("17M", "17M", "0.99", "762G", "memory"),
    },
}
SOFTMAX_BYTES = {"prefill": "537M", "decode": "262K"}
ADD_BYTES = {"prefill": "34M", "decode": "16K"}


def printed(number: float) -> str:
    """As LLM-Viewer prints: whole thousands, millions ..."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:.0f}{unit}"
    return f"{number:.0f}"


@pytest.fixture(scope="module", params=["prefill", "decode"])
def llm_viewer_layer(request):
    seq_len = 2048 if request.param == "prefill" else 2047
    spec = dataclasses.replace(MODEL_SPECS["llama-2-7b"], n_layers=1)
    table = op_costs(spec, request.param, 1, seq_len, hardware="rtx-a6000")
    return request.param, table.set_index("op")


def test_table_1_of_llm_inference_unveiled(llm_viewer_layer):
    phase, costs = llm_viewer_layer
    a6000 = HARDWARE["rtx-a6000"]
    for op, (operations, moved, intensity, attainable, bound) in TABLE_1[phase].items():
        row = costs.loc[op]
        assert printed(row.flops) == operations, op
        assert printed(row.bytes) == moved, op
        digits = len(intensity.partition(".")[2])
        assert f"{row.intensity:.{digits}f}" == intensity, op
        roof = min(a6000.peak(), row.intensity * a6000.memory_bandwidth)
        assert printed(roof) == attainable, op
        assert row.bound == bound, op
    assert printed(costs.loc["softmax"].bytes) == SOFTMAX_BYTES[phase]


def test_table_1_counts_one_operand_of_an_addition(llm_viewer_layer):
    """The row "add": 34M bytes (decode: 16K).

    The source is inconsistent here: x + y reads two operands and writes one, 6 bytes an element
    in FP16; its bytes are those of one operand and the result, 4. Elsewhere it counts all operands.
    """
    phase, costs = llm_viewer_layer
    row = costs.loc["attn_residual"]
    assert printed(row.bytes / 3 * 2) == ADD_BYTES[phase]


# ---- Austin et al.: How To Scale Your Model, chapter 7, "All About Transformer Inference" -------
# LLaMA 2-13B, bf16, 8,192 tokens of context a sequence, 8 TPU v5e: 8 × 0.82e12 bytes/s,
# 8 × 1.97e14 FLOP/s. Its step time is (B · KV bytes + parameter bytes) / bandwidth.
EIGHT_V5E = Hardware("8 TPU v5e", 8 * 1.97e14, 8 * 0.82e12, 8 * 16e9, peak_dtype="bfloat16")
SCALING_BOOK = {  # batch: KV cache, "Theoretical Step Time (ms)", "... Throughput (tokens/s)"
    1: (6.7, 4.98, 200.61),
    8: (53.6, 12.13, 659.30),
    16: (107.2, 20.30, 787.99),
    32: (214.4, 36.65, 873.21),
    64: (428.8, 69.33, 923.13),
    240: (1608, 249.09, 963.53),
}


@pytest.mark.parametrize("batch_size", SCALING_BOOK)
def test_scaling_book_llama_2_13b(batch_size):
    """Its row "KV Cache Memory (GiB)" is in GB, 10^9: 8,192 tokens take 6.71 GB = 6.25 GiB.

    Step times agree within 2 %: it rounds to 6.7 and 26 GB, reads the input embedding whole (we
    read the tokens' rows only) and leaves activations out.
    """
    memory, step_ms, throughput = SCALING_BOOK[batch_size]
    one = kv_cache_bytes("llama-2-13b", 1, 8192)
    assert one / 2**30 == 6.25
    assert round(one / 1e9, 1) * batch_size == pytest.approx(memory)
    step = step_latency("llama-2-13b", EIGHT_V5E, "decode", batch_size, 8192)
    assert step.seconds * 1e3 == pytest.approx(step_ms, rel=0.02)
    assert step.tokens_per_s == pytest.approx(throughput, rel=0.02)


def test_scaling_book_parameters():
    """Its table: FFW 8.5e9 (with F = 2.7 D; exactly, F = 13,824), vocabulary 0.3e9, attention
    4.2e9, in bf16 26 GB."""
    parts = MODEL_SPECS["llama-2-13b"].params_by_part
    assert round(parts["mlp"] / 1e9, 1) == 8.5
    assert round((parts["token_embedding"] + parts["lm_head"]) / 1e9, 1) == 0.3
    assert round(parts["attention"] / 1e9, 1) == 4.2
    assert round(weight_bytes("llama-2-13b") / 1e9) == 26


def test_scaling_book_critical_batch():
    """ "B >= 240 = B_crit" on a TPU v5e in bf16 (1.97e14 / 8.2e11), 120 with int8 weights.

    That is the limit of wide matrices; with D = 16,384 and F = 53,248 it takes a few more.
    """
    v5e = Hardware("TPU v5e", 1.97e14, 8.2e11, 16e9, peak_dtype="bfloat16")
    assert round(v5e.ridge()) == 240
    in_bf16 = critical_batch_size("llama-3.1-405b", v5e, "up_proj")
    in_int8 = critical_batch_size("llama-3.1-405b", v5e, "up_proj", weight_format="int8")
    assert 240 < in_bf16 < 250
    assert 120 < in_int8 < 125
    B, D = sympy.symbols("B D", positive=True)
    table = lecture_table("decode", batch_size=B).set_index("op")
    for op in ("q_proj", "up_proj", "down_proj"):
        assert sympy.limit(table.intensity[op], D, sympy.oo) == B


def test_scaling_book_attention_intensity():
    """ "Multiheaded Attention Arithmetic Intensity = ST / (S + T)", one fused head (flash
    attention): T = S in prefill gives T / 2, T = 1 in generation about 1."""
    for phase, expected in (("prefill", 4096 / 2), ("decode", 4097 / 4098)):
        table = op_costs("llama-2-7b", phase, 3, 4096, fused_attention=True).set_index("op")
        assert table.intensity["attention"] == pytest.approx(expected, rel=1e-12)


# ---- Kwon et al.: PagedAttention (vLLM), arXiv 2309.06180 ----------------------------------------


def test_vllm_kv_cache_of_opt_13b():
    """Section 3: "the KV cache of a single token demands 800 KB of space, calculated as 2 × 5120 ×
    40 × 2"; "up to 2048 tokens ... can be as much as 1.6 GB".

    Its KB is 1,024 bytes (819,200 bytes = 800 KiB); its GB then is neither 10^9 bytes (1.68) nor
    2^30 (1.56), but 800 KB · 2048 with decimal prefixes.
    """
    one = kv_cache_bytes("opt-13b", 1, 1)
    assert one == 2 * 5120 * 40 * 2 == 800 * 1024
    sequence = kv_cache_bytes("opt-13b", 1, 2048)
    assert (round(sequence / 1e9, 2), round(sequence / 2**30, 2)) == (1.68, 1.56)
    assert round(800e3 * 2048 / 1e9, 1) == 1.6


def test_vllm_weights_of_a_13b_model_on_an_a100():
    """Section 1 (figure 1): 13B parameters on an A100 with 40 GB: "approximately 65% of the memory
    is allocated for the model weights" (26 GB)."""
    part = weight_bytes("opt-13b") / HARDWARE["a100-40gb-sxm"].memory_bytes
    assert part == pytest.approx(0.65, abs=0.01)


# ---- Hugging Face blog: "Llama 3.1 - 405B, 70B & 8B", section "Inference Memory Requirements" ----
# "an excerpt of the KV cache size for FP16", columns 1k, 16k and 128k tokens, in "GB".
LLAMA_31_BLOG = {
    "llama-3.1-8b": (0.125, 1.95, 15.62),
    "llama-3.1-70b": (0.313, 4.88, 39.06),
    "llama-3.1-405b": (0.984, 15.38, 123.05),
}


@pytest.mark.parametrize("name", LLAMA_31_BLOG)
def test_hugging_face_llama_3_1_kv_cache(name):
    """Three inconsistencies, pointed out in issue 2345 of the huggingface/blog repository too:

    "GB" is GiB; "1k" is 1,024 tokens but "16k" and "128k" are 16,000 and 128,000; and the 405B
    row is twice the model's: it was released with 16 KV heads, of which 8 were copies.
    """
    copies = 2 if name == "llama-3.1-405b" else 1
    for tokens, published in zip((1024, 16000, 128000), LLAMA_31_BLOG[name], strict=True):
        ours = copies * kv_cache_bytes(name, 1, tokens) / 2**30
        assert ours == pytest.approx(published, rel=4e-3), tokens  # rounded to two digits there
        assert abs(ours * 2**30 / 1e9 - published) > 0.005  # not GB


# ---- Pope et al.: Efficiently Scaling Transformer Inference, arXiv 2211.05102, table 1 -----------
# Maximum context length of PaLM 540B on 64 TPU v4 (32 GiB each), 30 % of the memory for the cache,
# bf16, batch 128 and 512. Its 48 heads are padded to 64; the multi-head variant has heads of 128.
PALM_540B = ModelSpec(
    "PaLM 540B", 118, 18432, 48, 1, 256, 73728, 256000, gated_mlp=True, tied_embeddings=True,
    norm="layernorm", source="PaLM, arXiv 2204.02311, table 1",
)  # fmt: skip
CACHE_MEMORY = 0.3 * 64 * 32 * 2**30


def context_in(cache_bytes: float, n_kv_heads: int, head_dim: int, batch_size: int) -> int:
    spec = ModelSpec(
        "variant", 118, 18432, 64, n_kv_heads, head_dim, 73728, 256000, True, tied_embeddings=True
    )
    return int(cache_bytes // kv_cache_bytes(spec, batch_size, 1))


@pytest.mark.parametrize(("batch_size", "published"), [(128, 43_000), (512, 10_700)])
def test_esti_context_of_multiquery_palm(batch_size, published):
    assert context_in(CACHE_MEMORY, 1, 256, batch_size) == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(("batch_size", "published"), [(128, 1320), (512, 330)])
def test_esti_context_of_multihead_palm(batch_size, published):
    """It states 1,320 and 330, rounded down: 1,333 and 333. (The abstract: "up to 32x larger
    context lengths" with multi-query attention.)"""
    ours = context_in(CACHE_MEMORY, 64, 128, batch_size)
    assert ours // 10 * 10 == pytest.approx(published, abs=10)
    assert round(context_in(CACHE_MEMORY, 1, 256, batch_size) / ours) == 32


# ---- PaLM, arXiv 2204.02311, table 1 and appendix B ----------------------------------------------


@pytest.mark.parametrize(
    ("n_layers", "d_model", "n_heads", "billions"),
    [(32, 4096, 16, 8.63), (64, 8192, 32, 62.50), (118, 18432, 48, 540.35)],
)
def test_palm_table_1_parameters(n_layers, d_model, n_heads, billions):
    """Multi-query attention with heads of 256, SwiGLU with F = 4D, 256k vocabulary, tied."""
    spec = ModelSpec(
        "PaLM", n_layers, d_model, n_heads, 1, 256, 4 * d_model, 256000, True, tied_embeddings=True
    )
    assert weight_bytes(spec, 1) / 1e9 == pytest.approx(billions, abs=0.01)


def test_flops_per_token_of_palm():
    """A forward pass of T tokens (appendix B, a third of 6N + 12 L H Q T): 2N + 4 L H Q T a token.

    It leaves the input embedding out of N, and counts all T×T scores of both products. (Kaplan et
    al., 2N + 2 n_layer n_ctx d_attn, count the causal half.) A prefill needs one row of logits.
    """
    spec, T = MODEL_SPECS["llama-2-7b"], 2048
    parts = spec.params_by_part
    n_matrices = parts["attention"] + parts["mlp"]
    attention = spec.n_layers * spec.n_heads * spec.head_dim * T  # L H Q T
    flops = op_costs(spec, "prefill", 1, T).set_index("op").flops
    assert flops.sum() - flops["lm_head"] == T * (2 * n_matrices + 4 * attention)
    assert flops["lm_head"] == 2 * parts["lm_head"]
