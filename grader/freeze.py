"""A task and a seed -> plain JSON: what a worker is asked, and the key that stays outside.

    {"grade_id", "points",
     "ask": {"setup": [source], "entries": [name], "drive": null or {"source", "name"}},
     "cases": [{"entry", "read", "args", "kwargs", "seed"}],
     "visible": null or a case {..., "test": source}, the visible tests: no points depend on it,
     "timeout_s": 10.0,
     "key": {"labels": [...], "compare": {...}, "watch": [...], "expected": [record],
             "misconceptions": [{"name", "message", "records": [record]}]}}

A worker is sent "ask", the answer, the cases and the visible tests, and nothing else.
"""

import contextlib
import secrets
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from nbformat import NotebookNode
from tqdm import tqdm

from . import cells, encoding
from .checks import Case, Probe, Task, edited, function_source, load_tasks
from .discretion import words_of_assert
from .judge import case_reasons, matches
from .per_student import solution_of
from .session import Session

# numpy's global generator takes seeds below 2**32, and a case's seed is 1000 times this.
SEEDS = 4_000_000
TRIES = 10  # how often cases are drawn until they tell every misconception
# Errors that an author's own cell is not meant to end with: more likely a mistake.
MISTAKES = {"NameError", "ImportError", "SyntaxError", "MissingName", "NotCallable"}
MISTAKES_OF_REFERENCE = MISTAKES | {"AttributeError", "TypeError", "AssertionError", "NotPlainData"}


class FreezeError(ValueError):
    """A task whose checks cannot work; the message names the task and what to change."""


def find_exercises(root: Path, wanted: list[str] | None = None) -> list[str]:
    """Names of the course's exercises, or of those wanted by name or number ("01")."""
    names = [path.stem for path in cells.solution_paths(root)]
    if not wanted:
        return names
    for text in wanted:
        if text not in [*names, *(name.split("_")[0] for name in names)]:
            raise ValueError(f"exercise: {text!r} is not one of {', '.join(names)}")
    return [name for name in names if {name, name.split("_")[0]} & set(wanted)]


def freeze_exercises(
    root: Path, names: list[str], seed: int, only: str | None = None, student: str | None = None
) -> dict[tuple[str, str], dict]:
    """Frozen checks by (exercise, task), ``only`` one task's; with the ``student``'s own values."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"seed: got {seed}, must be from 0 to {SEEDS - 1}")
    frozen, hidden = {}, student is not None or len(names) < 2
    for name in tqdm(names, "hidden checks", unit="exercise", disable=hidden, leave=False):
        notebook = solution_of(root, name, seed, student)
        for task in load_tasks(root / "solutions" / "checks" / f"{name}.py") if notebook else ():
            if only in (None, task.grade_id):
                try:
                    frozen[name, task.grade_id] = freeze(task, notebook, seed)
                except FreezeError as error:
                    whose = f" (the values are those of {student!r})" if student else ""
                    raise FreezeError(f"{error}{whose}") from error
    return frozen


def draw_seed() -> int:
    """One that nobody knows."""
    return secrets.randbelow(SEEDS)


def freeze(task: Task, notebook: NotebookNode, seed: int = 0) -> dict:
    """The task's checks as plain JSON data, always the same; FreezeError if something is wrong.

    Where the cases that a seed draws do not tell every misconception, others are drawn from it.
    """
    try:
        with contextlib.redirect_stdout(None):  # what setup cells print is for students
            for drawn in range(TRIES):
                frozen = _freeze(task, notebook, seed, np.random.default_rng([seed, drawn]))
                if not (untold := _untold(frozen["key"])):
                    return frozen
            raise ValueError("\n".join(untold))
    except (ValueError, TypeError, SyntaxError) as error:
        raise FreezeError(f"task {task.grade_id!r}: {error}") from error


def _freeze(task: Task, notebook: NotebookNode, seed: int, rng: np.random.Generator) -> dict:
    setup = cells.setup_sources(notebook, task.grade_id)
    if given := cells.defined_functions(setup) & set(task.entries):
        raise ValueError(f"{sorted(given)} is in front of it: an empty answer would pass")
    solution = cells.find_cell(notebook, task.grade_id).source
    drive = task.drive and {"source": function_source(task.drive), "name": task.drive.__name__}
    ask = {"setup": setup, "entries": list(task.entries), "drive": drive}
    drawn = [Case()] if task.cases is None else list(task.cases(rng))
    if not drawn:
        raise ValueError("cases: needs at least one")
    cases = [_frozen_case(task, case, 1000 * seed + i) for i, case in enumerate(drawn)]
    tests_id, case = cells.visible_tests_id(task.grade_id), _frozen_case(task, Case(), 0)
    visible = [{**case, "read": True, "test": cell.source} for cell in notebook.cells
               if cells.nbgrader_field(cell, "grade_id") == tests_id]  # fmt: skip
    session = Session(ask)
    expected = _records(session, cases, solution, "the solution", MISTAKES_OF_REFERENCE)
    for case, record in zip(cases, expected, strict=True):  # a driver's first one is the answer
        code = getattr(session.drive or session.names[case["entry"]], "__code__", None)
        named = code.co_varnames[session.drive is not None : code.co_argcount] if code else ()
        record["arguments"] = list(named)
    key = {
        "labels": [case.label for case in drawn],
        "compare": vars(task.compare),
        "watch": list(task.watch),
        "expected": expected,
        "misconceptions": [
            {"records": _records(session, cases, edited(solution, changes), repr(name)),
             "name": name, "message": message or _words_of_tests(session, visible, name)}
            for name, *changes, message in task.misconceptions
        ],
    }  # fmt: skip
    return {"grade_id": task.grade_id, "points": cells.points(notebook, task.grade_id), "ask": ask,
            "cases": cases, "visible": visible[0] if visible else None,
            "timeout_s": task.timeout_s, "key": key}  # fmt: skip


def _frozen_case(task: Task, case: Case, seed: int) -> dict:
    entry = case.entry or task.entries[0]
    if entry not in task.entries:
        raise ValueError(f"cases: entry {entry!r} is not one of {task.entries}")
    kwargs = {name: _encode(arg) for name, arg in case.kwargs.items()}
    return {"entry": entry, "read": task.cases is None, "args": list(map(_encode, case.args)),
            "kwargs": kwargs, "seed": seed}  # fmt: skip


def _encode(value: Any) -> Any:
    """JSON of an argument; `Session` makes a probe or a toy model anew from it in the worker."""
    if isinstance(value, Probe):
        bound = [encoding.encode(item) for item in value.bound]
        return {"$probe": value.source, "name": value.name, "bound": bound}
    toy_lm = sys.modules.get("lecture_lib.decoding.toy_lm")  # unless imported, it cannot be one
    if toy_lm is not None and isinstance(value, toy_lm.ToyLM):
        fields = {"table": value.table, "vocab": value.vocab, "default": value.default}
        return {"$toy_lm": encoding.encode(fields)}
    return encoding.encode(value)


def _records(
    session: Session, cases: list[dict], source: str, what: str, mistakes: set[str] = MISTAKES
) -> list[dict]:
    """Records of an author's answer cell, made with what runs a student's."""
    session.names = {}
    if error := session.load(source):
        raise ValueError(f"{what} ends with {error}")
    records = [session.call(case) for case in cases]
    for error in (record["error"] for record in records if "error" in record):
        if mistakes & set(error["types"]):
            raise ValueError(f"{what} ends with {error['types'][0]}: {error['text']}")
        error["text"] = ""  # no one compares it, and an object's address in it changes each time
    return records


def _words_of_tests(session: Session, visible: list[dict], name: str) -> str:
    """What the visible tests say to the answer that the session has run last."""
    for case in visible:
        error = session.call(case).get("error", {"text": ""})
        if words := words_of_assert(error["text"], case["test"]):
            return words
    raise ValueError(f"{name!r} needs a message: the visible tests do not fail, or with an error")


def _untold(key: dict) -> list[str]:
    """Misconceptions that no case tells: from the solution, or from another, by ten tolerances."""
    wide = {name: 10 * key["compare"][name] for name in ("rtol", "atol")}
    key, found = {**key, "compare": {**key["compare"], **wide}}, key["misconceptions"]
    return [f"{one['name']!r} cannot be told from the reference: add a case on which it differs"
            for one in found if not any(case_reasons({"key": key}, one["records"]))] + [
            f"{one['name']!r} and {other['name']!r} cannot be told apart: add a case, or drop one"
            for one, other in combinations(found, 2)
            if matches(other["records"], one, key, range(len(key["expected"])))]  # fmt: skip
