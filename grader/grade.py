"""Grades a folder of submissions: what is new or changed, each submission in a sandbox.

``grade`` below is the whole path; ``__init__`` says which module does which step.
"""

import json
import os
import re
import signal
import sys
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from lecture_lib.checks import check_count

from . import GradingError, cells, reports, self_test
from .exchange import GIVE_UP
from .freeze import draw_seed, find_exercises, freeze_exercises
from .gradebook import Gradebook, make_gradebook, read_adjustments
from .lms import read_students
from .pool import Job, dask_executor, grade_all, local_executor
from .sandbox import Sandbox
from .similar import Pair, groups, similar_pairs
from .store import Store, open_store
from .submissions import find_submissions
from .submitted_file import as_given

WAITING = b"\ninterrupted: waiting for what is being graded; Ctrl-C again gives it up\n"


@dataclass(frozen=True)
class Settings:
    """How to grade; the same seed gives the same grades."""

    exercises: list[str] | None = None  # names or numbers; None for all of the course
    seed: int | None = None  # of the hidden inputs; None: the results folder's, or a new one
    deadline: datetime | None = None  # what is handed in later is marked
    jobs: int = 1  # submissions graded at the same time
    regrade: list[str] = field(default_factory=list)  # students, tasks, exercises or "all"
    scheduler: str | None = None  # address of a Dask scheduler
    unsafe: bool = False  # grade even if the sandbox is missing or does not hold
    adjustments: Path | None = None  # None: adjustments.csv in the results folder
    roster: Path | None = None  # a table of all students: whose a file is
    pattern: re.Pattern | None = None  # finds (?P<student>...) in each path
    sandbox: Sandbox = field(default_factory=Sandbox)


@dataclass(frozen=True)
class Outcome:
    """What was done: how many answers were graded now, and the gradebook of everything."""

    n_graded: int
    book: Gradebook
    seed: int
    interrupted: bool = False
    rejected: list[tuple[str, str]] = field(default_factory=list)  # files not taken, and why


def grade(root: Path, submissions: Path, results: Path, settings: Settings) -> Outcome:
    """Grade what is new or changed in ``submissions``; write all reports into ``results``.

    ValueError for a setting that cannot be, or adjustments that are wrong; GradingError if there
    is no sandbox that holds. Nothing has been graded then.
    """
    check_count("jobs", settings.jobs)
    names = find_exercises(root, settings.exercises)
    with open_store(results) as store:
        table = settings.adjustments or results / "adjustments.csv"
        adjustments = read_adjustments(table, may_be_absent=settings.adjustments is None)
        seed = store.fact("seed") if settings.seed is None else settings.seed
        seed, frozen = (draw_seed(root, names) if seed is None
                        else (int(seed), freeze_exercises(root, names, int(seed))))  # fmt: skip
        store.set_fact("seed", str(seed))
        tasks_of = {name: [t for e, t in frozen if e == name] for name in names}
        given = {name: _given(root, name) for name in names}
        found = find_submissions(
            submissions, tasks_of, settings.deadline, set(map(as_given, chain(*given.values()))),
            settings.roster and read_students(settings.roster), settings.pattern)  # fmt: skip
        for submission in found.submissions:
            setups = {task: frozen[submission.exercise, task]["ask"]["setup"]
                      for task in tasks_of[submission.exercise]}  # fmt: skip
            store.save_submission(submission, setups)
        store.set_keys(frozen)
        store.forget(settings.regrade)
        tasks = _catalogue(store, frozen)
        make_gradebook(store, tasks, adjustments, {})  # refuses wrong adjustments before the work
        todo = _todo(store, frozen)
        private = (root / "solutions", root / "tests", submissions, results)
        n_graded, failures, interrupted = _run(todo, settings, tuple(map(str, private)), store)
        book = make_gradebook(store, tasks, adjustments, failures)
        reports.write_reports(results, book, _titles(root, book), seed=seed,
                              groups=groups(_similar(root, book)),
                              rejected=found.rejected)  # fmt: skip
    return Outcome(n_graded, book, seed, interrupted, found.rejected)


def _catalogue(store: Store, frozen: dict[tuple[str, str], dict]) -> dict:
    """The points of all tasks that were ever graded into this folder, in the course's order."""
    graded_now = {exercise for exercise, _ in frozen}
    known = [(tuple(key), points) for key, points in json.loads(store.fact("tasks") or "[]")
             if key[0] not in graded_now]  # fmt: skip
    known += [(key, data["points"]) for key, data in frozen.items()]
    known.sort(key=lambda item: item[0][0])  # stable: tasks keep their order
    store.set_fact("tasks", json.dumps(known))
    return dict(known)


def _todo(store: Store, frozen: dict[tuple[str, str], dict]) -> list[list[Job]]:
    """What has no result yet, by submission; equal answers to a task are graded once."""
    known: set[str] = set()
    submissions: dict[tuple[str, str], list[Job]] = {}
    for row in store.answers():
        checks = frozen.get((row["exercise"], row["task"]))
        if checks and row["key"] and row["result"] is None and row["key"] not in known:
            known.add(row["key"])
            jobs = submissions.setdefault((row["student"], row["exercise"]), [])
            jobs.append(Job(row["key"], checks, row["source"]))
    return list(submissions.values())


def _run(
    todo: list[list[Job]], settings: Settings, private: tuple[str, ...], store: Store
) -> tuple[int, dict[str, str], bool]:
    """How many were graded; why others could not be, by key; and whether Ctrl-C stopped it."""
    n_graded, failures = 0, {}
    if not todo:
        return n_graded, failures, False
    sandbox, on_cluster = _sandbox(settings, private), settings.scheduler is not None
    stop, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def executors():
        return dask_executor(settings.scheduler) if on_cluster else local_executor(settings.jobs)

    def interrupt(*_) -> None:
        if stop.is_set():  # a second Ctrl-C does not wait
            GIVE_UP.set()
            signal.signal(signal.SIGINT, before)
        stop.set()
        os.write(2, WAITING)  # a print could be in the middle of another

    GIVE_UP.clear()
    signal.signal(signal.SIGINT, interrupt)
    try:
        with tqdm(total=sum(map(len, todo)), unit="task", desc="grading", file=sys.stderr) as bar:
            for jobs, results in grade_all(todo, sandbox, executors, stop, on_cluster):
                for key, result in results.items():
                    if isinstance(result, str):
                        failures[key] = result
                    else:
                        store.save_result(key, result)
                        n_graded += 1
                bar.update(len(jobs))
    finally:
        signal.signal(signal.SIGINT, before)
    return n_graded, failures, stop.is_set()


def _sandbox(settings: Settings, private: tuple[str, ...]) -> Sandbox:
    """The sandbox that was asked for, tried; without one only if that was asked for."""
    sandbox = replace(settings.sandbox, private=private)
    if not sandbox.bubblewrap and not settings.unsafe:
        raise self_test.SandboxError("no sandbox: that needs unsafe as well")
    if settings.scheduler is not None:  # a cluster's workers try theirs
        return replace(sandbox, bubblewrap=sandbox.bubblewrap and not settings.unsafe)
    try:
        if sandbox.bubblewrap:
            self_test.check_sandbox(sandbox)
        return sandbox
    except GradingError as error:
        if not settings.unsafe:
            raise
        print(f"WARNING: {error}", file=sys.stderr)
        return replace(sandbox, bubblewrap=isinstance(error, self_test.EscapeError))


def _given(root: Path, name: str) -> list[str]:
    """The code cells of an exercise as they are handed out."""
    exercise = root / "exercises" / f"{name}.ipynb"
    cells_given = cells.read_notebook(exercise).cells if exercise.exists() else []
    return [cell.source for cell in cells_given if cell.cell_type == "code"]


def _titles(root: Path, book: Gradebook) -> dict[str, str]:
    """What each task is called in its notebook."""
    found = {}
    for name in dict.fromkeys(column.split("/")[0] for column in book.tasks):
        path = root / "solutions" / f"{name}.ipynb"
        known = cells.titles(cells.read_notebook(path)) if path.exists() else {}
        found |= {f"{name}/{task}": title for task, title in known.items()}
    return {column: found.get(column, column) for column in book.tasks}


def _similar(root: Path, book: Gradebook) -> list[Pair]:
    """Similar answers to each task, and to each exercise as a whole, for where all are short."""
    places: dict[str, dict[str, list[str]]] = {}
    for row in book.rows:
        for where in (row["exercise"], row["column"]):
            sources = places.setdefault(where, {}).setdefault(row["student"], [])
            sources.append(row["source"] or "")
    given = {name: _given(root, name) for name in {row["exercise"] for row in book.rows}}
    return [pair for where, sources in places.items()
            for pair in similar_pairs(where, sources, given[where.split("/")[0]])]  # fmt: skip
