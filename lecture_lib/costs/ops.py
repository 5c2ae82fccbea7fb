"""Every operation of a forward pass, with what it computes and what it moves.

Written once, for integers and for sympy symbols alike: the numbers of a table and the closed
formulas of the lecture come out of the same lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lecture_lib.model_spec import ModelSpec

from .conventions import Conventions, Format
from .dimensions import LectureBlock


@dataclass(frozen=True)
class Op:
    """One operation, in one layer, for the whole batch.

    Attributes:
        name, part: "q_proj" and "attention". flops: of matrix products.
        weights, activations, kv: bytes of weights read, of activations read or written, of keys
            and values read or written.
    """

    name: str
    part: str
    flops: Any = 0
    weights: Any = 0
    activations: Any = 0
    kv: Any = 0


@dataclass(frozen=True)
class Step:
    """One forward pass to count: a prefill of L tokens per sequence, or a decode step after L.

    Attributes:
        spec: the model. phase: "prefill" or "decode". batch_size, seq_len: B and L.
        dtype_bytes: of activations, norms, biases. weight, table, kv: how the layers' matrices,
            embeddings with lm_head, and the cache are stored.
        fused: attention keeps its scores on chip. conventions: how to count.
    """

    spec: ModelSpec | LectureBlock
    phase: str
    batch_size: Any
    seq_len: Any
    dtype_bytes: float
    weight: Format
    table: Format
    kv: Format
    fused: bool
    conventions: Conventions

    @property
    def n_new(self) -> Any:
        """New tokens of one sequence."""
        return self.seq_len if self.phase == "prefill" else 1

    @property
    def n_tokens(self) -> Any:
        """New tokens of the batch."""
        return self.batch_size * self.n_new

    @property
    def kv_len(self) -> Any:
        """S: all positions whose keys are there, the new ones included."""
        return self.seq_len if self.phase == "prefill" else self.seq_len + 1

    @property
    def is_model(self) -> bool:
        """Whether there are embeddings, norms, residuals and an lm_head around the products."""
        return isinstance(self.spec, ModelSpec)

    def act(self, rows: Any, width: Any = 1) -> Any:
        """Bytes of (rows, width) activations."""
        return rows * width * self.dtype_bytes

    def keys(self, n_positions: Any) -> Any:
        """Bytes of the keys (or of the values) of so many positions in the cache of one layer."""
        return self.kv.n_bytes(n_positions * self.spec.n_kv_heads, self.spec.head_dim)

    def linear(self, name, part, n_in, n_out, *, bias=False, rows=None, to_cache=0) -> Op:
        """A product X W: (rows, n_in) times (n_in, n_out); 2 · rows · n_in · n_out FLOPs.

        Args:
            to_cache: 1 if keys or values are among the outputs, 2 if both: they are stored in the
                cache's format.
        """
        rows = self.n_tokens if rows is None else rows
        plain = Format(self.dtype_bytes)  # what projects opt-350m's narrower embeddings
        stored = {"attention": self.weight, "mlp": self.weight}.get(part, plain)
        stored = self.table if name == "lm_head" else stored
        matrix = stored.n_bytes(n_out, n_in)
        n_plain = n_out - to_cache * self.spec.kv_width
        return Op(
            name,
            part,
            flops=2 * rows * n_in * n_out,
            weights=matrix + self.act(int(bias), n_out),
            activations=self.act(rows, n_in) + self.act(rows, n_plain),
            kv=to_cache * self.keys(rows),
        )

    def pointwise(self, name, part, width, *, inputs=1, rows=None, weights=0) -> Op:
        """Element-wise work: ``inputs`` operands of (rows, width) in, one out."""
        rows = self.n_tokens if rows is None else rows
        moved = (inputs + 1) * self.act(rows, width)
        return Op(name, part, weights=weights, activations=moved)

    def norm(self, name, part, width=None, rows=None) -> Op:
        width = self.spec.d_model if width is None else width
        n_vectors = 2 if self.spec.norm == "layernorm" else 1  # a weight, and a bias
        return self.pointwise(name, part, width, rows=rows, weights=self.act(n_vectors, width))


def all_ops(s: Step) -> list[tuple[Op, int]]:
    """The operations of a step in order, each with how many times it runs."""
    layer = [(op, s.spec.n_layers) for op in (*attention_ops(s), *mlp_ops(s))]
    if not s.is_model:
        return layer
    before, after = ([(op, 1) for op in ops(s)] for ops in (embedding_ops, lm_head_ops))
    return before + layer + after


def embedding_ops(s: Step) -> Iterator[Op]:
    spec, part = s.spec, "embedding"
    width = spec.embed_dim or spec.d_model
    rows = s.table.n_bytes(s.n_tokens, width)  # a table: only the tokens' rows are read
    yield Op("embedding", part, weights=rows, activations=s.act(s.n_tokens, width))
    if width != spec.d_model:
        yield s.linear("project_in", part, width, spec.d_model)
    if spec.position_rows:
        rows = s.act(s.n_tokens, spec.d_model)
        yield s.pointwise("position_embedding", part, spec.d_model, weights=rows)


def attention_ops(s: Step) -> Iterator[Op]:
    spec, part = s.spec, "attention"
    if s.is_model:
        yield s.norm("attn_norm", part)
    q, kv, bias = spec.q_width, spec.kv_width, spec.qkv_bias
    if s.conventions.joined_projections:
        yield s.linear("qkv_proj", part, spec.d_model, q + 2 * kv, bias=bias, to_cache=2)
    else:
        yield s.linear("q_proj", part, spec.d_model, q, bias=bias)
        yield s.linear("k_proj", part, spec.d_model, kv, bias=bias, to_cache=1)
        yield s.linear("v_proj", part, spec.d_model, kv, bias=bias, to_cache=1)
    if spec.qk_norm:
        yield s.norm("q_norm", part, spec.head_dim, s.n_tokens * spec.n_heads)
        yield s.norm("k_norm", part, spec.head_dim, s.n_tokens * spec.n_kv_heads)
    if s.is_model and not spec.position_rows:
        yield s.pointwise("rope", part, q + kv)
    if s.phase == "decode" and s.conventions.concat_cache:
        copied = 2 * s.keys(s.batch_size * s.kv_len)  # past and new ones read, and all written
        yield Op("k_concat", part, kv=copied)
        yield Op("v_concat", part, kv=copied)
    yield from _score_ops(s)
    yield s.linear("o_proj", part, q, spec.d_model, bias=spec.attention_out_bias)
    if s.is_model:
        yield s.pointwise("attn_residual", part, spec.d_model, inputs=2)


def _score_ops(s: Step) -> Iterator[Op]:
    """QK^T, softmax, score·V of all heads. Each key/value head is read once for its group."""
    part = "attention"
    n_scores = s.batch_size * s.spec.n_heads * s.n_new * s.kv_len  # (B, n_H, L, S)
    flops, scores = 2 * n_scores * s.spec.head_dim, s.act(n_scores)
    queries = s.act(s.n_tokens, s.spec.q_width)  # as many bytes as score·V has
    keys = s.keys(s.batch_size * s.kv_len)  # as many as values
    if s.fused:
        yield Op("attention", part, 2 * flops, activations=2 * queries, kv=2 * keys)
        return
    yield Op("qk_matmul", part, flops, activations=queries + scores, kv=keys)
    if s.conventions.softmax_pass:
        yield Op("softmax", part, activations=2 * scores)
    yield Op("sv_matmul", part, flops, activations=scores + queries, kv=keys)


def mlp_ops(s: Step) -> Iterator[Op]:
    spec, part, bias = s.spec, "mlp", s.spec.mlp_bias
    if s.is_model:
        yield s.norm("mlp_norm", part)
    if spec.gated_mlp and s.conventions.joined_projections:
        yield s.linear("gate_up_proj", part, spec.d_model, 2 * spec.d_ff, bias=bias)
    else:
        for name in ("gate_proj", "up_proj") if spec.gated_mlp else ("up_proj",):
            yield s.linear(name, part, spec.d_model, spec.d_ff, bias=bias)
    inputs = 2 if spec.gated_mlp else 1  # silu(gate) · up, or relu
    yield s.pointwise("activation", part, spec.d_ff, inputs=inputs)
    yield s.linear("down_proj", part, spec.d_ff, spec.d_model, bias=bias)
    if s.is_model:
        yield s.pointwise("mlp_residual", part, spec.d_model, inputs=2)


def lm_head_ops(s: Step) -> Iterator[Op]:
    spec, part = s.spec, "lm_head"
    rows = s.batch_size  # of a prefill, the logits of its last position alone
    if spec.final_norm:
        yield s.norm("final_norm", part, rows=rows)
    width = spec.embed_dim or spec.d_model
    if width != spec.d_model:
        yield s.linear("project_out", part, spec.d_model, width, rows=rows)
    yield s.linear("lm_head", part, width, spec.vocab_size, bias=spec.lm_head_bias, rows=rows)
