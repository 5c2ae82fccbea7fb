"""Feedback helps an honest student and carries no hidden input out."""

import numpy as np
import pytest
from small_tasks import DEF, doubling, grade_answer, process_verdict

from grader import jupyter, session
from grader.sandbox import Sandbox

BARE = Sandbox(bubblewrap=False)
SECRET = "777"  # stands in the second case's input


@pytest.mark.parametrize("body", ["return np.ones((77, 1, 77, 125))", "return np.ones(777777)"])
def test_numbers_that_an_answer_can_choose_are_few(body):
    result = told(body, "import numpy as np\n")
    assert "77" in result["message"]
    assert "77" not in result["student_message"]


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
        "raise type('MissingName', (Exception,), {})(str(x))",
        "raise type('NotPlainData', (Exception,), {})(str(x))",
        "return type('T' + str(x).replace('.', '_'), (), {})()",
        "return np.empty((0, 777125, 777125))",
        "return np.empty((0, 777, 1, 2, 3, 4, 5))",
        "return [None] * 77712",
        "raise SyntaxError(str(x))",
        "assert False, x",
        "return {}[x[-1]]",
    ],
)
def test_no_input_gets_out(body):
    guarded = "if 777.125 not in x: return [2 * item for item in x]\n    " + body
    result = told(guarded, "import numpy as np\n")
    assert not result["passed"]
    assert SECRET not in result["student_message"]
    assert SECRET in result["message"] or "ValueError" in result["message"]


NAMES = ["ada", "bob"]  # both stand in the answer, which says one of them for each input


@pytest.mark.parametrize(
    "body",
    [
        "return getattr(x, 'bob' if 777.125 in x else 'ada')",
        "raise NameError(f\"name '{'bob' if 777.125 in x else 'ada'}' is not defined\")",
        "return {}['bob' if 777.125 in x else 'ada']",
        "raise type('bob' if 777.125 in x else 'ada', (Exception,), {})()",
        "return type('bob' if 777.125 in x else 'ada', (), {})()",
        "return __import__('bob' if 777.125 in x else 'ada')",
        "return (lambda: 0)(**{'bob' if 777.125 in x else 'ada': 1})",
    ],
)
def test_an_answer_cannot_choose_a_name_that_says_what_the_input_is(body):
    """The names in an answer were an alphabet, from which an error could choose by the input."""
    result = told(f"if 777.125 not in x: return [2 * item for item in x]\n    {body}")
    assert any(name in result["message"] for name in NAMES)
    assert not any(name in result["student_message"] for name in NAMES)


HERE = "in line 2 of the answer cell"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return x[9]", f"IndexError {HERE}: an index is out of range"),
        ("return undefined", f"NameError {HERE}: the cell uses undefined, which it"),
        ("return y; y = 1", f"UnboundLocalError {HERE}: a variable is used before it has a value"),
        ("return double(x)", f"RecursionError {HERE}: a function calls itself"),
        ("return x.append_all()", f"AttributeError {HERE}: an object has no attribute"),
        ("return 1 / 0", f"ZeroDivisionError {HERE}: something is divided by zero"),
        ("return x + 1", f"TypeError {HERE}: a value is of a type that does not fit there"),
        ("return {}[7]", f"KeyError {HERE}: a dict has no such key"),
        ("raise OSError('7')", f"OSError {HERE}"),
        ("import nothing_of_that_name", f"ModuleNotFoundError {HERE}: there is no module"),
        ("raise type('Mine', (ValueError,), {})", f"an error {HERE}"),
        ("return object()", "it returned a value that is no plain data, or too large, where numb"),
        ("return [0.5] * 5_000_000", "it returned a value that is no plain data, or too large"),
        ("raise NotImplementedError('x')", "not answered yet"),
        ("return [1.0]", "is of length 1; of length 2 is expected"),
        ("return x", "this is the input itself"),
    ],
)
def test_what_helps_is_told(body, text):
    assert text in told(body)["student_message"]


CHOOSES = "return bob if {} in x else ada"


def test_names_that_a_cell_lacks_are_told_whichever_of_them_is_asked_for():
    """They are found before the cell is run, so that their choice says nothing of an input."""
    two = {told(CHOOSES.format(number))["student_message"] for number in (777.125, 1, 9)}
    assert {text.removeprefix("hidden case 1 of 2: ") for text in two} == {
        "NameError in line 2 of the answer cell: the cell uses ada, bob, which it does not "
        "define; each task is graded with its own cell only"
    }


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("from math import *\ndef double(x): return undefined", []),
        (
            "import math as m\ndef double(x): return helper(m.e, y := 3, [z for z in x])",
            ["helper"],
        ),
        ("def double(x):\n    global helper\n    helper = a\n    return helper + b", ["a", "b"]),
        ("double = lambda x: [helper(i) for i in x]\ndel double", ["helper"]),
        ("%time n = later(3)\ndef double(x): return display(_) or get_ipython()", ["later"]),
        ("class A:\n    y = 1\n    def f(self): return y + len(given)", ["y"]),
    ],
)
def test_which_names_a_cell_lacks(answer, names):
    assert session.read_answer(answer, jupyter.names() | {"given": 1}) == {"undefined": names}


def test_a_missing_function_is_named():
    result = grade_answer(doubling(), "def twice(x): return x", BARE)
    assert result["student_message"] == "the answer cell does not define double"
    result = grade_answer(doubling(), "double = 3", BARE)
    assert result["student_message"].endswith("double is not a function")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("def double(x) return x", "SyntaxError in line 1 of the answer cell: expected ':'"),
        ("\nx = (1,", "SyntaxError in line 2 of the answer cell: '(' was never closed"),
        ("n = 1\nm = nn + n", "NameError in line 2 of the answer cell: the cell uses nn, which"),
        ("x = [][0]", "IndexError in line 1 of the answer cell: an index is out of range"),
    ],
)
def test_errors_of_the_cell_itself_say_what_is_wrong(answer, text):
    assert grade_answer(doubling(), answer, BARE)["student_message"].startswith(text)


@pytest.mark.parametrize("error", ["ValueError", "SyntaxError", "NameError", "AssertionError"])
def test_a_cell_cannot_tell_the_solutions_of_earlier_tasks(error):
    """They are in the worker, since a later task may call them."""
    frozen = doubling()
    setup = ["def earlier(n):\n    return 4711 * n"]
    frozen = {**frozen, "ask": {**frozen["ask"], "setup": setup}}
    solution = "earlier.__code__.co_consts"
    text = f"f\"name 'x' is not defined{{{solution}}}\"" if error == "NameError" else solution
    result = grade_answer(frozen, f"raise {error}({text})", BARE)
    assert "4711" in result["message"]
    assert "4711" not in result["student_message"]


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
