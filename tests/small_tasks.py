"""Two small tasks without torch, to try the grading machinery on."""

import copy
import json

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grader import cells, encoding, exchange, judge, pool, run, session
from grader.checks import Case, Close, Task
from grader.freeze import freeze
from grader.sandbox import Limits, Sandbox

FAST = Sandbox(bubblewrap=False, limits=Limits(load_s=20.0))
DEF = "def double(x):\n    "
LIST = "[2 * item for item in x]"


def solution_notebook(source, grade_id):
    """A notebook of one task, whose solution cell this is."""
    mark = {"grade_id": grade_id, "solution": True, "grade": False, "locked": False}
    text = new_markdown_cell("Difficulty 1 of 5 · 2 minutes · 2 points")
    return new_notebook(cells=[text, new_code_cell(source, metadata={"nbgrader": mark})])


def doubling(timeout_s=10.0, solution=f"{DEF}return {LIST}", **fields):
    """A task without torch: double every item of a list."""
    defaults = {
        "grade_id": "double",
        "entry": "double",
        "cases": lambda rng: [Case([1, 2]), Case([0.5, 777.125])],
        "compare": Close(),
        "misconceptions": [("not-doubled", "2 * ", "1 * ", "this is the input itself")],
        "timeout_s": timeout_s,
    }
    return freeze(Task(**{**defaults, **fields}), solution_notebook(solution, "double"))


def process_verdict(answer, frozen=None):
    frozen = frozen or doubling()
    return judge.judge(frozen, run.run_answer(frozen, answer, FAST))


def grade_answer(frozen, answer, sandbox):
    """The result of one answer, as a process of the grader's pool gives it."""
    result = pool.grade_submission([pool.Job("key", frozen, answer)], sandbox)["key"]
    assert isinstance(result, dict), result
    return result


def untimed(records):
    """Records without the seconds that each case took."""
    return [{name: record[name] for name in record.keys() - {"seconds"}} for record in records]


def merge_solutions(exercise: NotebookNode, solution: NotebookNode) -> NotebookNode:
    """The exercise with every answer replaced by the solution's, for running it whole."""
    merged = copy.deepcopy(exercise)
    for grade_id in cells.answer_ids(merged):
        cells.find_cell(merged, grade_id).source = cells.find_cell(solution, grade_id).source
    return merged


def mean_task(solution="def mean(x):\n    return sum(x) / len(x)", **fields):
    """A task and its solution notebook: what `freeze` needs."""
    defaults = {
        "grade_id": "mean",
        "entry": "mean",
        "cases": lambda rng: [Case(list(rng.normal(size=4))), Case([5.0], label="one item")],
        "compare": Close(),
        "misconceptions": [
            ("sum", " / len(x)", "", "divide by the number of items"),
            ("n-1", "len(x)", "(len(x) - 1)", "divide by n, not by n - 1"),
        ],
    }
    return Task(**{**defaults, **fields}), solution_notebook(solution, "mean")


def run_trusted(frozen, answer, base=None):
    """The records of a worker, made in this process without limits: for our own answers only.

    ``base``: what ``session.run_setup`` gave, to run the setup once for many answers.
    """
    trusted = session.Session(frozen["ask"] if base is None else {**frozen["ask"], "setup": []})
    trusted.base = trusted.base if base is None else base
    failed = trusted.load(answer)
    # Through JSON, as from a worker; what is not JSON must not come back here either.
    records = [json.loads(encoding.dumps(trusted.call(case))) for case in frozen["cases"]]
    return [exchange.with_load(failed, record) for record in records]


def trusted_verdict(answer, frozen):
    return judge.judge(frozen, run_trusted(frozen, answer))
