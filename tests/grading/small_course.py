"""A course of two exercises without torch, and folders of submissions to it."""

import copy
import re
from pathlib import Path

import nbformat

from grader import cells
from grader import grade as grading
from grader.sandbox import Sandbox
from tools import build_exercises as build

CHECKS = """
from grader.checks import Case, Close, Task


def cases(rng):
    return [Case(rng.normal(size=3).tolist()), Case(rng.normal(size=5).tolist(), label="five")]


DOUBLE = Task(
    grade_id="double", entry="double", cases=cases, compare=Close(),
    misconceptions=[("not-doubled", "item + item", "item", "this is the input itself")],
    timeout_s=4.0,
)
MEAN = Task(
    grade_id="mean", entry="mean", cases=cases, compare=Close(),
    misconceptions=[("sum", " / len(x)", "", "divide by the number of items")],
)
"""
TASKS = {"01_lists": ["DOUBLE", "MEAN"], "02_more": ["HALF"]}
HALF = """
HALF = Task(
    grade_id="half", entry="half", cases=cases, compare=Close(),
    misconceptions=[("not-halved", "0.5 * ", "", "halve it")],
)
"""
RIGHT = {
    "double": "def double(x):\n    return [item + item for item in x]",
    "mean": "import math\ndef mean(x):\n    return math.fsum(x) / len(x)",
    "half": "def half(x):\n    return 0.5 * x[0]",
}
VISIBLE = {
    "double": 'assert double([1]) == [2], f"got {double([1])}: twice each number"',
    "mean": 'assert mean([1, 3]) == 2, "2 lies in the middle of 1 and 3"',
    "half": 'assert half([4]) == 2, "2 is half of 4"',
}
WRONG = {
    "double": "def double(x):\n    return x",
    "mean": "def mean(x):\n    return sum(x)",
    "half": "def half(x):\n    return x[0]",
}


def make_course(root: Path) -> Path:
    """Solutions, checks and exercises in ``root``."""
    (root / "solutions" / "checks").mkdir(parents=True)
    for name, names in TASKS.items():
        tasks = [each.lower() for each in names]
        nbformat.write(_solution(tasks), root / "solutions" / f"{name}.ipynb")
        unwanted = {"DOUBLE", "MEAN", "HALF"} - {*names}
        checks = f"{CHECKS}{HALF}\ndel {', '.join(unwanted)}\n"
        (root / "solutions" / "checks" / f"{name}.py").write_text(checks)
    build.build(root)
    return root


def _solution(tasks: list[str]) -> nbformat.NotebookNode:
    made = []
    for number, task in enumerate(tasks, start=1):
        points = {"double": 2, "mean": 3, "half": 1}[task]
        text = f"Write {task}. Difficulty 1 of 5 · 2 minutes · {points} points"
        text = f"## Task {number}: the {task}\n\n{text}"
        head, *body = re.sub(r"import math\n|math\.f", "", RIGHT[task]).splitlines()
        marks = ["    ### BEGIN SOLUTION", *body, "    ### END SOLUTION"]
        mark = {"schema_version": 3, "task": False, "cell_type": "code", "grade_id": task}
        answer = {**mark, "grade": False, "solution": True, "locked": False}
        test = {**mark, "grade": True, "solution": False, "locked": True,
                "points": points, "grade_id": f"test-{task}"}  # fmt: skip
        made += [
            nbformat.v4.new_markdown_cell(text),
            _code("\n".join([head, *marks]), answer),
            _code(f'assert callable({task}), "define it"\n{VISIBLE[task]}', test),
        ]
    for i, cell in enumerate(made):  # random ids would make the files differ each time
        cell.id = f"cell-{i}"
    return nbformat.v4.new_notebook(cells=made)


def _code(source: str, mark: dict) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"nbgrader": mark})


def notebook(root: Path, exercise: str = "01_lists", **answers: str) -> nbformat.NotebookNode:
    """A student's notebook: right answers, but for those given; None leaves the stub."""
    made = copy.deepcopy(cells.read_notebook(root / "exercises" / f"{exercise}.ipynb"))
    for grade_id in cells.answer_ids(made):
        source = answers.get(grade_id, RIGHT[grade_id])
        if source is not None:
            cells.find_cell(made, grade_id).source = source
    return made


def hand_in(folder: Path, student: str, made: nbformat.NotebookNode, exercise="01_lists") -> Path:
    path = folder / student / f"{exercise}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


def grade_in(course: Path, folder: Path, **settings) -> grading.Outcome:
    """Grade ``folder/in`` into ``folder/out``, in threads and without a sandbox."""
    usual = {"seed": 1, "jobs": 2, "unsafe": True, "sandbox": Sandbox(bubblewrap=False)}
    return grading.grade(
        course, folder / "in", folder / "out", grading.Settings(**usual | settings)
    )


def points(outcome) -> dict[str, dict[str, float | None]]:
    """Points by student and task."""
    found = {student: {} for student in outcome.book.students}
    for row in outcome.book.rows:
        found[row["student"]][row["task"]] = row["points"]
    return found


def answer(outcome, student: str, task: str) -> dict:
    """All that is known of one answer."""
    wanted = (student, task)
    return next(row for row in outcome.book.rows if (row["student"], row["task"]) == wanted)
