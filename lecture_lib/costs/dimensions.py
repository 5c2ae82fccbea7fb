"""What is counted: a whole model, or the lecture's block with numbers or symbols for sizes."""

import dataclasses
from typing import Any

from lecture_lib.checks import check_count, check_type
from lecture_lib.model_spec import MODEL_SPECS, ModelSpec

PHASES = ("prefill", "decode")


def is_symbolic(value: Any) -> bool:
    """Whether it is a sympy expression (without importing sympy to ask)."""
    return hasattr(value, "free_symbols")


def check_size(name: str, value: Any) -> Any:
    """An integer of 1 or more, or a sympy expression that may be one; else a ValueError."""
    if not is_symbolic(value):
        return check_count(name, value)
    number = not value.free_symbols  # sympy's 1/2 and oo are expressions too
    if (number and not value.is_integer) or value.is_integer is False or value.is_positive is False:
        raise ValueError(f"{name}: needs an integer of 1 or more, or a symbol for one, got {value}")
    return value


class LectureBlock:
    """The lecture's block: multi-head attention, F = 4D, relu; no norms, residuals, positions.

    What it has in common with a ModelSpec has the same name there.

    Args:
        d_model, n_heads: integers, or sympy symbols: then the costs are formulas.

    Raises:
        ValueError: a size below 1, or n_heads that does not divide d_model.
    """

    n_layers = 1
    gated_mlp = qk_norm = qkv_bias = attention_out_bias = mlp_bias = False

    def __init__(self, d_model: Any = 4096, n_heads: Any = 32):
        d_model, n_heads = check_size("d_model", d_model), check_size("n_heads", n_heads)
        symbolic = is_symbolic(d_model) or is_symbolic(n_heads)
        if not symbolic and d_model % n_heads:
            raise ValueError(f"n_heads: must divide d_model={d_model}, got {n_heads}")
        self.d_model = self.q_width = self.kv_width = d_model
        self.n_heads = self.n_kv_heads = n_heads
        self.head_dim = d_model / n_heads if symbolic else d_model // n_heads
        self.d_ff = 4 * d_model


def as_spec(spec: ModelSpec | str) -> ModelSpec:
    """A ModelSpec itself, or the published model of this name; else a ValueError."""
    if isinstance(spec, str):
        return MODEL_SPECS[spec]
    return check_type("spec", spec, ModelSpec, "a ModelSpec or the name of a published model")


def with_kv_heads(spec: ModelSpec, n_kv_heads: int) -> ModelSpec:
    """The same model with other key/value heads: n_heads (MHA), 1 (MQA), or between (GQA).

    W^K and W^V get as wide as the key/value heads are, so the model's weights change as well.

    Raises:
        ValueError: a number that does not divide n_heads.
    """
    spec = as_spec(spec)
    name = f"{spec.name} with {n_kv_heads} KV heads"
    return dataclasses.replace(spec, name=name, n_kv_heads=n_kv_heads)
