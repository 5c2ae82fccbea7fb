"""How a worker is started, within which limits, and how it is cleaned up after."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import encoding, worker

WORKER = Path(worker.__file__).resolve()
MAX_LINE = 2 * encoding.MAX_BYTES


@dataclass(frozen=True)
class Launcher:
    """How a worker is started: ``prefix`` (a sandbox's command) before ``python -I -B worker.py``.

    Args:
        prefix, stop: commands; ``{name}`` in them becomes a name of this worker alone. ``stop``
            runs at the end, for what killing the process leaves (a container, a cgroup).
        load_s: time for imports and setup, a model's loading included.
        answer_s: time for the answer cell itself.
        memory_bytes: of all processes together, looked at ten times a second; for systems where
            nothing better (a cgroup) counts them.
        max_line: longest reply in bytes.
        time_factor: what a task's seconds for one case are multiplied with.
    """

    prefix: Sequence[str] = ()
    python: str = sys.executable
    env: dict[str, str] = field(default_factory=lambda: {**os.environ, "OMP_NUM_THREADS": "1"})
    load_s: float = 120.0
    answer_s: float = 30.0
    stop: Sequence[str] = ()
    memory_bytes: int | None = None
    max_line: int = MAX_LINE
    time_factor: float = 1.0

    def command(self, name: str = "worker") -> list[str]:
        """The whole command line of the worker that has this name."""
        return [*named(self.prefix, name), self.python, "-I", "-B", str(WORKER)]


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
