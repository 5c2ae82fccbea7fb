"""Checks of numbers at the public boundary of ``lecture_lib.parallel``."""

import math
from numbers import Integral, Real
from typing import Any


def check_count(name: str, value: Any, least: int = 1) -> int:
    """An integer of at least ``least``, or a ValueError that names the argument."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: needs an integer of {least} or more, got {value!r}")
    return int(value)


def check_amount(name: str, value: Any, *, positive: bool = True) -> float:
    """A finite number above 0 (or from 0, unless ``positive``), else a ValueError."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        raise ValueError(
            f"{name}: needs a number {'above 0' if positive else 'of 0 or more'}, got {value!r}"
        )
    return value


def check_spec(spec: Any) -> None:
    """A ModelSpec, or a ValueError that says how to get one."""
    from lecture_lib.model_spec import ModelSpec

    if not isinstance(spec, ModelSpec):
        got = f"{spec!r}" if isinstance(spec, str) else type(spec).__name__
        raise ValueError(f"spec: needs a ModelSpec such as MODEL_SPECS['llama-2-7b'], got {got}")
