"""Which notebooks were handed in: whose, for which exercise, when.

Any of these, mixed as they come; links are never followed:

    STUDENT/01_topic.ipynb                    folders, also deeper (STUDENT/01_topic/01_topic.ipynb)
    STUDENT_01_topic.ipynb                    files, as Moodle and Canvas name them:
    STUDENT_81_4711_01_topic-1.ipynb          the student is what stands before the exercise
                                              (here: STUDENT_81, by Canvas's numbers)
    STUDENT.ipynb                             the exercise is known by its tasks
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from .submitted_file import SubmittedNotebook, UnreadableError, read_submitted

VERSION = re.compile(r"(?:[ _-]*\((\d+)\)|[ _-]+copy[ _-]?(\d*)|-(\d+))$", re.IGNORECASE)
CANVAS = re.compile(r"^([^_]+)(?:_LATE)?_(\d+)_\d+(?=_|$).*")
MOODLE = re.compile(r"_(\d+)_assignsubmission_\w+$")
SKIPPED = {".ipynb_checkpoints", "__MACOSX", ".git"}
MAX_FILES = 100_000
NO_EXERCISE = "of no exercise that is graded: neither its name nor its tasks tell"


@dataclass(frozen=True)
class Submission:
    """A version, and of several the one that counts, of a student's work on an exercise.

    ``remarks`` are for the instructor, and name versions that could not be read.
    """

    student: str
    exercise: str | None  # None if neither names nor tasks tell
    path: str  # relative to the folder of submissions
    submitted: datetime  # by timestamp.txt (nbgrader's) beside it, else by the file's own time
    late: bool
    version: int
    notebook: SubmittedNotebook  # without answers where the file cannot be read
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """All submissions, and the files that are none: (path, why)."""

    submissions: list[Submission]
    rejected: list[tuple[str, str]]


def find_submissions(
    folder: Path, exercises: dict[str, Iterable[str]], deadline: datetime | None = None
) -> Found:
    """For each student and exercise the newest version that can be read.

    ``exercises`` are looked for, by their names and their tasks' grade_ids. ValueError if there is
    no such folder, or there are no notebooks in it.
    """
    if not folder.is_dir():
        raise ValueError(f"submissions: {folder} is no folder")
    paths, rejected = _walk(folder)
    if not paths and not rejected:
        raise ValueError(f"submissions: no .ipynb files in {folder}")
    groups: dict[tuple[str, str], list[Submission]] = defaultdict(list)
    for path in paths:
        found = _look_at(folder, path, exercises, deadline)
        if found.exercise is None:
            rejected.append((found.path, (*found.remarks, NO_EXERCISE)[0]))
        else:
            groups[found.student, found.exercise].append(found)
    return Found([_newest(group) for _, group in sorted(groups.items())], sorted(rejected))


def _walk(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    paths, rejected = [], []
    for where, folders, names in os.walk(folder, followlinks=False):
        here = Path(where)
        links = [name for name in folders if (here / name).is_symlink()]
        rejected += [(_shown(folder, here / n), "a link: not followed") for n in links]
        folders[:] = sorted(set(folders) - set(links) - SKIPPED)
        paths += [here / name for name in sorted(names) if name.lower().endswith(".ipynb")]
        if len(paths) > MAX_FILES:
            raise ValueError(f"submissions: more than {MAX_FILES} notebooks in {folder}")
    return paths, rejected


def _look_at(
    folder: Path, path: Path, exercises: dict[str, Iterable[str]], deadline: datetime | None
) -> Submission:
    notebook, remarks = SubmittedNotebook(), ()
    try:
        notebook = read_submitted(path)
    except Exception as error:  # whatever one file does, the others are still looked at
        known = isinstance(error, UnreadableError)
        remarks = (str(error) if known else f"cannot be read ({type(error).__name__})",)
    folders = path.relative_to(folder).parts[:-1]
    # "01_topic (2)" is version 2 of "01_topic": so name Canvas, browsers and Jupyter.
    found = VERSION.search(path.stem)
    stem = path.stem[: found.start()] if found else path.stem
    version = int(next(filter(None, found.groups()), "1")[:9]) if found else 0
    named = next((name for name in exercises if name in stem), None)
    exercise = named or next((name for name in exercises if name in folders), None)
    student = folders[0] if folders else stem
    if named and not folders:
        # The student is before the exercise, or behind it where nothing is before.
        before, _, behind = stem.partition(named)
        student = before.strip(" _-.") or behind.strip(" _-.") or stem
        student = CANVAS.sub(r"\1_\2", student)
    submitted = _submitted(path)
    late = deadline is not None and submitted > deadline.astimezone()
    exercise = exercise or _by_tasks(notebook, exercises)
    return Submission(_clean_student(student), exercise, _shown(folder, path), submitted, late,
                      version, notebook, remarks)  # fmt: skip


def _clean_student(name: str) -> str:
    name = MOODLE.sub(r"_\1", name).encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else "?" for c in name)[:120] or "?"


def _by_tasks(notebook: SubmittedNotebook, exercises: dict[str, Iterable[str]]) -> str | None:
    """The exercise with the most of these tasks; None if no exercise has any."""
    common = {name: len(set(ids) & set(notebook.answers)) for name, ids in exercises.items()}
    return max(filter(common.get, common), key=common.get, default=None)


def _submitted(path: Path) -> datetime:
    stamp = path.parent / "timestamp.txt"
    try:
        if not stamp.is_symlink() and stamp.stat().st_size < 100:
            text = re.sub(r" (UTC|GMT)$", "+00:00", stamp.read_text(encoding="utf-8").strip())
            return datetime.fromisoformat(text).astimezone()
    except (OSError, ValueError, OverflowError):
        pass
    return datetime.fromtimestamp(os.lstat(path).st_mtime).astimezone()


def _shown(folder: Path, path: Path) -> str:
    """The path for people; a name in an unknown encoding gets question marks."""
    return os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")


def _newest(group: list[Submission]) -> Submission:
    ordered = sorted(group, key=lambda each: (each.submitted, each.version, each.path))
    readable = [each for each in ordered if not each.remarks]
    # A lecture has its exercise's name, and may be beside it.
    best = ([each for each in readable if each.notebook.answers] or readable or ordered)[-1]
    remarks = [f"{each.path}: {text}" for each in ordered for text in each.remarks]
    if len(ordered) > 1:
        remarks.append(f"{len(ordered)} versions: {best.path} counts")
    if readable and not best.notebook.answers:
        remarks.append(f"{best.path}: no answer cells; were the cells' marks (metadata) lost?")
    return replace(best, remarks=tuple(remarks))
