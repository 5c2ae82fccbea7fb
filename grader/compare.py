"""Is a plain value right, and if not, in what way? The comparisons that a task can ask for.

All walk lists, tuples, dicts and arrays. A list, a tuple and an array of the same numbers are the
same; so are a Python number, a numpy scalar and an array without axes. Shapes must agree, and a
bool is no number. Reasons are written for students and show no expected value.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}


class Compare:
    """What every comparison answers. The decoded values are untrusted, but plain."""

    def difference(self, got: Any, expected: Any) -> str | None:
        """Why ``got`` is not what the reference gave; None if it is."""
        raise NotImplementedError

    def same_mistake(self, got: Any, wrong: Any) -> bool:
        """Is ``got`` what a misconception gives?"""
        return self.difference(got, wrong) is None

    def clash(self, wrong: Any, expected: Any) -> bool:
        """Could one answer pass for both? With a margin, so that no case is a borderline."""
        return self.loosened().difference(wrong, expected) is None

    def alike(self, wrong: Any, other: Any) -> bool:
        """Could one answer be taken for either of two misconceptions?"""
        return self.clash(wrong, other)

    def loosened(self) -> "Compare":
        return self

    def to_json(self) -> dict:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {k: v.to_json() if isinstance(v, Compare) else v for k, v in fields.items()}
        return {"kind": type(self).__name__, **plain}


def compare_from_json(data: dict) -> Compare:
    kinds = {kind.__name__: kind for kind in (Exact, Close, Unordered, OneOf, Distribution)}
    fields = {k: compare_from_json(v) if isinstance(v, dict) else v for k, v in data.items()}
    return kinds[fields.pop("kind")](**fields)


class Numbers(Compare):
    """Values walked side by side down to arrays of the same shape."""

    def difference(self, got: Any, expected: Any) -> str | None:
        return _difference(got, expected, self.numbers)

    def numbers(self, got: np.ndarray, expected: np.ndarray) -> str | None:
        if got.size and self.another_kind(KINDS[got.dtype.kind], KINDS[expected.dtype.kind]):
            return f"is {_kind_name(got)}; {_kind_name(expected)} is expected"
        return _entries_wrong(got, expected, ~self.right(got, expected))


@dataclass(frozen=True)
class Exact(Numbers):
    """Equal, with int, float and bool told apart."""

    def another_kind(self, got: str, expected: str) -> bool:
        return got != expected

    def right(self, got: np.ndarray, expected: np.ndarray) -> np.ndarray:
        return (got == expected) | ((got != got) & (expected != expected))


@dataclass(frozen=True)
class Close(Numbers):
    """``|got - expected| <= atol + rtol * |expected|``; two ints exactly, nan = nan."""

    rtol: float = 1e-6
    atol: float = 1e-9

    def another_kind(self, got: str, expected: str) -> bool:
        return (got == "bool") != (expected == "bool")

    def right(self, got: np.ndarray, expected: np.ndarray) -> np.ndarray:
        if got.dtype.kind in "biu" and expected.dtype.kind in "biu":
            return got == expected
        # In double: the rounding of a float16 must not widen the tolerance.
        wide = np.complex128 if "c" in got.dtype.kind + expected.dtype.kind else np.float64
        got, expected = got.astype(wide), expected.astype(wide)
        return np.isclose(got, expected, rtol=self.rtol, atol=self.atol, equal_nan=True)

    def loosened(self) -> "Close":
        return dataclasses.replace(self, rtol=10 * self.rtol, atol=10 * self.atol)


@dataclass(frozen=True)
class Unordered(Compare):
    """The same items in any order, each by the comparison given."""

    items: Compare = Exact()

    def difference(self, got: Any, expected: Any) -> str | None:
        items, left = _as_list(got), _as_list(expected)
        if items is None or left is None:
            return f"is {_type_name(got)}; {_type_name(expected)} is expected"
        if len(items) != len(left):
            return f"has {len(items)} items; {len(left)} are expected"
        for item in items:
            match = [i for i, e in enumerate(left) if self.items.difference(item, e) is None]
            if not match:
                return "has an item that does not belong to the answer"
            del left[match[0]]
        return None

    def loosened(self) -> "Unordered":
        return Unordered(self.items.loosened())


@dataclass(frozen=True)
class OneOf(Compare):
    """One of several right answers: the reference returns the list of them."""

    answer: Compare = Exact()

    def difference(self, got: Any, expected: Any) -> str | None:
        if not isinstance(expected, list | tuple):
            raise TypeError("OneOf: the reference must return the list of acceptable values")
        reasons = [self.answer.difference(got, one) for one in expected]
        return None if None in reasons else "is none of the acceptable answers"

    def same_mistake(self, got: Any, wrong: Any) -> bool:
        return self.answer.difference(got, wrong) is None

    def alike(self, wrong: Any, other: Any) -> bool:
        return self.answer.clash(wrong, other)

    def loosened(self) -> "OneOf":
        return OneOf(self.answer.loosened())


@dataclass(frozen=True)
class Distribution(Compare):
    """Samples (ints 0..V-1) against probabilities: total variation distance <= tolerance."""

    tolerance: float = 0.03

    def difference(self, got: Any, expected: Any) -> str | None:
        probs, samples = np.asarray(expected, dtype=np.float64), _as_array(got)
        if samples is None or samples.ndim != 1 or samples.dtype.kind not in "iu":
            return "is not a list of samples, each the number of an outcome"
        if not samples.size or samples.min() < 0 or samples.max() >= len(probs):
            return "holds no samples, or one outside the possible outcomes"
        frequencies = np.bincount(samples, minlength=len(probs)) / samples.size
        distance = _total_variation(frequencies, probs)
        told = f"has frequencies at a total variation distance of {distance:.2g}"
        return None if distance <= self.tolerance else f"{told} from the right ones"

    def clash(self, wrong: Any, expected: Any) -> bool:
        wrong, expected = (np.asarray(probs, np.float64) for probs in (wrong, expected))
        same = wrong.shape == expected.shape
        return same and _total_variation(wrong, expected) <= 2 * self.tolerance


def _total_variation(p: np.ndarray, q: np.ndarray) -> float:
    return float(0.5 * np.abs(p - q).sum())


def _difference(got: Any, expected: Any, numbers: Callable, where: str = "") -> str | None:
    """Why ``got`` is not ``expected``, with ``where`` in front; None if it is.

    Two plain values are walked side by side; ``numbers`` compares arrays of the same shape.
    """
    expected_array, got_array = _as_array(expected), _as_array(got)
    if expected_array is not None and got_array is not None:
        if got_array.shape != expected_array.shape:
            wanted = _shape_name(expected_array)
            return f"{where}is {_shape_name(got_array)}; {wanted} is expected"
        reason = numbers(got_array, expected_array)
        return None if reason is None else where + reason
    if isinstance(expected, dict) and isinstance(got, dict):
        if set(got) != set(expected):
            return f"{where}has {len(got)} keys, not the {len(expected)} that are expected"
        parts = [(f"{where}value of key {k!r} ", got[k], e) for k, e in expected.items()]
    elif (wanted := _as_list(expected)) is not None and (items := _as_list(got)) is not None:
        if len(items) != len(wanted):
            return f"{where}has {len(items)} items; {len(wanted)} are expected"
        pairs = zip(items, wanted, strict=True)
        parts = [(f"{where}item {i} ", g, e) for i, (g, e) in enumerate(pairs)]
    elif type(got) is not type(expected):
        return f"{where}is {_type_name(got)}; {_type_name(expected)} is expected"
    else:
        return None if got == expected else f"{where}is not the {type(expected).__name__} expected"
    reasons = (_difference(g, e, numbers, place) for place, g, e in parts)
    return next((reason for reason in reasons if reason is not None), None)


def _as_array(value: Any) -> np.ndarray | None:
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
    nested = types & {list, tuple, np.ndarray}
    return set().union(*map(_leaf_types, value)) if nested else types


def _shape_name(array: np.ndarray) -> str:
    return f"of shape {array.shape}" if array.ndim else "a single number"


def _as_list(value: Any) -> list | None:
    if isinstance(value, np.ndarray) and value.ndim:
        return value.tolist()
    return list(value) if isinstance(value, list | tuple) else None


def _entries_wrong(got: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str | None:
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


def _kind_name(array: np.ndarray) -> str:
    kind = KINDS[array.dtype.kind]
    return f"of {kind}s" if array.ndim else _with_article(kind)


def _type_name(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return "an array" if value.ndim else _kind_name(value)
    return _with_article(type(value).__name__)


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
