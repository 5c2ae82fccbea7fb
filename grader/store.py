"""What has been graded, in one SQLite file; each result is on disk as soon as it is known.

A result is kept under a hash of the answer and the frozen checks, so that nothing is graded twice
and whatever changed (answer, checks, seed) is graded again. What students handed in is kept
beside it, so that a later run over another folder loses no one.
"""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from . import GradingError, encoding
from .submissions import Submission

FILE = "grading.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, graded TEXT NOT NULL,
    result TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS submissions (student TEXT, exercise TEXT, path TEXT NOT NULL,
    submitted TEXT NOT NULL, late INTEGER NOT NULL, remarks TEXT NOT NULL, names TEXT NOT NULL,
    PRIMARY KEY (student, exercise));
CREATE TABLE IF NOT EXISTS answers (student TEXT, exercise TEXT, task TEXT, key TEXT,
    source TEXT, remark TEXT, parts TEXT, PRIMARY KEY (student, exercise, task));
"""


class Store:
    """The results folder's database. Use ``open_store``."""

    def __init__(self, database: sqlite3.Connection):
        self.database = database

    def _rows(self, query: str, parameters=()) -> list[dict]:
        return [dict(row) for row in self.database.execute(query, parameters)]

    def _replace(self, table: str, *row) -> None:
        marks = ", ".join("?" * len(row))
        self.database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)

    def fact(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM facts WHERE name = ?", [name])
        return rows[0]["value"] if rows else None

    def set_fact(self, name: str, value: str) -> None:
        with self.database:
            self._replace("facts", name, value)

    def save_submission(self, submission: Submission, tasks: Iterable[str]) -> None:
        """Put a submission, with its answers to these tasks, in the place of the one before."""
        s, who = submission, [submission.student, submission.exercise]
        with self.database:  # one transaction: all of it or nothing
            told = json.dumps(s.remarks), json.dumps(s.notebook.defined)
            self._replace("submissions", *who, s.path, s.submitted.isoformat(), s.late, *told)
            self.database.execute("DELETE FROM answers WHERE student=? AND exercise=?", who)
            for task in tasks:
                source, remark = s.notebook.answers.get(task), s.notebook.remarks.get(task)
                if (parts := s.notebook.written.get(task)) is not None:
                    source = "\n\n".join(part["text"] for part in parts)
                    parts = json.dumps(parts)
                self._replace("answers", *who, task, None, source, remark, parts)

    def set_keys(self, checks_of: Callable[..., dict | None]) -> None:
        """Find out under which key each answer's result is kept, by the checks for its row."""
        keys = []
        for row in self._rows("SELECT rowid, * FROM answers WHERE source IS NOT NULL"):
            if checks := checks_of(row["student"], row["exercise"], row["task"]):
                content = encoding.dumps([checks, row["source"]]).encode("utf-8", "surrogatepass")
                keys.append([hashlib.sha256(content).hexdigest(), row["rowid"]])
        with self.database:
            self.database.executemany("UPDATE answers SET key = ? WHERE rowid = ?", keys)

    def save_result(self, key: str, result: dict) -> None:
        with self.database:
            self._replace("results", key, datetime.now(UTC).isoformat(), json.dumps(result))

    def forget(self, names: list[str]) -> None:
        """Drop the results of these students, tasks or exercises; ValueError for any other name."""
        for name in names:
            where = "? IN (student, task, exercise, 'all')"
            rows = self._rows(f"SELECT DISTINCT key FROM answers WHERE {where}", [name])
            if not rows:
                raise ValueError(f"regrade: no student, task or exercise is called {name!r}")
            with self.database:
                self.database.executemany("DELETE FROM results WHERE key = :key", rows)

    def submissions(self) -> list[dict]:
        """All submissions, by student and exercise."""
        rows = self._rows("SELECT * FROM submissions ORDER BY student, exercise")
        return [{**row, "remarks": json.loads(row["remarks"])} for row in rows]

    def answers(self) -> list[dict]:
        """All answers with their results (None: not graded), by student, exercise and task."""
        rows = self._rows(
            """SELECT student, exercise, task, key, source, remark, result, late, names, parts
            FROM answers LEFT JOIN results USING (key)
            LEFT JOIN submissions USING (student, exercise) ORDER BY student, exercise, task"""
        )
        decoded = ("result", "names", "parts")
        return [{**row, **{name: row[name] and json.loads(row[name]) for name in decoded}}
                for row in rows]  # fmt: skip


@contextlib.contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """The store of a results folder, made if need be. GradingError if it is open, or damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            FileLock(folder / ".lock", timeout=0),
            contextlib.closing(sqlite3.connect(folder / FILE)) as database,
        ):
            database.row_factory = sqlite3.Row
            database.executescript(SCHEMA)
            yield Store(database)
    except Timeout:
        raise GradingError(f"{folder}: another run grades into this folder") from None
    except sqlite3.DatabaseError as error:
        raise GradingError(
            f"{folder / FILE}: {error}. Was it written by another version of the grader, or is it"
            " damaged? Its pages and tables stay as they are: grade into a new folder, --out."
        ) from error
