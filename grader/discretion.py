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
        rf"name {NAME} is not defined.*",
        rf"cannot access local variable {NAME} where it is not associated with a value",
        rf"{NAME} object has no attribute {NAME}",
        rf"module {NAME} has no attribute {NAME}",
        rf"No module named {NAME}",
        rf"{NAME} object is not (?:callable|iterable|subscriptable)",
        rf"{NAME} missing \d required positional arguments?: {NAME}",
        rf"{NAME} got an unexpected keyword argument {NAME}",
        r"(?:list|string|tuple|pop) index out of range|pop from empty list",
        r"(?:float |integer )?(?:division|modulo)(?: or modulo)? by zero|float division by zero",
        r"maximum recursion depth exceeded.*|math domain error|math range error",
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
    names, n_lines = set(re.findall(r"[A-Za-z_]\w*", answer)), len(answer.splitlines())
    return [_discreet(record, names, entries, n_lines) for record in records]


def discreet_message(message: str) -> str:
    """A verdict's message without a shape that could spell out numbers."""
    return SHAPE.sub(_usual_shape, message)


def _usual_shape(found: re.Match) -> str:
    sizes = [size for size in found[1].replace(",", " ").split() if size]
    usual = len(sizes) <= 4 and all(len(size) <= 4 for size in sizes)
    return found[0] if usual else "is of another shape"


def _discreet(record: dict, names: set[str], entries: list[str], n_lines: int) -> dict:
    error = record.get("error")
    if error is None or error["phase"] == "load":
        return record
    types, text, line = error["types"], error["text"], error["line"]
    kind = types[0]
    told = _may_be_told(kind, names) or kind in OWN_ERRORS
    if kind == "NotPlainData":
        text = text if _says_what_type(text, names) else OTHER_TYPE
    elif kind in ("MissingName", "NotCallable"):  # or an error of the student's of that name
        told = text in entries
    if not told:
        types = ["an error", *types]
    if kind != "NotPlainData" and text not in entries and not _harmless(text, names):
        text = ""
    if line is not None and not 1 <= line <= n_lines:  # a number that was set to say something
        line = None
    return {**record, "error": {**error, "types": types, "text": text, "line": line}}


def _says_what_type(text: str, names: set[str]) -> bool:
    found = NO_PLAIN_DATA.fullmatch(text)
    return text in TOO_MUCH or (found is not None and _may_be_told(found[1], names))


def _may_be_told(name: str, names: set[str]) -> bool:
    return name in names or name in KNOWN or keyword.iskeyword(name)


def _harmless(text: str, names: set[str]) -> bool:
    for pattern in HARMLESS:
        if found := pattern.fullmatch(text):
            words = [word for group in found.groups() if group for word in group.split(".")]
            return all(_may_be_told(word, names) for word in words)
    return False
