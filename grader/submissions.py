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
from collections.abc import Iterable
from dataclasses import dataclass
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
    """The version that counts of what a student handed in for an exercise.

    Attributes:
        path: relative to the folder of submissions.
        submitted: by timestamp.txt (nbgrader's) beside it, else by the file's own time.
        remarks: what the instructor should know; it includes versions that could not be read.
    """

    student: str
    exercise: str
    path: str
    submitted: datetime
    late: bool
    notebook: SubmittedNotebook
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """All submissions, and the files that are none: (path, why)."""

    submissions: list[Submission]
    rejected: list[tuple[str, str]]


@dataclass(frozen=True)
class _File:
    student: str
    exercise: str | None
    path: Path
    submitted: datetime
    version: int
    notebook: SubmittedNotebook | None
    problem: str | None


def find_submissions(
    folder: Path, exercises: dict[str, Iterable[str]], deadline: datetime | None = None
) -> Found:
    """For each student and exercise the newest version that can be read.

    Args:
        exercises: names of the exercises that are looked for, with their tasks' grade_ids.
        deadline: what was handed in after it is marked as late.

    Raises:
        ValueError: there is no such folder, or there are no notebooks in it.
    """
    if not folder.is_dir():
        raise ValueError(f"submissions: {folder} is no folder")
    paths, rejected = _walk(folder)
    if not paths and not rejected:
        raise ValueError(f"submissions: no .ipynb files in {folder}")
    files = [_look_at(folder, path, exercises) for path in paths]
    groups: dict[tuple[str, str], list[_File]] = {}
    for file in files:
        if file.exercise is None:
            rejected.append((_shown(folder, file.path), file.problem or NO_EXERCISE))
        else:
            groups.setdefault((file.student, file.exercise), []).append(file)
    chosen = [_newest(folder, group, deadline) for _, group in sorted(groups.items())]
    return Found(chosen, sorted(rejected))


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


def _look_at(folder: Path, path: Path, exercises: dict[str, Iterable[str]]) -> _File:
    notebook, problem = None, None
    try:
        notebook = read_submitted(path)
    except UnreadableError as error:
        problem = str(error)
    except Exception as error:  # whatever one file does, the others are still looked at
        problem = f"cannot be read ({type(error).__name__})"
    parts = path.relative_to(folder).parts
    stem, version = _split_version(path.stem)
    exercise = next((name for name in exercises if name in stem), None)
    named = exercise is not None
    if exercise is None:
        exercise = next((name for name in exercises if name in parts[:-1]), None)
    if exercise is None and notebook is not None:
        exercise = _by_tasks(notebook, exercises)
    student = parts[0] if len(parts) > 1 else stem
    if len(parts) == 1 and named:
        student = CANVAS.sub(r"\1_\2", _before(stem, exercise))
    return _File(_clean_student(student), exercise, path, _submitted(path), version,
                 notebook, problem)  # fmt: skip


def _split_version(stem: str) -> tuple[str, int]:
    """``"01_topic (2)"`` is version 2 of ``"01_topic"``; so Canvas, browsers and Jupyter name."""
    found = VERSION.search(stem)
    if found is None:
        return stem, 0
    return stem[: found.start()], int(next(filter(None, found.groups()), "1")[:9])


def _before(stem: str, exercise: str) -> str:
    """The student in a file's name: before the exercise, or behind it where nothing is before."""
    before, _, behind = stem.partition(exercise)
    return before.strip(" _-.") or behind.strip(" _-.") or stem


def _clean_student(name: str) -> str:
    name = MOODLE.sub(r"_\1", name)
    name = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else "?" for c in name)[:120] or "?"


def _by_tasks(notebook: SubmittedNotebook, exercises: dict[str, Iterable[str]]) -> str | None:
    common = {name: len(set(ids) & set(notebook.answers)) for name, ids in exercises.items()}
    best = max(common, key=common.get, default=None)
    return best if best is not None and common[best] else None


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


def _newest(folder: Path, group: list[_File], deadline: datetime | None) -> Submission:
    ordered = sorted(group, key=lambda file: (file.submitted, file.version, str(file.path)))
    readable = [file for file in ordered if file.notebook is not None]
    # A lecture has its exercise's name, and may lie beside it.
    best = ([file for file in readable if file.notebook.answers] or readable or ordered)[-1]
    names = [_shown(folder, file.path) for file in ordered]
    remarks = [f"{name}: {file.problem}" for name, file in zip(names, ordered, strict=True)
               if file.problem]  # fmt: skip
    if len(ordered) > 1:
        chosen = _shown(folder, best.path)
        remarks.append(f"{len(ordered)} versions: {chosen} counts")
    if best.notebook is not None and not best.notebook.answers:
        remarks.append(f"{names[-1]}: no answer cells; were the cells' marks (metadata) lost?")
    late = deadline is not None and best.submitted > deadline.astimezone()
    return Submission(best.student, best.exercise, _shown(folder, best.path),
                      best.submitted, late, best.notebook or SubmittedNotebook(),
                      tuple(remarks))  # fmt: skip
