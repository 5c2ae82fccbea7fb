#!/usr/bin/env python3
"""Points for a learning platform: the results folder and the platform's own list, joined.

    python tools/lms.py canvas RESULTS ROSTER.csv --out upload.csv
    python tools/lms.py moodle RESULTS ROSTER.csv --out upload.csv

ROSTER.csv is what the platform itself exports, so that its students are named as it knows them:
Canvas' gradebook (Student, ID, SIS User ID, SIS Login ID, Section), or Moodle's grades or grading
worksheet (Identifier, Full name, Email address, ID number). The upload keeps these columns and has
one more for each exercise, with its points; empty where nothing was graded.

A student of the results is the one row of the roster with that ID, login, e-mail or name; a number
at the end, as platforms put it into the names of what they let you download, counts as the ID.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

if TYPE_CHECKING:  # --help answers at once
    import pandas as pd

NEEDED = {"canvas": {"Student", "ID"}, "moodle": {"Identifier", "Email address", "ID number"}}


def upload(kind: str, results: Path, roster: Path) -> tuple[str, list[str], list[str]]:
    """The platform's CSV, students that the roster lacks, and roster rows without results.

    ValueError for a file that can't be read or lacks columns, or a student who fits two rows.
    """
    from grader.gradebook import no_formula
    from grader.reports import format_points

    points, most = _read_results(results)
    table = _read_roster(kind, roster)
    found: dict[int, str] = {}
    unknown = []
    for student in points.index:
        if (row := _find_row(student, table)) is None:
            unknown.append(student)
        elif found.setdefault(row, student) != student:
            raise ValueError(f"roster: {found[row]} and {student} are the same row of {roster}")
    absent = [" ".join(row[:2]) for i, row in table.iterrows() if i not in found]
    own = points.reindex([found.get(i) for i in table.index])[most.index].map(format_points)
    upload = table.map(no_formula).join(own.set_axis(table.index))
    lines = upload.to_csv(index=False, lineterminator="\n").splitlines(keepends=True)
    if kind == "canvas":
        blank = ["    Points Possible", *[""] * (len(table.columns) - 1)]
        lines.insert(1, ",".join([*blank, *map(format_points, most)]) + "\n")
    return "".join(lines), unknown, absent


def _read_results(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Points by student and exercise (nan: a task isn't graded), most points by exercise."""
    import pandas as pd

    path = folder / "results.jsonl"
    try:
        rows = pd.read_json(path, lines=True, dtype=False).astype({"points": float})
        points = rows.groupby(["student", "exercise"], sort=False)["points"]
        table = points.agg(lambda each: each.sum(skipna=False)).unstack()
        tasks = rows.drop_duplicates(["exercise", "task"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"results: {path} cannot be read: {error}") from error
    return table, tasks.groupby("exercise")["max_points"].sum()


def _read_roster(kind: str, path: Path) -> pd.DataFrame:
    from grader.people import ROSTER, read_table

    table = read_table("roster", path)
    header, needed = [name for name in ROSTER[kind] if name in table], sorted(NEEDED[kind])
    every, enough = ("all", all) if kind == "canvas" else ("one", any)
    if not enough(name in header for name in needed):
        raise ValueError(f"roster: {path} needs {every} of {needed}, has {list(table)}")
    table = table[header]
    return table[table["Student"] != "Points Possible"] if "Student" in table else table


def _find_row(student: str, table: pd.DataFrame) -> int | None:
    from grader.people import NOT_IDENTIFYING

    student = unicodedata.normalize("NFC", student)
    names = {student}
    if number := re.search(r"_(\d+)$", student):
        names |= {number.group(1), f"Participant {number.group(1)}"}
    identifying = table.drop(columns=NOT_IDENTIFYING & set(table))
    fitting = table.index[identifying.isin(names).any(axis=1)]
    if len(fitting) > 1:
        raise ValueError(f"roster: {student!r} fits {len(fitting)} rows")
    return fitting[0] if len(fitting) else None


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 everyone was found, 1 someone was not (written all the same), 2 an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("platform", choices=sorted(NEEDED))
    parser.add_argument("results", type=Path, help="what `grade --out` wrote")
    parser.add_argument("roster", type=Path, help="the platform's own list of students, CSV")
    parser.add_argument("--out", type=Path, required=True, help="the file to upload")
    arguments = parser.parse_args(argv)
    from grader.reports import write_whole

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
