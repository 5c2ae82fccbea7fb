"""Does the sandbox hold? Tries to get out of it, in the way a student's code could."""

import contextlib
import inspect
import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from . import attempts, encoding
from .exchange import GradingError
from .run import Launcher, Worker, run_answer
from .sandbox import NEEDED_OUTSIDE, PACKAGES, Sandbox

# What the limits do is tried with small ones, so that a sandbox that has none does no harm.
SMALL = {"memory_mb": 512, "processes": 24, "disk_mb": 16, "file_mb": 16, "time_factor": 1.0,
         "load_s": 60.0, "answer_s": 20.0}  # fmt: skip
UBUNTU = """On Ubuntu 24.04 and later AppArmor may forbid it: install an AppArmor profile for bwrap,
or run: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"""
ROOT = "\nAs root, limits need writable cgroups: run this as an ordinary user."


class SandboxError(GradingError):
    """There is no sandbox here that holds."""


class EscapeError(SandboxError):
    """A sandbox that runs, but does not hold."""


@dataclass(frozen=True)
class Attempt:
    """One attempt; ``escaped`` says what it could do, None if it was held back."""

    name: str
    escaped: str | None


def check_sandbox(sandbox: Sandbox) -> list[Attempt]:
    """All attempts to get out of the sandbox, each held back.

    Raises:
        EscapeError: some succeeded; the message says which.
        SandboxError: the sandbox runs nothing at all.
    """
    tried = try_to_escape(sandbox)
    escapes = [f"  {attempt.name}: {attempt.escaped}" for attempt in tried if attempt.escaped]
    if escapes:
        hint = ROOT if os.geteuid() == 0 else ""
        raise EscapeError("\n".join(["the sandbox does not hold:", *escapes]) + hint)
    return tried


def try_to_escape(sandbox: Sandbox) -> list[Attempt]:
    """Every attempt with its outcome, one after the other in one worker, as answers are run."""
    launcher = replace(sandbox, limits=replace(sandbox.limits, **SMALL)).launcher()
    _check_that_it_runs(launcher)
    with targets(sandbox) as arguments, Worker(launcher) as worker:
        tried = []
        for name, args in arguments.items():
            before = worker.process
            tried.append(Attempt(name, attempt(name, args, worker)))
            if name == "find_traces" and worker.process is not before:
                tried.append(Attempt(name, "could not be tried: the worker was replaced"))
    return tried


def attempt(name: str, args: list, worker: Worker) -> str | None:
    """What the attempt could do in this worker."""
    record = worker.run(_frozen(name, args), inspect.getsource(attempts))[0]
    if "error" in record:  # held back the hard way: killed, or out of memory
        kind = record["error"]["types"][0]
        return None if kind in ("Died", "MemoryError") else f"could not be tried ({kind})"
    return record["value"]


def _frozen(name: str, args: list) -> dict:
    case = {"entry": name, "read": False, "kwargs": {}, "seed": 0}
    return {
        "grade_id": name,
        "ask": {"setup": [], "entries": [name], "drive": None},
        "cases": [{**case, "args": [encoding.encode(arg) for arg in args]}],
        "timeout_s": 20.0,
    }


def _check_that_it_runs(launcher: Launcher) -> None:
    try:
        record = run_answer(_frozen("one", []), "def one():\n    return 1", launcher)[0]
    except GradingError as error:
        record = {"error": str(error)}
    if record.get("value") != 1:
        command = launcher.command(secrets.token_hex(8))
        command = [*command[: command.index("-I")], "-c", "pass"]  # nothing for Python to do
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        found = done.stderr.strip() or str(record.get("error"))
        hint = UBUNTU if "ermission" in found or "not permitted" in found else ""
        raise SandboxError(f"the sandbox does not work: {found}\n{hint}".strip())


@contextlib.contextmanager
def targets(sandbox: Sandbox) -> Iterator[dict[str, list]]:
    """Things to reach outside, and the arguments of each attempt."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        name = f"lecture-grading-{secrets.token_hex(8)}"
        if hasattr(os, "eventfd"):  # Linux: such names have no file
            abstract.bind(f"\0{name}")
            abstract.listen()
        secret = stack.enter_context(tempfile.NamedTemporaryFile())
        secret.write(b"secret")
        secret.flush()
        hosts = {"127.0.0.1", _own_address()}
        home = str(Path.home())
        # Inside, a home folder may hold the folders on the way to Python, but nothing else.
        seen = [secret.name, "/etc/shadow", "/etc/hostname", f"{home}/.bashrc", f"{home}/.ssh",
                "/var", *sandbox.private]  # fmt: skip
        yield {
            "leave_traces": [],
            "find_traces": [],
            "forking_process": [],
            "inherited": [],
            "network": [[[host, listener.getsockname()[1]] for host in sorted(hosts)], name],
            "other_files": [seen],
            "write_files": [
                [*map(str, PACKAGES), "/usr", home, "/etc", *("/", "/proc", "/sys", "/dev")]
            ],
            "other_processes": [os.getpid(), _start_time()],
            "user_namespace": [],
            "kernel_settings": [],
            "keyring": [],
            "environment": [_environment_secret()],
            "memory": [SMALL["memory_mb"]],
            "memory_of_many": [SMALL["memory_mb"]],
            "processes": [SMALL["processes"]],
            "disk": [SMALL["disk_mb"]],
        }


def _own_address() -> str:
    """The address that this machine has in its network; the loopback one if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def _environment_secret() -> str:
    """What this process's environment holds and a worker's doesn't: its longest value."""
    given = (value for name, value in os.environ.items() if name not in NEEDED_OUTSIDE)
    return max(given, key=len, default="") or secrets.token_hex(8)


def _start_time() -> str:
    try:
        return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
