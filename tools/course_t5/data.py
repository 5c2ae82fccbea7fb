"""The course T5's tasks and its data: what it is trained on, and what is held out."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from .numbers_dates import date_pair, number_pair, time_pair
from .reports import match_pair, timetable_pair, weather_pair
from .sentences import sentence_pair

TRANSLATE = "translate English to French: "  # T5's own prefixes: they name the task
SUMMARIZE = "summarize: "
# One input in so many is held out, chosen by its hash: never trained on, whatever the seed.
HELD_OUT_ONE_IN = 8


@dataclass(frozen=True)
class Task:
    """A task: T5's prefix, a maker of (input, output) pairs, its share of the training data."""

    name: str
    prefix: str
    make: Callable[[Random], tuple[str, str]]
    share: float


TASKS = {
    task.name: task
    for task in (
        Task("numbers", TRANSLATE, number_pair, 0.22),
        Task("dates", TRANSLATE, date_pair, 0.08),
        Task("times", TRANSLATE, time_pair, 0.12),
        Task("sentences", TRANSLATE, sentence_pair, 0.26),
        Task("weather", SUMMARIZE, weather_pair, 0.11),
        Task("match", SUMMARIZE, match_pair, 0.11),
        Task("timetable", SUMMARIZE, timetable_pair, 0.10),
    )
}


def is_held_out(source: str) -> bool:
    """Whether this input belongs to the held-out set."""
    digest = hashlib.sha256(source.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_ONE_IN == 0


def make_pair(task: str, random: Random, *, held_out: bool) -> tuple[str, str]:
    """A pair of the task, (prefix + input, output), from the training or the held-out set.

    Raises:
        ValueError: an unknown task.
        ImportError: num2words, the teacher of numbers, is not installed.
    """
    if task not in TASKS:
        raise ValueError(f"task: {task!r} is none of {', '.join(TASKS)}")
    while True:
        source, target = TASKS[task].make(random)
        if is_held_out(source) == held_out:
            return TASKS[task].prefix + source, target


def held_out_pairs(task: str, n: int, *, seed: int) -> list[tuple[str, str]]:
    """n different held-out pairs of the task, the same ones each time."""
    random, pairs = Random(f"{task} {seed}"), {}
    while len(pairs) < n:
        source, target = make_pair(task, random, held_out=True)
        pairs[source] = target
    return list(pairs.items())


def training_pairs(random: Random):
    """Endless (source, target) pairs for training, the tasks mixed by their shares."""
    names = list(TASKS)
    shares = [TASKS[name].share for name in names]
    while True:
        yield make_pair(random.choices(names, shares)[0], random, held_out=False)
