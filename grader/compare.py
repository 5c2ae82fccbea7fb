"""Is a plain value right, and if not, in what way? The comparisons that a task can ask for.

All walk lists, tuples, dicts and arrays. A list, a tuple and an array of the same numbers are the
same; so are a Python number, a numpy scalar and an array without axes. Shapes must agree, and a
bool is no number. Reasons are written for students and show no expected value.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import structure


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


@dataclass(frozen=True)
class Exact(Compare):
    """Equal, with int, float and bool told apart; ``dtype=True`` also wants an array's dtype."""

    dtype: bool = False

    def difference(self, got: Any, expected: Any) -> str | None:
        return structure.difference(got, expected, self.numbers)

    def numbers(self, got: np.ndarray, expected: np.ndarray) -> str | None:
        if self.dtype and got.dtype != expected.dtype:
            return f"has dtype {got.dtype}; {expected.dtype} is expected"
        if got.size and structure.KINDS[got.dtype.kind] != structure.KINDS[expected.dtype.kind]:
            return f"is {structure.kind_name(got)}; {structure.kind_name(expected)} is expected"
        return structure.entries_wrong(got, expected, ~structure.equal(got, expected))


@dataclass(frozen=True)
class Close(Compare):
    """``|got - expected| <= atol + rtol * |expected|``; two ints exactly, nan = nan."""

    rtol: float = 1e-6
    atol: float = 1e-9
    dtype: bool = False

    def difference(self, got: Any, expected: Any) -> str | None:
        return structure.difference(got, expected, self.numbers)

    def numbers(self, got: np.ndarray, expected: np.ndarray) -> str | None:
        if self.dtype and got.dtype != expected.dtype:
            return f"has dtype {got.dtype}; {expected.dtype} is expected"
        if got.size and (got.dtype.kind == "b") != (expected.dtype.kind == "b"):
            return f"is {structure.kind_name(got)}; {structure.kind_name(expected)} is expected"
        if got.dtype.kind in "biu" and expected.dtype.kind in "biu":
            return structure.entries_wrong(got, expected, got != expected)
        # In double: the rounding of a float16 must not widen the tolerance.
        wide = np.complex128 if "c" in got.dtype.kind + expected.dtype.kind else np.float64
        got, expected = got.astype(wide), expected.astype(wide)
        close = np.isclose(got, expected, rtol=self.rtol, atol=self.atol, equal_nan=True)
        return structure.entries_wrong(got, expected, ~close)

    def loosened(self) -> "Close":
        return dataclasses.replace(self, rtol=10 * self.rtol, atol=10 * self.atol)


@dataclass(frozen=True)
class Unordered(Compare):
    """The same items in any order, each by the comparison given."""

    items: Compare = Exact()

    def difference(self, got: Any, expected: Any) -> str | None:
        items, left = structure.as_list(got), structure.as_list(expected)
        if items is None or left is None:
            return f"is {structure.type_name(got)}; {structure.type_name(expected)} is expected"
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
        probs, samples = np.asarray(expected, dtype=np.float64), structure.as_array(got)
        if samples is None or samples.ndim != 1 or samples.dtype.kind not in "iu":
            return "is not a list of samples, each the number of an outcome"
        if not samples.size or samples.min() < 0 or samples.max() >= len(probs):
            return "holds no samples, or one outside the possible outcomes"
        frequencies = np.bincount(samples, minlength=len(probs)) / samples.size
        distance = _total_variation(frequencies, probs)
        if distance <= self.tolerance:
            return None
        return (
            f"has frequencies at a total variation distance of {distance:.2g} from the right ones"
        )

    def clash(self, wrong: Any, expected: Any) -> bool:
        wrong, expected = np.asarray(wrong, np.float64), np.asarray(expected, np.float64)
        if wrong.shape != expected.shape:
            return False
        return _total_variation(wrong, expected) <= 2 * self.tolerance


def _total_variation(p: np.ndarray, q: np.ndarray) -> float:
    return float(0.5 * np.abs(p - q).sum())
