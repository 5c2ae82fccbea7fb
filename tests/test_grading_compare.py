"""The comparisons: what counts as the same answer, and the reason given when it is not."""

import math

import numpy as np
import pytest

from grader.compare import Close, Exact, compare_from_json

SAME_NUMBERS = [[1.0, 2.0], (1.0, 2.0), np.array([1.0, 2.0]), np.array([1, 2], np.float32)]


@pytest.mark.parametrize("compare", [Exact(), Close()], ids=repr)
@pytest.mark.parametrize("got", SAME_NUMBERS, ids=repr)
@pytest.mark.parametrize("expected", SAME_NUMBERS, ids=repr)
def test_numbers_are_the_same_whatever_holds_them(compare, got, expected):
    assert compare.difference(got, expected) is None


@pytest.mark.parametrize(
    ("compare", "got", "expected"),
    [
        (Exact(), 3, np.array(3)),
        (Exact(), np.array(3), 3),
        (Exact(), math.nan, math.nan),
        (Exact(), [], np.zeros((0,))),
        (Exact(), 2**80, 2**80),
        (Exact(), {"a": (1, "x")}, {"a": [1, "x"]}),
        (Exact(), [None, "a", True], (None, "a", True)),
        (Close(), 3, 3.0),
        (Close(), 1 + 1e-8, 1),
        (Close(), [math.nan, math.inf, -math.inf], [math.nan, math.inf, -math.inf]),
        (Close(), [3, 0.5], (3, 0.5 + 1e-9)),
    ],
)
def test_same(compare, got, expected):
    assert compare.difference(got, expected) is None


@pytest.mark.parametrize(
    ("compare", "got", "expected", "reason"),
    [
        (Exact(), 3.0, 3, "a float; an int"),
        (Exact(), True, 1, "a bool; an int"),
        (Exact(), 1, True, "an int; a bool"),
        (Close(), True, 1.0, "a bool; a float"),
        (Close(), [True, False], [1.0, 0.0], "of bools; of floats"),
        (Exact(), "3", 3, "a str; an int"),
        (Exact(), None, [1], "None; a list"),
        (Exact(), [1], None, "a list; None"),
        (Exact(), [1, 2, 3], [1, 2], "shape (3,); of shape (2,)"),
        (Exact(), [[1], [2, 3]], [[1], [2]], "item 1 is of shape (2,)"),
        (Close(), [1.0], 1.0, "of shape (1,); a single number"),
        (Close(), np.zeros((1, 3)), np.zeros(3), "of shape (1, 3); of shape (3,)"),
        (Close(), [1.0, 2.5], [1.0, 2.0], "1 of 2 entries wrong (largest difference 0.5)"),
        (Close(), math.nan, 1.0, "nan or infinite"),
        (Close(), 1.0, math.nan, "not the right number"),
        (Close(), math.inf, -math.inf, "not the right number"),
        (Close(rtol=0.1), 49151, 49150, "not the right number"),
        (Close(rtol=0.1), (49151, 0.5), (49150, 0.5), "item 0 is not the right number"),
        (Exact(), {"a": 1}, {"b": 1}, "keys"),
        (Exact(), {"a": 1}, {"a": 2}, "value of key 'a'"),
        (Exact(), [1], {"a": 1}, "a list; a dict"),
        (Exact(), 2**80, 2**80 + 1, "not the int"),
    ],
)
def test_different_with_a_reason_that_helps(compare, got, expected, reason):
    assert reason in compare.difference(got, expected)


def test_reasons_do_not_tell_the_expected_value():
    for got in ([0.0, 0.0], 0.0, "x", None, [0.0, "x"]):
        assert "31415" not in str(Close().difference(got, [3.1415, 31415.0]))
    assert "secret" not in Exact().difference("x", "secret")


def test_a_comparison_is_made_from_json():
    assert compare_from_json({"kind": "Exact"}) == Exact()
    assert compare_from_json({"kind": "Close", "rtol": 0.5, "atol": 0.0}) == Close(0.5, 0.0)
