"""The sandbox: bubblewrap and limits, a command that is put in front of a worker.

A sandboxed worker sees Python, these two packages and, where a task needs it, the model, all
read-only; two small folders in memory that it may write to; no network, and no process but its own.
"""

import functools
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .exchange import GradingError
from .limits import Limits, counted
from .run import Launcher

PACKAGES = [Path(__file__).resolve().parents[1] / name for name in ("grader", "lecture_lib")]
NEEDED_OUTSIDE = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # by systemd-run


@dataclass(frozen=True)
class Sandbox:
    """Which sandbox. Plain data: each machine makes its own launcher of it.

    Args:
        bubblewrap: False runs workers without any sandbox, but with the limits on time and size.
        private: folders of which nothing may be seen inside.
    """

    bubblewrap: bool = True
    limits: Limits = field(default_factory=Limits)
    private: tuple[str, ...] = ()

    def launcher(self, *, model: bool = False) -> Launcher:
        """How a worker is started in it; ``model``: with the bundled model's folder.

        Raises:
            GradingError: bubblewrap is not installed, or a private folder would be visible.
        """
        return _launcher(self, model)


@functools.cache
def _launcher(sandbox: Sandbox, model: bool) -> Launcher:
    limits = sandbox.limits
    if not sandbox.bubblewrap:
        return Launcher(limits=limits)
    models = _model_folder() if model else None
    visible = [*_python_folders(), *PACKAGES, *([models] if models else [])]
    _check_private(sandbox.private, [Path("/usr"), *visible])
    counter = counted(limits)
    return Launcher(
        prefix=(*counter.prefix, *_bubblewrap(limits, visible, models), *limits.prlimit()),
        # Process 1 in a sandbox is bwrap, and shows the environment that it was started with.
        env={name: os.environ[name] for name in NEEDED_OUTSIDE if name in os.environ},
        stop=counter.stop,
        memory_bytes=None if counter.memory else limits.memory_mb << 20,
        sandboxed=True,
        limits=limits,
    )


def _bubblewrap(limits: Limits, visible: list[Path], models: Path | None) -> list[str]:
    if shutil.which("bwrap") is None:
        raise GradingError("bubblewrap (bwrap) is not installed: apt install bubblewrap")
    size = ["--size", str(limits.disk_mb << 20), "--tmpfs"]
    command = [
        "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent",
        "--new-session", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--clearenv",
        # To the kernel root's worker is root, if one without capabilities, and so the owner of
        # /proc/sys, core_pattern included: a program that the kernel starts outside.
        "--proc", "/proc", "--remount-ro", "/proc",
        # What bwrap makes itself lies in memory without a limit, so none of it stays writable.
        "--dev", "/dev", "--remount-ro", "/dev", *size, "/dev/shm", *size, "/tmp",
        *_system_folders(),
    ]  # fmt: skip
    for folder in visible:  # after /tmp, which would hide those that lie below it
        command += ["--ro-bind", str(folder), str(folder)]
    for name, value in _environment(models).items():
        command += ["--setenv", name, value]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp", "--"]


def _system_folders() -> list[str]:
    options = ["--ro-bind", "/usr", "/usr"]
    for path in ("/etc/ld.so.cache", "/etc/alternatives"):
        options += ["--ro-bind-try", path, path]
    for name in ("bin", "lib", "lib32", "lib64", "sbin"):
        folder = Path("/", name)
        if folder.is_symlink():
            options += ["--symlink", os.readlink(folder), str(folder)]
        elif folder.is_dir():
            options += ["--ro-bind", str(folder), str(folder)]
    return options


def _environment(models: Path | None) -> dict[str, str]:
    variables = {
        "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    return {**variables, "LECTURE_LIB_CACHE": str(models.parent)} if models else variables


def _python_folders() -> list[Path]:
    """Where this Python and its packages lie, by the names used and by the real ones."""
    executable = Path(sys.executable)
    named = [Path(sys.prefix), Path(sys.base_prefix), executable.resolve().parent.parent]
    folders = {folder for path in named for folder in (path, path.resolve())}
    return sorted(folder for folder in folders if not folder.is_relative_to("/usr"))


def _model_folder() -> Path:
    from lecture_lib.loading.bundled_model import ensure_bundled_model

    return ensure_bundled_model()


def _check_private(private: tuple[str, ...], visible: list[Path]) -> None:
    for path in private:
        for folder in visible:
            if Path(path).resolve().is_relative_to(folder.resolve()):
                raise GradingError(
                    f"{path} lies in {folder}, which students' code can read. Move it elsewhere."
                )
