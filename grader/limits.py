"""What a worker may use: limits of each process, and a counter of its processes."""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lecture_lib.checks import check_number

CGROUPS = Path("/sys/fs/cgroup")
OURS = "lecture-grading"
UNTOUCHED = 64 << 30  # bytes of address space beyond the memory: a CUDA library maps gigabytes


@dataclass(frozen=True)
class Limits:
    """What one worker may use; ValueError if one of them is not above 0."""

    memory_mb: int = 4096  # of each process, and of all its processes together
    processes: int = 64  # and threads, at the same time
    file_mb: int = 64  # the largest file
    disk_mb: int = 64  # room in each of its two writable folders
    open_files: int = 256  # of each process
    cpu_s: int = 600  # of each process
    output_mb: int = 32  # the longest reply
    load_s: float = 120.0  # for imports and setup
    answer_s: float = 30.0  # for the answer cell
    time_factor: float = 1.0  # what the tasks' seconds for one case are multiplied with

    def __post_init__(self):
        for name, value in vars(self).items():
            check_number(name, value, above=0)

    def with_changes(self, changes: list[str]) -> "Limits":
        """The limits with some of them changed: ``["memory_mb=2000", ...]``."""
        values = vars(self).copy()
        for change in changes:
            name, _, value = change.partition("=")
            if name not in values:
                raise ValueError(f"limit: {name!r} is not one of {', '.join(values)}")
            try:
                values[name] = type(values[name])(value)
            except ValueError:
                raise ValueError(f"limit {name}: got {value!r}, a number is needed") from None
        return Limits(**values)

    def prlimit(self) -> list[str]:
        """Command that runs the rest of the line within the limits of single processes.

        Memory that a process may write to is limited by ``--data``. The address space may be much
        larger, since mapped files and reserved addresses take no memory. The command is used
        inside the namespaces, where an ordinary user's processes are counted for each sandbox
        separately. Root's are not counted at all, see `counted`.
        """
        memory = self.memory_mb << 20
        return [
            "prlimit", f"--data={memory}", f"--as={memory + UNTOUCHED}",
            f"--nproc={self.processes}", f"--fsize={self.file_mb << 20}",
            f"--nofile={self.open_files}", f"--cpu={self.cpu_s}", "--core=0", "--",
        ]  # fmt: skip


@contextlib.contextmanager
def counted(limits: Limits) -> Iterator[list[str]]:
    """Command that runs the rest of the line in a group of the kernel's counters (cgroup).

    The group counts the processes of one worker and is removed at the end. Only root can make one,
    and only root needs one, since ``prlimit`` counts the processes of anyone else. Where none can
    be made the command is empty; the self-test then finds out that nothing counts.
    """
    trees = CGROUPS / "pids", CGROUPS  # version 1 has a tree for each counter, version 2 has one
    tree = next((tree for tree in trees if (tree / "cgroup.procs").exists()), CGROUPS)
    group, command = tree / OURS / secrets.token_hex(8), []
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            group.parent.mkdir(exist_ok=True)
            if (control := group.parent / "cgroup.subtree_control").exists():  # version 2
                control.write_text("+pids")
            group.mkdir()
            (group / "pids.max").write_text(str(limits.processes))
            command = ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh"]
    try:
        yield command
    finally:
        for _ in range(100):  # a killed worker's processes are gone a moment later
            with contextlib.suppress(OSError):
                group.rmdir()
            if not group.exists():
                break
            time.sleep(0.05)
