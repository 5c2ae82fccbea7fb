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
    cpu_s: int = 600  # of each process; of all together for a case, what the case may take
    output_mb: int = 32  # all replies to one task
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
            f"--nofile={self.open_files}", f"--cpu={self.cpu_s}",
            "--sigpending=256",  # of the user: more than that is left for others
            "--core=0", "--",
        ]  # fmt: skip


@contextlib.contextmanager
def counted(limits: Limits) -> Iterator[list[str]]:
    """Command that runs the rest of the line in groups of the kernel's counters (cgroups).

    They count the processes of one worker and their memory, also what is shared and belongs to no
    process; each gets the same share of the CPUs, however many processes it has. They are removed
    at the end. Only root can make them, and only root needs them for the processes, since
    ``prlimit`` counts those of anyone else. Where none can be made the command is empty; the
    self-test then finds out that nothing counts.
    """
    memory = limits.memory_mb << 20
    trees = {  # version 1 has a tree for each counter, version 2 has one
        CGROUPS / "pids": {"pids.max": limits.processes},
        CGROUPS / "memory": {"memory.limit_in_bytes": memory},
        CGROUPS / "cpu": {},
        CGROUPS: {"pids.max": limits.processes, "memory.max": memory, "memory.swap.max": 0},
    }
    groups, name = [], secrets.token_hex(8)
    for tree, settings in trees.items() if os.geteuid() == 0 else ():
        if (tree / "cgroup.procs").exists():
            with contextlib.suppress(OSError):
                group = tree / OURS / name
                group.parent.mkdir(exist_ok=True)
                if (control := group.parent / "cgroup.subtree_control").exists():  # version 2
                    for counter in ("+pids", "+memory", "+cpu"):
                        with contextlib.suppress(OSError):  # not every container has the last
                            control.write_text(counter)
                group.mkdir()
                groups.append(group)
                for setting, value in settings.items():
                    (group / setting).write_text(str(value))
    steps = "".join(f'echo $$ > "{group}/cgroup.procs" && ' for group in groups)
    try:
        yield ["sh", "-c", f'{steps}exec "$@"', "sh"] if groups else []
    finally:
        for _ in range(100):  # a killed worker's processes are gone a moment later
            for group in groups:
                with contextlib.suppress(OSError):
                    group.rmdir()
            if not any(group.exists() for group in groups):
                break
            time.sleep(0.05)
