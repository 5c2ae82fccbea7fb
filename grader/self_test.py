"""Does the sandbox hold? Tries to get out of it, in the way a student's code could."""

import contextlib
import inspect
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from . import GradingError, attempts, encoding
from .run import Worker, run_answer
from .sandbox import PACKAGES, Sandbox

# What the limits do is tried with small ones, so that a sandbox that has none does no harm.
SMALL = {"memory_mb": 512, "processes": 24, "disk_mb": 16, "file_mb": 16, "time_factor": 1.0,
         "load_s": 60.0, "answer_s": 20.0}  # fmt: skip
ATTEMPTS = [name for name, each in vars(attempts).items()
            if inspect.isfunction(each) and not name.startswith("_")]  # fmt: skip
UBUNTU = """On Ubuntu 24.04 and later AppArmor may forbid it: install an AppArmor profile for bwrap,
or run: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"""
ROOT = "\nAs root, limits need writable cgroups: run this as an ordinary user."


class EscapeError(GradingError):
    """A sandbox that runs, but does not hold."""


def check_sandbox(sandbox: Sandbox) -> dict[str, str | None]:
    """The attempts to get out of the sandbox, all held back; else a GradingError."""
    tried = try_to_escape(sandbox)
    if escapes := [f"\n  {name}: {done}" for name, done in tried.items() if done]:
        hint = ROOT if os.geteuid() == 0 else ""
        raise EscapeError(f"the sandbox does not hold:{''.join(escapes)}{hint}")
    return tried


def try_to_escape(sandbox: Sandbox) -> dict[str, str | None]:
    """What each attempt could do, None where it was held back.

    They are made one after the other in one worker, as answers are run.
    """
    sandbox = replace(sandbox, limits=replace(sandbox.limits, **SMALL))
    _check_that_it_runs(sandbox)
    done = {}
    with targets(sandbox) as known, Worker(sandbox) as worker:
        for name in ATTEMPTS:
            before = worker.process
            done[name] = attempt(name, known, worker)
            if name == "find_traces" and worker.process is not before:
                done[name] = "could not be tried: the worker was replaced"
    return done


def attempt(name: str, known: dict, worker: Worker) -> str | None:
    """What the attempt could do in this worker; ``known``: what ``targets`` gave."""
    record = worker.run(_frozen(name, known), inspect.getsource(attempts))[0]
    if "error" in record:  # held back the hard way: killed, or out of memory
        kind = record["error"]["types"][0]
        return None if kind in ("Died", "MemoryError") else f"could not be tried ({kind})"
    return record["value"]


def _frozen(name: str, *args) -> dict:
    args = [encoding.encode(arg) for arg in args]
    return {
        "grade_id": name,
        "ask": {"setup": [], "entries": [name], "drive": None},
        "cases": [{"entry": name, "read": False, "args": args, "kwargs": {}, "seed": 0}],
        "timeout_s": 20.0,
    }


def _check_that_it_runs(sandbox: Sandbox) -> None:
    try:
        record = run_answer(_frozen("one"), "def one():\n    return 1", sandbox)[0]
    except GradingError as error:
        record = {"error": str(error)}
    if record.get("value") != 1:
        command = [*sandbox.command(), sys.executable, "-c", "pass"]  # nothing for Python to do
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        found = done.stderr.strip() or str(record.get("error"))
        hint = UBUNTU if "ermission" in found or "not permitted" in found else ""
        raise GradingError(f"the sandbox does not work: {found}\n{hint}".strip())


@contextlib.contextmanager
def targets(sandbox: Sandbox) -> Iterator[dict]:
    """Things to reach outside, and what the attempts need to know of them."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as abstract,
        tempfile.NamedTemporaryFile() as secret,
    ):
        abstract.bind("")  # Linux: it is given a name that has no file
        abstract.listen()
        home = str(Path.home())  # inside, it may hold the folders on the way to Python, but no more
        # What this process's environment holds and a worker's doesn't: its longest value.
        given = [value for name, value in os.environ.items() if name != "PATH"]
        yield {
            "listener": listener.getsockname(),
            "socket": abstract.getsockname().decode(),
            "files": [secret.name, "/etc/shadow", "/etc/hostname", f"{home}/.bashrc",
                      f"{home}/.ssh", "/var", *sandbox.private],
            "folders": [*map(str, PACKAGES), "/usr", home, "/etc", "/", "/proc", "/sys", "/dev"],
            "pid": os.getpid(),
            "start_time": Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19],
            "secret": max(given, key=len, default="") or "there is no environment",
            **SMALL,
        }  # fmt: skip
