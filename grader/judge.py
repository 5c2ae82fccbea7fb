"""Records and key -> verdict. Runs in the trusted parent, on plain data only."""

from dataclasses import dataclass

from . import encoding
from .compare import compare_from_json

# Errors that no Python class stands for; a worker or its runner reports them by these names.
OWN_ERRORS = {
    "MissingName": "the answer cell does not define {text}",
    "NotCallable": "{text} is not a function",
    "NotPlainData": "it returned {text}, where numbers, text, lists, dicts or arrays are expected",
    "TimeLimit": "it did not finish in time: does a loop never end?",
    "Died": "the process that ran it ended: out of memory, or killed?",
    "Protocol": "what came back from the process that ran it could not be read",
    "NotRun": "it was not run",
}


@dataclass(frozen=True)
class Verdict:
    """What a student is told of one task. ``misconception`` is the name of a recognised one."""

    grade_id: str
    passed: bool
    points: float
    max_points: float
    message: str
    misconception: str | None = None


def judge(frozen: dict, records: list[dict]) -> Verdict:
    """Compare what came back with the key.

    Args:
        frozen: what ``freeze`` gave.
        records: one a case, in order; untrusted plain JSON of a checked form (``exchange``).
    """
    grade_id, points, key = frozen["grade_id"], frozen["points"], frozen["key"]
    reasons = case_reasons(frozen, records)
    case = next((i for i, reason in enumerate(reasons) if reason is not None), None)
    if case is None:
        return Verdict(grade_id, True, points, points, "all hidden checks pass")
    for wrong in key["misconceptions"]:
        if _matches(records, wrong, key):
            return Verdict(grade_id, False, 0, points, wrong["message"], wrong["name"])
    label = "" if _failed_to_load(records[case]) else f"{case_labels(frozen)[case]}: "
    return Verdict(grade_id, False, 0, points, f"{label}{reasons[case]}")


def case_reasons(frozen: dict, records: list[dict]) -> list[str | None]:
    """Why each case fails, None where it passes."""
    key = frozen["key"]
    return [_difference(got, want, key) for got, want in _together(records, key["expected"])]


def case_labels(frozen: dict) -> list[str]:
    """What to call each case in front of a student."""
    labels = frozen["key"]["labels"]
    return [label or f"hidden case {i + 1} of {len(labels)}" for i, label in enumerate(labels)]


def passes_for_right(misconception: dict, key: dict) -> bool:
    """Could an answer with this misconception pass, on these cases?"""
    if "raises" in misconception:
        return _matches(key["expected"], misconception, key)
    pairs = _together(misconception["records"], key["expected"])
    return all(_difference(wrong, want, key, loosely=True) is None for wrong, want in pairs)


def pass_for_each_other(one: dict, other: dict, key: dict) -> bool:
    """Could one answer be told to have either of two misconceptions?"""
    if "raises" in one or "raises" in other:
        named, second = (one, other) if "raises" in one else (other, one)
        if "raises" in second:
            return named["raises"] == second["raises"]
        return _matches(second["records"], named, key)
    triples = _together(one["records"], other["records"], key["expected"])
    return all(_same_mistake(a, b, want, key, loosely=True) for a, b, want in triples)


def _together(*records: list[dict]) -> list[tuple[dict, ...]]:
    return list(zip(*records, strict=True))


def _matches(records: list[dict], misconception: dict, key: dict) -> bool:
    if "raises" not in misconception:
        triples = _together(records, misconception["records"], key["expected"])
        return all(_same_mistake(got, wrong, want, key) for got, wrong, want in triples)
    kind = misconception["raises"]
    others = [
        _difference(got, want, key)
        for got, want in _together(records, key["expected"])
        if not _is_error(got, kind) and not _is_error(got, "NotRun")
    ]
    raised = any(_is_error(record, kind) for record in records)
    return raised and all(reason is None for reason in others)


def _is_error(record: dict, kind: str) -> bool:
    return "error" in record and kind in record["error"]["types"]


def _failed_to_load(record: dict) -> bool:
    error = record.get("error")
    return error is not None and (error["phase"] == "load" or error["types"][0] == "MissingName")


def _difference(got: dict, want: dict, key: dict, *, loosely: bool = False) -> str | None:
    """Why a record is not the reference's; None if it is."""
    if "error" in want:
        kind = want["error"]["types"][0]
        if _is_error(got, kind):
            return None
        return f"a {kind} should be raised; {_what_happened(got)}"
    if "error" in got:
        return _what_happened(got)
    try:
        value, expected = (encoding.decode(record["value"], native=False) for record in (got, want))
    except encoding.EncodingError:
        return OWN_ERRORS["Protocol"]
    compare = compare_from_json(key["compare"])
    if loosely:
        reason = None if compare.clash(value, expected) else ""
    else:
        reason = compare.difference(value, expected)
    return _watched_difference(got, want, key) if reason is None else f"the result {reason}"


def _watched_difference(got: dict, want: dict, key: dict) -> str | None:
    changed = sorted(set(got["mutated"]) - set(want["mutated"]))
    if "mutated" in key["watch"] and changed:
        return f"the function changed its argument {changed[0]}; work on a copy"
    n_got, n_want = len(got["calls"]), len(want["calls"])
    if "n_calls" in key["watch"] and n_got > n_want:
        return f"the result is right, but it took {n_got} calls of the model; {n_want} are enough"
    if "calls" in key["watch"] and got["calls"] != want["calls"]:
        return f"the result is right, but the model was not asked what it should ({n_got} calls)"
    return None


def _same_mistake(got: dict, wrong: dict, want: dict, key: dict, *, loosely: bool = False) -> bool:
    if ("error" in got) != ("error" in wrong):
        return False
    if "error" in wrong:
        return _is_error(got, wrong["error"]["types"][0])
    watch = key["watch"]
    if "mutated" in watch and set(got["mutated"]) != set(wrong["mutated"]):
        return False
    # How many calls too many depends on how the loop is written; that there are any does not.
    too_many = [len(record["calls"]) > len(want["calls"]) for record in (got, wrong)]
    if "n_calls" in watch and too_many[0] != too_many[1]:
        return False
    if "calls" in watch and got["calls"] != wrong["calls"]:
        return False
    try:
        value, mistake = (encoding.decode(each["value"], native=False) for each in (got, wrong))
    except encoding.EncodingError:
        return False
    compare = compare_from_json(key["compare"])
    return compare.alike(value, mistake) if loosely else compare.same_mistake(value, mistake)


def _what_happened(record: dict) -> str:
    if "error" not in record:
        return "a result was returned"
    error = record["error"]
    kind, text = error["types"][0], error["text"]
    if kind in OWN_ERRORS:
        return OWN_ERRORS[kind].format(text=text)
    if kind == "NotImplementedError":
        return "not answered yet: the cell still raises NotImplementedError"
    line = "" if error["line"] is None else f" in line {error['line']} of the answer cell"
    return f"{kind}{line}: {text}" if text else f"{kind}{line}"
