"""What an exercise holds, by nbgrader metadata: setup, answers, visible tests, open questions."""

import ast
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

PER_STUDENT = "per-student"  # the tag of the cell that gives each student values of one's own
TASK_LINE = re.compile(r"Difficulty [1-5] of 5 · (\d+) minutes · (\d+) points?\b")


def read_notebook(path: str | Path) -> NotebookNode:
    """The notebook of a file. ValueError if it is missing or no notebook."""
    try:
        return nbformat.read(str(path), as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{path}: not a notebook that can be read ({error})") from error


def solution_paths(root: Path) -> list[Path]:
    """The solution notebooks, in order. ValueError if there is no folder ``solutions``."""
    if not (root / "solutions").is_dir():
        raise ValueError(f"{root}: has no folder solutions/ (run this in the course's folder)")
    return sorted((root / "solutions").glob("*.ipynb"))


def nbgrader_field(cell: NotebookNode, name: str):
    """A field of the cell's nbgrader metadata; None for a cell without."""
    return cell.metadata.get("nbgrader", {}).get(name)


def role(cell: NotebookNode) -> str | None:
    """Of a code cell: "solution" (an answer), "grade" (tests), "locked" (setup) or None.

    Of any cell: "written", the answer to an open question, which a person marks.
    """
    if nbgrader_field(cell, "solution") and nbgrader_field(cell, "grade"):
        return "written"
    fields = ("solution", "grade", "locked") if cell.cell_type == "code" else ()
    return next((field for field in fields if nbgrader_field(cell, field)), None)


def find_cell(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """The one cell with this grade_id. ValueError if none has it, or several (copied ones)."""
    found = [cell for cell in notebook.cells if nbgrader_field(cell, "grade_id") == grade_id]
    if len(found) != 1:
        raise ValueError(f"{len(found)} cells have the grade_id {grade_id!r}; one should")
    return found[0]


def answer_ids(notebook: NotebookNode) -> list[str]:
    """grade_ids of the answer cells, in order."""
    return [nbgrader_field(cell, "grade_id") for cell in notebook.cells if role(cell) == "solution"]


def is_per_student(cell: NotebookNode) -> bool:
    """Does this cell hold values of one's own?"""
    return PER_STUDENT in cell.metadata.get("tags", [])


def titles(notebook: NotebookNode) -> dict[str, str]:
    """By grade_id of each answer the heading above it, or its grade_id where there is none."""
    found, heading = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and role(cell) is None:
            heading = [heading, *re.findall(r"^##+ +(.+?)[ #]*$", cell.source, re.MULTILINE)][-1]
        elif role(cell) in ("solution", "written"):
            grade_id = nbgrader_field(cell, "grade_id")
            found[grade_id] = heading or grade_id
    return found


def visible_tests_id(grade_id: str) -> str:
    """grade_id of the visible tests of an answer cell."""
    return f"test-{grade_id}"


def points(notebook: NotebookNode, grade_id: str) -> int:
    """The points of a task, from the text in front of its answer. ValueError if it has none."""
    i = notebook.cells.index(find_cell(notebook, grade_id))
    before = notebook.cells[i - 1] if i else None
    line = TASK_LINE.search(before.source) if before and before.cell_type == "markdown" else None
    if line is None:
        raise ValueError("the text before it lacks 'Difficulty D of 5 · M minutes · P points'")
    return int(line[2])


def setup_sources(notebook: NotebookNode, grade_id: str) -> list[str]:
    """Sources that run in front of an answer: setup cells, and earlier answers.

    Of the answers those that only define functions: a value of another task could pass for this
    one's. ValueError if there is no such answer.
    """
    before = notebook.cells[: notebook.cells.index(find_cell(notebook, grade_id))]
    functions = (ast.FunctionDef, ast.Import, ast.ImportFrom)
    return [cell.source for cell in before if role(cell) == "locked"
            or (role(cell) == "solution" and all(isinstance(part, functions)
                for part in ast.parse(cell.source).body))]  # fmt: skip


def defined_functions(sources: list[str]) -> set[str]:
    """The names of the functions that these sources define."""
    parts = [part for source in sources for part in ast.parse(source).body]
    return {part.name for part in parts if isinstance(part, ast.FunctionDef)}
