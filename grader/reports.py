"""Files for people: grades.csv, results.jsonl, summary.html, feedback/ and written/."""

import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from .gradebook import RESULT, Gradebook, by_student, no_formula

BINS = 10


def write_reports(folder: Path, book: Gradebook, titles: dict[str, str], **facts) -> None:
    """Write all reports; tasks are called by their ``titles``, the summary tells ``facts`` too.

    These are the seed, pairs of similar answers, and rejected files, which are no one's.
    """
    templates = _templates()
    templates.globals["titles"] = titles
    pages = ("summary.html", "feedback.html", "written.html")
    summary, feedback, written = map(templates.get_template, pages)
    for name in ("feedback", "written"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_whole(folder / "grades.csv", _grades_csv(book))
    lines = [json.dumps({name: row[name] for name in RESULT}, sort_keys=True) for row in book.rows]
    write_whole(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    page = summary.render(book=book, histogram=histogram(book), **facts)
    write_whole(folder / "summary.html", page)
    for task, answers in book.written.items():
        page = written.render(task=task, rows=answers, nonce=secrets.token_hex())
        write_whole(folder / "written" / f"{file_name(task)}.html", page)
    rows, submissions = by_student(book.rows), by_student(book.submissions)
    for student, total in book.totals.items():
        own = {"rows": rows.get(student, []), "submissions": submissions[student]}
        page = feedback.render(student=student, total=total, **own)
        write_whole(folder / "feedback" / f"{file_name(student)}.html", page)


def printed(outcome: Any, folder: Path) -> str:
    """What the command prints of a `grade.Outcome` when everything is in the ``folder``."""
    return _templates().get_template("printed.txt").render(outcome=outcome, folder=folder)


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(),  # names, code and messages come from students
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    templates.filters |= {"points": format_points, "moment": moment, "file_name": file_name,
                          "no_formula": no_formula}  # fmt: skip
    return templates


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, never a part."""
    fresh = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    fresh.write_text(text, encoding="utf-8", newline="")
    os.replace(fresh, path)


def file_name(student: str) -> str:
    """A file name for a student, whatever the name: different ones for different students."""
    plain = re.sub(r"[^\w.@+-]", "_", student, flags=re.ASCII)[:80]
    if plain == student and not re.match(r"[.-]|.*-[0-9a-f]{8}$", plain):
        return plain
    return f"{plain.lstrip('.-')}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"


def histogram(book: Gradebook) -> list[dict]:
    """Students by total, in bins of equal width; those not yet graded are left out."""
    counts, edges = np.histogram(book.totals.dropna(), BINS, range=(0, book.max_points or 1))
    return [{"low": low, "high": high, "count": n, "percent": 100 * n / (max(counts) or 1)}
            for n, low, high in zip(counts, edges, edges[1:], strict=False)]  # fmt: skip


def format_points(points: float) -> str:
    """At most two decimals; nothing for nan, which stands for what is not graded."""
    return "" if points != points else f"{points:.2f}".rstrip("0").rstrip(".")


def moment(text: str) -> str:
    """A stored time for people, to the minute."""
    return text[:16].replace("T", " ")


def _grades_csv(book: Gradebook) -> str:
    """A row for each student: empty where nothing was handed in or is not graded."""
    exercises = list(dict.fromkeys(column.split("/")[0] for column in book.tasks))
    grades = book.table.pivot(index="student", columns="column", values="points")
    grades = grades.join(book.sums("student", "exercise").unstack())
    grades = grades.reindex(index=book.students, columns=[*book.tasks, *exercises])
    grades = grades.assign(total=book.totals, max=book.max_points).map(format_points)
    late = {student: " ".join(names) for student, names in book.late.items()}
    adjusted = book.table.dropna(subset="adjustment").groupby("student")["column"].agg(" ".join)
    grades = grades.assign(late=pd.Series(late, dtype=object), adjusted=adjusted)
    for name in exercises:
        times = {each["student"]: moment(each["submitted"])
                 for each in book.submissions if each["exercise"] == name}  # fmt: skip
        grades[f"{name} handed in"] = pd.Series(times, dtype=object)
    most = {f"max {task}": format_points(points) for task, points in book.tasks.items()}
    grades = grades.assign(**most).fillna("").set_axis(map(no_formula, book.students))
    return grades.to_csv(index_label="student", lineterminator="\n")
