"""Communication volumes of one request (a batch of equal prompts): payload and wire, by phase."""

from dataclasses import dataclass

from lecture_lib.checks import check_count, check_number, checked
from lecture_lib.model_spec import ModelSpec

from .degrees import check_pipeline_degree, check_tensor_parallel_degree
from .ring import ring_wire_bytes


@dataclass(frozen=True)
class Transfer:
    """One kind of communication in ONE forward pass."""

    phase: str  # "prefill" or "decode"
    what: str
    kind: str  # "send", "all_reduce" or "all_gather"
    per_pass: int  # how often it happens
    payload_bytes: float  # of one: the tensor sent, summed or gathered, counted once

    def wire_bytes(self, n_ranks: int) -> float:
        """Bytes that all ranks together send for ONE of these (collectives: in a ring)."""
        if self.kind == "send":
            return self.payload_bytes
        if self.kind == "all_gather":  # every rank brings S/n, and passes on what it gets
            return (n_ranks - 1) * self.payload_bytes
        return ring_wire_bytes(self.payload_bytes, n_ranks, all_ranks=True)


@dataclass(frozen=True)
class Volume:
    """What a request sends: B prompts of L tokens, ``max_new_tokens`` new tokens each.

    ``transfers`` is what happens in one prefill pass and in one decode pass.
    """

    model: str
    d_model: int
    n_ranks: int
    seq_len: int
    max_new_tokens: int
    batch_size: int
    dtype_bytes: float
    transfers: tuple[Transfer, ...]

    @property
    def n_decode_passes(self) -> int:
        """max_new_tokens - 1: the prefill already gives the first new token."""
        return self.max_new_tokens - 1

    @property
    def prefill_bytes(self) -> float:
        """Payload of the prefill."""
        return self._pass_bytes("prefill")

    @property
    def decode_step_bytes(self) -> float:
        """Payload of ONE decode pass: one more token for each of the B sequences."""
        return self._pass_bytes("decode")

    @property
    def payload_bytes(self) -> float:
        """Payload of the whole request, each tensor counted once."""
        return self.prefill_bytes + self.n_decode_passes * self.decode_step_bytes

    @property
    def wire_bytes(self) -> float:
        """Bytes that all ranks together send in the request (collectives: in a ring)."""
        return sum(self._count(t) * t.wire_bytes(self.n_ranks) for t in self.transfers)

    @property
    def n_all_reduces(self) -> int:
        """AllReduces in the whole request, extras included."""
        return sum(self._count(t) for t in self.transfers if t.kind == "all_reduce")

    @property
    def prefill_tensor_bytes(self) -> float:
        """B·L·D·dtype_bytes: the activations that are sent, or summed, at a time (2LD in FP16)."""
        return self.seq_len * self.decode_tensor_bytes

    @property
    def decode_tensor_bytes(self) -> float:
        """B·D·dtype_bytes: the same in a decode pass (2D)."""
        return self.batch_size * self.d_model * self.dtype_bytes

    def table(self):
        """A DataFrame with one row for each kind of communication of each phase.

        Columns: phase, what, kind, count (in the request), payload_bytes (of one),
        total_payload_bytes.
        """
        import pandas as pd

        columns = ["phase", "what", "kind", "count", "payload_bytes", "total_payload_bytes"]
        rows = []
        for t in self.transfers:
            count, n_bytes = self._count(t), t.payload_bytes
            rows.append([t.phase, t.what, t.kind, count, n_bytes, count * n_bytes])
        return pd.DataFrame(rows, columns=columns)

    def _count(self, transfer: Transfer) -> int:
        """How often a transfer happens in the whole request."""
        return transfer.per_pass * (1 if transfer.phase == "prefill" else self.n_decode_passes)

    def _pass_bytes(self, phase: str) -> float:
        return sum(t.per_pass * t.payload_bytes for t in self.transfers if t.phase == phase)


@checked
def pipeline_volume(
    spec: ModelSpec,
    *,
    n_ranks: int,
    seq_len: int,
    max_new_tokens: int = 1,
    batch_size: int = 1,
    dtype_bytes: float = 2,
    return_tokens: bool = False,
) -> Volume:
    """What pipeline parallelism sends for one request: activations, over each boundary of stages.

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
    sizes = _check_sizes(spec, n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes)
    check_pipeline_degree(spec, n_ranks, argument="n_ranks")
    transfers = []
    for phase, tokens in (("prefill", seq_len), ("decode", 1)) if n_ranks > 1 else ():
        n_bytes = batch_size * tokens * spec.d_model * dtype_bytes
        what, n_boundaries = "activations over a boundary", n_ranks - 1
        transfers.append(Transfer(phase, what, "send", n_boundaries, n_bytes))
    if return_tokens and n_ranks > 1:
        n_bytes = batch_size * 8  # a token id is sent as an int64
        transfers.append(Transfer("decode", "token ids back to stage 0", "send", 1, n_bytes))
    return Volume(spec.name, spec.d_model, *sizes, tuple(transfers))


@checked
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
) -> Volume:
    """What tensor parallelism sums over the ranks for one request.

    A pass sums the activations twice in each layer: after attention and after the MLP
    (Megatron-LM, arXiv 1909.08053, section 3).

    Args:
        n_ranks: must divide n_H, n_KV and F. With 1 there is nothing to sum.
        spec, seq_len, max_new_tokens, batch_size, dtype_bytes: as in ``pipeline_volume``.
        vocab_parallel_embedding: Megatron-LM and vLLM also split the embedding table by rows of
            the vocabulary: one more AllReduce of B·L·D elements per pass.
        gather_logits: they split the output matrix too, so the logits are gathered: an AllGather
            of B·V elements per pass (those of the last position).

    Raises:
        ValueError, ParallelDegreeError: as ``pipeline_volume``.
    """
    sizes = _check_sizes(spec, n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes)
    check_tensor_parallel_degree(spec, n_ranks)
    transfers = []
    for phase, tokens in (("prefill", seq_len), ("decode", 1)) if n_ranks > 1 else ():
        element_bytes = batch_size * tokens * dtype_bytes  # of one column of the activations
        if vocab_parallel_embedding:
            n_bytes = element_bytes * (spec.embed_dim or spec.d_model)
            transfers.append(Transfer(phase, "embedding", "all_reduce", 1, n_bytes))
        for part in ("attention", "MLP"):
            n_bytes = element_bytes * spec.d_model
            transfers.append(Transfer(phase, f"after {part}", "all_reduce", spec.n_layers, n_bytes))
        if gather_logits:
            n_bytes = batch_size * spec.vocab_size * dtype_bytes
            transfers.append(Transfer(phase, "logits", "all_gather", 1, n_bytes))
    return Volume(spec.name, spec.d_model, *sizes, tuple(transfers))


def _check_sizes(spec, n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes) -> tuple:
    return (
        check_count("n_ranks", n_ranks),
        check_count("seq_len", seq_len),
        check_count("max_new_tokens", max_new_tokens),
        check_count("batch_size", batch_size),
        check_number("dtype_bytes", dtype_bytes, above=0),
    )
