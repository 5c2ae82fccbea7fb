"""Files for people, from the gradebook: grades.csv, results.jsonl, summary.html, feedback/."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # lms needs none of it
    from .gradebook import Grade, Gradebook, Student
    from .similar import Pair

BINS = 10
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_reports(
    folder: Path,
    book: Gradebook,
    *,
    seed: int,
    pairs: list[Pair],
    rejected: list[tuple[str, str]],
) -> None:
    """Write all reports; each file is replaced as a whole.

    Args:
        pairs: similar answers. rejected: files that could not be given to anyone.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,  # names, code and messages come from students
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    templates.filters["points"] = format_points
    summary, feedback = map(templates.get_template, ("summary.html", "feedback.html"))
    (folder / "feedback").mkdir(parents=True, exist_ok=True)
    write_whole(folder / "grades.csv", _grades_csv(book))
    lines = [json.dumps(_line(s, g), sort_keys=True) for s in book.students for g in s.grades]
    write_whole(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    page = summary.render(
        book=book, seed=seed, pairs=pairs, rejected=rejected, histogram=histogram(book)
    )
    write_whole(folder / "summary.html", page)
    for student in book.students:
        page = folder / "feedback" / f"{file_name(student.name)}.html"
        write_whole(page, feedback.render(student=student))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, never a part."""
    fresh = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    fresh.write_text(text, encoding="utf-8", newline="")
    os.replace(fresh, path)


def file_name(student: str) -> str:
    """A file name for a student, whatever the name: different ones for different students."""
    plain = re.sub(r"[^\w.@+-]", "_", student, flags=re.ASCII)[:80]
    if plain == student and not plain.startswith((".", "-")):
        return plain
    return f"{plain.lstrip('.-')}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"


def histogram(book: Gradebook) -> list[dict]:
    """Students by total, in bins of equal width; those not yet graded are left out."""
    import numpy as np

    totals = [student.total for student in book.students if student.total is not None]
    counts, edges = np.histogram(totals, bins=BINS, range=(0, book.max_points or 1))
    return [{"low": low, "high": high, "count": n, "percent": 100 * n / (max(counts) or 1)}
            for n, low, high in zip(counts, edges, edges[1:], strict=False)]  # fmt: skip


def format_points(points: float) -> str:
    return f"{points:.2f}".rstrip("0").rstrip(".")


def no_formula(text: str) -> str:
    """A spreadsheet would run a name such as ``=cmd()``."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _grades_csv(book: Gradebook) -> str:
    """A row for each student: empty where nothing was handed in or is not graded."""
    import pandas as pd

    exercises = list(dict.fromkeys(task.exercise for task in book.tasks))
    rows = []
    for student in book.students:
        points = {grade.task.column: grade.points for grade in student.grades}
        points |= {exercise: student.points_of(exercise) for exercise in exercises}
        points |= {"total": student.total, "max": book.max_points}
        shown = {name: format_points(n) for name, n in points.items() if n is not None}
        adjusted = [grade.task.column for grade in student.grades if grade.adjustment]
        rows.append({"student": no_formula(student.name), **shown,
                     "late": " ".join(student.late), "adjusted": " ".join(adjusted)})  # fmt: skip
    tasks = [task.column for task in book.tasks]
    columns = ["student", *tasks, *exercises, "total", "max", "late", "adjusted"]
    return pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")


def _line(student: Student, grade: Grade) -> dict:
    result, given = grade.result, grade.adjustment
    return {
        "student": student.name,
        "exercise": grade.task.exercise,
        "task": grade.task.name,
        "points": grade.points,
        "max_points": grade.task.max_points,
        "graded_points": result.get("points"),
        "adjustment": given and {"points": given.points, "reason": given.reason, "who": given.who},
        "late": grade.task.exercise in student.late,
        "message": grade.message,
        "student_message": grade.student_message,
        "misconception": result.get("misconception"),
        "remark": grade.remark,
        "seconds": result.get("seconds"),
        "checks": grade.checks,
    }
