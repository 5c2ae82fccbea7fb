"""Dimensions: what the cost formulas need of a model; of a ModelSpec, or with symbols for sizes."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from lecture_lib.checks import check_count
from lecture_lib.model_spec import MODEL_SPECS, ModelSpec

PHASES = ("prefill", "decode")
_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size")


def is_symbolic(value: Any) -> bool:
    """Whether it is a sympy expression (without importing sympy to ask)."""
    return hasattr(value, "free_symbols")


def check_size(name: str, value: Any) -> Any:
    """An integer of 1 or more, or a sympy expression to compute with; else a ValueError."""
    return value if is_symbolic(value) else check_count(name, value)


@dataclass(frozen=True)
class Dimensions:
    """A decoder's sizes, integers or sympy symbols, and which element-wise parts it has.

    Attributes:
        norms, residuals, rope: whether blocks have them. The lecture's block has none.
        The others as in ModelSpec.
    """

    name: str
    n_layers: Any
    d_model: Any
    n_heads: Any
    n_kv_heads: Any
    head_dim: Any
    d_ff: Any
    vocab_size: Any
    gated_mlp: bool = False
    norms: bool = False
    norm_params: int = 1  # vectors of width D that a norm reads: 2 with a bias
    final_norm: bool = False
    residuals: bool = False
    rope: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    lm_head_bias: bool = False
    positions: bool = False  # a learned position table
    embed_dim: Any = None
    spec: ModelSpec | None = None

    def __post_init__(self) -> None:
        for name in _SIZES:
            check_size(name, getattr(self, name))
        if not is_symbolic(self.n_heads) and self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_kv_heads: must divide n_heads={self.n_heads}, got {self.n_kv_heads}"
            )

    @property
    def q_width(self) -> Any:
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> Any:
        return self.n_kv_heads * self.head_dim

    @property
    def embedding_width(self) -> Any:
        return self.d_model if self.embed_dim is None else self.embed_dim

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """The dimensions of a model."""
        return cls(
            **{name: getattr(spec, name) for name in ("name", *_SIZES, "gated_mlp", "qk_norm")},
            norms=True,
            norm_params=2 if spec.norm == "layernorm" else 1,
            final_norm=spec.final_norm,
            residuals=True,
            rope=spec.position_rows == 0,
            qkv_bias=spec.qkv_bias,
            out_bias=spec.attention_out_bias,
            mlp_bias=spec.mlp_bias,
            lm_head_bias=spec.lm_head_bias,
            positions=spec.position_rows > 0,
            embed_dim=spec.embed_dim,
            spec=spec,
        )


def lecture_block(d_model: Any = 4096, n_heads: Any = 32) -> Dimensions:
    """The lecture's block: multi-head attention, F = 4D, relu; no norms, residuals, positions.

    Args:
        d_model, n_heads: integers, or sympy symbols: then the costs are formulas.

    Raises:
        ValueError: a size below 1, or n_heads that does not divide d_model.
    """
    check_size("d_model", d_model)
    check_size("n_heads", n_heads)
    symbolic = is_symbolic(d_model) or is_symbolic(n_heads)
    if not symbolic and d_model % n_heads:
        raise ValueError(f"n_heads: must divide d_model={d_model}, got {n_heads}")
    return Dimensions(
        name="the lecture's block",
        n_layers=1,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=d_model / n_heads if symbolic else d_model // n_heads,
        d_ff=4 * d_model,
        vocab_size=1,
    )


def as_dimensions(spec: ModelSpec | Dimensions | str) -> Dimensions:
    """Dimensions of a ModelSpec, of the published model of this name, or themselves.

    Raises:
        ValueError: an unknown name, with near ones suggested; something else altogether.
    """
    if isinstance(spec, Dimensions):
        return spec
    if isinstance(spec, str):
        try:
            spec = MODEL_SPECS[spec]
        except KeyError as error:
            raise ValueError(f"spec: {error.args[0]}") from None
    if not isinstance(spec, ModelSpec):
        raise ValueError(
            f"spec: must be a ModelSpec, the name of one or a lecture_block(), got "
            f"{type(spec).__name__}"
        )
    return Dimensions.of(spec)


def with_kv_heads(spec: ModelSpec, n_kv_heads: int) -> ModelSpec:
    """The same model with other key/value heads: n_heads (MHA), 1 (MQA), or between (GQA).

    Raises:
        ValueError: a number that does not divide n_heads.
    """
    name = f"{spec.name} with {n_kv_heads} KV heads"
    return dataclasses.replace(spec, name=name, n_kv_heads=n_kv_heads)
