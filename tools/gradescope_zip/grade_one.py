"""Grades one submission on Gradescope: ``grade_one.py FOLDER``, with source/ and submission/ in it.

Writes FOLDER/results/results.json (https://gradescope-autograders.readthedocs.io/en/latest/specs/).
If an answer can't be graded, which is no student's fault, nothing is written: Gradescope then
tells the instructor that the autograder failed, and gives no points that would be too few.

A container seldom lets bubblewrap make its namespaces. There the answers run as the user nobody,
who may read neither the solutions nor the results, as Gradescope's own guide advises.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from grader import GradingError, cells
from grader.grade import Outcome, Settings, grade
from grader.gradebook import Gradebook
from grader.sandbox import VARIABLES, Sandbox

SOURCE = Path(__file__).resolve().parent
SETTINGS = SOURCE / "settings.json"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"]


class AsNobody(Sandbox):
    """Workers without rights, and without bubblewrap."""

    def environment(self) -> dict[str, str]:
        return dict(VARIABLES)

    def command(self) -> list[str]:
        return [*NOBODY, *self.limits.prlimit()]


def main(folder: Path) -> None:
    start, known = time.monotonic(), json.loads(SETTINGS.read_text())
    for path in (SOURCE / "solutions", SETTINGS, folder / "results", folder / "submission"):
        path.chmod(path.stat().st_mode & ~0o077)
    with tempfile.TemporaryDirectory() as scratch:
        with contextlib.suppress(shutil.Error):  # what can't be copied is no notebook
            # The folder's name is the student's, whatever the files are called.
            shutil.copytree(folder / "submission", Path(scratch, "in", "student"), symlinks=True)
        try:
            book = graded(Path(scratch), known["exercise"], known["seed"]).book
        except ValueError as error:  # no notebook at all
            book = Gradebook({}, [], [{"student": "student", "remarks": [str(error)]}])
    results = {**results_of(book, known["exercise"]),
               "execution_time": round(time.monotonic() - start)}  # fmt: skip
    fresh = folder / "results" / "results.json.new"
    fresh.write_text(json.dumps(results, indent=1), encoding="utf-8")
    fresh.rename(folder / "results" / "results.json")


def graded(scratch: Path, exercise: str, seed: int) -> Outcome:
    """The submission graded, in bubblewrap if it holds here, else as nobody if root may do that."""
    settings = Settings(exercises=[exercise], seed=seed, jobs=1)
    try:
        return grade(SOURCE, scratch / "in", scratch / "out", settings)
    except GradingError as error:
        print(error)
        readable = subprocess.run([*NOBODY, "cat", SETTINGS], capture_output=True)
        if os.geteuid() or not readable.returncode:
            sys.exit("no sandbox here, and the answers can't be run as another user")
    settings = replace(settings, unsafe=True, sandbox=AsNobody(bubblewrap=False))
    return grade(SOURCE, scratch / "in", scratch / "out", settings)


def results_of(book: Gradebook, exercise: str) -> dict:
    """What results.json tells; ends the program if an answer could not be graded."""
    solution = cells.read_notebook(SOURCE / "solutions" / f"{exercise}.ipynb")
    titles = cells.titles(solution)
    rows = [row for row in book.rows  # a person marks the others
            if cells.role(cells.find_cell(solution, row["task"])) == "solution"]  # fmt: skip
    if failed := [row for row in rows if row["points"] is None]:
        sys.exit("\n".join(f"{row['task']}: {row['message']}" for row in failed))
    tests = [
        {
            "number": str(number),
            "name": titles[row["task"]],
            "score": row["points"],
            "max_score": row["max_points"],
            "status": "passed" if row["points"] == row["max_points"] else "failed",
            "output": "\n".join(told(row)),
            "output_format": "text",
        }
        for number, row in enumerate(rows, start=1)
    ]
    remarks = [remark for each in book.submissions for remark in each["remarks"]]
    if not tests:
        remarks += [f"There is no notebook of the exercise; hand in {exercise}.ipynb."]
    return {"output": "\n".join(remarks), "output_format": "text", "stdout_visibility": "hidden",
            **({"tests": tests} if tests else {"score": 0})}  # fmt: skip


def told(row: dict) -> list[str]:
    """What a student is told of an answer: no hidden input is in it."""
    checks = [f"hidden check, {check['label']}: {check['outcome']}" for check in row["checks"]]
    visible = row["visible"] or {}
    tests = [text for text in (visible.get("outcome"), visible.get("student_message")) if text]
    return [row["student_message"], *filter(None, [row["remark"]]), *checks,
            *([f"visible tests: {', '.join(tests)}"] if tests else [])]  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
