"""Walking two plain values side by side; how they differ, in words for students."""

from collections.abc import Callable
from typing import Any

import numpy as np

KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}
Numbers = Callable[[np.ndarray, np.ndarray], str | None]


def difference(got: Any, expected: Any, numbers: Numbers, where: str = "") -> str | None:
    """Why ``got`` is not ``expected``, None if it is.

    Args:
        numbers: compares two arrays of the same shape.
        where: what to say in front, of a part of a larger value.
    """
    expected_array, got_array = as_array(expected), as_array(got)
    if expected_array is not None and got_array is not None:
        if got_array.shape != expected_array.shape:
            wanted = _shape_name(expected_array)
            return f"{where}is {_shape_name(got_array)}; {wanted} is expected"
        reason = numbers(got_array, expected_array)
        return None if reason is None else where + reason
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return f"{where}is {type_name(got)}; a dict is expected"
        if set(got) != set(expected):
            return f"{where}has {len(got)} keys, not the {len(expected)} that are expected"
        parts = [(f"{where}value of key {k!r} ", got[k], e) for k, e in expected.items()]
    elif isinstance(expected, list | tuple | np.ndarray):
        items, wanted = as_list(got), as_list(expected)
        if items is None:
            return f"{where}is {type_name(got)}; {type_name(expected)} is expected"
        if len(items) != len(wanted):
            return f"{where}has {len(items)} items; {len(wanted)} are expected"
        pairs = zip(items, wanted, strict=True)
        parts = [(f"{where}item {i} ", g, e) for i, (g, e) in enumerate(pairs)]
    elif type(got) is not type(expected):
        return f"{where}is {type_name(got)}; {type_name(expected)} is expected"
    else:
        return None if got == expected else f"{where}is not the {type(expected).__name__} expected"
    reasons = (difference(g, e, numbers, place) for place, g, e in parts)
    return next((reason for reason in reasons if reason is not None), None)


def as_array(value: Any) -> np.ndarray | None:
    """Numbers of one kind as an array, whatever held them; None for anything else."""
    kinds = _leaf_types(value)
    if len(kinds) > 1 or not kinds <= {bool, int, float, complex}:
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # ragged
        return None
    return array if array.dtype.kind in KINDS else None  # an int beyond 64 bits is an object


def _leaf_types(value: Any) -> set[type]:
    if isinstance(value, np.ndarray):
        return {{"b": bool, "f": float, "c": complex}.get(value.dtype.kind, int)}
    if not isinstance(value, list | tuple):
        return {type(value)}
    types = set(map(type, value))
    if types & {list, tuple, np.ndarray}:
        types = set().union(*map(_leaf_types, value))
    return types


def _shape_name(array: np.ndarray) -> str:
    return f"of shape {array.shape}" if array.ndim else "a single number"


def as_list(value: Any) -> list | None:
    if isinstance(value, np.ndarray) and value.ndim:
        return value.tolist()
    return list(value) if isinstance(value, list | tuple) else None


def equal(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    both_nan = (got != got) & (expected != expected)
    return (got == expected) | both_nan


def entries_wrong(got: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str | None:
    if not wrong.any():
        return None
    with np.errstate(all="ignore"):
        if np.isfinite(expected).all() and not np.isfinite(got).all():
            return "has entries that are nan or infinite"
        size = np.abs(got.astype(np.complex128) - expected.astype(np.complex128)).max()
    largest = f" (largest difference {size:.2g})" if np.isfinite(size) else ""
    if got.ndim == 0:
        return f"is not the right number{largest}"
    return f"has {int(wrong.sum())} of {wrong.size} entries wrong{largest}"


def kind_name(array: np.ndarray) -> str:
    kind = KINDS[array.dtype.kind]
    article = "an" if kind == "int" else "a"
    return f"{article} {kind}" if array.ndim == 0 else f"of {kind}s"


def type_name(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return "an array" if value.ndim else kind_name(value)
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
