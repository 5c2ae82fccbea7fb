"""exercises/NN_topic.ipynb from solutions/NN_topic.ipynb, byte for byte repeatable.

nbgrader's preprocessors do the work, as a library: no database, no course folder. A solution
notebook that would come out wrong (a leaked answer, a lost signature) is refused by ``lint``.
"""

import ast
import re
from collections import Counter
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from . import cells

STUB = 'raise NotImplementedError("replace this line with your answer")'
TEXT_STUB = "*Replace this line with your answer.*"
ORPHANED = "orphaned, solutions/ has no such file"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
TASK_LINE = re.compile(r"Difficulty [1-5] of 5 · (\d+) minutes · (\d+) points?\b")
REFUSED_MARKS = ("HIDDEN TESTS", "MARK SCHEME", "AUTOTEST")
FIELDS = ("grade", "solution", "locked", "grade_id", "schema_version", "cell_type")
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class BuildError(ValueError):
    """A solution notebook that cannot become an exercise; one line a problem."""


def build_exercise(solution: NotebookNode) -> NotebookNode:
    """The exercise of a solution notebook, which is left as it is.

    Raises:
        BuildError: listing all that is wrong with the solution notebook.
    """
    problems = lint(solution)
    if problems:
        raise BuildError("\n".join(problems))
    # nbgrader takes two seconds to import; who only reads notebooks need not wait for it.
    from nbgrader.preprocessors import (
        CheckCellMetadata,
        ClearOutput,
        ClearSolutions,
        ComputeChecksums,
        LockCells,
    )

    exercise = nbformat.from_dict(solution)
    exercise.metadata = nbformat.from_dict(KERNEL)
    resources: dict = {}
    for preprocessor in (
        LockCells(),
        ClearSolutions(code_stub={"python": STUB}, text_stub=TEXT_STUB),
        ClearOutput(remove_metadata_fields={"collapsed", "scrolled", "execution"}),
        CheckCellMetadata(),
        ComputeChecksums(),
    ):
        exercise, resources = preprocessor(exercise, resources)
    return exercise


def exercise_bytes(solution_path: Path) -> bytes:
    """What the exercise's file must hold.

    Raises:
        BuildError: the solution notebook cannot become an exercise.
    """
    try:
        exercise = build_exercise(cells.read_notebook(solution_path))
    except (BuildError, cells.NotebookError) as error:
        lines = [f"{solution_path.name}: {line}" for line in str(error).splitlines()]
        raise BuildError("\n".join(lines)) from error
    return (nbformat.writes(exercise, version=4).rstrip("\n") + "\n").encode()


def find_drift(root: Path) -> dict[str, str]:
    """What in ``root/exercises`` is not as ``build`` would leave it: why, by file name."""
    wanted = {path.name: exercise_bytes(path) for path in solution_paths(root)}
    found = {path.name: path.read_bytes() for path in sorted((root / "exercises").glob("*.ipynb"))}
    missing = {name: "missing" for name in wanted if name not in found}
    differs = {name: f"differs from what solutions/{name} gives" for name in wanted
               if found.get(name, wanted[name]) != wanted[name]}  # fmt: skip
    return differs | missing | {name: ORPHANED for name in found if name not in wanted}


def build(root: Path) -> dict[str, str]:
    """Write ``root/exercises``; returns what had to be written, and the orphans: left alone."""
    drift = find_drift(root)
    (root / "exercises").mkdir(exist_ok=True)
    for name, why in drift.items():
        if why != ORPHANED:
            path = root / "exercises" / name
            path.write_bytes(exercise_bytes(root / "solutions" / name))
    return drift


def solution_paths(root: Path) -> list[Path]:
    """The solution notebooks, in order.

    Raises:
        BuildError: there is no folder ``solutions``.
    """
    if not (root / "solutions").is_dir():
        raise BuildError(f"{root}: has no folder solutions/ (run this in the course's folder)")
    return sorted((root / "solutions").glob("*.ipynb"))


def lint(notebook: NotebookNode) -> list[str]:
    """Problems, one line each, naming the cell; an empty list if there is none."""
    problems = [
        f"{_name(cell, i)}: {problem}"
        for i, cell in enumerate(notebook.cells)
        for problem in _cell_problems(cell)
    ]
    ids = Counter(cells.nbgrader_field(cell, "grade_id") for cell in notebook.cells)
    problems += [f"grade_id {i!r}: used by {n} cells" for i, n in ids.items() if i and n > 1]
    return problems + [p for grade_id in cells.answer_ids(notebook)
                       for p in _task_problems(notebook, grade_id)]  # fmt: skip


def _name(cell: NotebookNode, i: int) -> str:
    grade_id = cells.nbgrader_field(cell, "grade_id")
    return f"cell {i}" if grade_id is None else f"cell {i} ({grade_id})"


def _cell_problems(cell: NotebookNode) -> list[str]:
    problems = []
    if not cell.get("id"):
        problems.append("has no id; save the notebook as nbformat 4.5")
    if cell.get("attachments"):
        problems.append("has attachments; put pictures into files")
    metadata = cell.metadata.get("nbgrader")
    if metadata is not None:
        missing = [field for field in FIELDS if field not in metadata]
        if missing:
            problems.append(f"nbgrader metadata lacks {', '.join(missing)}")
        elif metadata["schema_version"] != 3 or metadata["cell_type"] != cell.cell_type:
            problems.append("nbgrader metadata: schema_version must be 3, cell_type the cell's")
    problems += [f"{mark} is not used here: hidden checks are in solutions/checks/"
                 for mark in REFUSED_MARKS if mark in cell.source]  # fmt: skip
    problems += _mark_problems(cell)
    if cells.is_setup(cell) or cells.is_answer(cell) or cells.is_test(cell):
        problems += _python_problems(cell)
    return problems


def _mark_problems(cell: NotebookNode) -> list[str]:
    lines = [line.strip() for line in cell.source.splitlines()]
    marks = [line for line in lines if "BEGIN SOLUTION" in line or "END SOLUTION" in line]
    if not marks:
        return ["an answer without solution marks"] if cells.is_answer(cell) else []
    if cell.cell_type == "code" and not cells.is_answer(cell):
        return ["solution marks in a cell that is no answer"]
    if marks != [BEGIN, END] * (len(marks) // 2):
        return [f"solution marks must be pairs of lines {BEGIN!r}, {END!r}"]
    return []


def _python_problems(cell: NotebookNode) -> list[str]:
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        return [f"not plain Python (a magic?): line {error.lineno}"]
    if not cells.is_test(cell):
        return []
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    silent = [f"line {node.lineno}: assert without a message" for node in asserts if not node.msg]
    return silent if asserts else ["visible tests without an assert"]


def _task_problems(notebook: NotebookNode, grade_id: str) -> list[str]:
    try:
        answer = cells.find_cell(notebook, grade_id)
        tests = cells.find_cell(notebook, cells.visible_tests_id(grade_id))
    except cells.NotebookError as error:
        return [f"answer {grade_id!r}: {error}"]
    i = notebook.cells.index(answer)
    problems = []
    if cells.nbgrader_field(answer, "grade"):
        problems.append("an answer's own grade must be false; its visible tests carry the points")
    if not cells.is_test(tests) or notebook.cells.index(tests) < i:
        problems.append(f"{cells.visible_tests_id(grade_id)!r} must be a graded cell after it")
    text = (
        notebook.cells[i - 1].source if i and notebook.cells[i - 1].cell_type == "markdown" else ""
    )
    line = TASK_LINE.search(text)
    if line is None:
        problems.append("the text before it lacks 'Difficulty D of 5 · M minutes · P points'")
    elif int(line[2]) != cells.nbgrader_field(tests, "points"):
        problems.append(f"the text says {line[2]} points, the tests' metadata say otherwise")
    return [f"answer {grade_id!r}: {problem}" for problem in problems]
