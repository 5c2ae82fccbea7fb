"""The sandbox: bubblewrap and limits, a command that is put in front of a worker.

A sandboxed worker sees Python and these two packages, all read-only; two small folders in memory
that it may write to; no network, and no process but its own.
"""

import contextlib
import itertools
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lecture_lib.checks import check_number

from . import GradingError

CGROUPS = Path("/sys/fs/cgroup")
OURS = "lecture-grading"
UNTOUCHED = 64 << 30  # bytes of address space beyond the memory: a CUDA library maps gigabytes
SYSTEM = [Path("/", name) for name in ("usr", "bin", "lib", "lib32", "lib64", "sbin",
                                       "etc/ld.so.cache", "etc/alternatives")]  # fmt: skip
PACKAGES = [Path(__file__).resolve().parents[1] / name for name in ("grader", "lecture_lib")]
VARIABLES = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1",
}  # fmt: skip


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


@dataclass(frozen=True)
class Sandbox:
    """How workers are started. Plain data, which every process that grades makes a command of.

    Without ``bubblewrap`` there is no sandbox, but time and size are limited all the same, and on
    Linux memory.
    """

    bubblewrap: bool = True
    limits: Limits = field(default_factory=Limits)
    private: tuple[str, ...] = ()  # folders of which nothing may be seen inside

    def environment(self) -> dict[str, str]:
        """What a worker is started with; the sandbox then sets its own variables."""
        if not self.bubblewrap:
            return {**os.environ, "OMP_NUM_THREADS": "1"}
        # Process 1 in a sandbox is bwrap, and shows the environment that it was started with.
        return {"PATH": os.environ.get("PATH", os.defpath)}

    def command(self, filter_fd: int | None = None) -> list[str]:
        """Command that runs the rest of the line in the sandbox.

        ``filter_fd``: the open file that holds the filter of system calls. GradingError if
        bubblewrap is not installed, or a private folder would be visible.
        """
        if not self.bubblewrap:
            return []
        if shutil.which("bwrap") is None:
            raise GradingError("bubblewrap (bwrap) is not installed: apt install bubblewrap")
        visible = [*SYSTEM, *_python_folders(), *PACKAGES]
        for path, folder in itertools.product(self.private, visible):
            if Path(path).resolve().is_relative_to(folder.resolve()):
                raise GradingError(f"{path} is in {folder}, which students' code can read. "
                                   "Move it elsewhere.")  # fmt: skip
        size = ["--size", str(self.limits.disk_mb << 20), "--tmpfs"]
        command = [
            "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent",
            "--new-session", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--clearenv",
            # To the kernel, root's worker is root and owns /proc/sys, whose core_pattern names a
            # program that starts outside. And process 1, bwrap's own, has no limit on memory.
            "--proc", "/proc", "--remount-ro", "/proc",
            # What bwrap makes itself is in memory without a limit, so none of it stays writable.
            # Memory mapped from /dev/zero can be shared, and then is counted for no process.
            "--dev", "/dev", "--ro-bind", "/dev/null", "/dev/zero", "--remount-ro", "/dev",
            *size, "/dev/shm", *size, "/tmp",
        ]  # fmt: skip
        if filter_fd is not None:
            command += ["--seccomp", str(filter_fd)]
        for folder in visible:  # after /tmp, which would hide those that are below it
            command += ["--ro-bind-try", str(folder), str(folder)]
        for name, value in VARIABLES.items():
            command += ["--setenv", name, value]
        return [*command, "--remount-ro", "/", "--chdir", "/tmp", "--", *self.limits.prlimit()]


def _python_folders() -> list[Path]:
    """Where this Python and its packages are, by the names used and by the real ones."""
    executable = Path(sys.executable)
    named = [Path(sys.prefix), Path(sys.base_prefix), executable.resolve().parent.parent]
    folders = {folder for path in named for folder in (path, path.resolve())}
    return sorted(folder for folder in folders if not folder.is_relative_to("/usr"))


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
