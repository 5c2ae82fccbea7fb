"""Which notebooks were handed in: whose (by ``people``), for which exercise, when.

Folders and files mixed as they come; links are never followed. What is a notebook is read, however
its name ends; every other file is listed with the reason. Nothing is graded where the work of two
persons would get one name: the message says what decides.
"""

import os
import re
import time
import unicodedata
import zoneinfo
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from .people import Owner, clean_name, find_in_roster, find_owner
from .submitted_file import SubmittedNotebook, UnreadableError, may_be_notebook, read_bytes
from .submitted_file import read_submitted as read_notebook

SKIPPED = {".ipynb_checkpoints", "__MACOSX", ".git", ".DS_Store", "timestamp.txt"}
MAX_FILES = 100_000
LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
NO_NOTEBOOK = "no notebook; archives are not unpacked"
NO_EXERCISE = "of no exercise that is graded: neither its name nor its tasks tell"
NO_STUDENT = "its path names no student: put it into a folder of that name"
UNCLEAR = """submissions: these could be of several students:
{}
Say whose they are with --pattern, a regular expression that finds (?P<student>...) in each path
('^(?P<student>[^/]+)' is the first folder), or with --roster, a CSV table of all students."""
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T][\d:.]+) ?([+-]\d\d(?::?\d\d)?|[A-Za-z]\S*)?")


@dataclass(frozen=True)
class Submission:
    """A version, and of several the one that counts, of a student's work on an exercise.

    ``remarks`` are for the instructor: on its time, and on versions that could not be read.
    """

    student: str
    exercise: str
    path: str  # relative to the folder of submissions
    submitted: datetime  # by a collector's timestamp.txt, else by the file's own time
    late: bool
    notebook: SubmittedNotebook  # without answers where the file cannot be read
    owner: Owner
    remarks: tuple[str, ...] = ()


def find_submissions(
    folder: Path,
    exercises: dict[str, Iterable[str]],
    deadline: datetime | None = None,
    given: Collection[str] = (),
    roster: dict[str, list[str]] | None = None,
    pattern: str | re.Pattern | None = None,
) -> tuple[list[Submission], list[tuple[str, str]]]:
    """The newest version worked on, by student and exercise; and (path, why) of files not taken.

    ``exercises`` are looked for, by their names and their tasks' grade_ids; ``given`` are the cells
    handed out, by ``as_given``. ``roster`` is for `people.find_in_roster`, and ``pattern`` finds
    (?P<student>...) in a path. ValueError if there is no such folder, there are no notebooks in
    it, or whose they are can't be told.
    """
    if not folder.is_dir():
        raise ValueError(f"submissions: {folder} is no folder")
    try:
        if pattern and "student" not in re.compile(pattern).groupindex:
            raise ValueError(f"pattern: {pattern!r} needs a group (?P<student>...)")
    except re.error as error:
        raise ValueError(f"pattern: {pattern!r} is no regular expression: {error}") from error
    paths, rejected = _walk(folder)
    if not paths and not rejected:
        raise ValueError(f"submissions: no .ipynb files in {folder}")
    groups: dict[tuple[str, str], list[Submission]] = defaultdict(list)
    for path in paths:
        shown = _shown(folder, path)
        try:
            notebook = _read(path, given)
            relative = path.relative_to(folder)
            owner = find_owner(folder.resolve().name, relative.parts, exercises)
            exercise = _exercise(owner.exercise, notebook, exercises)
            if exercise is None:
                raise UnreadableError(notebook.error or NO_EXERCISE)
            owner = _found_by(pattern, relative, owner) if pattern else owner
            student = _student(owner, roster, pattern)
            own, stamp, remark = _times(path, owner)
        except (UnreadableError, FileNotFoundError) as error:
            known = isinstance(error, UnreadableError)
            rejected.append((shown, str(error) if known else "it was gone before it was read"))
            continue
        if notebook.error:
            rejected.append((shown, notebook.error))
        own_tasks = {t: s for t, s in notebook.answers.items() if t in exercises[exercise]}
        notebook = replace(notebook, answers=own_tasks)  # the rest could be a hundred megabytes
        late = False
        if deadline:
            late = (stamp or own) > deadline.astimezone() if owner.late is None else owner.late
            if stamp and not late and own > deadline.astimezone():
                remark = f"{shown}: in time by timestamp.txt, late by the file's own time"
        remarks = (remark,) if remark else ()
        found = Submission(student, exercise, shown, stamp or own, late, notebook, owner, remarks)
        groups[student, exercise].append(found)
    if roster is None:
        _check_clear(groups)
    return [_newest(group) for _, group in sorted(groups.items())], sorted(rejected)


def _walk(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files that may be notebooks, and whatever else there is: (path, why)."""
    paths, rejected, errors = [], [], []
    for where, folders, files in os.walk(folder, onerror=errors.append, followlinks=False):
        here = Path(where)
        # "._x" is how macOS keeps a file's properties elsewhere.
        names = sorted(name for name in set(files) - SKIPPED if not name.startswith("._"))
        out = {name: NO_NOTEBOOK for name in names if not may_be_notebook(here / name)}
        out |= {name: "hidden: not looked into" for name in folders if name.startswith(".")}
        out |= {name: "a link: not followed" for name in folders if os.path.islink(here / name)}
        folders[:] = sorted(set(folders) - set(out) - SKIPPED)
        paths += [here / name for name in names if name not in out]
        rejected += [(_shown(folder, here / n), why) for n, why in out.items() if n not in SKIPPED]
        if len(paths) > MAX_FILES:
            raise ValueError(f"submissions: more than {MAX_FILES} notebooks in {folder}")
    rejected += [(_shown(folder, Path(e.filename)), f"not read: {e.strerror}") for e in errors]
    return paths, rejected


def _read(path: Path, given: Collection[str]) -> SubmittedNotebook:
    try:
        return read_notebook(path, given)
    except Exception as error:  # whatever one file does, the others are still looked at
        known = isinstance(error, UnreadableError)
        why = str(error) if known else f"cannot be read ({type(error).__name__})"
        if not path.name.lower().endswith(".ipynb"):
            raise UnreadableError(why) from error
        return SubmittedNotebook(error=why)


def _found_by(pattern: str | re.Pattern, path: Path, owner: Owner) -> Owner:
    match = re.search(pattern, path.as_posix())
    name = unicodedata.normalize("NFC", (match and match["student"]) or "")
    return owner._replace(names=(name,) * bool(name), apart=name, only="")  # "ann " is not "ann"


def _student(owner: Owner, roster: dict | None, pattern: str | re.Pattern | None) -> str:
    if not owner.names:
        raise UnreadableError("--pattern does not fit its path" if pattern else NO_STUDENT)
    if roster is None:
        return clean_name(owner.names[0])
    found = find_in_roster(owner.names, roster)
    if len(found) != 1:
        raise UnreadableError(f"its path fits {', '.join(found[:9]) or 'nobody'} of the roster")
    return found[0]


def _check_clear(groups: dict[tuple[str, str], list[Submission]]) -> None:
    """ValueError if files that were given one student's name could be of several."""
    # Where everything has one student's name, that may be the name of a folder around all.
    one = len({student for student, _ in groups}) == 1
    pooled: dict[tuple[str, str], list[Submission]] = defaultdict(list)
    for (student, exercise), group in groups.items():
        pooled[student, "" if one else exercise] += [s for s in group if s.notebook.worked_on]
    unclear = []
    for group in pooled.values():
        only = [each.owner.only for each in group if each.owner.only]
        if len({each.owner.apart for each in group} - {""}) > 1 or len(set(only)) < len(only):
            unclear.append(", ".join(sorted(each.path for each in group)[:5]))
    if unclear:
        raise ValueError(UNCLEAR.format("\n".join(unclear[:10])))


def _exercise(named: str | None, notebook: SubmittedNotebook, exercises: dict) -> str | None:
    """The exercise with the most of these tasks; the named one if it has any, or none has."""
    common = {name: len(set(ids) & set(notebook.answers)) for name, ids in exercises.items()}
    best = max(filter(common.get, common), key=common.get, default=named)
    return named if common.get(named) else best


def _times(path: Path, owner: Owner) -> tuple[datetime, datetime | None, str | None]:
    """The file's own time, nbgrader's, and why the latter does not count."""
    own = datetime.fromtimestamp(min(max(os.lstat(path).st_mtime, 0), LATEST)).astimezone()
    stamp = path.with_name("timestamp.txt")
    if not os.path.lexists(stamp):
        return own, None, None
    try:
        if not owner.collected:
            raise ValueError("this is not where nbgrader writes it")
        return own, parse_timestamp(read_bytes(stamp, 100).decode()), None
    except (ValueError, OverflowError) as error:
        return own, None, f"timestamp.txt does not count, the file's own time does: {error}"


def parse_timestamp(text: str) -> datetime:
    """A time as nbgrader writes it, with a zone's name or offset; without one it is UTC.

    ValueError or OverflowError for anything else, and for "CST", which is in China and America,
    unless it is this machine's.
    """
    if not (match := TIMESTAMP.fullmatch(text.strip())):
        raise ValueError(f"{text[:40]!r} is no time")
    moment, zone = match.groups("UTC")
    if not zone[0].isalpha():
        return datetime.fromisoformat(moment + zone).astimezone()
    known, moment = zoneinfo.available_timezones(), datetime.fromisoformat(moment)
    if zone in time.tzname:
        return moment.astimezone()
    there = [moment.replace(tzinfo=zoneinfo.ZoneInfo(name)) for name in known & {zone} or known]
    there = [each for each in there if zone in known or each.tzname() == zone]
    if len({each.utcoffset() for each in there}) != 1:
        raise ValueError(f"{zone[:40]!r} is no time zone, or several")
    return there[0].astimezone()


def _shown(folder: Path, path: Path) -> str:
    """The path for people; what cannot be shown, or rules a terminal, gets question marks."""
    shown = os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in shown)


def _newest(group: list[Submission]) -> Submission:
    ordered = sorted(group, key=lambda each: (each.submitted, each.owner.version, each.path))
    readable = [each for each in ordered if each.notebook.error is None]
    # A lecture has its exercise's name, and may be beside it; so may a fresh copy of the exercise.
    answered = [each for each in readable if each.notebook.answers or each.notebook.written]
    worked_on = [each for each in answered if each.notebook.worked_on]
    best = (worked_on or answered or readable or ordered)[-1]
    remarks = [f"{each.path}: {each.notebook.error}" for each in ordered if each.notebook.error]
    remarks += best.remarks
    if len(ordered) > 1:
        remarks.append(f"{len(ordered)} versions: {best.path} counts")
    if readable and best not in answered:
        remarks.append(f"{best.path}: no answer cells; were the cells' marks (metadata) lost?")
    return replace(best, remarks=tuple(remarks))
