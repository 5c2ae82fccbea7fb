"""exercises/NN_topic.ipynb from solutions/NN_topic.ipynb, byte for byte repeatable.

The command is ``python -m grader build``. nbgrader's preprocessors do the work, as a library: no
database, no course folder. A solution notebook that would come out wrong (a leaked answer, a lost
signature) is refused by ``lint``.
"""

import argparse
import ast
import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from grader import cells

STUB = 'raise NotImplementedError("replace this line with your answer")'
COUNTS = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"]
TEXT_STUB = "*Replace this line with your answer.*"
ORPHANED = "orphaned, solutions/ has no such file"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
REFUSED_MARKS = ("HIDDEN TESTS", "MARK SCHEME", "AUTOTEST")
FIELDS = ("grade", "solution", "locked", "grade_id", "schema_version", "cell_type")
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class BuildError(ValueError):
    """A solution notebook that cannot become an exercise; one line a problem."""


def build_exercise(solution: NotebookNode) -> NotebookNode:
    """The exercise of a solution notebook; BuildError lists all that is wrong with the latter."""
    if problems := lint(solution):
        raise BuildError("\n".join(problems))
    # nbgrader takes two seconds to import; who only reads notebooks need not wait for it.
    from nbgrader.preprocessors import ClearOutput, ClearSolutions, ComputeChecksums, LockCells

    exercise = nbformat.from_dict(solution)
    exercise.metadata = nbformat.from_dict(KERNEL)
    resources: dict = {}
    for preprocessor in (
        LockCells(),
        ClearSolutions(code_stub={"python": STUB}, text_stub=TEXT_STUB),
        ClearOutput(remove_metadata_fields={"collapsed", "scrolled", "execution"}),
        ComputeChecksums(),
    ):
        exercise, resources = preprocessor(exercise, resources)
    return exercise


def exercise_bytes(solution_path: Path, solution: NotebookNode | None = None) -> bytes:
    """What the exercise's file must hold. BuildError names the file.

    ``solution``: what to read in the file's place, as with the values of a student.
    """
    try:
        exercise = build_exercise(solution or cells.read_notebook(solution_path))
    except ValueError as error:
        lines = [f"{solution_path.name}: {line}" for line in str(error).splitlines()]
        raise BuildError("\n".join(lines)) from error
    return (nbformat.writes(exercise, version=4).rstrip("\n") + "\n").encode()


def find_drift(root: Path) -> dict[str, str]:
    """What in ``root/exercises`` is not as ``build`` would leave it: why, by file name."""
    wanted = {path.name: exercise_bytes(path) for path in cells.solution_paths(root)}
    found = {path.name: path.read_bytes() for path in sorted((root / "exercises").glob("*.ipynb"))}
    drift = {}
    for name in [*wanted, *found]:
        if name not in wanted:
            drift[name] = ORPHANED
        elif name not in found:
            drift[name] = "missing"
        elif found[name] != wanted[name]:
            drift[name] = f"differs from what solutions/{name} gives"
    return drift


def build(root: Path) -> dict[str, str]:
    """Write ``root/exercises``; returns what had to be written, and the orphans: left alone."""
    for path in cells.solution_paths(root):
        with contextlib.suppress(ValueError):  # find_drift says what is wrong, and where
            settle_points(path)
    drift = find_drift(root)
    (root / "exercises").mkdir(exist_ok=True)
    for name, why in drift.items():
        if why != ORPHANED:
            (root / "exercises" / name).write_bytes(exercise_bytes(root / "solutions" / name))
    return drift


def settle_points(path: Path) -> None:
    """Minutes and points are written once, above each task; here the rest of the file follows.

    The metadata that nbgrader reads get the points, and the sums in the exercise's introduction
    ("Six tasks, about 70 minutes, 16 points", to five minutes) those of all tasks but the open
    question.
    """
    notebook = cells.read_notebook(path)
    before, n_tasks, minutes, points = nbformat.writes(notebook, version=4), 0, 0, 0
    for text, answer in pairwise(notebook.cells):
        role, line = cells.role(answer), cells.TASK_LINE.search(text.source)
        if line is None or role not in ("solution", "written"):
            continue
        if role == "solution":
            minutes, points = minutes + int(line[1]), points + int(line[2])
            n_tasks += 1
            grade_id = cells.nbgrader_field(answer, "grade_id")
            answer = cells.find_cell(notebook, cells.visible_tests_id(grade_id))
        answer.metadata.nbgrader["points"] = int(line[2])
    head = notebook.cells[0]
    sums = f"about {5 * round(minutes / 5)} minutes, {points} points"
    head.source = re.sub(r"about \d+ minutes, \d+ points", sums, head.source)
    n = COUNTS[n_tasks] if n_tasks < len(COUNTS) else str(n_tasks)
    n += " task" if n_tasks == 1 else " tasks"
    head.source = re.sub(rf"\b(?:{'|'.join(COUNTS)}|\d+) tasks?(?=, {sums})", n, head.source)
    if nbformat.writes(notebook, version=4) != before:
        nbformat.write(notebook, path)


def lint(notebook: NotebookNode) -> list[str]:
    """Problems, one line each, naming the cell; an empty list if there is none."""
    problems = []
    for i, cell in enumerate(notebook.cells):
        grade_id = cells.nbgrader_field(cell, "grade_id")
        name = f"cell {i}" if grade_id is None else f"cell {i} ({grade_id})"
        problems += [f"{name}: {problem}" for problem in _cell_problems(cell)]
    ids = Counter(cells.nbgrader_field(cell, "grade_id") for cell in notebook.cells)
    problems += [f"grade_id {i!r}: used by {n} cells" for i, n in ids.items() if i and n > 1]
    for cell in notebook.cells:
        if cells.role(cell) in ("solution", "written"):
            grade_id = cells.nbgrader_field(cell, "grade_id")
            problems += [f"answer {grade_id!r}: {p}" for p in _task_problems(notebook, grade_id)]
    return problems


def _cell_problems(cell: NotebookNode) -> Iterator[str]:
    if not cell.get("id"):
        yield "has no id; save the notebook as nbformat 4.5"
    if cell.get("attachments"):
        yield "has attachments; put pictures into files"
    if (metadata := cell.metadata.get("nbgrader")) is not None:
        if missing := [field for field in FIELDS if field not in metadata]:
            yield f"nbgrader metadata lacks {', '.join(missing)}"
        elif metadata["schema_version"] != 3 or metadata["cell_type"] != cell.cell_type:
            yield "nbgrader metadata: schema_version must be 3, cell_type the cell's"
    for mark in REFUSED_MARKS:
        if mark in cell.source:
            yield f"{mark} is not used here: hidden checks are in solutions/checks/"
    lines = [line.strip() for line in cell.source.splitlines()]
    marks = [line for line in lines if "BEGIN SOLUTION" in line or "END SOLUTION" in line]
    answer = cells.role(cell) in ("solution", "written")
    if not marks and answer:
        yield "an answer without solution marks"
    elif marks and not answer:
        yield "solution marks in a cell that is no answer"
    elif marks != [BEGIN, END] * (len(marks) // 2):
        yield f"solution marks must be pairs of lines {BEGIN!r}, {END!r}"
    if cells.is_per_student(cell) and cells.role(cell) != "locked":
        yield "a cell tagged per-student must be locked setup"
    if cell.cell_type == "code" and cells.role(cell):
        yield from _python_problems(cell)


def _python_problems(cell: NotebookNode) -> Iterator[str]:
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        yield f"not plain Python (a magic?): line {error.lineno}"
        return
    if cells.role(cell) == "grade":
        asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
        if not asserts:
            yield "visible tests without an assert"
        yield from (f"line {a.lineno}: assert without a message" for a in asserts if not a.msg)


def _task_problems(notebook: NotebookNode, grade_id: str) -> Iterator[str]:
    tests_id = cells.visible_tests_id(grade_id)
    try:
        answer = carries_points = cells.find_cell(notebook, grade_id)
        points = cells.points(notebook, grade_id)
        if cells.role(answer) == "solution":
            carries_points = cells.find_cell(notebook, tests_id)
            order = [notebook.cells.index(cell) for cell in (answer, carries_points)]
            if cells.role(carries_points) != "grade" or order != sorted(order):
                yield f"{tests_id!r} must be a graded cell after it"
    except ValueError as error:
        yield str(error)
        return
    if points != cells.nbgrader_field(carries_points, "points"):
        yield f"the text says {points} points, the metadata say otherwise"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m grader build``."""
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it differs")
    parser.set_defaults(function=write_exercises)


def write_exercises(arguments: argparse.Namespace) -> int:
    """What ``python -m grader build`` does; its exit status."""
    root, check = arguments.root, arguments.check
    drift = find_drift(root) if check else build(root)
    for name, why in drift.items():
        print(f"exercises/{name}: {why if check or why == ORPHANED else 'written'}")
    if check:
        print("run: python -m grader build" if drift else "exercises/ is what solutions/ gives")
        return int(bool(drift))
    return int(ORPHANED in drift.values())
