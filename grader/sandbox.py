"""The sandbox: bubblewrap and limits, a command that is put in front of a worker.

A sandboxed worker sees Python and these two packages, all read-only; two small folders in memory
that it may write to; no network, and no process but its own.
"""

import itertools
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import GradingError
from .limits import Limits

SYSTEM = [Path("/", name) for name in ("usr", "bin", "lib", "lib32", "lib64", "sbin",
                                       "etc/ld.so.cache", "etc/alternatives")]  # fmt: skip
PACKAGES = [Path(__file__).resolve().parents[1] / name for name in ("grader", "lecture_lib")]
VARIABLES = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1",
}  # fmt: skip


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
            # To the kernel root's worker is root, if one without capabilities, and so the owner of
            # /proc/sys, core_pattern included: a program that the kernel starts outside. Nor can
            # anyone write to the memory of process 1, bwrap's own, to which no limit applies.
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
