"""How an author writes hidden checks: solutions/checks/NN_topic.py holds a ``Task`` for each task.

Trusted and never shipped to students. ``freeze`` turns a task and a seed into plain data.
"""

import inspect
import runpy
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lecture_lib.checks import check_choice, check_number

from .compare import Close, Exact

__all__ = ["Case", "Close", "Exact", "Probe", "Task", "between", "load_tasks", "normal"]


class Case:
    """One hidden call: the arguments, and which entry gets them (default: the task's first).

    The label may be shown to students ("a single token"); it must not tell the input.
    """

    def __init__(self, *args: Any, label: str = "", entry: str | None = None, **kwargs: Any):
        self.args, self.kwargs, self.label, self.entry = args, kwargs, label, entry


class Probe:
    """A helper function as an argument: ``function(*bound, *args)``. Its calls are counted.

    ValueError if it is a lambda, uses outer variables or has no source: it is sent as text.
    """

    def __init__(self, function: Callable, *bound: Any):
        self.source = function_source(function)
        self.name = function.__name__
        self.bound = bound


def between(rng: Any, low: int, high: int) -> int:
    """A whole number from low to high - 1, for a case."""
    return int(rng.integers(low, high))


def normal(rng: Any, *shape: int, scale: float = 1.0) -> Any:
    """A tensor of normally distributed float64, for a case."""
    import torch

    return torch.from_numpy(rng.normal(scale=scale, size=shape))


def function_source(function: Callable) -> str:
    """Source of a function that is sent to a worker, so that it may use only its own imports."""
    if function.__name__ == "<lambda>" or function.__closure__:
        raise ValueError(f"function: needs a def that uses no outer variable, got {function}")
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(f"function: {function} has no source that could be sent") from error


def edited(source: str, changes: Sequence[str]) -> str:
    """The solution cell with each old text replaced. ValueError if one is not there just once."""
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        if (n := source.count(old)) != 1:
            raise ValueError(f"{old!r} is {n} times in the solution cell, not once")
        source = source.replace(old, new)
    return source


def _named(*known: Any) -> list[tuple[str, ...]]:
    """Each mistake of a misconception as (name, old, new, ..., message); "": `freeze` finds it."""
    *changes, last = known
    if isinstance(last, dict | set):
        told = last if isinstance(last, dict) else dict.fromkeys(sorted(last), "")
        return [(message or f"{changes[-1]} -> {new}", *changes, new, message)
                for new, message in told.items()]  # fmt: skip
    return [(last, *known)[len(known) % 2 == 0 :]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Hidden checks of one answer cell, which is the reference; ValueError for what cannot be.

    A misconception: texts of the solution cell, what stands there instead (see `edited`), and what
    to tell those who do that; a name stands in front, or the message is its name. A set of new
    texts has the words of the visible tests that fail with each of them.
    """

    grade_id: str  # of the answer cell; its visible tests are the cell ``test-<grade_id>``
    misconceptions: Sequence[tuple]  # (old, new, message), (old, {new: message}), or with a name
    compare: Close = field(default_factory=Exact)  # a result with the solution's
    entry: str | tuple[str, ...] = ""  # the names that the cell must define; "": as its grade_id
    cases: Callable[[Any], Sequence[Case]] | None = None  # of a numpy Generator; None: a value
    drive: Callable | None = None  # a self-contained ``drive(answer, *args)`` of several entries
    watch: Sequence[str] = ("mutated",)  # what counts besides the result; or "n_calls", too
    timeout_s: float = 10.0  # for one case

    def __post_init__(self):
        for name in self.watch:
            check_choice("watch", name, ("mutated", "n_calls"))
        check_number("timeout_s", self.timeout_s, above=0)
        named = [each for known in self.misconceptions for each in _named(*known)]
        object.__setattr__(self, "misconceptions", named)

    @property
    def entries(self) -> tuple[str, ...]:
        name = self.entry or self.grade_id.replace("-", "_")
        return (name,) if isinstance(name, str) else tuple(self.entry)


def load_tasks(path: str | Path) -> list[Task]:
    """The tasks that a checks file names. ValueError if there is none, or an id twice."""
    tasks = [each for each in runpy.run_path(str(path)).values() if isinstance(each, Task)]
    if len({task.grade_id for task in tasks}) != len(tasks) or not tasks:
        raise ValueError(f"{path}: needs tasks, each with a grade_id of its own")
    return tasks
