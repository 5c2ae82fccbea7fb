"""Grades many answers at once, on anything that is a ``concurrent.futures.Executor``."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from . import jobs, warm
from .run import GradingError
from .sandbox import Sandbox

MAX_TRIES = 3
CONNECT_S = 10


class Interrupted(Exception):
    """Ctrl-C; what was finished is stored."""


@dataclass(frozen=True)
class Job:
    """An answer to grade, and the key of its result."""

    key: str
    frozen: dict
    answer: str


@dataclass
class Pool:
    """Where the work is done.

    Args:
        make_executor: gives a fresh one, also after one broke.
        size: how many answers it grades at the same time.
        check_sandbox: whether each of its processes tries its sandbox first.
        close: called at the end.
    """

    make_executor: Callable[[], contextlib.AbstractContextManager[Executor]]
    size: int
    check_sandbox: bool = False
    close: Callable[[], None] = lambda: None

    def grade(
        self,
        todo: list[Job],
        sandbox: Sandbox,
        save: Callable[[str, dict], Any],
        progress: Callable[[], Any] = lambda: None,
    ) -> dict[str, str]:
        """Grade them all; ``save(key, result)`` is called here, as each is finished.

        Returns:
            Why an answer could not be graded, by key: none of these is a student's fault.

        Raises:
            Interrupted: on Ctrl-C.
        """
        left = {job.key: job for job in _in_order(todo)}
        failures: dict[str, str] = {}

        def finish(key: str, future: Future) -> None:
            try:
                save(key, future.result())
            except BrokenProcessPool:
                raise
            except GradingError as error:
                failures[key] = str(error)
            except Exception as error:  # a lost worker, or a slip of ours: the others go on
                failures[key] = f"{type(error).__name__}: {error}"
            del left[key]
            progress()

        for _ in range(MAX_TRIES):
            with contextlib.suppress(BrokenProcessPool):  # a process of ours was killed
                self._run(list(left.values()), sandbox, finish)
            if not left:
                return failures
        died = f"the process that graded it died {MAX_TRIES} times"
        return failures | dict.fromkeys(left, died)

    def _run(self, todo: list[Job], sandbox: Sandbox, finish: Callable) -> None:
        waiting = iter(todo)
        running: dict[Future, str] = {}
        with self.make_executor() as executor:
            try:
                # A few at a time: an executor would keep a copy of every task in its queue.
                while _submit_some(executor, waiting, running, sandbox, self):
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        finish(running.pop(future), future)
            except KeyboardInterrupt:
                executor.shutdown(wait=False, cancel_futures=True)
                kept = {future: key for future, key in running.items() if not future.cancelled()}
                for future in wait(kept).done:
                    if not future.cancelled():
                        finish(kept[future], future)
                raise Interrupted from None


def _in_order(todo: list[Job]) -> list[Job]:
    """Tasks with the same imports stand together: one warm process serves them."""
    modules = {id(job.frozen): warm.modules_of(job.frozen) for job in todo}
    return sorted(todo, key=lambda job: modules[id(job.frozen)])


def _submit_some(
    executor: Executor, waiting: Iterator[Job], running: dict, sandbox: Sandbox, pool: Pool
) -> bool:
    while len(running) < 2 * pool.size:
        job = next(waiting, None)
        if job is None:
            break
        future = executor.submit(
            jobs.grade_answer, job.frozen, job.answer, sandbox, pool.check_sandbox
        )
        running[future] = job.key
    return bool(running)


def local_pool(n_jobs: int) -> Pool:
    """Processes of this machine."""

    def make() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            n_jobs,
            # A fork of a process that has torch's threads could hang.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=jobs.prepare_process,
        )

    return Pool(make, n_jobs)


def dask_pool(address: str) -> Pool:
    """The workers of a Dask cluster, each with its own sandbox.

    Raises:
        GradingError: Dask is not installed, nobody answers there, or there are no workers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise GradingError("scheduler: needs Dask: pip install distributed") from error
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise GradingError(f"scheduler: no answer from {address} ({error})") from error
    size = sum(client.nthreads().values())
    if not size:
        client.close()
        raise GradingError(f"scheduler: {address} has no workers")

    @contextlib.contextmanager
    def make() -> Iterator[Executor]:
        with client.get_executor(pure=False) as executor:
            yield executor

    return Pool(make, size, check_sandbox=True, close=client.close)
