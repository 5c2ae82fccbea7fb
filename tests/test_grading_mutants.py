"""Mutants of a solution: those that the cases can't tell from it are found, by the line."""

import mutants
import numpy as np
import pytest
from mutants import survivors
from small_tasks import mean_task

from grader.checks import Case
from grader.freeze import freeze

LAST = "def last(x, n):\n    return x[len(x) - n :]\n"
FITS = "def fits(x, n):\n    return [a for a in x if a < n]\n"
BEST = "def best(x):\n    return sorted(range(len(x)), key=lambda i: -x[i])\n"
FULL = "def full(n, size):\n    return -(-n // size), n // size\n"
ROWS = "def rows(x):\n    return x[:2]\n"
COPY = "def copy(x):\n    x = list(x)\n    x.append(1)\n    return x\n"


@pytest.mark.parametrize(
    ("source", "kind", "changed", "without", "more"),
    [
        (LAST, "n = 0", "[len(x) - n - len(x):]", [([1, 2, 3], 1), ([4, 5], 2)], ([1, 2], 0)),
        (FITS, "equality", "if a <= n", [([1, 5, 3], 2)], ([1, 3, 5], 3)),
        (BEST, "ties", "[::-1]", [([1.0, 5.0, 3.0],)], ([1.0, 5.0, 5.0],)),
        (FULL, "divides", "(n - 1) // (size)", [(7, 3), (8, 3)], (6, 3)),
        (ROWS, "length 1", "squeeze()", [(np.eye(3),)], (np.eye(3)[:1],)),
        (COPY, "argument changed", "x = (x)", [([1],)], None),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else "",
)
def test_a_mutant_that_only_a_missing_case_would_show(source, kind, changed, without, more):
    def found(given, **fields):
        name = source.split()[1].partition("(")[0]
        task = mean_task(
            source, entry=name, misconceptions=[],
            cases=lambda rng: [Case(*args) for args in given], **fields,
        )  # fmt: skip
        return [line for line in survivors(freeze(*task), source)[1] if changed in line]

    assert found(without, watch=()), kind
    if more is None:
        assert not found(without)
    else:
        assert not found([*without, more])


def test_a_mutant_that_never_ends_is_noticed(monkeypatch):
    monkeypatch.setattr(mutants, "LIMIT_S", 0.2)
    source = (
        "def mean(x):\n    i = 0\n    while i < len(x):\n        i += 1\n    return sum(x) / i\n"
    )
    n, left = survivors(freeze(*mean_task()), source)
    assert n >= 10
    assert not any("i += 1" in line for line in left)  # neither without the line, nor with += 0


def test_a_mutant_that_catches_every_error_ends_as_well(monkeypatch):
    monkeypatch.setattr(mutants, "LIMIT_S", 0.2)
    source = """
def mean(x):
    i = 0
    while i < len(x):
        try:
            i += 1
        except Exception:
            pass
    return sum(x) / i
"""
    assert not any("i += 1" in line for line in survivors(freeze(*mean_task()), source)[1])


def test_a_mutant_whose_time_is_over_between_two_calls_is_noticed(monkeypatch):
    """As on a busy machine: what was raised there ended the trial with a traceback."""
    monkeypatch.setattr(mutants, "LIMIT_S", -1.0)
    source = "def mean(x):\n    return sum(x) / len(x)"
    assert survivors(freeze(*mean_task()), source)[1] == []
