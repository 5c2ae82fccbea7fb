"""What every report is made from: students, tasks, points, and what needs a look."""

import statistics
from collections import Counter
from dataclasses import dataclass, field

from .adjustments import Adjustment, check_adjustments
from .store import Store

NO_ANSWER = "the notebook has no answer cell for this task"
OUTCOMES_TO_LOOK_AT = {"time limit", "died", "unreadable"}


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


@dataclass(frozen=True)
class Student:
    """One student's grades in the order of the tasks, and what was handed in."""

    name: str
    grades: list[Grade]
    submissions: list[dict]

    @property
    def total(self) -> float | None:
        """None while something is not graded, so that no one takes a part for the whole."""
        points = [grade.points for grade in self.grades]
        return None if None in points else sum(points)

    @property
    def late(self) -> list[str]:
        return [each["exercise"] for each in self.submissions if each["late"]]


@dataclass(frozen=True)
class Gradebook:
    tasks: list[Task]
    students: list[Student]
    failures: dict[str, str]

    @property
    def max_points(self) -> float:
        return sum(task.max_points for task in self.tasks)

    def task_figures(self) -> list[dict]:
        """For each task, the hardest first: mean share of its points, what went wrong how often."""
        rows = []
        for task in self.tasks:
            grades = [g for s in self.students for g in s.grades if g.task == task]
            graded = [grade for grade in grades if grade.points is not None]
            share = statistics.fmean(g.points for g in graded) / task.max_points if graded else None
            found = Counter(g.result["misconception"] for g in graded
                            if g.result.get("misconception"))  # fmt: skip
            messages = {g.result.get("misconception"): g.message for g in graded}
            mistakes = [(n, name, messages[name]) for name, n in found.most_common()]
            rows.append({"task": task, "n": len(graded), "share": share, "mistakes": mistakes})
        return sorted(rows, key=lambda row: 2.0 if row["share"] is None else row["share"])

    def to_look_at(self) -> list[tuple[str, str, str]]:
        """(student, where, what) of everything that a person should see."""
        rows = []
        for student in self.students:
            for each in student.submissions:
                rows += [(student.name, each["exercise"], text) for text in each["remarks"]]
            for grade in student.grades:
                rows += [(student.name, grade.task.column, text) for text in _odd(grade)]
        return rows


def _odd(grade: Grade) -> list[str]:
    texts = [grade.remark] if grade.remark else []
    outcomes = {check["outcome"] for check in grade.checks} & OUTCOMES_TO_LOOK_AT
    if grade.points is None or outcomes:
        texts.append(grade.message)
    return texts


def make_gradebook(
    store: Store, tasks: list[Task], adjustments: list[Adjustment], failures: dict[str, str]
) -> Gradebook:
    """The book of everything in the store.

    Args:
        tasks: in the order of the columns.
        failures: why an answer could not be graded, by key.

    Raises:
        ValueError: an adjustment for something that was not handed in.
    """
    answers = {(row["student"], row["exercise"], row["task"]): row for row in store.answers()}
    submissions: dict[str, list[dict]] = {}
    for row in store.submissions():
        submissions.setdefault(row["student"], []).append(row)
    rows = [(student, task.exercise, task.name, task.max_points)
            for student in submissions for task in tasks
            if (student, task.exercise, task.name) in answers]  # fmt: skip
    check_adjustments(adjustments, rows)
    students = []
    for student, handed_in in submissions.items():
        grades = [
            _grade(task, answers[student, task.exercise, task.name], adjustments, failures)
            for task in tasks
            if (student, task.exercise, task.name) in answers
        ]
        students.append(Student(student, grades, handed_in))
    return Gradebook(tasks, students, failures)


def _grade(task: Task, row: dict, adjustments: list[Adjustment], failures: dict) -> Grade:
    result = row["result"] or {}
    adjustment = next((a for a in adjustments
                       if a.is_for(row["student"], task.exercise, task.name)), None)  # fmt: skip
    points = result.get("points")
    message, told = result.get("message"), result.get("student_message")
    if row["source"] is None:
        points, message, told = 0, NO_ANSWER, NO_ANSWER
    elif not result:
        message = f"not graded: {failures.get(row['key'], 'grading was interrupted')}"
        told = "not graded yet"
    if adjustment is not None:
        points = adjustment.points
    return Grade(task, points, message, told, row["source"] or "", row["remark"], result,
                 adjustment)  # fmt: skip
