"""How a worker is started, within which limits, and how it is cleaned up after."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import encoding, worker

WORKER = Path(worker.__file__).resolve()
ZYGOTE = WORKER.with_name("warm_zygote.py")
MAX_LINE = 2 * encoding.MAX_BYTES


@dataclass(frozen=True)
class Warm:
    """How a warm process (warm.py) is started, which forks workers.

    Args:
        prefix: as a launcher's, of a sandbox in which that process may make namespaces.
        kept: folders below /tmp that a worker sees in its own /tmp.
        disk_bytes: room in each of a worker's two writable folders.
    """

    prefix: tuple[str, ...]
    kept: tuple[str, ...]
    disk_bytes: int


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
        warm: for workers that are forked with their imports done; None where there are none.
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
    warm: Warm | None = None

    def command(self, name: str = "worker") -> list[str]:
        """The whole command line of the worker that has this name."""
        return [*named(self.prefix, name), self.python, "-I", "-B", str(WORKER)]

    def warm_command(self, name: str) -> list[str]:
        """The same of a warm process."""
        return [*named(self.warm.prefix, name), self.python, "-I", "-B", str(ZYGOTE)]


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
