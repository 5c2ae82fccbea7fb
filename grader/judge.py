"""Records and key -> verdict. Runs in the trusted parent, on plain data only."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import encoding
from .compare import Close

MIN_CHARACTERS = 10  # of JSON, in which an answer must agree with a known mistake
ERRORS = tomllib.loads((Path(__file__).parent / "templates" / "errors.toml").read_text("utf-8"))
OWN_ERRORS = ERRORS["own"]
CHANGED = "the function changed its argument"  # in whichever case, so its label is not told


@dataclass(frozen=True)
class Verdict:
    """What a student is told of one task. ``misconception`` is the name of a recognised one."""

    passed: bool
    points: float
    max_points: float
    message: str
    misconception: str | None = None


def judge(frozen: dict, records: list[dict]) -> Verdict:
    """Compare what came back, untrusted JSON of the form that ``exchange`` checks, with the key."""
    points, key = frozen["points"], frozen["key"]
    reasons = case_reasons(frozen, records)
    case = next((i for i, reason in enumerate(reasons) if reason is not None), None)
    failed = records[0].get("load")
    defined = " and ".join(frozen["ask"]["entries"])
    note = (f"; the cell fails after it has defined {defined}: {_what_happened({'error': failed})}"
            if failed else "")  # fmt: skip
    if case is None:
        return Verdict(True, points, points, f"all hidden checks pass{note}")
    for wrong in key["misconceptions"]:
        if matches(records, wrong, key, range(len(records))):
            return Verdict(False, 0, points, wrong["message"], wrong["name"])
    error = records[case].get("error", {"phase": "call", "types": [""]})
    loaded = error["phase"] == "call" and error["types"][0] != "MissingName"
    told = loaded and not frozen["cases"][case]["read"] and not reasons[case].startswith(CHANGED)
    label = f"{case_labels(frozen)[case]}: " if told else ""
    hint = _hint(frozen, records, reasons)
    return Verdict(False, 0, points, f"{label}{reasons[case]}{hint}{note}")


def _hint(frozen: dict, records: list[dict], reasons: list[str | None]) -> str:
    """A guess at the mistake: the one known one that agrees in every case that fails."""
    key, failing = frozen["key"], [i for i, reason in enumerate(reasons) if reason is not None]
    values = [record.get("value", "none") for record in (records[failing[0]], *key["expected"])]
    if values[0] is None and None not in values[1:] and not frozen["cases"][0]["read"]:
        return ": a `return` is missing, or what it returns is None"
    known = [wrong for wrong in key["misconceptions"] if matches(records, wrong, key, failing)]
    # A bool, a small number, infinity or a kind of error agrees by chance, even in several cases.
    given = {encoding.dumps(wrong["records"][i].get("value")) for wrong in known for i in failing}
    telling = len(known) == 1 and sum(len(x) for x in given if "inf" not in x) >= MIN_CHARACTERS
    return f". Perhaps: {known[0]['message']}" if telling else ""


def case_reasons(frozen: dict, records: list[dict]) -> list[str | None]:
    """Why each case fails, None where it passes."""
    key = frozen["key"]
    return [difference(got, want, key)
            for got, want in zip(records, key["expected"], strict=True)]  # fmt: skip


def case_labels(frozen: dict) -> list[str]:
    """What to call each case in front of a student."""
    labels = frozen["key"]["labels"]
    return [label or f"hidden case {i + 1} of {len(labels)}" for i, label in enumerate(labels)]


def matches(records: list[dict], wrong: dict, key: dict, cases: Iterable[int]) -> bool:
    """Are these, in some cases, the records of someone who has this misconception?"""
    return all(_same_mistake(records[i], wrong["records"][i], key["expected"][i], key)
               for i in cases)  # fmt: skip


def difference(got: dict, want: dict, key: dict) -> str | None:
    """Why a record is not the reference's; None if it is."""
    if "error" in want:
        kind = want["error"]["types"][0]
        right = _is_error(got, kind)
        return None if right else f"a {kind} should be raised; {_what_happened(got)}"
    if "error" in got:
        return _what_happened(got)
    if reason := _value_difference(got, want, key):
        return reason
    changed = sorted(set(got["mutated"]) - set(want["mutated"]))
    if "mutated" in key["watch"] and changed:
        names = {str(i): name for i, name in enumerate(want["arguments"], start=1)}
        return f"{CHANGED} {names.get(changed[0], changed[0])}; work on a copy"
    if _too_many_calls(got, want, key):
        told = f"the result is right, but it took {got['n_calls']} calls of the model"
        return f"{told}; {want['n_calls']} are enough"
    return None


def _same_mistake(got: dict, wrong: dict, want: dict, key: dict) -> bool:
    if ("error" in got) != ("error" in wrong):
        return False
    if "error" in wrong:
        return _is_error(got, wrong["error"]["types"][0])
    same = "mutated" not in key["watch"] or set(got["mutated"]) == set(wrong["mutated"])
    # How many calls too many depends on how the loop is written; that there are any does not.
    same = same and _too_many_calls(got, want, key) == _too_many_calls(wrong, want, key)
    return same and _value_difference(got, wrong, key) is None


def _value_difference(got: dict, want: dict, key: dict) -> str | None:
    try:
        value, expected = (encoding.decode(each["value"], native=False) for each in (got, want))
    except encoding.EncodingError:
        return OWN_ERRORS["Protocol"]
    return Close(**key["compare"]).difference(value, expected)


def _too_many_calls(got: dict, want: dict, key: dict) -> bool:
    return "n_calls" in key["watch"] and got["n_calls"] > want["n_calls"]


def _is_error(record: dict, kind: str) -> bool:
    return "error" in record and kind in record["error"]["types"]


def _what_happened(record: dict) -> str:
    if "error" not in record:
        return "a result was returned"
    error = record["error"]
    kind, text = error["types"][0], error["text"]
    if kind in OWN_ERRORS:
        return OWN_ERRORS[kind].format(text=text)
    line = "" if error["line"] is None else f" in line {error['line']} of the answer cell"
    return f"{kind}{line}: {text}" if text else f"{kind}{line}"
