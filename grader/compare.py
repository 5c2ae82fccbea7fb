"""Is a plain value right, and if not, in what way?

Lists, tuples, dicts and arrays are compared part by part. A list, a tuple and an array of the same
numbers are the same; so are a Python number, a numpy scalar and an array without axes. Shapes must
agree, and a bool is no number. Reasons are written for students. They show no expected value and
no distance from it, from which a student could compute it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float"}


@dataclass(frozen=True)
class Close:
    """``|got - expected| <= atol + rtol * |expected|``; two ints exactly, nan = nan.

    The values are untrusted, but plain. ``exact``: int, float and bool are told apart.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    exact: bool = False

    def difference(self, got: Any, expected: Any, place: tuple[str, ...] = ()) -> str | None:
        """What is wrong where the two differ first, and where that is; None if they are equal."""
        reason, parts = self._whole_or_parts(got, expected)
        if reason is not None:
            return f"this {reason} ({', '.join(place)})" if place else f"the result {reason}"
        reasons = (self.difference(g, e, (*place, name)) for name, g, e in parts)
        return next(filter(None, reasons), None)

    def _whole_or_parts(self, got: Any, expected: Any) -> tuple[str | None, list]:
        """What is wrong with the whole, or else its parts: (what to call it, got, expected)."""
        got_array, expected_array = _as_array(got), _as_array(expected)
        if got_array is not None and expected_array is not None:
            return self._array_difference(got_array, expected_array), []
        if isinstance(expected, dict) and isinstance(got, dict):
            if set(got) != set(expected):
                return f"has {len(got)} keys, not the {len(expected)} that are expected", []
            return None, [(f"key {k!r}", got[k], value) for k, value in expected.items()]
        if _has_items(expected) and _has_items(got):
            if len(got) != len(expected):
                return f"is of length {len(got)}; of length {len(expected)} is expected", []
            pairs = zip(_items(got), _items(expected), strict=True)
            return None, [(f"item {i}", g, e) for i, (g, e) in enumerate(pairs)]
        if type(got) is not type(expected):
            return f"is {_type_name(got)}; {_type_name(expected)} is expected", []
        wrong = f"is not the right {_type_name(expected).split()[-1]}"
        return None if got == expected else wrong, []

    def _array_difference(self, got: np.ndarray, expected: np.ndarray) -> str | None:
        if got.shape != expected.shape:
            return f"is {_shape_name(got)}; {_shape_name(expected)} is expected"
        kinds = {KINDS[got.dtype.kind], KINDS[expected.dtype.kind]}
        if got.size and len(kinds) > 1 and (self.exact or "bool" in kinds):
            return f"is {_kind_name(got)}; {_kind_name(expected)} is expected"
        wrong = ~self.right(got, expected)
        if not wrong.any():
            return None
        if np.isfinite(expected).all() and not np.isfinite(got).all():
            return "has entries that are nan or infinite" if got.ndim else "is nan or infinite"
        rounded = [] if "bool" in kinds else [np.round(expected, n) for n in range(7)]
        if np.isclose(got, expected, rtol=0.02).all() and any(
            map(np.array_equal, rounded, [got] * 7)
        ):
            return "is rounded; leave the numbers as they are"
        if got.ndim == 0:
            return f"is not the right {'bool' if expected.dtype.kind == 'b' else 'number'}"
        told = f"has the right {'length' if got.ndim == 1 else f'shape {got.shape}'}, but"
        in_order = np.sort(got, axis=None), np.sort(expected, axis=None)
        if expected.dtype.kind != "b" and self.right(*in_order).all():
            return f"{told} its entries are in another order"
        if wrong.all():
            return f"{told} every entry is wrong"
        others = ", and others are, too" if wrong.sum() > 1 else ""
        return f"{told} entry {np.argwhere(wrong)[0].tolist()} is wrong{others}"

    def right(self, got: np.ndarray, expected: np.ndarray) -> np.ndarray:
        if got.dtype.kind in "biu" and expected.dtype.kind in "biu":
            return got == expected
        # In double: the rounding of a float16 must not widen the tolerance.
        got, expected = got.astype(np.float64), expected.astype(np.float64)
        return np.isclose(got, expected, rtol=self.rtol, atol=self.atol, equal_nan=True)


Exact = partial(Close, 0.0, 0.0, exact=True)


def _as_array(value: Any) -> np.ndarray | None:
    """Numbers of one kind as an array, whatever held them; None for anything else."""
    kinds = _leaf_types(value)
    if len(kinds) > 1 or not kinds <= {bool, int, float}:
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # ragged
        return None
    return array if array.dtype.kind in KINDS else None  # an int beyond 64 bits is an object


def _leaf_types(value: Any) -> set[type]:
    if isinstance(value, np.ndarray):
        return {{"b": bool, "f": float}.get(value.dtype.kind, int)}
    if not isinstance(value, list | tuple):
        return {type(value)}
    types = set(map(type, value))
    nested = types & {list, tuple, np.ndarray}
    return set().union(*map(_leaf_types, value)) if nested else types


def _has_items(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _items(value: Any) -> Any:
    """An array's rows stay arrays: as lists they could need a hundred times the memory."""
    if not isinstance(value, np.ndarray):
        return value
    return [each if each.ndim else each.item() for each in value]


def _shape_name(array: np.ndarray) -> str:
    shape = f"of shape {array.shape}" if array.ndim else "a single number"
    return f"of length {array.size}" if array.ndim == 1 else shape


def _kind_name(array: np.ndarray) -> str:
    kind = KINDS[array.dtype.kind]
    return f"of {kind}s" if array.ndim else _with_article(kind)


def _type_name(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return "an array" if value.ndim else _kind_name(value)
    return "a string" if isinstance(value, str) else _with_article(type(value).__name__)


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
