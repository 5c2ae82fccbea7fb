"""A task and a seed -> plain JSON: what a worker is asked, and the key that stays outside.

    {"schema": 1, "grade_id", "points", "seed",
     "ask": {"setup": [source], "entries": [name], "drive": null or {"source", "name"}},
     "cases": [{"entry", "read", "args", "kwargs", "seed"}],
     "timeout_s": 10.0,
     "key": {"labels": [...], "compare": {...}, "watch": [...], "expected": [record],
             "misconceptions": [{"name", "message", "records": [record]} or {..., "raises": name}]}}

A worker is sent "ask", the answer and the cases, and nothing else.
"""

from typing import Any

from nbformat import NotebookNode

from . import cells, encoding, fixtures, judge, session
from .checks import Case, Edit, Misconception, Raises, Task

SCHEMA = 1
# Errors that an author's own function is not meant to end with: more likely a mistake.
MISTAKES = {"NameError", "ImportError", "SyntaxError", "MissingName", "NotCallable"}
MISTAKES_OF_REFERENCE = MISTAKES | {"AttributeError", "TypeError", "AssertionError", "NotPlainData"}


class FreezeError(ValueError):
    """A task whose checks cannot work; the message names the task and what to change."""


def freeze(task: Task, seed: int = 0, notebook: NotebookNode | None = None) -> dict:
    """The task's checks as plain JSON data; the same arguments give the same data.

    Args:
        seed: of the generator that the task's cases are drawn with.
        notebook: the solution notebook; needed for setup cells, Edit and ``reference=None``.

    Raises:
        FreezeError: a misconception gives what the reference gives, or what another one gives;
            or an Edit, a fixture or a cell is not as it must be.
    """
    try:
        return _freeze(task, seed, notebook)
    except (cells.NotebookError, ValueError, TypeError, SyntaxError) as error:
        raise FreezeError(f"task {task.grade_id!r}: {error}") from error


def _freeze(task: Task, seed: int, notebook: NotebookNode | None) -> dict:
    setup: list[str] = []
    if notebook is None and (task.needs or task.setup):
        raise ValueError("needs and setup name cells of the solution notebook, which is missing")
    if notebook is not None:
        setup = cells.setup_sources(notebook, task.grade_id, setup=task.setup, needs=task.needs)
        if given := cells.defined_functions(setup) & set(task.entries):
            raise ValueError(f"{sorted(given)} stands in front: an answer that is empty would pass")
    drive = None
    if task.drive is not None:
        drive = {"source": fixtures.function_source(task.drive), "name": task.drive.__name__}
    labels, cases = _draw_cases(task, seed)
    ask = {"setup": setup, "entries": list(task.entries), "drive": drive}
    trusted = _Reference(task, ask, cases, notebook)
    key = {
        "labels": labels,
        "compare": task.compare.to_json(),
        "watch": list(task.watch),
        "expected": trusted.records(task.reference),
        "misconceptions": [_frozen_misconception(m, trusted) for m in task.misconceptions],
    }
    _check_distinct(key)
    return {
        "schema": SCHEMA,
        "grade_id": task.grade_id,
        "points": task.points,
        "seed": seed,
        "ask": ask,
        "cases": cases,
        "timeout_s": task.timeout_s,
        "key": key,
    }


def _draw_cases(task: Task, seed: int) -> tuple[list[str], list[dict]]:
    import numpy as np

    drawn = [Case()] if task.cases is None else list(task.cases(np.random.default_rng(seed)))
    if not drawn:
        raise ValueError("cases: needs at least one")
    cases = []
    for i, case in enumerate(drawn):
        entry = case.entry or task.entries[0]
        if entry not in task.entries:
            raise ValueError(f"cases: entry {entry!r} is not one of {task.entries}")
        cases.append({
            "entry": entry,
            "read": task.cases is None,
            "args": [_encoded(arg) for arg in case.args],
            "kwargs": {name: _encoded(arg) for name, arg in case.kwargs.items()},
            "seed": 1000 * seed + i,
        })  # fmt: skip
    return [case.label for case in drawn], cases


def _encoded(value: Any) -> Any:
    return encoding.encode(value, fixture=fixtures.encode_fixture)


class _Reference:
    """What trusted answers give, through the very code that runs a student's."""

    def __init__(self, task: Task, ask: dict, cases: list[dict], notebook: NotebookNode | None):
        self.task, self.ask, self.cases, self.notebook = task, ask, cases, notebook
        self._base: dict | None = None

    def records(self, answer: Any) -> list[dict]:
        """A record a case, of functions or values, an Edit, or the solution cell (None)."""
        if answer is None or isinstance(answer, Edit):
            trusted = self._run_cell(answer)
        elif self.task.reference is None:
            trusted = self._run_cell(None)
            trusted.names |= self._names(answer)
        else:
            trusted = session.Session(self.ask, namespace={})
            trusted.names = self._names(answer)
        records = [trusted.call(case) for case in self.cases]
        mistakes = MISTAKES_OF_REFERENCE if answer is self.task.reference else MISTAKES
        for error in (record["error"] for record in records if "error" in record):
            if mistakes & set(error["types"]):
                raise ValueError(f"{answer} ends with {error['types'][0]}: {error['text']}")
        return records

    def _names(self, answer: Any) -> dict:
        entries = self.task.entries
        if isinstance(self.task.entry, str):
            return {entries[0]: answer}
        if not isinstance(answer, dict) or not set(answer) <= set(entries):
            raise ValueError(f"needs a dict of answers to {entries}")
        rest = self.task.reference if isinstance(self.task.reference, dict) else {}
        return {**rest, **answer}

    def _run_cell(self, edit: Edit | None) -> session.Session:
        if self.notebook is None:
            raise ValueError("an Edit, or no reference, needs the solution notebook")
        source = cells.find_cell(self.notebook, self.task.grade_id).source
        if self._base is None:
            self._base = session.run_setup(self.ask["setup"])
        trusted = session.Session(self.ask, self._base)
        error = trusted.load(source if edit is None else edit.apply(source))
        if error is not None:
            raise ValueError(f"the solution cell (edit: {edit}) ends with {error}")
        return trusted


def _frozen_misconception(misconception: Misconception, trusted: _Reference) -> dict:
    frozen = {"name": misconception.name, "message": misconception.message}
    if isinstance(misconception.wrong, Raises):
        return {**frozen, "raises": misconception.wrong.error}
    if misconception.wrong is None:
        raise ValueError(f"misconception {misconception.name!r}: wrong is None")
    return {**frozen, "records": trusted.records(misconception.wrong)}


def _check_distinct(key: dict) -> None:
    """Every misconception must show on some case, and differ from every other on some case."""
    found = key["misconceptions"]
    for i, one in enumerate(found):
        if judge.passes_for_right(one, key):
            told = f"misconception {one['name']!r} cannot be told from the reference"
            raise ValueError(f"{told} on these cases")
        for other in found[:i]:
            if judge.pass_for_each_other(one, other, key):
                told = f"misconceptions {other['name']!r} and {one['name']!r} cannot be told apart"
                raise ValueError(f"{told} on these cases")
