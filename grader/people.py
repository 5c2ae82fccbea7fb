"""Whose a file is and for which exercise, by its path: as people and platforms name files.

    ann/../01_topic.ipynb, ann_01_topic.ipynb, 01_topic/ann.ipynb    the first name in the path
    submitted/ann/01_topic/01_topic.ipynb                            nbgrader's course
    ann+01_topic+2030-01-31 12:00:00.5 UTC/01_topic.ipynb            nbgrader's exchange
    Ann Lee_4711_assignsubmission_file_/01_topic.ipynb               Moodle, files as well
    leeann_LATE_81_4711_01_topic-1.ipynb, anon_x7a2k_4711_...        Canvas: person 81, file 4711
    homes/ann/course/exercises/01_topic__20300131120000.ipynb        JupyterHub and nbgitpuller

Sources: nbgrader/exchange/default/submit.py, Moodle's mod/assign/classes/downloader.php, Canvas'
lib/content_zipper.rb, nbgitpuller/pull.py.
"""

import csv
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

EXCHANGE = re.compile(r"(?P<student>.+)\+[^+]+\+\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.*")
PLATFORMS = (
    EXCHANGE,
    re.compile(r"(?P<student>.+?)_assignsubmission_[a-z]+(?:_.*)?"),
    re.compile(r"(?P<student>(?:LATE_)?anon_[^\W_]+|.+?_\d+)_\d+_(?P<file>.+)"),
)
HOMES = {"submitted", "home", "homes"}  # the folders in these are people's
NOBODY = HOMES | {"submissions", "exercises", "notebooks", "students", "users"}
OF_ONE_PERSON = {"old", "new", "final", "draft", "backup", "work"}
ENDINGS = re.compile(r"(?:\.(?:ipynb|json|txt))+$", re.IGNORECASE)  # Safari and mail add some
COPY_OF = re.compile(r"(?:copy of|kopie v[ao]n|copie de|c[oó]pia d[ei]) +", re.IGNORECASE)
VERSION = re.compile(
    r"(?:[ _-]*\((\d+)\)|[ _-]+\(?(?:copy|kopie|copie|c[oó]pia)[ _-]?(\d*)\)?|__(\d{14}))$",
    re.IGNORECASE,
)
ROSTER = {  # the columns of what a platform exports that say who a student is
    "canvas": ("Student", "ID", "SIS User ID", "SIS Login ID", "Section"),
    "moodle": ("Identifier", "Full name", "First name", "Last name", "Email address", "ID number"),
}
NOT_IDENTIFYING = {"Section", "First name", "Last name"}


class Owner(NamedTuple):
    """What a path says; ``names`` could all be the person's, the likeliest is the first.

    Files of one name are surely one person's unless ``apart`` differs, or ``only`` is the same:
    Canvas lets a person have only one file of a name.
    """

    names: Sequence[str]
    exercise: str | None
    version: int
    apart: str = ""
    only: str = ""
    late: bool | None = None  # None: not said
    collected: bool = False  # in nbgrader's way, so that timestamp.txt is nbgrader's


def find_owner(top: str, parts: Sequence[str], exercises: Iterable[str]) -> Owner:
    """The owner of a file; ``parts`` are its path below a folder called ``top``."""
    parts = [unicodedata.normalize("NFC", part) for part in parts]
    # "Team (2)" as a folder is no second version of "Team".
    split = [each if (each := _split(p, exercises))[1] else (p, None, 0) for p in parts[:-1]]
    split.append(_split(parts[-1], exercises))
    version = split[-1][2]
    exercise = next((known for _, known, _ in reversed(split) if known), None)
    names = [words for words, _, _ in split if words and words.casefold() not in NOBODY]
    for i, part in enumerate(parts):
        # Below a person's own folder a path says what that person likes, someone else's name too.
        if names and names[0] in [words for words, _, _ in split[:i]]:
            break
        for match in filter(None, (platform.fullmatch(part) for platform in PLATFORMS)):
            student, found = match["student"].replace("LATE_", ""), match.groupdict()
            if _split(student, exercises)[1] is None:  # else it only looks like Canvas
                if "file" not in found:
                    collected = EXCHANGE is match.re and len(parts) == 2
                    return Owner((student,), exercise, version, collected=collected)
                only = "/".join([found["file"], *parts[i + 1 :]])
                return Owner((student,), exercise, version, "", only, student != match["student"])
    for around, (words, _, _) in zip([top, *parts], split[:-1], strict=False):
        if around.casefold() in HOMES and words in names[:1]:
            collected = len(parts) == 3 + (parts[0] == around) and around == "submitted"
            return Owner((words,), exercise, version, collected=collected)
    apart = [words for words in names[1:] if words.casefold() not in OF_ONE_PERSON]
    if version and split[-1] == (*names, None, version):
        apart = [f"({version})"]  # "student (1)" and "student (2)" may be two students
    collected = len(parts) == 3 and split[0][0] in names[:1]
    return Owner(names, exercise, version, "/".join(apart), collected=collected)


def _split(text: str, exercises: Iterable[str]) -> tuple[str, str | None, int]:
    """The words of a name besides the exercise, the exercise, and the number of the version."""
    text, version = COPY_OF.sub("", ENDINGS.sub("", text)), 0
    while mark := VERSION.search(text):
        version = int(next(filter(None, mark.groups()), "1")[:15])
        text = ENDINGS.sub("", text[: mark.start()])
    found = [name for name in exercises if _pattern(name).search(text)]
    if not found:
        return text.strip(" _-."), None, version
    name = max(found, key=len)
    before, behind = _pattern(name).split(text, maxsplit=1)
    if number := re.fullmatch(r"-(\d+)", behind):  # "-1" behind a person would be the person's
        version, behind = int(number[1][:15]), ""
    return before.strip(" _-.") or behind.strip(" _-."), name, version


@cache
def _pattern(exercise: str) -> re.Pattern:
    words = r"[ _-]+".join(map(re.escape, exercise.split("_")))
    return re.compile(rf"(?<!\d){words}(?!\d)", re.IGNORECASE)


def read_students(path: Path) -> dict[str, list[str]]:
    """All that each student is called in a platform's list, or in any table, by one of the names.

    ValueError for a table that can't be read, or has no column that tells all students apart.
    """
    table = read_table("roster", path)
    known = {name for names in ROSTER.values() for name in names} - NOT_IDENTIFYING
    columns = [name for name in table if name in known] or list(table)
    rows = table[
        table[columns].ne("").any(axis=1) & table[columns].ne("Points Possible").all(axis=1)
    ]
    for name in ("Student", "Full name", *columns):
        if name in rows and rows[name].is_unique and rows[name].all():
            called = [[text.removeprefix("Participant ") for text in row if text]
                      for row in rows[columns].values.tolist()]  # fmt: skip
            return dict(zip(rows[name], called, strict=True))
    raise ValueError(f"roster: {path} has no column in which each student has another name")


def read_table(what: str, path: Path) -> pd.DataFrame:
    """The texts of a CSV file; ValueError, with ``what`` it is, if it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="", skipinitialspace=True, strict=True)
            table = pd.DataFrame(list(reader), columns=reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{what}: {path} cannot be read: {error}") from error
    # macOS writes é as two characters, others as one.
    return table.apply(lambda column: column.str.normalize("NFC").str.strip())


def find_in_roster(names: Sequence[str], roster: dict[str, list[str]]) -> list[str]:
    """Whom of the roster these words name, by the most of what each student is called there.

    Whoever the first part of a path names may have made the rest, so no one else is found alone.
    """

    def found_in(text: str) -> dict[str, int]:
        said = _words(text)
        counts = {student: sum(_words(each) in said for each in known)
                  for student, known in roster.items()}  # fmt: skip
        return {student: n for student, n in counts.items() if n}

    whole = found_in(" ".join(names))
    best = {student for student, n in whole.items() if n == max(whole.values())}
    first = set(next(filter(None, map(found_in, names)), best))
    return sorted(best if best <= first else best | first, key=list(roster).index)


@cache
def _words(text: str) -> str:
    """However a name is written, the same: " lee ann " of "Lee, Ann" and "lee_ann"."""
    plain = unicodedata.normalize("NFC", text).casefold()
    return " ".join(["", *re.findall(r"[^\W_]+", plain), ""])


def clean_name(name: str) -> str:
    """A name that can be shown and stored; different names stay different."""
    name = unicodedata.normalize("NFC", name).strip()
    shown = name.encode("utf-8", "replace").decode("utf-8")[:120]
    shown = "".join(c if c.isprintable() else "?" for c in shown)
    code = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return name if shown == name else f"{shown}-{code}"
