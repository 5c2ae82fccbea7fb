"""What a student may be told: what went wrong, but nothing that carries the hidden inputs out.

An answer could raise ``ValueError(repr(x))`` and read the inputs in its feedback, for a second
attempt. So texts of errors are passed on only where they can't hold data: from before the inputs
were there, or in the interpreter's own words about names that stand in the answer.
"""

import builtins
import keyword
import re

from . import encoding
from .judge import OWN_ERRORS

NAME = r"'?([A-Za-z_][\w.]*)(?:\(\))?'?"
HARMLESS = [
    re.compile(pattern)
    for pattern in (
        rf"name {NAME} is not defined",
        rf"cannot access local variable {NAME} where it is not associated with a value",
        rf"{NAME} object has no attribute {NAME}",
        rf"module {NAME} has no attribute {NAME}",
        rf"No module named {NAME}",
        rf"{NAME} object is not (?:callable|iterable|subscriptable)",
        rf"{NAME} missing \d required positional arguments?: {NAME}",
        rf"{NAME} got an unexpected keyword argument {NAME}",
        r"(?:list|string|tuple|pop) index out of range|pop from empty list",
        r"(?:float |integer )?(?:division|modulo)(?: or modulo)? by zero|float division by zero",
        r"maximum recursion depth exceeded(?: in comparison| while calling a Python object)?",
        r"math domain error|math range error",
        r"unsupported operand type\(s\) for \S{1,3}: '(\w+)' and '(\w+)'",
        r"list indices must be integers or slices, not (\w+)",
    )
]
# Names that no student needs to write for the interpreter to say them.
KNOWN = {name for name in dir(builtins) if not name.startswith("_")} | {
    *("NoneType", "function", "generator", "method", "module", "Tensor", "ndarray", "torch"),
    *("numpy", "numpy.ndarray", "double", "OutOfMemoryError", "LinAlgError", "ToyLM"),
}
OTHER_TYPE = "a value of a type that is no plain data"
NO_PLAIN_DATA = re.compile(r"(?:a value of type|an array of dtype) (.+)")
TOO_MUCH = (
    f"a value of more than {encoding.MAX_BYTES // 10**6} MB",
    f"an int of more than {encoding.MAX_INT_BITS} bits",
    f"a value nested more than {encoding.MAX_DEPTH} deep",
)
SHAPE = re.compile(r"is of shape \(([\d, ]*)\)")


def without_inputs(records: list[dict], answer: str, entries: list[str]) -> list[dict]:
    """The records as the student may see them judged: the same verdict, in fewer words.

    ``answer`` is the source of the answer cell, ``entries`` are the names that the task asks for.
    """
    names = {*KNOWN, *keyword.kwlist, *re.findall(r"[A-Za-z_]\w*", answer)}
    n_lines = len(answer.splitlines())
    told = []
    for record in records:
        error = record.get("error")
        if error is not None and error["phase"] != "load":
            record = {**record, "error": _discreet(error, names, entries, n_lines)}
        told.append(record)
    return told


def discreet_message(message: str) -> str:
    """A verdict's message without a shape that could spell out numbers."""

    def usual(found: re.Match) -> str:
        sizes = re.findall(r"\d+", found[1])
        short = len(sizes) <= 4 and all(len(size) <= 4 for size in sizes)
        return found[0] if short else "is of another shape"

    return SHAPE.sub(usual, message)


def _discreet(error: dict, names: set[str], entries: list[str], n_lines: int) -> dict:
    types, text, line = error["types"], error["text"], error["line"]
    kind = types[0]
    told = kind in names or kind in OWN_ERRORS
    if kind == "NotPlainData":
        found = NO_PLAIN_DATA.fullmatch(text)
        if text not in TOO_MUCH and not (found and found[1] in names):
            text = OTHER_TYPE
    elif text not in entries:  # for MissingName and NotCallable it is an entry
        # An error of the student's own may be called so.
        told = told and kind not in ("MissingName", "NotCallable")
        text = text if _harmless(text, names) else ""
    if line is not None and not 1 <= line <= n_lines:  # a number that was set to say something
        line = None
    return {**error, "types": types if told else ["an error", *types], "text": text, "line": line}


def _harmless(text: str, names: set[str]) -> bool:
    found = next(filter(None, (pattern.fullmatch(text) for pattern in HARMLESS)), None)
    words = [word for group in (found.groups() if found else ()) if group
             for word in group.split(".")]  # fmt: skip
    return found is not None and names.issuperset(words)
