"""What every report is made from: students, tasks, points, and what needs a look.

An instructor's adjustments are in a CSV table with the columns student, task, points, reason, who;
or in TOML, with a table [[adjustment]] each. The task is a grade_id, or exercise/grade_id. The
points replace the graded ones. Grading never writes this file, so they survive every regrading.
"""

import csv
import math
import statistics
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .store import Store

COLUMNS = ("student", "task", "points", "reason", "who")
NO_ANSWER = "the notebook has no answer cell for this task"
OUTCOMES_TO_LOOK_AT = {"time limit", "died", "unreadable"}


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


@dataclass(frozen=True)
class Task:
    exercise: str
    name: str
    max_points: float

    @property
    def column(self) -> str:
        return f"{self.exercise}/{self.name}"


@dataclass(frozen=True)
class Grade:
    """One student's answer to one task; ``points`` is None as long as it is not graded."""

    task: Task
    points: float | None
    message: str
    student_message: str
    source: str = ""
    remark: str | None = None
    result: dict = field(default_factory=dict)
    adjustment: Adjustment | None = None

    @property
    def checks(self) -> list[dict]:
        return self.result.get("checks", [])

    @property
    def to_look_at(self) -> list[str]:
        odd = self.points is None or {c["outcome"] for c in self.checks} & OUTCOMES_TO_LOOK_AT
        return [text for text in (self.remark, self.message if odd else None) if text]


@dataclass(frozen=True)
class Student:
    """One student's grades in the order of the tasks, and what was handed in."""

    name: str
    grades: list[Grade]
    submissions: list[dict]

    @property
    def total(self) -> float | None:
        return _sum([grade.points for grade in self.grades])

    def points_of(self, exercise: str) -> float | None:
        """The points of an exercise; None where nothing was handed in."""
        points = [grade.points for grade in self.grades if grade.task.exercise == exercise]
        return _sum(points) if points else None

    @property
    def late(self) -> list[str]:
        return [each["exercise"] for each in self.submissions if each["late"]]


def _sum(points: list[float | None]) -> float | None:
    """None while something is not graded, so that no one takes a part for the whole."""
    return None if None in points else sum(points)


@dataclass(frozen=True)
class Gradebook:
    tasks: list[Task]
    students: list[Student]

    @property
    def max_points(self) -> float:
        return sum(task.max_points for task in self.tasks)

    def task_figures(self) -> list[dict]:
        """For each task, the hardest first: mean share of its points, what went wrong how often."""
        rows = []
        for task in self.tasks:
            graded = [g for student in self.students for g in student.grades
                      if g.task == task and g.points is not None]  # fmt: skip
            share = statistics.fmean(g.points for g in graded) / task.max_points if graded else None
            found = Counter((g.result["misconception"], g.message) for g in graded
                            if g.result.get("misconception"))  # fmt: skip
            mistakes = [(n, name, message) for (name, message), n in found.most_common()]
            rows.append({"task": task, "n": len(graded), "share": share, "mistakes": mistakes})
        return sorted(rows, key=lambda row: math.inf if row["share"] is None else row["share"])

    def to_look_at(self) -> list[tuple[str, str, str]]:
        """(student, where, what) of everything that a person should see."""
        rows = []
        for student in self.students:
            for each in student.submissions:
                rows += [(student.name, each["exercise"], text) for text in each["remarks"]]
            for grade in student.grades:
                rows += [(student.name, grade.task.column, text) for text in grade.to_look_at]
        return rows


def make_gradebook(
    store: Store, tasks: list[Task], adjustments: list[Adjustment], failures: dict[str, str]
) -> Gradebook:
    """The book of everything in the store; ``failures``: why an answer is not graded, by key."""
    answers = {(row["student"], row["exercise"], row["task"]): row for row in store.answers()}
    students: dict[str, Student] = {}
    for row in store.submissions():
        student = students.setdefault(row["student"], Student(row["student"], [], []))
        student.submissions.append(row)
    handed_in = [(student, task, row) for student in students.values() for task in tasks
                 if (row := answers.get((student.name, task.exercise, task.name)))]  # fmt: skip
    check_adjustments(adjustments, [(student.name, task) for student, task, _ in handed_in])
    for student, task, row in handed_in:
        student.grades.append(_grade(task, row, adjustments, failures))
    return Gradebook(tasks, list(students.values()))


def _grade(task: Task, row: dict, adjustments: list[Adjustment], failures: dict) -> Grade:
    result = row["result"] or {}
    points, message = result.get("points"), result.get("message")
    told = result.get("student_message")
    if row["source"] is None:
        points, message, told = 0, NO_ANSWER, NO_ANSWER
    elif not result:
        message = f"not graded: {failures.get(row['key'], 'grading was interrupted')}"
        told = "not graded yet"
    given = [a for a in adjustments if a.is_for(row["student"], task.exercise, task.name)]
    adjustment, points = (given[0], given[0].points) if given else (None, points)
    source = row["source"] or ""
    return Grade(task, points, message, told, source, row["remark"], result, adjustment)


def read_adjustments(path: Path) -> list[Adjustment]:
    """The adjustments in a file. ValueError if it, or a row of it, is not as described above."""
    try:
        if path.suffix == ".toml":
            rows = tomllib.loads(path.read_text(encoding="utf-8")).get("adjustment", [])
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, skipinitialspace=True, strict=True)
                rows = [row for row in reader if any(row.values())]
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                names = ", ".join(sorted(missing))
                raise ValueError(f"adjustments: {path} lacks the columns {names}")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, csv.Error) as error:
        raise ValueError(f"adjustments: {path} cannot be read: {error}") from error
    found = [_adjustment(row, f"{path}, adjustment {i}") for i, row in enumerate(rows, start=1)]
    for (student, task), n in Counter((each.student, each.task) for each in found).items():
        if n > 1:
            raise ValueError(f"adjustments: {path} has two for {student!r}, task {task!r}")
    return found


def _adjustment(row: dict, where: str) -> Adjustment:
    if not isinstance(row, dict):
        raise ValueError(f"adjustments: {where} is no table [[adjustment]]")
    texts = {name: str(row.get(name) or "").strip() for name in COLUMNS if name != "points"}
    if empty := [name for name, text in texts.items() if not text]:
        raise ValueError(f"adjustments: {where} has no {empty[0]}")
    try:
        points = float(row.get("points"))
    except (TypeError, ValueError):
        points = math.nan
    if not math.isfinite(points):
        raise ValueError(f"adjustments: {where}: points {row.get('points')!r}, a number is needed")
    return Adjustment(points=points, **texts)


def check_adjustments(adjustments: list[Adjustment], handed_in: list[tuple[str, Task]]) -> None:
    """Refuse adjustments that fit no answer of a (student, task), or two, or too many points."""
    for adjustment in adjustments:
        fitting = [task for student, task in handed_in
                   if adjustment.is_for(student, task.exercise, task.name)]  # fmt: skip
        where = f"adjustments: student {adjustment.student!r}, task {adjustment.task!r}"
        if len(fitting) != 1:
            why = "in several exercises: write exercise/task" if fitting else "nothing handed in"
            raise ValueError(f"{where}: {why}")
        if not 0 <= adjustment.points <= fitting[0].max_points:
            most = f"0 to {fitting[0].max_points:g} can be"
            raise ValueError(f"{where}: got {adjustment.points:g} points, {most}")
