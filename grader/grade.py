"""Grades a folder of submissions: what is new or changed, each submission in a sandbox.

``grade`` below is the whole path; ``__init__`` says which module does which step.
"""

import functools
import os
import re
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path

from nbformat import NotebookNode
from tqdm import tqdm

from lecture_lib.checks import check_count

from . import GradingError, cells, reports, self_test
from .exchange import GIVE_UP
from .freeze import draw_seed, find_exercises, freeze_exercises
from .gradebook import Gradebook, make_gradebook, read_adjustments
from .people import read_students
from .pool import Job, grade_all, open_executor
from .sandbox import Sandbox
from .similar import similar_pairs
from .store import Store, open_store
from .submissions import Submission, find_submissions
from .submitted_file import as_given

NEEDS_ROSTER = """per_student: needs the roster and the seed that were given when the exercises
were handed out (--roster, --seed)"""
WRONG_VALUES = (
    "the values of one's own in it are not those that it is graded with: is it another student's, "
    "of another seed, or was --per-student forgotten or too much?"
)
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
    per_student: bool = False  # exercises were handed out with values of one's own
    pattern: str | re.Pattern | None = None  # finds (?P<student>...) in each path
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
    names, notebooks = find_exercises(root, settings.exercises), _notebooks(root / "solutions")
    given = {name: [cell.source for cell in notebook.cells]
             for name, notebook in _notebooks(root / "exercises").items()}  # fmt: skip
    with open_store(results) as store:
        table = settings.adjustments or results / "adjustments.csv"
        adjustments = read_adjustments(table, may_be_absent=settings.adjustments is None)
        seed = store.fact("seed") if settings.seed is None else settings.seed
        per_student = settings.per_student or store.fact("per_student") is not None
        if per_student and (settings.roster is None or seed is None):
            raise ValueError(NEEDS_ROSTER)
        seed = draw_seed() if seed is None else int(seed)
        frozen = freeze_exercises(root, names, seed)
        store.set_fact("seed", str(seed))
        if per_student:
            store.set_fact("per_student", "yes")

        @functools.cache
        def of_student(student: str) -> dict:
            return freeze_exercises(root, names, seed, student=student) if per_student else {}

        def checks_of(student: str, *task: str) -> dict | None:
            return of_student(student).get(task) or frozen.get(task)

        titles = {name: cells.titles(notebook) for name, notebook in notebooks.items()}
        tasks_of = {name: [t for e, t in frozen if e == name] for name in names}
        handed_in, rejected = find_submissions(
            submissions, tasks_of, settings.deadline, set(map(as_given, chain(*given.values()))),
            settings.roster and read_students(settings.roster), settings.pattern)  # fmt: skip
        for submission in handed_in:
            name = submission.exercise
            checks = {task: checks_of(submission.student, name, task) for task in tasks_of[name]}
            _save(submission, store, checks, titles[name])
        store.set_keys(checks_of)
        store.forget(settings.regrade)
        known = {*names, *(each["exercise"] for each in store.submissions())}
        tasks = {(name, task): cells.points(notebook, task) for name, notebook in notebooks.items()
                 for task in titles[name] if name in known}  # fmt: skip
        make_gradebook(store, tasks, adjustments, {})  # refuses wrong adjustments before the work
        todo = _todo(store, checks_of)
        private = (root / "solutions", root / "tests", submissions, results)
        n_graded, failures, interrupted = _run(todo, settings, tuple(map(str, private)), store)
        book = make_gradebook(store, tasks, adjustments, failures)
        titles = {f"{name}/{task}": titles[name][task] for name, task in tasks}
        similar = _similar(book, given)
        reports.write_reports(results, book, titles, seed=seed, similar=similar, rejected=rejected)
    return Outcome(n_graded, book, seed, interrupted, rejected)


def _save(submission: Submission, store: Store, checks: dict, tasks: Iterable[str]) -> None:
    """Keep it; ``checks`` are those of its student, by task."""
    drawn, setups = submission.notebook.drawn, (each["ask"]["setup"] for each in checks.values())
    if drawn is not None and as_given(drawn) not in set(map(as_given, chain(*setups))):
        submission = replace(submission, remarks=(*submission.remarks, WRONG_VALUES))
    store.save_submission(submission, tasks)


def _notebooks(folder: Path) -> dict[str, NotebookNode]:
    return {path.stem: cells.read_notebook(path) for path in sorted(folder.glob("*.ipynb"))}


def _todo(store: Store, checks_of: Callable[..., dict | None]) -> list[list[Job]]:
    """What has no result yet, by submission; equal answers to a task are graded once."""
    known: set[str] = set()
    submissions: dict[tuple[str, str], list[Job]] = {}
    for row in store.answers():
        new = row["key"] and row["result"] is None and row["key"] not in known
        if new and (checks := checks_of(row["student"], row["exercise"], row["task"])):
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
    executor = partial(open_executor, settings.jobs, settings.scheduler)

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
            for jobs, results in grade_all(todo, sandbox, executor, stop, on_cluster):
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
        raise GradingError("no sandbox: that needs unsafe as well")
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


def _similar(book: Gradebook, given: dict[str, list[str]]) -> list[tuple]:
    """Similar answers to each task, and to each exercise as a whole, for where all are short."""
    places: dict = defaultdict(lambda: defaultdict(list))
    for row in filter(lambda row: row["parts"] is None, book.rows):
        for where in (row["exercise"], row["column"]):
            places[where][row["student"]].append(row["source"] or "")
    return [*chain(*(similar_pairs(where, sources, given.get(where.split("/")[0], []))
                     for where, sources in places.items()))]  # fmt: skip
