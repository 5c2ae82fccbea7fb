"""Communication volumes of one request (a batch of equal prompts): payload and wire, by phase."""

from __future__ import annotations

from dataclasses import dataclass

from lecture_lib.checks import check_count, check_number
from lecture_lib.model_spec import ModelSpec

from .degrees import ParallelDegreeError, check_pipeline_degree, check_tensor_parallel_degree
from .transfers import Transfer, Volume
from .wire import ring_wire_bytes, tree_wire_bytes

__all__ = [
    "ParallelDegreeError",
    "PipelineVolume",
    "TensorParallelVolume",
    "Transfer",
    "check_pipeline_degree",
    "check_tensor_parallel_degree",
    "pipeline_volume",
    "ring_wire_bytes",
    "tensor_parallel_volume",
    "tree_wire_bytes",
]

_TOKEN_ID_BYTES = 8  # a token id travels as an int64


@dataclass(frozen=True)
class PipelineVolume(Volume):
    """Point-to-point volume of pipeline parallelism; each stage is one rank.

    At each of the ``n_ranks - 1`` boundaries a pass sends its activations once: B·L·D elements in
    prefill, B·D in a decode pass (the lecture's 2LD and 2D bytes: B = 1, FP16).
    """

    d_model: int = 0

    @property
    def n_boundaries(self) -> int:
        return self.n_ranks - 1

    @property
    def prefill_boundary_bytes(self) -> float:
        """B·L·D·dtype_bytes: what the prefill sends over ONE boundary."""
        return self.seq_len * self.decode_boundary_bytes

    @property
    def decode_boundary_bytes(self) -> float:
        """B·D·dtype_bytes: what one decode pass sends over ONE boundary."""
        return self.batch_size * self.d_model * self.dtype_bytes


@dataclass(frozen=True)
class TensorParallelVolume(Volume):
    """AllReduce volume of tensor parallelism: two AllReduces a layer in each forward pass.

    One after attention and one after the MLP, of B·L·D elements each in prefill and of B·D each in
    a decode pass (the lecture's 2LD and 2D bytes: B = 1, FP16). Megatron-LM, arXiv 1909.08053,
    section 3.
    """

    d_model: int = 0
    n_layers: int = 0

    @property
    def n_all_reduces(self) -> int:
        """AllReduces in the whole request, extras included."""
        reduces = (t for t in self.transfers if t.kind == "all_reduce")
        return sum(t.per_pass * self.passes(t.phase) for t in reduces)

    @property
    def prefill_all_reduce_bytes(self) -> float:
        """B·L·D·dtype_bytes: the payload of ONE of a layer's AllReduces in prefill."""
        return self.seq_len * self.decode_all_reduce_bytes

    @property
    def decode_all_reduce_bytes(self) -> float:
        """B·D·dtype_bytes: the payload of ONE of a layer's AllReduces in a decode pass."""
        return self.batch_size * self.d_model * self.dtype_bytes

    @property
    def prefill_layer_bytes(self) -> float:
        """Payload of one layer's two AllReduces in prefill."""
        return 2 * self.prefill_all_reduce_bytes

    @property
    def decode_layer_bytes(self) -> float:
        """Payload of one layer's two AllReduces in one decode pass."""
        return 2 * self.decode_all_reduce_bytes


def pipeline_volume(
    spec: ModelSpec,
    *,
    n_ranks: int,
    seq_len: int,
    max_new_tokens: int = 1,
    batch_size: int = 1,
    dtype_bytes: float = 2,
    return_tokens: bool = False,
) -> PipelineVolume:
    """What pipeline parallelism sends from stage to stage for one request.

    Args:
        spec: the model. n_ranks: stages, one rank each; must divide the layers.
        seq_len: L, the prompt's tokens. max_new_tokens: new tokens of each sequence, the first
            of which comes out of the prefill. batch_size: B. dtype_bytes: bytes of an activation.
        return_tokens: count what the formula leaves out: the chosen token ids (int64) go back
            from the last stage to the first before every decode pass.

    Raises:
        ValueError: a size below 1, ``dtype_bytes`` not above 0, no ModelSpec.
        ParallelDegreeError: stages that don't divide the layers.
    """
    size = _check_sizes(spec, n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes)
    check_pipeline_degree(spec, n_ranks, argument="n_ranks")
    boundaries, transfers = n_ranks - 1, []
    for phase, tokens in (("prefill", seq_len), ("decode", 1)):
        n_bytes = batch_size * tokens * spec.d_model * dtype_bytes
        transfers.append(
            Transfer(phase, "activations over a boundary", "send", boundaries, n_bytes)
        )
    if return_tokens and n_ranks > 1:
        n_bytes = batch_size * _TOKEN_ID_BYTES
        transfers.append(Transfer("decode", "token ids back to stage 0", "send", 1, n_bytes))
    kept = tuple(t for t in transfers if t.per_pass)
    return PipelineVolume(spec.name, *size, transfers=kept, d_model=spec.d_model)


def tensor_parallel_volume(
    spec: ModelSpec,
    *,
    n_ranks: int,
    seq_len: int,
    max_new_tokens: int = 1,
    batch_size: int = 1,
    dtype_bytes: float = 2,
    vocab_parallel_embedding: bool = False,
    gather_logits: bool = False,
) -> TensorParallelVolume:
    """What tensor parallelism sums over the ranks for one request.

    Args:
        spec: the model. n_ranks: must divide n_H, n_KV and F. With 1 there is nothing to sum.
        seq_len, max_new_tokens, batch_size, dtype_bytes: as in ``pipeline_volume``.
        vocab_parallel_embedding: Megatron-LM and vLLM also split the embedding table by rows of
            the vocabulary: one more AllReduce of B·L·D elements a pass.
        gather_logits: they split the output matrix too, so the logits are gathered: an AllGather
            of B·V elements a pass (those of the last position).

    Raises:
        ValueError: a size below 1, ``dtype_bytes`` not above 0, no ModelSpec, a flag that is none.
        ParallelDegreeError: ranks that don't divide the heads, KV heads or F.
    """
    size = _check_sizes(spec, n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes)
    check_tensor_parallel_degree(spec, n_ranks)
    transfers = []
    for phase, tokens in (("prefill", seq_len), ("decode", 1)) if n_ranks > 1 else ():
        rows = batch_size * tokens * dtype_bytes
        if vocab_parallel_embedding:
            width = spec.embed_dim or spec.d_model
            transfers.append(Transfer(phase, "embedding", "all_reduce", 1, rows * width))
        for part in ("attention", "MLP"):
            n_bytes = rows * spec.d_model
            transfers.append(Transfer(phase, f"after {part}", "all_reduce", spec.n_layers, n_bytes))
        if gather_logits:
            n_bytes = batch_size * spec.vocab_size * dtype_bytes
            transfers.append(Transfer(phase, "logits", "all_gather", 1, n_bytes))
    return TensorParallelVolume(
        spec.name, *size, tuple(transfers), d_model=spec.d_model, n_layers=spec.n_layers
    )


def _check_sizes(spec, n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes) -> tuple:
    if not isinstance(spec, ModelSpec):
        got = f"{spec!r}" if isinstance(spec, str) else type(spec).__name__
        raise ValueError(f"spec: needs a ModelSpec such as MODEL_SPECS['llama-2-7b'], got {got}")
    return (
        check_count("n_ranks", n_ranks),
        check_count("seq_len", seq_len),
        check_count("max_new_tokens", max_new_tokens),
        check_count("batch_size", batch_size),
        check_number("dtype_bytes", dtype_bytes, above=0),
    )
