"""What every report is made from: a row for each answer, with its points and what needs a look.

An instructor's adjustments are in a CSV table with the columns student, task, points, reason, who.
The task is a grade_id, or exercise/grade_id. The points replace the graded ones. Grading never
writes this file, so they survive every regrading.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from .people import read_table
from .store import Store

ADJUSTMENT = ("student", "task", "points", "reason", "who")
NO_ANSWER = "the notebook has no answer cell for this task"
WRITTEN = "an open question: a person reads it and gives the points"
# What begins a formula, in the first cell or in one behind another country's separator.
FORMULA = re.compile(r"(^|[;\t\r\n|])(?=\s*[=+\-@＝＋－＠])|^(?=[\t\r])")
OUTCOMES_TO_LOOK_AT = {"time limit", "died", "unreadable", "wrong name", "NameError",
                       "SyntaxError"}  # fmt: skip
UNTOLD = {"not run", "not answered"}  # outcomes that say nothing of an answer
RESULT = ("student", "exercise", "task", "points", "max_points", "graded_points", "adjustment",
          "late", "message", "student_message", "misconception", "remark", "seconds", "passed",
          "visible", "checks")  # fmt: skip


@dataclass(frozen=True)
class Gradebook:
    """``tasks`` are the most points by "exercise/task", in the order of the course.

    A row has all that is known of an answer: RESULT, its source, and "exercise/task" as its column;
    its points are None as long as it is not graded. Rows are in the order of students and tasks.
    The "parts" of an answer to an open question are a list; None for other tasks.
    """

    tasks: dict[str, float]
    rows: list[dict]
    submissions: list[dict]

    @property
    def students(self) -> list[str]:
        return list(by_student(self.submissions))

    @property
    def max_points(self) -> float:
        return sum(self.tasks.values())

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows; their points are nan where something is not graded."""
        table = pd.DataFrame(self.rows, columns=[*RESULT, "column"])
        return table.astype({"points": float})

    def sums(self, *by: str) -> pd.Series:
        """Points by columns of the table; nan while a part is not graded."""
        return self.table.groupby(list(by))["points"].agg(lambda each: each.sum(skipna=False))

    @cached_property
    def totals(self) -> pd.Series:
        return self.sums("student").reindex(self.students, fill_value=0.0)

    @property
    def late(self) -> dict[str, list[str]]:
        """What each student has handed in late, by exercise."""
        late = by_student(each for each in self.submissions if each["late"])
        return {student: [each["exercise"] for each in own] for student, own in late.items()}

    @cached_property
    def written(self) -> dict[str, list[dict]]:
        """The answers to each open question."""
        rows = [row for row in self.rows if row["parts"]]
        return {task: found for task in self.tasks
                if (found := [row for row in rows if row["column"] == task])}  # fmt: skip

    def task_figures(self) -> list[dict]:
        """For each task, the hardest first: mean share of its points, what went wrong how often."""
        figures = []
        for task, most in self.tasks.items():
            if task in self.written:
                continue
            graded = self.table[self.table["column"] == task].dropna(subset="points")
            wrong = graded.dropna(subset="misconception")
            found = Counter(zip(wrong["misconception"], wrong["message"], strict=True))
            mistakes = [(n, name, message) for (name, message), n in found.most_common()]
            share = graded["points"].mean() / most if len(graded) else math.inf
            is_tried = graded["checks"].map(lambda checks: not _outcomes(checks) <= UNTOLD)
            tried = graded[is_tried.astype(bool)]
            unknown = tried[tried["misconception"].isna() & ~tried["passed"].astype(bool)]
            cases = Counter(map(_first_failure, unknown["checks"]))
            rates = [(each[0]["label"], sum(check["outcome"] == "passed" for check in each))
                     for each in zip(*tried["checks"], strict=False)]  # fmt: skip
            figures.append({"task": task, "n": len(graded), "share": share, "mistakes": mistakes,
                            "n_tried": len(tried), "rates": rates,
                            "unknown": cases.most_common()})  # fmt: skip
        return sorted(figures, key=lambda row: row["share"])

    def disagreements(self) -> dict[str, dict[str, list[str]]]:
        """Students by task and by what visible and hidden tests say, where that is not the same."""
        found: dict[str, dict[str, list[str]]] = {}
        for row in self.rows:
            visible = (row["visible"] or {"outcome": "not run"})["outcome"]
            if visible not in UNTOLD and (visible == "passed") != row["passed"]:
                one, other = ("fails", "passes") if row["passed"] else ("passes", "fails")
                kind = f"visible {one}, hidden {other}"
                found.setdefault(row["column"], {}).setdefault(kind, []).append(row["student"])
        return found

    @property
    def not_graded(self) -> list[str]:
        """Answers without points that no person has to give, and why."""
        return sorted({f"{row['student']}, {row['column']}: {row['message']}" for row in self.rows
                       if row["points"] is None and not row["parts"]})  # fmt: skip

    def to_look_at(self) -> list[tuple[str, str, str]]:
        """(student, where, what) of everything that a person should see."""
        found = [(each["student"], each["exercise"], text)
                 for each in self.submissions for text in each["remarks"]]  # fmt: skip
        for row in self.rows:
            not_graded = row["points"] is None and not row["parts"]
            odd = not_graded or _outcomes(row["checks"]) & OUTCOMES_TO_LOOK_AT
            texts = (row["remark"], row["message"] if odd else None)
            found += [(row["student"], row["column"], text) for text in texts if text]
        return sorted(found, key=lambda each: each[0])  # stable: submissions, then answers


def _outcomes(checks: list[dict]) -> set[str]:
    return {check["outcome"] for check in checks}


def _first_failure(checks: list[dict]) -> str:
    """The first case that fails, and how; what ends every case in the same way is told so."""
    failed = [check for check in checks if check["outcome"] != "passed"]
    same = len(failed) == len(checks) > 1 and len({check["message"] for check in failed}) == 1
    return f"{'every case' if same else failed[0]['label']}: {failed[0]['outcome']}"


def by_student(rows: Iterable[dict]) -> dict[str, list[dict]]:
    """The rows of each student."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["student"], []).append(row)
    return found


def make_gradebook(
    store: Store,
    tasks: dict[tuple[str, str], float],
    adjustments: list[dict],
    failures: dict[str, str],
) -> Gradebook:
    """The book of everything in the store; ``failures``: why an answer is not graded, by key.

    ValueError for an adjustment that fits no answer, or several, or gives too many points.
    """
    answers = {(row["student"], row["exercise"], row["task"]): row for row in store.answers()}
    submissions = store.submissions()
    rows = [_row(answers[student, *task], most, failures) for student in by_student(submissions)
            for task, most in tasks.items() if (student, *task) in answers]  # fmt: skip
    for adjustment in adjustments:
        _adjust(rows, **adjustment)
    return Gradebook({"/".join(task): most for task, most in tasks.items()}, rows, submissions)


def _row(answer: dict, max_points: float, failures: dict[str, str]) -> dict:
    result, told = answer["result"] or {}, {}
    if answer["source"] is None:
        told = {"points": 0, "message": NO_ANSWER, "student_message": NO_ANSWER}
    elif answer["parts"]:
        told = {"message": WRITTEN, "student_message": WRITTEN}
    elif answer["parts"] is not None:
        told = {"points": 0, "message": "not answered", "student_message": "not answered"}
    elif not result:
        why = failures.get(answer["key"], "grading was interrupted")
        told = {"message": f"not graded: {why}", "student_message": "not graded yet"}
    else:
        places = {name: place for name, place in (answer["names"] or {}).items()
                  if name in result.get("undefined", [])}  # fmt: skip
        where = "".join(f". The notebook defines {name} in {place}: it is needed in this cell, too"
                        for name, place in sorted(places.items()))  # fmt: skip
        told = {name: result[name] + where for name in ("message", "student_message")}
    return {**dict.fromkeys(RESULT), "checks": [], **answer, **result, **told,
            "late": bool(answer["late"]), "column": f"{answer['exercise']}/{answer['task']}",
            "max_points": max_points, "graded_points": result.get("points")}  # fmt: skip


def no_formula(text: str) -> str:
    """A spreadsheet would run a name such as ``=cmd()``."""
    return FORMULA.sub(r"\1'", text)


def _adjust(rows: list[dict], student: str, task: str, points: float, **why: str) -> None:
    fitting = [row for row in rows if student in (row["student"], no_formula(row["student"]))
               and task in (row["task"], row["column"])]  # fmt: skip
    where = f"adjustments: student {student!r}, task {task!r}"
    if len(fitting) != 1:
        told = "in several exercises: write exercise/task" if fitting else "nothing handed in"
        raise ValueError(f"{where}: {told}")
    (row,) = fitting
    if row["adjustment"] is not None:
        raise ValueError(f"{where}: there are two")
    if not 0 <= points <= row["max_points"]:
        raise ValueError(f"{where}: got {points:g} points, 0 to {row['max_points']:g} can be")
    row.update(points=points, adjustment={"points": points, **why})


def read_adjustments(path: Path, may_be_absent: bool = False) -> list[dict]:
    """The adjustments in a file. ValueError if it, or a row of it, is not as described above."""
    if may_be_absent and not path.exists():
        if (toml := path.with_suffix(".toml")).exists():
            raise ValueError(f"adjustments: {toml} is not read; write a CSV table {path.name}")
        return []
    table = read_table("adjustments", path)
    if missing := set(ADJUSTMENT) - set(table):
        raise ValueError(f"adjustments: {path} lacks the columns {', '.join(sorted(missing))}")
    rows = table.loc[(table != "").any(axis=1), list(ADJUSTMENT)].to_dict("records")
    for i, row in enumerate(rows, start=1):
        where = f"adjustments: {path}, adjustment {i}"
        if empty := [name for name in ADJUSTMENT if name != "points" and not row[name]]:
            raise ValueError(f"{where} has no {empty[0]}")
        points = pd.to_numeric(row["points"], errors="coerce")
        if not math.isfinite(points):
            raise ValueError(f"{where}: points {row['points']!r}, a number is needed")
        row["points"] = float(points)
    return rows
