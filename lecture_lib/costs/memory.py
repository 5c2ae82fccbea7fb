"""What has to fit: the bytes of weights, KV cache and activations."""

from dataclasses import dataclass

from lecture_lib.checks import check_flag, check_number
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .checks import PHASES, check_size
from .dimensions import Dimensions, as_dimensions
from .formats import Format, as_format
from .table import make_step
from .units import both_units


def weight_bytes(
    spec: ModelSpec | str,
    dtype_bytes: float = 2,
    *,
    weight_format: Format | str | None = None,
    quantise_all: bool = False,
) -> float:
    """Bytes of all parameters; a tied matrix counts once.

    Args:
        spec: a ModelSpec or the name of a published model.
        dtype_bytes: bytes of a parameter that is not quantised.
        weight_format: of the layers' matrices, such as "int8" or "int4" with its group scales;
            embeddings, norms, biases and the lm_head keep ``dtype_bytes``.
        quantise_all: embeddings and lm_head are stored in ``weight_format`` too (GGUF files).

    Raises:
        ValueError: an unknown model or format, ``dtype_bytes`` that is not positive.
    """
    d = as_dimensions(spec)
    if d.spec is None:
        raise ValueError("spec: the lecture's block is no whole model; give a ModelSpec")
    plain = as_format("dtype_bytes", None, dtype_bytes)
    stored = as_format("weight_format", weight_format, dtype_bytes)
    check_flag("quantise_all", quantise_all)
    matrices = d.n_layers * layer_matrices(d)
    if quantise_all:
        copies = 1 if d.spec.tied_embeddings else 2
        matrices += copies * [(d.vocab_size, d.embedding_width)]
    others = d.spec.n_params - sum(n_out * n_in for n_out, n_in in matrices)
    quantised = sum(stored.n_bytes(n_out, n_in) for n_out, n_in in matrices)
    return plain.n_bytes(1, others) + quantised


def layer_matrices(d: Dimensions) -> list[tuple[int, int]]:
    """(outputs, inputs) of the matrices of one layer."""
    attention = [(d.q_width, d.d_model), *[(d.kv_width, d.d_model)] * 2, (d.d_model, d.q_width)]
    up = [(d.d_ff, d.d_model)] * (2 if d.gated_mlp else 1)
    return [*attention, *up, (d.d_model, d.d_ff)]


def kv_cache_bytes(
    spec: ModelSpec | Dimensions | str,
    batch_size: int = 1,
    seq_len: int = 1,
    dtype_bytes: float = 2,
    *,
    kv_format: Format | str | None = None,
) -> float:
    """Bytes of the keys and values of ``batch_size`` sequences of ``seq_len`` positions.

    2 · N · B · L · n_KV · H elements; with kv_format "int8" one byte each, and an FP16 scale for
    every head's key and value of every token.

    Raises:
        ValueError: a size below 1, an unknown model or format, ``dtype_bytes`` not positive.
    """
    d = as_dimensions(spec)
    stored = as_format("kv_format", kv_format, dtype_bytes)
    tokens = check_size("batch_size", batch_size) * check_size("seq_len", seq_len)
    return 2 * d.n_layers * stored.n_bytes(tokens * d.n_kv_heads, d.head_dim)


def activation_bytes(
    spec: ModelSpec | Dimensions | str,
    phase: str,
    batch_size: int = 1,
    seq_len: int = 1,
    dtype_bytes: float = 2,
    *,
    fused_attention: bool = True,
) -> float:
    """Peak bytes of activations, an estimate: tensors that must be alive at the same moment.

    Of a plain implementation that frees a layer's tensors when the next layer makes its own, and
    works nothing out in place. The largest of three moments: the scores and their softmax beside
    q, k, v and the residual stream (without fused attention); the MLP's inner tensors (gate, up,
    silu(gate) and their product, or A and relu(A)) beside what attention left and the norm; the
    logits of the last position. What kernels take for themselves is not in it.

    Raises:
        ValueError: a size below 1, an unknown phase or model.
    """
    s = make_step(spec, phase, batch_size, seq_len, dtype_bytes, fused_attention)
    d, tokens = s.d, s.tokens
    stream = s.act(tokens, d.d_model)
    normed = stream if d.norms else 0
    qkv, heads_out = s.act(tokens, d.q_width + 2 * d.kv_width), s.act(tokens, d.q_width)
    scores = 0 if s.fused else 2 * s.act(s.batch_size * d.n_heads * s.new * s.attended)
    moments = [
        qkv + scores,
        qkv + heads_out + normed + s.act(tokens, (4 if d.gated_mlp else 2) * d.d_ff),
        s.act(s.batch_size, d.vocab_size + 2 * d.d_model),
    ]
    return stream + max(moments)


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

    def __str__(self) -> str:
        parts = [f"weights {both_units(self.weights)}", f"KV cache {both_units(self.kv_cache)}"]
        parts += [f"activations {both_units(self.activations)}", f"total {both_units(self.total)}"]
        if self.memory is not None:
            parts.append(f"{'fits' if self.fits else 'does not fit'} {both_units(self.memory)}")
        return ", ".join(parts)


def memory_budget(
    spec: ModelSpec | str,
    batch_size: int = 1,
    seq_len: int = 1,
    dtype_bytes: float = 2,
    *,
    weight_format: Format | str | None = None,
    kv_format: Format | str | None = None,
    memory: Hardware | str | float | None = None,
    prefill: bool = True,
    fused_attention: bool = True,
) -> MemoryBudget:
    """Weights, the KV cache of ``batch_size`` sequences of ``seq_len``, and peak activations.

    Args:
        memory: a Hardware, the name of one, or bytes.
        prefill: activations of prefilling all of it at once; False: of a decode step.

    Raises:
        ValueError: as ``weight_bytes`` and ``kv_cache_bytes``; memory that is not positive.
    """
    phase = PHASES[0] if prefill else PHASES[1]
    size = (batch_size, seq_len, dtype_bytes)
    return MemoryBudget(
        weights=weight_bytes(spec, dtype_bytes, weight_format=weight_format),
        kv_cache=kv_cache_bytes(spec, *size, kv_format=kv_format),
        activations=activation_bytes(spec, phase, *size, fused_attention=fused_attention),
        memory=None if memory is None else as_memory(memory),
    )


def as_memory(memory: Hardware | str | float) -> float:
    """Bytes of a Hardware, of the named one, or the bytes themselves."""
    if isinstance(memory, Hardware | str):
        return as_hardware(memory).memory_bytes
    return check_number("memory", memory, above=0)
