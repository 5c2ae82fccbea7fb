"""Files for people, from the gradebook: grades.csv, results.jsonl, summary.html, feedback/."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gradebook import Grade, Gradebook, Student
    from .similar import Pair

BINS = 10
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_reports(
    folder: Path, book: Gradebook, *, seed: int, pairs: list[Pair], rejected: list[tuple[str, str]]
) -> None:
    """Write all reports; each file is replaced as a whole.

    Args:
        pairs: similar answers. rejected: files that could not be given to anyone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "grades.csv", _grades_csv(book))
    lines = [json.dumps(_line(s, g), sort_keys=True) for s in book.students for g in s.grades]
    write_whole(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    templates = _templates()
    late = [(student.name, student.late) for student in book.students if student.late]
    page = templates.get_template("summary.html").render(
        book=book, seed=seed, pairs=pairs, rejected=rejected, late=late, histogram=histogram(book)
    )
    write_whole(folder / "summary.html", page)
    (folder / "feedback").mkdir(exist_ok=True)
    template = templates.get_template("feedback.html")
    for student in book.students:
        most = sum(grade.task.max_points for grade in student.grades)
        page = template.render(student=student, max_points=most)
        write_whole(folder / "feedback" / f"{file_name(student.name)}.html", page)


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
    totals = [student.total for student in book.students if student.total is not None]
    width = book.max_points / BINS
    counts = [0] * BINS
    for total in totals:
        counts[min(BINS - 1, int(total / width)) if width else 0] += 1
    most = max(counts, default=0) or 1
    return [{"low": width * i, "high": width * (i + 1), "count": n, "percent": 100 * n / most}
            for i, n in enumerate(counts)]  # fmt: skip


def format_points(points: float) -> str:
    return f"{points:.2f}".rstrip("0").rstrip(".")


def _grades_csv(book: Gradebook) -> str:
    """A row a student: empty where nothing was handed in or is not graded."""
    exercises = list(dict.fromkeys(task.exercise for task in book.tasks))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["student", *(task.column for task in book.tasks), *exercises,
                     "total", "max", "late", "adjusted"])  # fmt: skip
    for student in book.students:
        points = {grade.task.column: grade.points for grade in student.grades}
        sums = [_sum_of(student, exercise) for exercise in exercises]
        cells = [points.get(task.column) for task in book.tasks] + sums + [student.total]
        adjusted = [grade.task.column for grade in student.grades if grade.adjustment]
        writer.writerow([_no_formula(student.name),
                         *("" if cell is None else format_points(cell) for cell in cells),
                         format_points(book.max_points), " ".join(student.late),
                         " ".join(adjusted)])  # fmt: skip
    return file.getvalue()


def _sum_of(student: Student, exercise: str) -> float | None:
    points = [grade.points for grade in student.grades if grade.task.exercise == exercise]
    return None if not points or None in points else sum(points)


def _no_formula(text: str) -> str:
    """A spreadsheet would run a name such as ``=cmd()``."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _line(student: Student, grade: Grade) -> dict:
    late = grade.task.exercise in student.late
    adjustment = grade.adjustment and {"points": grade.adjustment.points,
                                       "reason": grade.adjustment.reason,
                                       "who": grade.adjustment.who}  # fmt: skip
    return {
        "student": student.name,
        "exercise": grade.task.exercise,
        "task": grade.task.name,
        "points": grade.points,
        "max_points": grade.task.max_points,
        "graded_points": grade.result.get("points"),
        "adjustment": adjustment,
        "late": late,
        "message": grade.message,
        "student_message": grade.student_message,
        "misconception": grade.result.get("misconception"),
        "remark": grade.remark,
        "seconds": grade.result.get("seconds"),
        "checks": grade.checks,
    }


def _templates():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,  # names, code and messages come from students
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    templates.filters["points"] = format_points
    return templates
