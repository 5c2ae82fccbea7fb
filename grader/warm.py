"""Workers with their imports done: forked from a warm process inside the sandbox.

A fresh sandboxed worker costs 8 ms, but importing torch in it far over a second, for each task
anew. So a *zygote* (warm_zygote.py) waits in a sandbox of its own with the imports done, and each
task gets a process forked from it, as fresh as a new worker: with process ids, mounts, /tmp,
/dev/shm, network and IPC of its own, made by the kernel's namespaces as bubblewrap makes them,
without any capability, its own two pipes, and killed with all that came from it at the end. No
answer is ever run in, or sent to, the zygote. A zygote serves one task at a time, so no two tasks
are ever in the same sandbox together; under ``--jobs`` each process has its own.

Ways not taken: workers started ahead of time keep the sandbox as it is, but spend the same seconds
of import on every task. One zygote for each submission, with its tasks in the zygote's own process
namespace, pays an import a submission, and a task could still lower the zygote's limits (prlimit
asks for the same user only) and so hurt the next.

Where no zygote can be had (Docker, a kernel that forbids nested namespaces), or it does not get as
far as the task's setup, the task gets a sandbox of its own; ``--cold`` asks for that.
"""

import ast
import atexit
import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import threading

from . import encoding, run
from .exchange import Exchange
from .launcher import Launcher, resident_bytes
from .run import GradingError

END_S = 20.0
MAX_MESSAGE = 1 << 16
N_FORKS = 2  # copies of the zygote beside the task itself: keeper and init
MODEL, MODULE_OF_MODEL = '"$model"', "lecture_lib.loading"
MODULES_OF_CASES = {
    '"$toy_lm"': "lecture_lib.decoding.toy_lm",
    '"lib":"torch"': "torch",
    '"lib":"numpy"': "numpy",
}


def run_answer(
    frozen: dict, answer: str, launcher: Launcher, seconds: list | None = None
) -> list[dict]:
    """The same records as ``run.run_answer``, from a worker forked with its imports done.

    Raises:
        GradingError: as ``run.run_answer``.
    """
    records = run_forked(frozen, answer, launcher, seconds)
    return run.run_answer(frozen, answer, launcher, seconds) if records is None else records


def run_forked(
    frozen: dict, answer: str, launcher: Launcher, seconds: list | None = None
) -> list[dict] | None:
    """The records; None if there was no such worker, or it failed before it had the answer."""
    worker = _start_worker(launcher, modules_of(frozen))
    if worker is None:
        return None
    with worker:
        try:
            run.set_up(worker, frozen)
        except GradingError:
            return None
        return run.records_of(worker, frozen, answer, seconds)


def modules_of(frozen: dict) -> tuple[str, ...]:
    """Modules that the trusted parts of a task import, sorted: setup and driver.

    What its cases need counts only where those import nothing heavy, so that the tasks of an
    exercise, which have the same setup but different cases, share a warm process.
    """
    sources = list(frozen["ask"]["setup"])
    if frozen["ask"]["drive"] is not None:
        sources.append(frozen["ask"]["drive"]["source"])
    found: set[str] = set()
    for source in sources:
        with contextlib.suppress(SyntaxError):  # the setup itself will fail, and say so
            found |= _imported(source)
    cases = encoding.dumps(frozen["cases"])
    if not {"torch", "lecture_lib"} & {name.partition(".")[0] for name in found}:
        found |= {module for mark, module in MODULES_OF_CASES.items() if mark in cases}
    if MODEL in cases:
        found.add(MODULE_OF_MODEL)
    return tuple(sorted(found))


def _imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return names


class Zygote:
    """A warm process in a sandbox. Use ``run_answer``, which keeps one for the next task.

    Raises:
        GradingError: it could not be started.
    """

    def __init__(self, launcher: Launcher, modules: tuple[str, ...]):
        self.launcher, self.name = launcher, secrets.token_hex(8)
        self.key = (launcher.warm, modules)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = run.start_process(
                launcher, launcher.warm_command(self.name),
                stdin=theirs, stdout=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
        order = {"modules": modules, "kept": launcher.warm.kept,
                 "disk_bytes": launcher.warm.disk_bytes}  # fmt: skip
        try:
            self._ask(order, "ready", launcher.load_s)
        except GradingError:
            self.close()
            raise
        self.resident_bytes = 0
        if launcher.memory_bytes is not None:
            self.resident_bytes = resident_bytes(self.process.pid)

    def start(self, launcher: Launcher) -> "WarmWorker":
        """A worker for one task, or the end of this process.

        Raises:
            GradingError: it could not be forked.
        """
        (requests, send), (receive, replies) = os.pipe(), os.pipe()
        try:
            self._ask({"op": "start"}, "started", END_S, [requests, replies])
        except GradingError:
            os.close(send)
            os.close(receive)
            self.close()
            raise
        finally:
            os.close(requests)
            os.close(replies)
        return WarmWorker(self, launcher, receive, send)

    def end(self) -> None:
        """Kill all processes of the task, and wait until they are gone.

        Raises:
            GradingError: the zygote does not say so.
        """
        self._ask({"op": "end"}, "ended", END_S)

    def close(self) -> None:
        self.control.close()
        run.end_process(self.process, self.launcher, self.name)

    def _ask(self, message: dict, wanted: str, timeout_s: float, pipes: list[int] = ()) -> None:
        try:
            socket.send_fds(self.control, [json.dumps(message).encode()], pipes)
            readable, _, _ = select.select([self.control], [], [], timeout_s)
            reply = json.loads(self.control.recv(MAX_MESSAGE)) if readable else {}
        except (OSError, ValueError) as error:  # it is gone
            raise GradingError(f"the warm process ended: {error}") from error
        if reply.get(wanted) is not True:
            raise GradingError(f"the warm process is not {wanted}: {reply}")


class WarmWorker(Exchange):
    """A forked worker, for one task; afterwards its zygote waits for the next."""

    def __init__(self, zygote: Zygote, launcher: Launcher, replies: int, requests: int):
        self.zygote, limit = zygote, launcher.memory_bytes
        if limit is not None:  # the zygote's pages are counted again in each fork
            limit += (1 + N_FORKS) * zygote.resident_bytes
        super().__init__(launcher, zygote.process.pid, replies, requests, limit)

    def __enter__(self) -> "WarmWorker":
        return self

    def __exit__(self, *exc) -> None:
        os.close(self.requests)
        os.close(self.replies)
        try:
            self.zygote.end()
        except GradingError:
            self.zygote.close()
        else:
            _give_back(self.zygote)


_lock = threading.Lock()
_idle: list[Zygote] = []  # at most one kind: another would hold its modules in memory for nothing
_unusable: set[tuple] = set()


def _start_worker(launcher: Launcher, modules: tuple[str, ...]) -> WarmWorker | None:
    key = (launcher.warm, modules)
    if launcher.warm is None or key in _unusable:
        return None
    kept = _take(key)
    if kept is not None:
        with contextlib.suppress(GradingError):  # it may have been killed since
            return kept.start(launcher)
    try:
        return Zygote(launcher, modules).start(launcher)
    except GradingError:
        _unusable.add(key)  # else each task would wait for the imports of another one
        return None


def _take(key: tuple) -> Zygote | None:
    with _lock:
        fitting = [zygote for zygote in _idle if zygote.key == key]
        others = [zygote for zygote in _idle if zygote.key != key]
        taken = fitting.pop() if fitting else None
        _idle[:] = fitting
    for zygote in others:
        zygote.close()
    return taken


def _give_back(zygote: Zygote) -> None:
    with _lock:
        _idle.append(zygote)


@atexit.register
def close_all() -> None:
    """End the warm processes that wait for a task."""
    with _lock:
        waiting, _idle[:] = list(_idle), []
    for zygote in waiting:
        zygote.close()
