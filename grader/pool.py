"""Grades many submissions at once, on anything that is a ``concurrent.futures.Executor``."""

import contextlib
import functools
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass

from . import GradingError, discretion, encoding, self_test
from .judge import ERRORS, case_labels, case_reasons, difference, judge
from .run import Worker
from .sandbox import Sandbox

WAIT_S = 0.05  # how soon it is noticed that grading is to stop
CONNECT_S = 10
OUTCOMES = ERRORS["outcomes"]
STARVED = {OUTCOMES["TimeLimit"], OUTCOMES["Died"]}  # what work beside it may be the reason of
# In JSON: a line of a source that imports, or the library of an array.
IMPORTED = re.compile(r'(?:"|\\n) *(?:import|from) ([A-Za-z_][\w.]*)|"lib":"(\w+)"')


@dataclass(frozen=True)
class Job:
    """An answer to grade, its frozen checks, and the key of its result."""

    key: str
    frozen: dict
    answer: str


def grade_submission(jobs: list[Job], sandbox: Sandbox, check: bool = False) -> dict:
    """Grade the answers of one submission in one worker; what an executor runs.

    ``check``: whether to try this machine's sandbox first (once in each process).

    Returns:
        By key a result, or a text that says why the answer could not be graded. A result is plain
        data: passed, points, max_points, message (for the instructor), student_message,
        misconception, seconds, undefined: names that the cell lacks if it ends with a NameError,
        checks: [{label, outcome, message, seconds}], and of the visible tests, which no points
        depend on, visible: {outcome, message, student_message} or None.
    """
    if check and sandbox.bubblewrap:
        _check_once(sandbox)
    results: dict[str, dict | str] = {}
    with Worker(sandbox, modules_of([job.frozen for job in jobs])) as worker:
        for job in jobs:
            try:
                results[job.key] = _grade(job, worker)
            except GradingError as error:  # its setup fails: no student's fault
                results[job.key] = str(error)
    return results


_check_once = functools.cache(self_test.check_sandbox)


def modules_of(tasks: Sequence[dict]) -> list[str]:
    """Modules that the trusted parts of frozen tasks need: setup, driver, cases, tests. Sorted."""
    parts = [[each["ask"], each["cases"], each["visible"]] for each in tasks]
    texts = encoding.dumps(parts)
    toys = {"lecture_lib.decoding.toy_lm"} if '"$toy_lm"' in texts else set()
    return sorted(toys.union(*IMPORTED.findall(texts)) - {""})


def _grade(job: Job, worker: Worker) -> dict:
    frozen, n_cases = job.frozen, len(job.frozen["cases"])
    cases = [*frozen["cases"], *filter(None, [frozen["visible"]])]
    records = worker.run({**frozen, "cases": cases}, job.answer)
    records, visible = records[:n_cases], records[n_cases:]
    told = discretion.without_inputs(records, job.answer, frozen["ask"]["entries"])
    verdict = judge(frozen, records)
    told = verdict if told == records else judge(frozen, told)  # large values are looked at once
    seconds = [record.get("seconds") for record in (*records, *visible)]
    rows = zip(case_labels(frozen), case_reasons(frozen, records), records, seconds, strict=False)
    return {
        **asdict(verdict),
        "student_message": discretion.discreet_message(told.message),
        "seconds": round(sum(filter(None, seconds)), 3),
        "undefined": sorted({name for record in records for part in ("error", "load")
                             for name in record.get(part, {}).get("undefined", [])}),
        "checks": [
            {"label": label, "outcome": _outcome(reason, record), "message": reason,
             "seconds": time_s and round(time_s, 3)}
            for label, reason, record, time_s in rows
        ],
        "visible": _visible(job, visible[0]) if visible else None,
    }  # fmt: skip


def _visible(job: Job, record: dict) -> dict:
    """What the visible tests said; the text of an error may tell the hidden inputs by now."""
    if "error" not in record:
        return {"outcome": "passed", "message": None, "student_message": None}
    [told] = discretion.without_inputs([record], job.answer, job.frozen["ask"]["entries"])
    error, tests = record["error"], job.frozen["visible"]["test"]
    failed = error["types"][0] == "AssertionError"
    if failed and (words := discretion.words_of_assert(error["text"], tests)):
        told["error"]["text"] = words
    message, student_message = (difference(each, {"value": None}, job.frozen["key"])
                                for each in (record, told))  # fmt: skip
    outcome = "failed" if failed else _outcome(message, record)
    return {"outcome": outcome, "message": message, "student_message": student_message}


def _outcome(reason: str | None, record: dict) -> str:
    """passed, wrong (a value), or what kind of error it ended with."""
    if reason is None:
        return "passed"
    if "error" not in record:
        return "wrong"
    return next((OUTCOMES[name] for name in record["error"]["types"] if name in OUTCOMES), "error")


def grade_all(
    submissions: list[list[Job]],
    sandbox: Sandbox,
    executors: Callable[[], contextlib.AbstractContextManager[tuple[Executor, int]]],
    stop: threading.Event,
    check: bool = False,
) -> Iterator[tuple[list[Job], dict]]:
    """Grade them all; yields jobs and what ``grade_submission`` gave as each is finished.

    Args:
        executors: opens an executor, and says how many submissions it grades at the same time.
        stop: once it is set, only what is being graded at that moment is finished.
        check: whether each of the executor's processes tries its sandbox first.
    """
    waiting, running, alone = iter(submissions), {}, []
    with executors() as (executor, size):
        while True:
            if stop.is_set():
                waiting = iter(())
                running = {future: jobs for future, jobs in running.items() if not future.cancel()}
            # A few at a time: an executor would keep a copy of every task in its queue.
            for jobs in itertools.islice(waiting, 2 * size - len(running)):
                running[executor.submit(grade_submission, jobs, sandbox, check)] = jobs
            if not running:
                break
            for future in wait(running, WAIT_S, FIRST_COMPLETED).done:
                jobs = running.pop(future)
                results = _results(future, jobs)
                beside = size > 1 or len(jobs) > 1
                graded = [job for job in jobs if beside and not isinstance(results[job.key], str)]
                again = [
                    job
                    for job in graded
                    if STARVED & {each["outcome"] for each in results[job.key]["checks"]}
                ]
                alone += [[job] for job in again]
                done = [job for job in jobs if job not in again]
                yield done, {job.key: results[job.key] for job in done}
        # Others may have taken the processors or the memory that these needed, or hurt the worker.
        for jobs in alone:
            if not stop.is_set():
                yield jobs, _results(executor.submit(grade_submission, jobs, sandbox, check), jobs)


def _results(future: Future, jobs: list[Job]) -> dict:
    try:
        return future.result()
    except Exception as error:  # a lost worker, or a mistake of ours: the others go on
        why = str(error) if isinstance(error, GradingError) else f"{type(error).__name__}: {error}"
        return {job.key: why for job in jobs}


@contextlib.contextmanager
def open_executor(n_jobs: int, scheduler: str | None = None) -> Iterator[tuple[Executor, int]]:
    """Threads, or the workers of the Dask cluster at an address, and how many there are.

    Threads do, since the work is done in sandboxes, which are processes. GradingError if the
    cluster has no workers, or there is no Dask.
    """
    if scheduler is None:
        with ThreadPoolExecutor(n_jobs) as executor:
            yield executor, n_jobs
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise GradingError("scheduler: needs Dask: pip install distributed") from error
    try:
        client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise GradingError(f"scheduler: no answer from {scheduler} ({error})") from error
    with client:
        size = sum(client.nthreads().values())
        if not size:
            raise GradingError(f"scheduler: {scheduler} has no workers")
        with client.get_executor(pure=False) as executor:
            yield executor, size
