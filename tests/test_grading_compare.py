"""The comparisons: what counts as the same answer, and the reason given when it is not."""

import math

import numpy as np
import pytest

from grader.compare import Close, Exact

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
        (Exact(), "3", 3, "the result is a string; an int is expected"),
        (Exact(), None, [1], "None; a list"),
        (Exact(), [1], None, "a list; None"),
        (Exact(), [1, 2, 3], [1, 2], "the result is of length 3; of length 2 is expected"),
        (
            Exact(),
            [[1], [2, 3]],
            [[1], [2]],
            "this is of length 2; of length 1 is expected (item 1)",
        ),
        (Close(), [1.0], 1.0, "of length 1; a single number"),
        (Close(), np.zeros((1, 3)), np.zeros(3), "of shape (1, 3); of length 3"),
        (Close(), [1.0, 2.5], [1.0, 2.0], "has the right length, but entry [1] is wrong"),
        (Close(), math.nan, 1.0, "is nan or infinite"),
        (Close(), 1.0, math.nan, "not the right number"),
        (Close(), math.inf, -math.inf, "not the right number"),
        (Close(rtol=0.1), 49151, 49150, "not the right number"),
        (Close(rtol=0.1), (49151, 0.5), (49150, 0.5), "this is not the right number (item 0)"),
        (Exact(), {"a": 1}, {"b": 1}, "has 1 keys, not the 1 that are expected"),
        (
            Exact(),
            {"a": [{}, ["x"]]},
            {"a": [{}, "x"]},
            "this is a list; a string is expected (key 'a', item 1)",
        ),
        (Exact(), [1], {"a": 1}, "a list; a dict"),
        (Exact(), 2**80, 2**80 + 1, "not the right int"),
        (Exact(), ["a", "b"], ["a", "c"], "this is not the right string (item 1)"),
        (Exact(), [["a"], None], [["a"], ["b"]], "this is None; a list is expected (item 1)"),
        (Exact(), True, False, "is not the right bool"),
        (
            Close(),
            [[1.0, 2.0], [4.0, 3.0]],
            np.eye(2),
            "right shape (2, 2), but entry [0, 1] is wrong, and others are, too",
        ),
        (Close(), [1.0, 2.0], [3.0, 4.0], "right length, but every entry is wrong"),
        (
            Close(),
            [1.0, 2.0, 3.0],
            [2.0, 1.0, 3.0],
            "right length, but its entries are in another order",
        ),
        (Close(), [[1.0, math.inf]], [[1.0, 2.0]], "entries that are nan or infinite"),
    ],
)
def test_different_with_a_reason_that_helps(compare, got, expected, reason):
    assert reason in compare.difference(got, expected)


def test_reasons_do_not_tell_the_expected_value():
    for got in ([0.0, 0.0], 0.0, "x", None, [0.0, "x"]):
        assert "31415" not in str(Close().difference(got, [3.1415, 31415.0]))
    assert "secret" not in Exact().difference("x", "secret")


@pytest.mark.parametrize("expected", [0.42, [0.42, 7.0], {"x": 0.42}, np.array([[0.42]])], ids=repr)
def test_reasons_do_not_depend_on_how_far_off_it_is(expected):
    """Whoever is told a distance can compute the answer: .4233 is 0.0033 off .42."""

    def off_by(distance, value):
        match value:
            case dict():
                return {key: off_by(distance, part) for key, part in value.items()}
            case list():
                return [off_by(distance, part) for part in value]
        return value + distance

    told = {Close(5e-3).difference(off_by(d, expected), expected) for d in (0.04, 0.1, 33.0, -2.0)}
    assert len(told) == 1
