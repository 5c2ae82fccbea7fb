"""Runs the answers of one submission: one sandboxed worker, a fork of it for each task.

A fault of one task (it dies, never ends, or answers nonsense) costs that task alone: the worker is
started anew for the next one. ``pool`` tries again, alone, what may have been another task's fault.
"""

import contextlib
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import GradingError, seccomp, worker
from .exchange import FAULTS, Exchange, Fault
from .sandbox import Sandbox, counted

WORKER = Path(worker.__file__).resolve()
END_S = 20.0
MEMORY = re.compile(r"^Vm(?:RSS|PTE|Swap):\s+(\d+) kB$", re.MULTILINE)  # PTE: the page tables
OPEN_FILE = 1 << 19  # bytes that an open file counts: what a socket holds unread is in no count
BARE = Sandbox(bubblewrap=False)


class Worker(contextlib.ExitStack):
    """A worker for the answers of one submission; it imports ``modules`` before its first task.

    ``close`` ends it and all that came from it; the next task starts it again.
    """

    def __init__(self, sandbox: Sandbox, modules: Sequence[str] = ()):
        super().__init__()
        self.sandbox, self.modules = sandbox, list(modules)
        self.process: subprocess.Popen | None = None

    def run(self, frozen: dict, answer: str) -> list[dict]:
        """Records of an answer cell, one for each case.

        GradingError if the worker could not be started, or the author's setup cells failed.
        """
        if self.process is not None:
            with contextlib.suppress(GradingError):  # as where something has killed it since
                return self._run(frozen, answer)
        return self._run(frozen, answer)

    def _run(self, frozen: dict, answer: str) -> list[dict]:
        clean = False
        try:
            if self.process is None:
                self._start()
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    socket.send_fds(self.control, [b"s"], [theirs.fileno()])
                records = Exchange(ours, self.sandbox.limits, self.cpu_s).run(frozen, answer)
            # Only with process ids and folders of its own can a worker clean up after a task.
            errors = {record["error"]["types"][0] for record in records if "error" in record}
            if self.sandbox.bubblewrap and not errors & FAULTS:
                with contextlib.suppress(OSError, Fault):
                    self.control.send(b"e")
                    self._wait(END_S)
                    clean = True
            return records
        except (OSError, Fault) as error:
            raise GradingError(f"cannot start or reach the worker: {error}") from error
        finally:
            if not clean:
                self.close()

    def _start(self) -> None:
        if os.name != "posix":
            raise GradingError("workers need Linux or macOS; on Windows run this in WSL2")
        limits, nothing, enter = self.sandbox.limits, subprocess.DEVNULL, self.enter_context
        prefix = enter(counted(limits)) if self.sandbox.bubblewrap else []
        folder = enter(tempfile.TemporaryDirectory())
        self.control, theirs = map(enter, socket.socketpair())
        handles = [theirs.fileno()]
        if self.sandbox.bubblewrap and (code := seccomp.program(os.uname().machine)):
            system_calls, end = map(enter, socket.socketpair())
            end.sendall(code)
            end.shutdown(socket.SHUT_WR)
            handles.append(system_calls.fileno())
        command = [*prefix, *self.sandbox.command(*handles[1:]), sys.executable, "-I", "-B",
                   str(WORKER), str(theirs.fileno()), json.dumps(self.modules)]  # fmt: skip
        self.process = subprocess.Popen(
            command, env=self.sandbox.environment(), cwd=folder, start_new_session=True,
            stdin=nothing, stdout=nothing, stderr=nothing, pass_fds=handles,
        )  # fmt: skip
        self.callback(self._kill)
        theirs.close()
        self.most_bytes = math.inf
        self._wait(limits.load_s)
        # A fork shares the pages of the worker, and they are counted in both.
        self.most_bytes = (limits.memory_mb << 20) + used(self.process.pid)[0]

    def _wait(self, seconds: float) -> None:
        """Until the worker says that it is ready; Fault if it doesn't."""
        control = Exchange(self.control, self.sandbox.limits, self.cpu_s)
        control.wait_for(self.control.recv, 1, time.monotonic() + seconds)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def cpu_s(self) -> float:
        """CPU time of all its processes; Fault if they have too much memory."""
        n_bytes, ticks = used(self.process.pid)
        if n_bytes > self.most_bytes:
            raise Fault("Died")
        return ticks / os.sysconf("SC_CLK_TCK")


def run_answer(frozen: dict, answer: str, sandbox: Sandbox = BARE) -> list[dict]:
    """Records of one answer cell from a worker of its own. GradingError as ``Worker.run``."""
    with Worker(sandbox) as process:
        return process.run(frozen, answer)


def used(pid: int | str) -> tuple[int, int]:
    """Memory in bytes and CPU time in the kernel's ticks of a process and of all that came from it.

    0 and 0 where there is no Linux to tell it. Of processes that have ended the parent's count.
    """
    n_bytes = ticks = 0
    with contextlib.suppress(OSError):  # it has ended
        status, stat = (Path(f"/proc/{pid}/{name}").read_text() for name in ("status", "stat"))
        n_bytes = 1024 * sum(map(int, MEMORY.findall(status)))
        ticks = sum(map(int, stat.rpartition(")")[2].split()[11:15]))
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(used, children.read_text().split()):
                n_bytes, ticks = n_bytes + child[0], ticks + child[1]
        n_bytes += OPEN_FILE * len(os.listdir(f"/proc/{pid}/fd"))
    return n_bytes, ticks
