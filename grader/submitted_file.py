"""A file that a student handed in -> its answer cells. Whatever the file is, nothing breaks."""

import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_BYTES = 20_000_000
MAX_ANSWER = 200_000  # characters; longer ones are no one's own work


class UnreadableError(ValueError):
    """A file that holds no notebook; the message says why, in words for its author."""


@dataclass(frozen=True)
class SubmittedNotebook:
    """What was found: sources by grade_id, remarks on what was odd about them, other code cells."""

    answers: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    others: list[tuple[str, str]] = field(default_factory=list)  # what to call it, its source


def read_submitted(path: Path) -> SubmittedNotebook:
    """The answer cells of a notebook. UnreadableError if it is none, too large, or a link.

    A cell that was split or copied gives one source, in the order of the notebook; one that was
    turned into text counts as the code it was.
    """
    sources: dict[str, list[str]] = {}
    remarks: dict[str, str] = {}
    found = _parse(_read_bytes(path))
    for cell in found:
        if (answer := _answer(cell)) is None:
            continue
        grade_id, source = answer
        sources.setdefault(grade_id, []).append(source)
        if cell.get("cell_type") != "code":
            remarks[grade_id] = f"the answer was a {str(cell.get('cell_type'))[:20]} cell"
        if (n := len(sources[grade_id])) > 1:
            remarks[grade_id] = f"{n} cells had this task's mark: joined in their order"
    answers = {task: "\n\n".join(parts) for task, parts in sources.items()}
    for task, answer in answers.items():
        if len(answer) > MAX_ANSWER:
            answers[task] = ""
            remarks[task] = f"longer than {MAX_ANSWER} characters: not read"
    return SubmittedNotebook(answers, remarks, others=_others(found))


def _read_bytes(path: Path) -> bytes:
    try:
        # O_NONBLOCK: a pipe that nobody writes to must not stop the grader.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        what = "a link; hand in the file itself" if path.is_symlink() else error.strerror
        raise UnreadableError(f"not read: {what}") from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("not read: no regular file")
        if status.st_size > MAX_BYTES:
            size = f"{status.st_size / 1e6:.0f} MB"
            raise UnreadableError(f"not read: {size}, at most {MAX_BYTES // 10**6} MB are allowed")
        return file.read(MAX_BYTES + 1)


def _parse(raw: bytes) -> list:
    """The notebook's cells, which may be anything."""
    if not raw.strip():
        raise UnreadableError("the file is empty")
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


def _answer(cell: Any) -> tuple[str, str] | None:
    """Task and source of an answer cell; None for tests, setup, text and rubbish."""
    match cell:
        case {"source": source, "metadata": {"nbgrader": {"grade_id": str(task), **mark}}}:
            lines = source if isinstance(source, list) else [source]
            if mark.get("solution") and not mark.get("grade") and {*map(type, lines)} <= {str}:
                # Surrogates alone (from "\\ud800") could be neither stored nor sent.
                text = "".join(lines).encode("utf-8", "replace").decode("utf-8")
                return task, re.sub("\r\n?", "\n", text.removeprefix("\ufeff"))
    return None


def _others(found: list) -> list[tuple[str, str]]:
    """The code cells that are no answers: what to call each, and its source."""
    others = []
    for cell in found:
        match cell:
            case {"cell_type": "code", "source": str() | list() as lines}:
                if _answer(cell) is None and {*map(type, lines)} <= {str}:
                    text = "".join(lines)
                    where = f"the cell that begins with {text.strip().partition(chr(10))[0][:40]!r}"
                    match cell:
                        case {"metadata": {"nbgrader": {"grade": True}}}:
                            where = "the visible tests"
                    others.append((where, text))
    return others
