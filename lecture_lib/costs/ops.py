"""Every operation of a forward pass, with what it computes and what it moves.

Written once, for integers and for sympy symbols alike: the numbers of a table and the closed
formulas of the lecture come out of the same lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .conventions import Conventions
from .dimensions import Dimensions
from .formats import Format


@dataclass(frozen=True)
class Op:
    """One operation, in one layer, for the whole batch.

    Attributes:
        name, part: "q_proj" and "attention". macs: multiply-accumulates of matrix products.
        weights, reads, writes: bytes of weights and activations read, of activations written.
        kv_reads, kv_writes: bytes of keys and values read and written.
    """

    name: str
    part: str
    macs: Any = 0
    weights: Any = 0
    reads: Any = 0
    writes: Any = 0
    kv_reads: Any = 0
    kv_writes: Any = 0
    per_layer: bool = True


@dataclass(frozen=True)
class Step:
    """One forward pass to count: a prefill of L tokens per sequence, or a decode step after L.

    Attributes:
        d, conventions: the model, and how to count. phase: "prefill" or "decode".
        batch_size, seq_len: B and L. weight, kv: how the layers' matrices and the cache are
            stored; plain: how all else is, activations, embeddings, norms, biases.
        fused: attention keeps its scores on chip.
    """

    d: Dimensions
    conventions: Conventions
    phase: str
    batch_size: Any
    seq_len: Any
    weight: Format
    kv: Format
    plain: Format
    fused: bool

    @property
    def n_new(self) -> Any:
        """New tokens of one sequence."""
        return self.seq_len if self.phase == "prefill" else 1

    @property
    def tokens(self) -> Any:
        return self.batch_size * self.n_new

    @property
    def kv_len(self) -> Any:
        """S: positions that a new token may look at, or whose keys are there."""
        return self.seq_len if self.phase == "prefill" else self.seq_len + 1

    def act(self, rows: Any, width: Any = 1) -> Any:
        """Bytes of activations."""
        return self.plain.n_bytes(rows, width)

    def linear(self, name, part, n_in, n_out, *, bias=False, rows=None, kv=False, **more) -> Op:
        """A product X W: (rows, n_in) times (n_in, n_out); ``kv``: the result goes to the cache.

        Only the matrices of the layers are quantised, not embeddings and output matrix.
        """
        rows = self.tokens if rows is None else rows
        heads = self.d.n_kv_heads
        stored = self.weight if part in ("attention", "mlp") else self.plain
        return Op(
            name,
            part,
            macs=rows * n_in * n_out,
            weights=stored.n_bytes(n_out, n_in) + self.plain.n_bytes(int(bias), n_out),
            reads=self.act(rows, n_in),
            writes=0 if kv else self.act(rows, n_out),
            kv_writes=self.kv.n_bytes(rows * heads, self.d.head_dim) if kv else 0,
            **more,
        )

    def pointwise(self, name, part, width, *, inputs=1, rows=None, **more) -> Op:
        """Element-wise work: ``inputs`` operands of (rows, width) in, one out."""
        one = self.act(self.tokens if rows is None else rows, width)
        return Op(name, part, reads=inputs * one, writes=one, **more)

    def norm(self, name, part, width=None, rows=None, **more) -> Op:
        width = self.d.d_model if width is None else width
        weights = self.plain.n_bytes(self.d.norm_params, width)
        return self.pointwise(name, part, width, rows=rows, weights=weights, **more)


def all_ops(s: Step) -> Iterator[Op]:
    """The operations of a step in order; those with ``per_layer`` run in every layer."""
    yield from embedding_ops(s)
    yield from attention_ops(s)
    yield from mlp_ops(s)
    yield from lm_head_ops(s)


def embedding_ops(s: Step) -> Iterator[Op]:
    width = s.d.embedding_width
    rows = s.plain.n_bytes(s.tokens, width)  # a table: only the tokens' rows are read
    yield Op("embedding", "embedding", weights=rows, writes=s.act(s.tokens, width), per_layer=False)
    if s.d.embed_dim is not None and s.d.embed_dim != s.d.d_model:
        yield s.linear("project_in", "embedding", width, s.d.d_model, per_layer=False)
    if s.d.positions:
        table = s.plain.n_bytes(s.tokens, s.d.d_model)
        yield s.pointwise(
            "position_embedding", "embedding", s.d.d_model, weights=table, per_layer=False
        )


def attention_ops(s: Step) -> Iterator[Op]:
    d, part = s.d, "attention"
    if d.norms:
        yield s.norm("attn_norm", part)
    yield from _projections(s)
    if d.qk_norm:
        yield s.norm("q_norm", part, d.head_dim, s.tokens * d.n_heads)
        yield s.norm("k_norm", part, d.head_dim, s.tokens * d.n_kv_heads)
    if d.rope:
        yield s.pointwise("rope", part, d.q_width + d.kv_width)
    if s.phase == "decode" and s.conventions.cache_update == "concat":
        rows = s.batch_size * d.n_kv_heads
        past = s.kv.n_bytes(rows * s.seq_len, d.head_dim)
        new = s.kv.n_bytes(rows, d.head_dim)
        for name in ("k_concat", "v_concat"):
            yield Op(name, part, kv_reads=past + new, kv_writes=past + new)
    yield from _score_ops(s)
    yield s.linear("o_proj", part, d.q_width, d.d_model, bias=d.out_bias)
    if d.residuals:
        yield s.pointwise("attn_residual", part, d.d_model, inputs=2)


def _projections(s: Step) -> Iterator[Op]:
    d, part, bias = s.d, "attention", s.d.qkv_bias
    q = s.linear("q_proj", part, d.d_model, d.q_width, bias=bias)
    k = s.linear("k_proj", part, d.d_model, d.kv_width, bias=bias, kv=True)
    v = s.linear("v_proj", part, d.d_model, d.kv_width, bias=bias, kv=True)
    if s.conventions.joined_projections:
        yield _joined("qkv_proj", q, k, v)
    else:
        yield from (q, k, v)


def _joined(name: str, *ops: Op) -> Op:
    """Products of the same input as one: it is read once."""
    totals = {
        key: sum(getattr(op, key) for op in ops)
        for key in ("macs", "weights", "writes", "kv_writes")
    }
    return Op(name, ops[0].part, reads=ops[0].reads, **totals)


def _score_ops(s: Step) -> Iterator[Op]:
    """QK^T, softmax, score·V of all heads. Each key/value head is read once for its group."""
    d, part = s.d, "attention"
    queries = s.act(s.tokens, d.q_width)
    keys = s.kv.n_bytes(s.batch_size * s.kv_len * d.n_kv_heads, d.head_dim)  # values likewise
    elements = s.batch_size * d.n_heads * s.n_new * s.kv_len
    macs, scores = elements * d.head_dim, s.act(elements)
    if s.fused:
        yield Op("attention", part, 2 * macs, reads=queries, writes=queries, kv_reads=2 * keys)
        return
    yield Op("qk_matmul", part, macs, reads=queries, kv_reads=keys, writes=scores)
    if s.conventions.softmax_pass:
        yield Op("softmax", part, reads=scores, writes=scores)
    yield Op("sv_matmul", part, macs, reads=scores, kv_reads=keys, writes=queries)


def mlp_ops(s: Step) -> Iterator[Op]:
    d, part, bias = s.d, "mlp", s.d.mlp_bias
    if d.norms:
        yield s.norm("mlp_norm", part)
    up = s.linear("up_proj", part, d.d_model, d.d_ff, bias=bias)
    if d.gated_mlp:
        gate = s.linear("gate_proj", part, d.d_model, d.d_ff, bias=bias)
        joined = s.conventions.joined_projections
        yield from (_joined("gate_up_proj", gate, up),) if joined else (gate, up)
    else:
        yield up
    inputs = 2 if d.gated_mlp else 1  # silu(gate) · up, or relu
    yield s.pointwise("activation", part, d.d_ff, inputs=inputs)
    yield s.linear("down_proj", part, d.d_ff, d.d_model, bias=bias)
    if d.residuals:
        yield s.pointwise("mlp_residual", part, d.d_model, inputs=2)


def lm_head_ops(s: Step) -> Iterator[Op]:
    d, part = s.d, "lm_head"
    rows = s.batch_size  # of a prefill, the logits of its last position alone
    if d.final_norm:
        yield s.norm("final_norm", part, rows=rows, per_layer=False)
    width = d.embedding_width
    if d.embed_dim is not None and d.embed_dim != d.d_model:
        yield s.linear("project_out", part, d.d_model, width, rows=rows, per_layer=False)
    bias = d.lm_head_bias
    yield s.linear("lm_head", part, width, d.vocab_size, bias=bias, rows=rows, per_layer=False)
