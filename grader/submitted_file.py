"""A file that a student handed in -> its answer cells. Whatever the file is, nothing breaks."""

import contextlib
import itertools
import json
import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cells import PER_STUDENT

MAX_BYTES = 100_000_000
MAX_STRUCTURE = 20_000_000  # bytes that are not inside texts
MAX_ANSWER = 200_000  # characters; longer ones are no one's own work
MAX_QUESTIONS = 20  # open questions of a notebook
MAX_WRITTEN = 1_000_000  # characters of an answer to an open question, with its pictures
MAX_NAMES = 2000  # that the notebook defines and its answers use
MAX_TEXT = 20_000  # of each part of one that is longer
WORD = re.compile(r"\w+")
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
# What the beginning of a line defines: a function or class, variables, or what it imports.
DEFINES = re.compile(
    r"^(?:(?:async +)?(?:def|class) +(\w+)|(\w[\w, ]*)(?::[^=\n]*)?=(?!=)"
    r"|(?:from .+ )?import +(.+))",
    re.MULTILINE,
)
TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class UnreadableError(ValueError):
    """A file that is not taken; the message says why, in words for its author."""


@dataclass(frozen=True)
class SubmittedNotebook:
    """What was found: sources by grade_id, and remarks on what was odd about them.

    ``written`` are open questions: for each what was written, as parts with a "text" and what was
    "shown" below it, texts or pictures. ``drawn`` is the cell with values of one's own.
    ``defined`` says in which cell a name is defined that the answers use.
    """

    answers: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    worked_on: bool = False  # an answer is not as it was handed out
    error: str | None = None
    written: dict[str, list[dict]] = field(default_factory=dict)
    drawn: str | None = None
    defined: dict[str, str] = field(default_factory=dict)


def as_given(source: str) -> str:
    """A cell's source as it is compared with those that were handed out: white space is free."""
    return "".join(source.split())


def may_be_notebook(path: Path) -> bool:
    """Is it called one, or does it begin like one? Browsers and mail programs rename files."""
    if path.name.lower().endswith(".ipynb"):
        return True
    with contextlib.suppress(UnreadableError):
        return read_bytes(path, 100).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1] == b"{"
    return False


def read_submitted(path: Path, given: Collection[str] = ()) -> SubmittedNotebook:
    """The answer cells of a notebook. UnreadableError if it is none, too large, or a link.

    A cell that was split or copied gives one source, in the order of the notebook, without copies
    that are as they were handed out (``given``, by ``as_given``). A cell that was turned into text
    counts as the code it was.
    """
    sources: dict[str, list[str]] = {}
    remarks: dict[str, str] = {}
    written, question, drawn, defined = {}, None, None, {}
    for number, cell in enumerate(_parse(read_bytes(path)), start=1):
        match cell:
            case {"source": source} if (text := _joined(source)) is not None:
                task, is_answer, has_points, is_drawn = _marks(cell)
            case _:
                continue
        if is_answer and not has_points:
            sources.setdefault(task, []).append(text)
            if cell.get("cell_type") != "code":
                remarks[task] = f"the answer was a {str(cell.get('cell_type'))[:20]} cell"
        # An open question is answered in its own cell and in those that were added behind it.
        question = (task if is_answer and has_points else None) if task else question
        if question and text.strip() and as_given(text) not in given:
            written.setdefault(question, []).append({"text": text, "shown": _outputs(cell)})
        elif question:
            written.setdefault(question, [])
        drawn = text if is_drawn else drawn
        if cell.get("cell_type") == "code":
            name = re.sub(r"[^\w-]", "", task[:60])
            place = f"cell {number} from the top" + (f" ({name})" if name else "")
            for found in DEFINES.findall(text[:MAX_ANSWER]):
                defined |= dict.fromkeys(WORD.findall("".join(found)), place)
    answers, worked_on = {}, any(written.values())
    for task, parts in sources.items():
        own = [part for part in parts if as_given(part) not in given]
        worked_on = worked_on or bool(own)
        if len(parts) > 1:
            remarks[task] = f"{len(parts)} cells had this task's mark: joined in their order"
            remarks[task] += ", without copies of the stub" if own and own != parts else ""
        answers[task] = "\n\n".join(own or parts[:1])
        if len(answers[task]) > MAX_ANSWER:
            answers[task] = ""
            remarks[task] = f"longer than {MAX_ANSWER} characters: not read"
    used = set(WORD.findall(" ".join(answers.values()))) & defined.keys()
    defined = {name: defined[name] for name in itertools.islice(used, MAX_NAMES)}
    written = dict(itertools.islice(written.items(), MAX_QUESTIONS))
    for task, parts in written.items():
        if len(json.dumps(parts)) > MAX_WRITTEN:
            written[task] = [{"text": part["text"][:MAX_TEXT], "shown": []} for part in parts[:9]]
            remarks[task] = f"more than {MAX_WRITTEN / 1e6:g} MB: only the beginning is shown"
    return SubmittedNotebook(answers, remarks, worked_on, None, written, drawn, defined)


def read_bytes(path: Path, first: int | None = None) -> bytes:
    """A regular file, or its first bytes. UnreadableError for others, and for large ones."""
    try:
        # O_NONBLOCK: a pipe that nobody writes to must not stop the grader.
        flags = os.O_NOFOLLOW | os.O_NONBLOCK
        with open(path, "rb", opener=lambda path, read: os.open(path, read | flags)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("not read: no regular file")
            if first is None and status.st_size >= MAX_BYTES:
                size = f"{status.st_size / 1e6:.0f} MB, less than {MAX_BYTES / 1e6:g} MB"
                raise UnreadableError(f"not read: {size} are allowed")
            return file.read(first or MAX_BYTES)
    except OSError as error:
        what = "a link; hand in the file itself" if os.path.islink(path) else error.strerror
        raise UnreadableError(f"not read: {what}") from error


def _parse(raw: bytes) -> list:
    """The notebook's cells, which may be anything."""
    if not raw.strip():
        raise UnreadableError("the file is empty")
    # A long text takes as much memory as it has bytes, lists of lists take thirty times as much.
    if len(raw) > MAX_STRUCTURE and (
        raw.count(b'"') > MAX_STRUCTURE
        or len(raw) - sum(len(text[0]) - 2 for text in TEXT.finditer(raw)) > MAX_STRUCTURE
    ):
        raise UnreadableError(f"not read: more than {MAX_STRUCTURE / 1e6:g} MB besides its texts")
    try:
        try:
            data = json.loads(raw)  # UTF-8, 16 or 32, found out by itself
        except UnicodeDecodeError:
            data = json.loads(raw.decode("cp1252"))  # what old Windows editors write
    except (ValueError, RecursionError) as error:
        kind = "damaged: not complete JSON" if raw.lstrip()[:1] == b"{" else "no notebook"
        raise UnreadableError(f"{kind} ({str(error)[:80]})") from error
    if not isinstance(data, dict) or not isinstance(data.get("cells"), list):
        raise UnreadableError("no notebook: it has no list of cells")
    return data["cells"]


def _joined(lines: Any) -> str | None:
    """A text as notebooks keep it, whole or as a list of lines; None for anything else."""
    lines = lines if isinstance(lines, list) else [lines]
    if not {*map(type, lines)} <= {str}:
        return None
    # Surrogates alone (from "\\ud800") could be neither stored nor sent.
    text = "".join(lines).encode("utf-8", "replace").decode("utf-8")
    return re.sub("\r\n?", "\n", text.removeprefix("\ufeff"))


def _marks(cell: dict) -> tuple[str, bool, bool, bool]:
    """Task of a cell; is it an answer, does it carry points, does it hold values of one's own?"""
    task, is_answer, has_points, is_drawn = "", False, False, False
    match cell:
        case {"metadata": {"nbgrader": {"grade_id": str(task), **mark}}}:
            is_answer, has_points = bool(mark.get("solution")), bool(mark.get("grade"))
    match cell:
        case {"metadata": {"tags": [*tags]}}:
            is_drawn = PER_STUDENT in tags
    return task, is_answer, has_points, is_drawn


def _outputs(cell: dict) -> list[dict]:
    """What was shown below a cell when it was handed in: {"text"} or {"png"}, of those it had."""
    shown = []
    for output in cell["outputs"] if isinstance(cell.get("outputs"), list) else []:
        match output:
            case {"data": {"image/png": png}} if BASE64.fullmatch(_joined(png) or ""):
                shown.append({"png": _joined(png)})
            case {"data": {"text/plain": text}} | {"text": text} | {"evalue": text}:
                shown.append({"text": _joined(text) or ""})
    return shown
