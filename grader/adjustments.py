"""Manual adjustments: a table that an instructor keeps, applied to every report.

CSV with the columns student, task, points, reason, who; or TOML with a table [[adjustment]] each.
The task is a grade_id, or exercise/grade_id. The points replace the graded ones. Grading never
writes this file, so an adjustment survives every regrading.
"""

import csv
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("student", "task", "points", "reason", "who")


@dataclass(frozen=True)
class Adjustment:
    """Points that a person gave, with the reason and who it was."""

    student: str
    task: str
    points: float
    reason: str
    who: str

    def is_for(self, student: str, exercise: str, task: str) -> bool:
        return self.student == student and self.task in (task, f"{exercise}/{task}")


def read_adjustments(path: Path) -> list[Adjustment]:
    """The adjustments in a file.

    Raises:
        ValueError: the file, or a row of it, is not as described above; the message says where.
    """
    try:
        rows = _rows(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, csv.Error) as error:
        raise ValueError(f"adjustments: {path} cannot be read: {error}") from error
    found = [_adjustment(row, f"{path}, adjustment {i}") for i, row in enumerate(rows, start=1)]
    seen: set[tuple[str, str]] = set()
    for adjustment in found:
        which = (adjustment.student, adjustment.task)
        if which in seen:
            raise ValueError(f"adjustments: {path} has two for {which[0]!r}, task {which[1]!r}")
        seen.add(which)
    return found


def check_adjustments(
    adjustments: list[Adjustment], rows: list[tuple[str, str, str, float]]
) -> None:
    """Refuse adjustments that fit nothing.

    Args:
        rows: (student, exercise, task, max_points) of everything that can be adjusted.

    Raises:
        ValueError: no such student and task, or points below 0 or above the task's.
    """
    for adjustment in adjustments:
        fitting = [row for row in rows if adjustment.is_for(*row[:3])]
        where = f"adjustments: student {adjustment.student!r}, task {adjustment.task!r}"
        if len(fitting) != 1:
            why = "in several exercises: write exercise/task" if fitting else "nothing handed in"
            raise ValueError(f"{where}: {why}")
        if not 0 <= adjustment.points <= fitting[0][3]:
            raise ValueError(
                f"{where}: got {adjustment.points:g} points, 0 to {fitting[0][3]:g} can be"
            )


def _rows(path: Path) -> list[dict]:
    if path.suffix == ".toml":
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("adjustment", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"adjustments: {path} needs tables [[adjustment]]")
        return rows
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True, strict=True)
        rows = [row for row in reader if any(row.values())]
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if missing:
        raise ValueError(f"adjustments: {path} lacks the columns {', '.join(sorted(missing))}")
    return rows


def _adjustment(row: dict, where: str) -> Adjustment:
    texts = {name: str(row.get(name) or "").strip() for name in COLUMNS if name != "points"}
    empty = [name for name, text in texts.items() if not text]
    if empty:
        raise ValueError(f"adjustments: {where} has no {empty[0]}")
    try:
        points = float(row.get("points"))
    except (TypeError, ValueError):
        points = math.nan
    if not math.isfinite(points):
        raise ValueError(f"adjustments: {where}: points {row.get('points')!r}, a number is needed")
    return Adjustment(points=points, **texts)
