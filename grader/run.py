"""Runs the answers of one submission: one sandboxed worker, a fork of it for each task.

A fault of one task (it dies, never ends, answers nonsense, or does not even load) costs that task
alone: the worker is started anew for the next one. And no task pays for one before it: where a
task ends with a fault in a worker that has served others, it is tried again in a fresh one. The
same rule keeps hidden inputs in: what an answer cell says when it does not load is told to the
student in full, and no inputs have been in a fresh worker.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import encoding, session, worker
from .exchange import Exchange, Fault, GradingError, error_record
from .limits import Limits

WORKER = Path(worker.__file__).resolve()
STOP_S = 30.0
END_S = 20.0
FAULTS = {"Died", "TimeLimit", "Protocol"}


@dataclass(frozen=True)
class Launcher:
    """How a worker is started: ``prefix`` (a sandbox's command), then ``python -I -B worker.py``.

    Args:
        prefix, stop: commands; ``{name}`` in them becomes a name of this worker alone. ``stop``
            runs at the end, for what killing the process leaves (a cgroup).
        memory_bytes: of all processes together, looked at ten times a second; for systems where
            nothing better (a cgroup) counts them.
        sandboxed: whether ``prefix`` gives the worker process ids and folders of its own. Only
            there can it clean up after a task; elsewhere each task gets a worker of its own.
    """

    prefix: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=lambda: {**os.environ, "OMP_NUM_THREADS": "1"})
    limits: Limits = field(default_factory=Limits)
    stop: Sequence[str] = ()
    memory_bytes: int | None = None
    sandboxed: bool = False

    def command(self, name: str) -> list[str]:
        """The command line of the worker that has this name, up to the worker's arguments."""
        return [*named(self.prefix, name), sys.executable, "-I", "-B", str(WORKER)]


class Worker:
    """A worker for the answers of one submission, to be used in a ``with`` block.

    Args:
        modules: what it imports before its first task.
    """

    def __init__(self, launcher: Launcher, modules: Sequence[str] = ()):
        self.launcher, self.modules = launcher, list(modules)
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def run(self, frozen: dict, answer: str, seconds: list | None = None) -> list[dict]:
        """Records of an answer cell, one a case.

        Args:
            seconds: a list that gets the time of each case that was run.

        Raises:
            GradingError: the worker could not be started, or the author's setup cells failed.
        """
        seconds = [] if seconds is None else seconds
        if self.process is not None:
            with contextlib.suppress(GradingError):
                records = self._run(frozen, answer, seconds)
                if not any(_is_fault(record) or _did_not_load(record) for record in records):
                    return records
            self.close()
        seconds.clear()
        return self._run(frozen, answer, seconds)

    def _run(self, frozen: dict, answer: str, seconds: list) -> list[dict]:
        if self.process is None:
            self._start()
        ours, theirs = socket.socketpair()
        whole = False
        try:
            with ours:
                with theirs:
                    _send(self.control, worker.START, [theirs.fileno()])
                records = Exchange(ours, self.launcher.limits, self._check_memory).run(
                    frozen, answer, seconds
                )
            whole = self.launcher.sandboxed and not any(map(_is_fault, records)) and self._end()
        finally:
            if not whole:
                self.close()
        return records

    def _start(self) -> None:
        if os.name != "posix":
            raise GradingError("workers need Linux or macOS; on Windows run this in WSL2")
        self.name, self.folder = secrets.token_hex(8), tempfile.TemporaryDirectory()
        self.control, theirs = socket.socketpair()
        self.control.settimeout(self.launcher.limits.load_s)
        command = [*self.launcher.command(self.name), str(theirs.fileno()),
                   json.dumps(self.modules)]  # fmt: skip
        nothing = subprocess.DEVNULL
        with theirs:
            try:
                self.process = subprocess.Popen(
                    command, env=self.launcher.env, cwd=self.folder.name, start_new_session=True,
                    stdin=nothing, stdout=nothing, stderr=nothing, pass_fds=[theirs.fileno()],
                )  # fmt: skip
            except OSError as error:
                raise GradingError(f"cannot start {command[0]}: {error}") from error
        reply = self._reply()
        if reply == worker.THREADS and self.modules:  # no forks: each task imports what it needs
            self.close()
            self.modules = []
            self._start()
        elif reply != worker.READY:
            self.close()
            raise GradingError("the worker did not start")
        elif self.launcher.memory_bytes is not None:
            # A fork shares the pages of the worker, and they are counted in both.
            self.memory_bytes = self.launcher.memory_bytes + resident_bytes(self.process.pid)

    def _reply(self) -> bytes:
        try:
            return self.control.recv(1)
        except OSError:
            return b""

    def _check_memory(self) -> None:
        limited = self.launcher.memory_bytes is not None
        if limited and resident_bytes(self.process.pid) > self.memory_bytes:
            raise Fault("Died")

    def _end(self) -> bool:
        """Whether nothing is left of the task."""
        self.control.settimeout(END_S)
        with contextlib.suppress(GradingError):
            _send(self.control, worker.END)
            return self._reply() == worker.END
        return False

    def close(self) -> None:
        """End the worker and all that came from it."""
        if self.process is None:
            return
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.launcher.stop:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    named(self.launcher.stop, self.name), stdin=subprocess.DEVNULL,
                    capture_output=True, timeout=STOP_S,
                )  # fmt: skip
        self.folder.cleanup()
        self.process = None


def run_answer(frozen: dict, answer: str, launcher: Launcher | None = None) -> list[dict]:
    """Records of one answer cell from a worker of its own. GradingError as ``Worker.run``."""
    with Worker(launcher or Launcher()) as process:
        return process.run(frozen, answer)


def run_trusted(frozen: dict, answer: str, namespace: dict | None = None) -> list[dict]:
    """The same records, made in this process without limits: for the author's own answers only.

    Args:
        namespace: what ``session.run_setup`` gave, to run the setup once for many answers.
    """
    trusted = session.Session(frozen["ask"], namespace)
    error = trusted.load(answer)
    if error is not None:
        return [error_record(error)] * len(frozen["cases"])
    # Through JSON, as from a worker; what is not JSON must not come back here either.
    return [json.loads(encoding.dumps(trusted.call(case))) for case in frozen["cases"]]


def named(command: Sequence[str], name: str) -> list[str]:
    """The command with ``{name}`` replaced."""
    return [part.replace("{name}", name) for part in command]


def resident_bytes(pid: int) -> int:
    """Memory of a process and of all that came from it."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += each.memory_info().rss
    return total


def _is_fault(record: dict) -> bool:
    return "error" in record and record["error"]["types"][0] in FAULTS


def _did_not_load(record: dict) -> bool:
    return "error" in record and record["error"]["phase"] == "load"


def _send(control: socket.socket, message: bytes, handles: Sequence[int] = ()) -> None:
    try:
        socket.send_fds(control, [message], list(handles))
    except OSError as error:
        raise GradingError(f"the worker ended: {error}") from error
