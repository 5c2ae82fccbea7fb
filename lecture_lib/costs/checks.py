"""Sizes that are numbers or sympy expressions: the calculators compute with both."""

from typing import Any

from lecture_lib.checks import check_count

PHASES = ("prefill", "decode")


def is_symbolic(value: Any) -> bool:
    """Whether it is a sympy expression (without importing sympy to ask)."""
    return hasattr(value, "free_symbols")


def check_size(name: str, value: Any, least: int = 1) -> Any:
    """An integer of ``least`` or more, or a sympy expression to compute with; else a ValueError."""
    return value if is_symbolic(value) else check_count(name, value, least)
