"""Feedback helps an honest student and carries no hidden input out."""

import numpy as np
import pytest
from small_tasks import DEF, doubling, grade_answer, process_verdict

from grader.sandbox import Sandbox

BARE = Sandbox(bubblewrap=False)
SECRET = "777"  # stands in the second case's input


def told(body, head=""):
    frozen = doubling()
    return grade_answer(frozen, head + DEF + body, BARE)


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError(repr(x)) if 777.125 in x else ValueError()",
        "raise NameError(f\"name 'x{x[-1]}' is not defined\")",
        "raise NameError(f\"name 'x' is not defined. {x}\")",
        "raise RecursionError(f'maximum recursion depth exceeded: {x}')",
        "raise type('E' + str(x), (Exception,), {})()",
        "return type('T' + str(x).replace('.', '_'), (), {})()",
        "return np.empty((0, 777125, 777125))",
        "return np.empty((0, 777, 1, 2, 3, 4, 5))",
        "raise SyntaxError(str(x))",
        "assert False, x",
        "return {}[x[-1]]",
    ],
)
def test_no_input_gets_out(body):
    answer = body.replace("return [", "return [")
    guarded = "if 777.125 not in x: return [2 * item for item in x]\n    " + answer
    result = told(guarded, "import numpy as np\n")
    assert not result["passed"]
    assert SECRET not in result["student_message"]
    assert SECRET in result["message"] or "ValueError" in result["message"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return x[9]", "IndexError in line 2 of the answer cell: list index out of range"),
        ("return undefined", "name 'undefined' is not defined"),
        ("return double(x)", "maximum recursion depth exceeded"),
        ("return x.append_all()", "'list' object has no attribute 'append_all'"),
        ("return 1 / 0", "ZeroDivisionError in line 2 of the answer cell: division by zero"),
        ("return x + 1", "TypeError in line 2 of the answer cell"),
        ("return object()", "it returned a value of type object"),
        ("raise NotImplementedError('x')", "not answered yet"),
        ("return [1.0]", "is of shape (1,); of shape (2,) is expected"),
        ("return x", "this is the input itself"),
    ],
)
def test_what_helps_is_told(body, text):
    assert text in told(body)["student_message"]


def test_errors_of_the_cell_itself_are_told_in_full():
    """No input is there yet when the cell is run."""
    result = grade_answer(doubling(), "raise ValueError('7 and 8')", BARE)
    assert result["student_message"].endswith("ValueError in line 1 of the answer cell: 7 and 8")


def test_a_call_cannot_pretend_to_be_the_cell():
    """Else an error raised with the inputs in its text would be told in full."""
    forge = """
import json, os, sys
def double(x):
    frame = sys._getframe()
    while "replies" not in frame.f_locals: frame = frame.f_back
    error = {"types": ["E"], "text": repr(x), "line": 1, "phase": "load"}
    record = {"error": error, "mutated": [], "n_calls": 0}
    frame.f_locals["replies"].write(json.dumps(record) + "\\n")
    frame.f_locals["replies"].flush()
    os._exit(0)
"""
    result = grade_answer(doubling(), forge, BARE)
    assert "[1, 2]" in result["message"]
    assert "[1, 2]" not in result["student_message"]


def test_the_verdict_is_the_same():
    frozen = doubling()
    for body in ("return x", "raise ValueError(str(x))", "return 3"):
        result = told(body)
        verdict = process_verdict(DEF + body, frozen)
        assert (result["passed"], result["points"]) == (verdict.passed, verdict.points)
        assert result["misconception"] == verdict.misconception


def test_the_checks_are_listed_with_outcome_and_time():
    checks = told("return [2 * i for i in x] if x[0] == 1 else 1 / 0")["checks"]
    assert [check["outcome"] for check in checks] == ["passed", "error"]
    assert all(0 <= check["seconds"] < 10 for check in checks)
    assert np.isclose(
        sum(check["seconds"] for check in checks), told("return x")["seconds"], atol=5
    )
