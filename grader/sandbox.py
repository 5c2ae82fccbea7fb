"""Sandboxes: a command that is put in front of a worker. Bubblewrap here, Docker in docker.py.

A sandboxed worker sees Python, this library and, where a task needs it, the model, all read-only;
two small folders in memory that it may write to; no network, and no process but its own.
"""

import functools
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import docker
from .launcher import Launcher, Warm
from .limits import Limits, counted
from .run import GradingError

PACKAGES = [Path(__file__).resolve().parents[1] / name for name in ("grader", "lecture_lib")]
NEEDED_OUTSIDE = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # by systemd-run
BACK_ENDS = ("bubblewrap", "docker", "none")


@dataclass(frozen=True)
class Sandbox:
    """Which sandbox, with which limits. Plain data: each machine makes its own launcher of it.

    Args:
        back_end: "bubblewrap", "docker" or "none".
        private: folders of which nothing may be seen inside.
        image: for Docker.
        warm: whether workers may be forked with their imports done (bubblewrap only, warm.py).
    """

    back_end: str = "bubblewrap"
    limits: Limits = field(default_factory=Limits)
    private: tuple[str, ...] = ()
    image: str = docker.IMAGE
    warm: bool = True

    def launcher(self, *, model: bool = False) -> Launcher:
        """How a worker is started in it; ``model``: with the bundled model's folder.

        Raises:
            GradingError: the sandbox is not installed, or a private folder would be visible.
            ValueError: an unknown back end.
        """
        return _launcher(self, model)


@functools.cache
def _launcher(sandbox: Sandbox, model: bool) -> Launcher:
    if sandbox.back_end not in BACK_ENDS:
        raise ValueError(f"sandbox: {sandbox.back_end!r} is not one of {', '.join(BACK_ENDS)}")
    models = _model_folder() if model else None
    if sandbox.back_end == "docker":
        return docker.launcher(sandbox.limits, sandbox.image, PACKAGES[0], models)
    limits = sandbox.limits
    common = {
        "load_s": limits.load_s,
        "answer_s": limits.answer_s,
        "time_factor": limits.time_factor,
        "max_line": limits.output_mb << 20,
    }
    if sandbox.back_end == "none":
        return Launcher(**common)
    visible = [*_python_folders(), *PACKAGES, *([models] if models else [])]
    _check_private(sandbox.private, [Path("/usr"), *visible])
    counter = counted(limits)
    inside = _bubblewrap(limits, visible, models)
    watched = None if counter.memory else limits.memory_mb << 20
    warm = None
    if sandbox.warm:
        prefix = (*counter.prefix, *_for_zygote(inside), *limits.prlimit())
        kept = [str(folder) for folder in visible if folder.is_relative_to("/tmp")]
        warm = Warm(prefix, tuple(kept), limits.disk_mb << 20)
    prefix = (*counter.prefix, *inside, *limits.prlimit())
    # Process 1 in a sandbox is bwrap, and shows the environment that it was started with.
    env = {name: os.environ[name] for name in NEEDED_OUTSIDE if name in os.environ}
    return Launcher(
        prefix=prefix, env=env, stop=counter.stop, memory_bytes=watched, warm=warm, **common
    )  # fmt: skip


def _bubblewrap(limits: Limits, visible: list[Path], models: Path | None) -> list[str]:
    if shutil.which("bwrap") is None:
        raise GradingError(
            "bubblewrap (bwrap) is not installed: apt install bubblewrap, or use --sandbox docker"
        )
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


def _for_zygote(command: list[str]) -> list[str]:
    """The same sandbox for a process that runs trusted code only and forks workers.

    It may make namespaces, and nothing in it can be written to: each worker mounts its own.
    """
    end = command.index("--remount-ro", command.index("--setenv"))
    at = command.index("--cap-drop") + 2
    return [
        *command[:at], "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_NET_ADMIN",
        *command[at:end], "--remount-ro", "/tmp", "--remount-ro", "/dev/shm", *command[end:],
    ]  # fmt: skip


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
