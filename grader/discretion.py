"""What a student may be told: what went wrong, but nothing that carries the hidden inputs out.

An answer can read the hidden inputs, and the solutions of earlier tasks that its setup needs. It
could raise ``ValueError(repr(x))``, or ask for a name that spells x, and its author would read
them in the feedback, for a second attempt. So of an error a student is told only words of ours:
the class, if it is one of Python's, the line of the answer cell, and a fixed sentence. In full is
told what was found before the cell is run: why it is no Python, and which names it lacks. The
instructor's results have every text.

What an answer can still choose to say is worth its help to honest students: which cases pass, which
of them comes first, one of the known mistakes or a class of error, a line, where the first wrong
entry is, a shape with up to MAX_DIGITS digits. That is some twenty bits for a task, and two for
each case, where a hidden input or a solution has thousands.
"""

import ast
import builtins
import re

from .judge import ERRORS

SENTENCES = {  # of an error that is not here a student is not even told the class
    **{name: "" for name, kind in vars(builtins).items()
       if isinstance(kind, type) and issubclass(kind, BaseException)},
    **dict.fromkeys(ERRORS["own"].keys() - {"MissingName", "NotCallable"}, ""),
    **ERRORS["students"],
}  # fmt: skip
LACKS = "the cell uses {}, which it does not define; each task is graded with its own cell only"
MAX_DIGITS = 6
SIZE = re.compile(r"is of (?:shape \([\d, ]*\)|length \d+)|has \d+ keys")


def without_inputs(records: list[dict], answer: str, entries: list[str]) -> list[dict]:
    """The records as the student may see them judged: the same verdict, in fixed words.

    ``answer`` is the source of the answer cell, ``entries`` are the names that the task asks for.
    """
    n_lines = answer.count("\n") + 1
    return [{name: _discreet(part, entries, n_lines) if name in ("error", "load") else part
             for name, part in record.items()} for record in records]  # fmt: skip


def words_of_assert(text: str, tests: str) -> str | None:
    """The message of the assert in visible tests that ended with this text, without its values.

    These are words that students have; ``text`` only chooses among them, and may be cut off.
    """
    found = {}
    for node in ast.walk(ast.parse(tests)):
        if isinstance(node, ast.Assert):
            parts = node.msg.values if isinstance(node.msg, ast.JoinedStr) else [node.msg]
            parts = [getattr(part, "value", None) for part in parts]  # of an f-string, or one
            words = [" ".join(part.split()) if isinstance(part, str) else "" for part in parts]
            place, n = 0, 0
            for word in filter(None, words):
                at = text.find(word, place)
                place, n = (at + len(word), n + len(word)) if at >= 0 else (len(text), n)
            told = "".join(part if isinstance(part, str) else "…" for part in parts)
            found[n] = " ".join(told.split())
    return found[max(found)] if max(found, default=0) else None


def discreet_message(message: str) -> str:
    """A verdict's message without a size that could spell out numbers."""

    def usual(found: re.Match) -> str:
        sizes = re.findall(r"\d+", found[0])
        short = len("".join(sizes)) <= MAX_DIGITS and all(len(size) <= 4 for size in sizes)
        return found[0] if short else "has another size"

    return SIZE.sub(usual, message)


def _discreet(error: dict, entries: list[str], n_lines: int) -> dict:
    if error["phase"] == "syntax":
        return error
    kind, text, line = error["types"][0], error["text"], error["line"]
    # A line outside of the cell is a number that was set to say something.
    line = line if line is not None and 1 <= line <= n_lines else None
    if names := error.get("undefined"):
        text = LACKS.format(", ".join(names))
    elif kind not in ("MissingName", "NotCallable") or text not in entries:
        text = SENTENCES.get(kind)  # None: an error of the answer's own may be called anything
    types = ["an error", *error["types"]] if text is None else error["types"]
    return {**error, "types": types, "text": text or "", "line": line}
