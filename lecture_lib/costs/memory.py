"""What has to fit: the bytes of weights, KV cache and activations."""

from dataclasses import dataclass

from lecture_lib.checks import check_choice, check_count, check_number, checked
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .conventions import format_of
from .dimensions import PHASES, as_spec


def weight_bytes(
    spec: ModelSpec | str,
    dtype_bytes: float = 2,
    *,
    weight_format: str | None = None,
    table_format: str | None = None,
) -> float:
    """Bytes of all parameters; a tied matrix counts once.

    Args:
        spec: a ModelSpec or the name of a published model.
        dtype_bytes: bytes of a parameter that is not quantised.
        weight_format: of the layers' matrices, such as "int8" or "int4" with its group scales;
            norms and biases keep ``dtype_bytes``. table_format: of embeddings and lm_head.

    Raises:
        ValueError: an unknown model or format, ``dtype_bytes`` that is not positive.
    """
    spec = as_spec(spec)
    stored = format_of("weight_format", weight_format, dtype_bytes)
    D, F, q, kv = spec.d_model, spec.d_ff, spec.q_width, spec.kv_width
    up = [(F, D)] * (2 if spec.gated_mlp else 1)
    # (outputs, inputs) of W^Q, W^K, W^V, W^O, of W^1 (and the gate), and of W^2
    matrices = [(q, D), (kv, D), (kv, D), (D, q), *up, (D, F)]
    of_layer = sum(stored.n_bytes(n_out, n_in) for n_out, n_in in matrices)
    n_tables, width = (1 if spec.tied_embeddings else 2), spec.embed_dim or D
    tables = n_tables * format_of("table_format", table_format, dtype_bytes).n_bytes(
        spec.vocab_size, width
    )
    n_packed = spec.n_layers * sum(n_out * n_in for n_out, n_in in matrices)
    n_others = spec.n_params - n_packed - n_tables * spec.vocab_size * width
    return n_others * dtype_bytes + spec.n_layers * of_layer + tables


def kv_cache_bytes(
    spec: ModelSpec | str,
    batch_size: int = 1,
    seq_len: int = 1,
    dtype_bytes: float = 2,
    *,
    kv_format: str | None = None,
) -> float:
    """Bytes of the keys and values of ``batch_size`` sequences of ``seq_len`` positions.

    2 · N · B · L · n_KV · H elements, where a layer with a sliding window keeps no more positions
    than it has; with kv_format "int8" one byte each, and an FP16 scale for
    every head's key and value of every token.

    Raises:
        ValueError: a size below 1, an unknown model or format, ``dtype_bytes`` not positive.
    """
    spec = as_spec(spec)
    stored = format_of("kv_format", kv_format, dtype_bytes)
    n_kept = spec.cached_positions(seq_len)
    rows = check_count("batch_size", batch_size) * n_kept * spec.n_kv_heads
    return 2 * stored.n_bytes(rows, spec.head_dim)


def activation_bytes(
    spec: ModelSpec | str,
    phase: str,
    batch_size: int = 1,
    seq_len: int = 1,
    dtype_bytes: float = 2,
) -> float:
    """Peak bytes of activations, an estimate: tensors that must be alive at the same moment.

    For a plain implementation with fused attention, which frees the tensors of a part of a layer
    when the part returns, and computes nothing in place. It is the largest of three moments, each
    with the residual stream: attention's q, k, v and z with the norm before it; the MLP's inner
    tensors (gate, up, silu(gate) and their product, or A and relu(A)) with its norm; the logits of
    the last position. Memory that kernels need inside is not counted.
    """
    spec = as_spec(spec)
    check_choice("phase", phase, PHASES)
    check_number("dtype_bytes", dtype_bytes, above=0)
    n_new = check_count("seq_len", seq_len)
    n_new = n_new if phase == "prefill" else 1
    batch_size = check_count("batch_size", batch_size)
    n_tokens = batch_size * n_new
    attention = n_tokens * (spec.d_model + 2 * spec.q_width + 2 * spec.kv_width)
    mlp = n_tokens * (spec.d_model + (4 if spec.gated_mlp else 2) * spec.d_ff)
    logits = batch_size * (spec.vocab_size + 2 * spec.d_model)
    return dtype_bytes * (n_tokens * spec.d_model + max(attention, mlp, logits))


@dataclass(frozen=True)
class MemoryBudget:
    """What a running model takes, in bytes.

    Attributes:
        weights, kv_cache, activations: bytes of each. memory: what there is, None if not given.
    """

    weights: float
    kv_cache: float
    activations: float
    memory: float | None = None

    @property
    def total(self) -> float:
        return self.weights + self.kv_cache + self.activations

    @property
    def fits(self) -> bool:
        return self.memory is None or self.total <= self.memory


@checked
def memory_budget(
    spec: ModelSpec | str,
    batch_size: int = 1,
    seq_len: int = 1,
    dtype_bytes: float = 2,
    *,
    weight_format: str | None = None,
    table_format: str | None = None,
    kv_format: str | None = None,
    memory: Hardware | str | float | None = None,
    prefill: bool = True,
) -> MemoryBudget:
    """Weights, the KV cache of ``batch_size`` sequences of ``seq_len``, and peak activations.

    Args:
        memory: a Hardware, the name of one, or bytes.
        prefill: activations of prefilling all of it at once; False: of a decode step.

    Raises:
        ValueError: as ``weight_bytes`` and ``kv_cache_bytes``; memory that is not positive.
    """
    if isinstance(memory, Hardware | str):
        memory = as_hardware(memory).memory_bytes
    elif memory is not None:
        check_number("memory", memory, above=0)
    size = (batch_size, seq_len, dtype_bytes)
    return MemoryBudget(
        weights=weight_bytes(
            spec, dtype_bytes, weight_format=weight_format, table_format=table_format
        ),
        kv_cache=kv_cache_bytes(spec, *size, kv_format=kv_format),
        activations=activation_bytes(spec, "prefill" if prefill else "decode", *size),
        memory=memory,
    )


def kv_overtakes_weights(spec: ModelSpec | str, batch_size: int = 1) -> int:
    """The first context length at which the KV cache takes more bytes than the weights.

    Raises:
        ValueError: an unknown model, ``batch_size`` below 1, a sliding window that ends before.
    """
    n_tokens = int(weight_bytes(spec) // kv_cache_bytes(spec, batch_size)) + 1
    as_spec(spec).check_full_attention(n_tokens)
    return n_tokens
