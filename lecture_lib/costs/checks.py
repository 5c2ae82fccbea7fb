"""Checks of arguments, shared by the calculators."""

import math
import numbers
from typing import Any

PHASES = ("prefill", "decode")


def is_symbolic(value: Any) -> bool:
    """Whether it is a sympy expression (without importing sympy to ask)."""
    return hasattr(value, "free_symbols")


def check_size(name: str, value: Any) -> Any:
    """A positive integer, or a sympy expression to compute with.

    Raises:
        ValueError: anything else; the message names the argument.
    """
    if is_symbolic(value):
        return value
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}: must be an integer of 1 or more, got {value!r}")
    return int(value)


def check_number(name: str, value: Any, *, least: float = 0.0) -> float:
    """A finite number above ``least``."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not least < value < math.inf:
        raise ValueError(f"{name}: must be a finite number above {least:g}, got {value!r}")
    return value


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{name}: must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: must be True or False, got {value!r}")
    return value
