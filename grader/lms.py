"""Points for a learning platform: the results folder and the platform's own list, joined.

    python -m grader.lms canvas RESULTS ROSTER.csv --out upload.csv
    python -m grader.lms moodle RESULTS ROSTER.csv --out upload.csv

ROSTER.csv is what the platform itself exports, so that its students are named as it knows them:
Canvas' gradebook (Student, ID, SIS User ID, SIS Login ID, Section), or Moodle's grades or grading
worksheet (Identifier, Full name, Email address, ID number). The upload keeps these columns and has
one more for each exercise, with its points; empty where nothing was graded.

A student of the results is the one row of the roster with that ID, login, e-mail or name; a number
at the end, as platforms put it into the names of what they let you download, counts as the ID.
"""

import argparse
import csv
import io
import json
import re
import sys
from pathlib import Path

from .reports import FORMULA, format_points, write_whole

COLUMNS = {
    "canvas": ("Student", "ID", "SIS User ID", "SIS Login ID", "Section"),
    "moodle": ("Identifier", "Full name", "First name", "Last name", "Email address", "ID number"),
}
NEEDED = {"canvas": {"Student", "ID"}, "moodle": {"Identifier", "Email address", "ID number"}}
NOT_IDENTIFYING = {"Section", "First name", "Last name"}


def upload(kind: str, results: Path, roster: Path) -> tuple[str, list[str], list[str]]:
    """The platform's CSV.

    Returns:
        (CSV text, students of the results that the roster lacks, roster rows without results).

    Raises:
        ValueError: a file that can't be read or lacks columns, or a student who fits two rows.
    """
    points, most = _read_results(results)
    header, rows = _read_roster(kind, roster)
    exercises = sorted(most)
    lines = [[*header, *exercises]]
    if kind == "canvas":
        blank = ["    Points Possible", *[""] * (len(header) - 1)]
        lines.append([*blank, *(format_points(most[name]) for name in exercises)])
    row_of = {student: _find_row(student, rows) for student in points}
    taken = [row for row in row_of.values() if row is not None]
    twice = sorted(s for s, row in row_of.items() if row is not None and taken.count(row) > 1)
    if twice:
        raise ValueError(f"roster: {' and '.join(twice)} are the same row of {roster}")
    student_of = {row: student for student, row in row_of.items() if row is not None}
    for i, row in enumerate(rows):
        own = points.get(student_of.get(i), {})
        cells = ["" if own.get(e) is None else format_points(own[e]) for e in exercises]
        lines.append([*(_no_formula(row[name]) for name in header), *cells])
    unknown = [student for student, row in row_of.items() if row is None]
    absent = [" ".join(r[c] for c in header[:2]) for i, r in enumerate(rows) if i not in student_of]
    return _csv_text(lines), unknown, absent


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _csv_text(lines: list[list[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()


def _read_results(folder: Path) -> tuple[dict[str, dict[str, float | None]], dict[str, float]]:
    """Points by student and exercise (None: a task isn't graded), most points by exercise."""
    path = folder / "results.jsonl"
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ValueError(f"results: {path} cannot be read: {error}") from error
    points: dict[str, dict[str, float | None]] = {}
    tasks: dict[str, dict[str, float]] = {}
    for row in found:
        own = points.setdefault(row["student"], {})
        before = own.get(row["exercise"], 0)
        known = None not in (before, row["points"])
        own[row["exercise"]] = before + row["points"] if known else None
        tasks.setdefault(row["exercise"], {})[row["task"]] = row["max_points"]
    return points, {exercise: sum(each.values()) for exercise, each in tasks.items()}


def _read_roster(kind: str, path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"roster: {path} cannot be read: {error}") from error
    given = reader.fieldnames or []
    header = [name for name in COLUMNS[kind] if name in given]
    needed = NEEDED[kind]
    if not (needed <= set(header) if kind == "canvas" else needed & set(header)):
        every = "all" if kind == "canvas" else "one"
        raise ValueError(f"roster: {path} needs {every} of {sorted(needed)}, has {given}")
    rows = [row for row in rows if (row.get("Student") or "").strip() != "Points Possible"]
    return header, [{name: row[name].strip() for name in header} for row in rows]


def _find_row(student: str, rows: list[dict[str, str]]) -> int | None:
    number = re.search(r"_(\d+)$", student)
    names = {student} | ({number.group(1), f"Participant {number.group(1)}"} if number else set())
    fitting = [
        i
        for i, row in enumerate(rows)
        if names & {value for name, value in row.items() if name not in NOT_IDENTIFYING}
    ]
    if len(fitting) > 1:
        raise ValueError(f"roster: {student!r} fits {len(fitting)} rows")
    return fitting[0] if fitting else None


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 everyone was found, 1 someone was not (written all the same), 2 an error."""
    parser = argparse.ArgumentParser(
        prog="python -m grader.lms", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("platform", choices=sorted(COLUMNS))
    parser.add_argument("results", type=Path, help="what `grade --out` wrote")
    parser.add_argument("roster", type=Path, help="the platform's own list of students, CSV")
    parser.add_argument("--out", type=Path, required=True, help="the file to upload")
    arguments = parser.parse_args(argv)
    try:
        text, unknown, absent = upload(arguments.platform, arguments.results, arguments.roster)
        write_whole(arguments.out, text)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for who in absent:
        print(f"nothing handed in: {who}")
    for who in unknown:
        print(f"not in the roster, left out: {who}", file=sys.stderr)
    return int(bool(unknown))


if __name__ == "__main__":
    sys.exit(main())
