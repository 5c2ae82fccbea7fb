"""What a worker may use: limits of each process, and counters of all its processes together."""

import contextlib
import os
import secrets
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
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
        kinds = {field.name: field.type for field in fields(self)}
        values = {}
        for change in changes:
            name, _, value = change.partition("=")
            if name not in kinds:
                raise ValueError(f"limit: {name!r} is not one of {', '.join(kinds)}")
            try:
                values[name] = kinds[name](value)
            except ValueError:
                raise ValueError(f"limit {name}: got {value!r}, a number is needed") from None
        return replace(self, **values)

    def prlimit(self) -> list[str]:
        """Command that runs the rest of the line within the limits of single processes.

        Memory that a process may write to is limited by ``--data``. The address space may be much
        larger, since mapped files and reserved addresses take no memory. The command is used
        inside the namespaces, where an ordinary user's processes are counted for each sandbox
        separately. Root's are not counted at all, see `counted`.
        """
        memory = self.memory_mb << 20
        return [
            "prlimit",
            f"--data={memory}",
            f"--as={memory + UNTOUCHED}",
            f"--nproc={self.processes}",
            f"--fsize={self.file_mb << 20}",
            f"--nofile={self.open_files}",
            f"--cpu={self.cpu_s}",
            "--core=0",
            "--",
        ]


@contextlib.contextmanager
def counted(limits: Limits) -> Iterator[tuple[list[str], bool]]:
    """Groups of the kernel's counters (cgroups) for one worker, removed at the end.

    Yields a command that runs the rest of the line in these groups, and whether they limit the
    memory. Root can make them; an ordinary user's processes are counted by ``prlimit``.
    """
    memory = limits.memory_mb << 20
    settings = [  # version 2 has one tree of groups, version 1 a tree for each counter
        (CGROUPS, "pids.max", limits.processes),
        (CGROUPS, "memory.max", memory),
        (CGROUPS, "memory.swap.max", 0),
        (CGROUPS / "pids", "pids.max", limits.processes),
        (CGROUPS / "memory", "memory.limit_in_bytes", memory),
    ]
    name, groups, limited = secrets.token_hex(8), set(), set()
    for tree, setting, value in settings if os.geteuid() == 0 else []:
        group = tree / OURS / name
        with contextlib.suppress(OSError):
            if not (tree / "cgroup.procs").exists():
                continue
            group.parent.mkdir(exist_ok=True)
            if (control := group.parent / "cgroup.subtree_control").exists():  # version 2
                control.write_text(f"+{setting.split('.')[0]}")
            group.mkdir(exist_ok=True)
            groups.add(group)
            if (group / setting).exists():
                (group / setting).write_text(str(value))
                limited.add(setting)
    steps = [f"echo $$ > {shlex.quote(str(group))}/cgroup.procs" for group in groups]
    command = ["sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh"] if groups else []
    try:
        yield command, bool(limited & {"memory.max", "memory.limit_in_bytes"})
    finally:
        for group in groups:
            _remove(group)


def _remove(group: Path) -> None:
    """Remove a group once it is empty: a killed worker's processes are gone a moment later."""
    for _ in range(100):
        try:
            return group.rmdir()
        except OSError:
            time.sleep(0.05)
