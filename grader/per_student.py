"""Values of one's own: the numbers, prompts and sizes that each student's exercise has.

A locked code cell of a solution notebook, tagged ``per-student``, assigns them, ``N = 12`` a line.
For a student others are drawn by the checks file's ``per_student(rng)``, which gives {"N": 7}. The
same seed and name give the same values, in the exercise that is handed out and when it is graded:
the cell is run in front of the answers, and of the solution, which the hidden checks come from.
"""

import ast
import hashlib
import runpy
from pathlib import Path
from typing import Any

import numpy as np
from nbformat import NotebookNode

from . import cells


def solution_of(root: Path, name: str, seed: int, student: str | None) -> NotebookNode | None:
    """An exercise's solution notebook, for a student with own values; None if it has no such cell.

    ValueError if the values can't be drawn, or don't fit the cell.
    """
    notebook = cells.read_notebook(root / "solutions" / f"{name}.ipynb")
    if student is None:
        return notebook
    if not any(map(cells.is_per_student, notebook.cells)):
        return None
    try:
        _assign(notebook, _draw(root, name, seed, student))
        return notebook
    except ValueError as error:
        raise ValueError(f"{name}, values for {student!r}: {error}") from error


def _draw(root: Path, name: str, seed: int, student: str) -> dict[str, Any]:
    checks = root / "solutions" / "checks" / f"{name}.py"
    if (draw := runpy.run_path(str(checks)).get("per_student")) is None:
        raise ValueError(f"{checks.name} needs a function per_student(rng)")
    digest = hashlib.sha256(f"{seed}/{name}/{student}".encode()).digest()
    drawn = draw(np.random.default_rng(list(digest)))
    return {key: value.item() if isinstance(value, np.generic) else value
            for key, value in drawn.items()}  # fmt: skip


def _assign(notebook: NotebookNode, values: dict[str, Any]) -> None:
    """Let the tagged cells assign these values. ValueError if they assign others."""
    left = dict(values)
    for cell in filter(cells.is_per_student, notebook.cells):
        lines = cell.source.split("\n")
        for part in ast.parse(cell.source).body:
            old = ast.get_source_segment(cell.source, part)
            name = old.partition(" = ")[0]
            if name not in left:
                raise ValueError(f"{old!r} assigns no value that is drawn")
            new, i = f"{name} = {left.pop(name)!r}", part.lineno - 1
            if old not in lines[i] or not _is_literal(new, values[name]):
                raise ValueError(f"{name}: needs plain data, on one line; got {new}")
            lines[i] = lines[i].replace(old, new, 1)
        cell.source = "\n".join(lines)
    if left:
        raise ValueError(f"the cell assigns no {', '.join(left)}")


def _is_literal(text: str, value: Any) -> bool:
    try:
        return ast.literal_eval(text.partition(" = ")[2]) == value
    except (ValueError, SyntaxError):
        return False
