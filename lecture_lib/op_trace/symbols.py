"""Symbols: from a size to the lecture's letter for it, or a clear refusal."""

from collections.abc import Mapping, Sequence

from lecture_lib.checks import check_count, check_flag, check_type


class ShapeError(ValueError):
    """A size that no symbol explains, or that two symbols explain."""


class Symbols:
    """Writes shapes in the lecture's letters: (9, 16) as (L+1)×H.

    Args:
        values: the size of each letter in this run, ``{"L": 8, "D": 64, "n_H": 4, "H": 16}``.
            A key may be an expression, such as ``"2F"`` or ``"H/2"``. These follow by
            themselves: L+1; 4D, unless F is given (then that is its name); n_KV·H and n_H/n_KV; and
            n_H·H where it differs from D. With n_KV = n_H (no grouped queries) only n_H is used.
            A size that is not listed but happens to equal one that is would get its letter: list
            what your code uses (H/2, if it rotates halves of heads).
        strict: refuse a size with no symbol or with two. With False such a size is printed as a
            plain number, and a size with two symbols leaves an entry in ``notes``.

    Raises:
        ValueError: a value that is not a positive integer, or contradicts another
            (``{"L": 8, "L+1": 10}``).
    """

    def __init__(self, values: Mapping[str, int] | None = None, *, strict: bool = True):
        self.values = dict(check_type("symbols", values or {}, Mapping, "letter -> size"))
        self.strict = check_flag("strict", strict)
        self.notes: list[str] = []
        for name, size in self.values.items():
            self.values[name] = check_count(f"symbols[{name!r}]", size)
        for name, size in _consequences(self.values).items():
            if self.values.setdefault(name, size) != size:
                raise ValueError(f"symbols[{name!r}]: {self.values[name]} given, but it is {size}")
        if self.values.get("n_KV") == self.values.get("n_H"):
            self.values.pop("n_KV", None)

    def size(self, size: int) -> str:
        """The symbol of one size. 1 is always written 1, also where a letter is 1 in this run."""
        names = [name for name, value in self.values.items() if value == size]
        if size == 1 or not self.values:
            return str(size)
        if len(names) == 1:
            return names[0]
        if names:
            problem = (
                f"{' and '.join(names)} are both {size} in this run, so a size of {size} cannot be "
                "named: choose sizes that differ"
            )
        else:
            known = ", ".join(f"{name} = {value}" for name, value in self.values.items())
            problem = (
                f"size {size} is none of {known}: the symbols do not describe this run, or an "
                f"expression is missing (add e.g. symbols={{'H/2': {size}}})"
            )
        if self.strict:
            raise ShapeError(f"{problem}, or pass strict=False to print plain numbers")
        if names and problem not in self.notes:
            self.notes.append(problem)
        return str(size)

    def shape(self, shape: Sequence[int]) -> str:
        """``(9, 16)`` -> ``(L+1)×H``; a tensor without axes is a "scalar"."""
        names = [self.size(size) for size in shape]
        if len(names) > 1:
            names = [f"({name})" if set(name) & set("+-/·") else name for name in names]
        return "×".join(names) or "scalar"


def _consequences(given: Mapping[str, int]) -> dict[str, int]:
    """The sizes that follow from the given ones."""
    derived = {}
    if "L" in given:
        derived["L+1"] = given["L"] + 1
    if "D" in given and ("F" not in given or "4D" in given):
        derived["4D"] = 4 * given["D"]
    for heads in ("n_H", "n_KV"):
        if heads in given and "H" in given and given[heads] * given["H"] != given.get("D"):
            derived[f"{heads}·H"] = given[heads] * given["H"]
    if given.get("n_KV") == given.get("n_H"):
        derived.pop("n_KV·H", None)  # multi-head attention: the same product
    elif {"n_KV", "n_H"} <= given.keys() and given["n_H"] % given["n_KV"] == 0:
        derived["n_H/n_KV"] = given["n_H"] // given["n_KV"]
    return derived
