"""What a worker may use, and the kernel's counters (cgroups) that hold it to that."""

import contextlib
import functools
import os
import shlex
import subprocess
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

from lecture_lib.checks import check_number

CGROUPS = Path("/sys/fs/cgroup")
OURS = "lecture-grading"
OLD_S = 3600.0


@dataclass(frozen=True)
class Limits:
    """What one worker may use; ValueError if one of them is not above 0.

    Args:
        memory_mb: of each process's address space, and of all its processes together.
        processes: and threads, at the same time.
        file_mb, disk_mb: largest file; room in each of its two writable folders.
        open_files, cpu_s: of each process.
        output_mb: longest reply.
        load_s, answer_s: seconds for imports and setup; for the answer cell.
        time_factor: what the tasks' seconds for one case are multiplied with.
    """

    memory_mb: int = 4096
    processes: int = 64
    file_mb: int = 64
    disk_mb: int = 64
    open_files: int = 256
    cpu_s: int = 600
    output_mb: int = 32
    load_s: float = 120.0
    answer_s: float = 30.0
    time_factor: float = 1.0

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

        It stands inside the namespaces: there an ordinary user's processes are counted for each
        sandbox by itself. For root they are not counted at all, see ``counted``.
        """
        return [
            "prlimit",
            f"--as={self.memory_mb << 20}",
            f"--nproc={self.processes}",
            f"--fsize={self.file_mb << 20}",
            f"--nofile={self.open_files}",
            f"--cpu={self.cpu_s}",
            "--core=0",
            "--",
        ]


@dataclass(frozen=True)
class Counted:
    """Command in front and command at the end that count all processes of a worker together."""

    prefix: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    memory: bool = False


def counted(limits: Limits) -> Counted:
    """Cgroups for root, a systemd scope for a user who has one, else nothing."""
    if os.geteuid() == 0:
        return _cgroups(limits.memory_mb << 20, limits.processes)
    scope = ("systemd-run", "--user", "--scope", "--quiet", "--collect",
             "-p", f"MemoryMax={limits.memory_mb}M", "-p", "MemorySwapMax=0",
             "-p", f"TasksMax={limits.processes}", "--")  # fmt: skip
    return Counted(scope, (), memory=True) if _runs((*scope, "true")) else Counted()


def _cgroups(memory: int, processes: int) -> Counted:
    """Version 2 has one tree for all counters, version 1 a tree for each."""
    settings = [
        (CGROUPS, "pids.max", processes),
        (CGROUPS, "memory.max", memory),
        (CGROUPS, "memory.swap.max", 0),
        (CGROUPS / "pids", "pids.max", processes),
        (CGROUPS / "memory", "memory.limit_in_bytes", memory),
    ]
    usable = [(tree / OURS, name, value) for tree, name, value in settings if _has(tree, name)]
    if not usable:
        return Counted()
    for folder, _, _ in usable:
        _sweep(folder)
    folders = {f"{shlex.quote(str(folder))}/{{name}}" for folder, _, _ in usable}
    steps = [f"mkdir {folder}" for folder in sorted(folders)]
    steps += [f"echo {value} > {shlex.quote(str(folder))}/{{name}}/{file}"
              for folder, file, value in usable]  # fmt: skip
    steps += [f"echo $$ > {folder}/cgroup.procs" for folder in sorted(folders)]
    enter = " && ".join([*steps, 'exec "$@"'])
    # A killed worker's processes are gone a moment later; only an empty group can be removed.
    leave = "; ".join(
        f"for i in $(seq 100); do rmdir {folder} && break; sleep 0.05; done"
        for folder in sorted(folders)
    )
    memory = any(name in ("memory.max", "memory.limit_in_bytes") for _, name, _ in usable)
    return Counted(("sh", "-c", enter, "sh"), ("sh", "-c", leave), memory)


def _sweep(folder: Path) -> None:
    """Remove empty groups of graders that were killed; a new one is empty for milliseconds."""
    for group in folder.iterdir():
        with contextlib.suppress(OSError):
            if group.is_dir() and group.stat().st_mtime < time.time() - OLD_S:
                group.rmdir()


@functools.cache
def _has(tree: Path, name: str) -> bool:
    """Whether this counter works in groups that we make in the tree."""
    try:
        group = tree / OURS
        group.mkdir(exist_ok=True)
        control = group / "cgroup.subtree_control"
        if control.exists():  # version 2 hands a counter down only when told to
            control.write_text(f"+{name.split('.')[0]}")
        return (group / name).exists()
    except OSError:
        return False


@functools.cache
def _runs(command: tuple[str, ...]) -> bool:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=5).returncode == 0
    return False
