"""Starts a worker for one task, within limits, and collects its records.

A sandbox is put in front by ``Launcher.prefix``; nothing else changes, since all that a worker
needs comes through its stdin.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from typing import Any

from . import encoding, worker
from .exchange import Exchange, Fault
from .launcher import WORKER, Launcher, named

STOP_S = 30.0
__all__ = ["WORKER", "GradingError", "Launcher", "run_answer", "run_trusted"]


class GradingError(RuntimeError):
    """Grading itself failed; the student is not to blame."""


def run_answer(
    frozen: dict, answer: str, launcher: Launcher | None = None, seconds: list | None = None
) -> list[dict]:
    """Records of an answer cell, one a case, from a fresh worker.

    Args:
        seconds: a list that the time of each case that was run is appended to.

    Raises:
        GradingError: the worker could not be started, or the author's setup cells failed.
    """
    launcher = launcher or Launcher()
    with tempfile.TemporaryDirectory() as folder, _Worker(launcher, folder) as process:
        set_up(process, frozen)
        return records_of(process, frozen, answer, seconds)


def set_up(process: Exchange, frozen: dict) -> None:
    """Run the task's setup in a worker.

    The answer is not in the process yet: what fails here is not the student's doing.

    Raises:
        GradingError: it failed.
    """
    request = {"op": "setup", "ask": frozen["ask"]}
    error = _error_of(process, request, process.launcher.load_s)
    if error is not None:
        raise GradingError(f"setup of task {frozen['grade_id']!r} failed: {error}")


def records_of(
    process: Exchange, frozen: dict, answer: str, seconds: list | None = None
) -> list[dict]:
    """Records of an answer cell, one a case, from a worker that is set up."""
    error = _error_of(process, {"op": "load", "answer": answer}, process.launcher.answer_s)
    if error is not None:
        return [_error_record({**error, "phase": "load"})] * len(frozen["cases"])
    return _call_all(process, frozen, [] if seconds is None else seconds)


def _error_of(process: Exchange, request: dict, timeout_s: float) -> dict | None:
    try:
        error = process.ask(request, timeout_s).get("error")
        return None if error is None else _checked_error(error)
    except Fault as fault:
        return worker.plain_error(fault.kind, "")


def _call_all(process: Exchange, frozen: dict, seconds: list) -> list[dict]:
    records: list[dict] = []
    for case in frozen["cases"]:
        start = time.monotonic()
        try:
            reply = process.ask(
                {"op": "call", "case": case}, frozen["timeout_s"] * process.launcher.time_factor
            )
            records.append(_checked_record(reply, case))
        except Fault as fault:
            records.append(_error_record(worker.plain_error(fault.kind, "")))
            not_run = _error_record(worker.plain_error("NotRun", ""))
            return records + [not_run] * (len(frozen["cases"]) - len(records))
        finally:
            seconds.append(time.monotonic() - start)
    return records


def run_trusted(frozen: dict, answer: str, namespace: dict | None = None) -> list[dict]:
    """The same records, made in this process without limits: for the author's own answers only.

    Args:
        namespace: what ``worker.run_setup`` gave, to run the setup once for many answers.
    """
    session = worker.Session(frozen["ask"], namespace)
    error = session.load(answer)
    if error is not None:
        return [_error_record(error)] * len(frozen["cases"])
    # Through JSON, as from a worker; what is not JSON must not come back here either.
    return [json.loads(encoding.dumps(session.call(case))) for case in frozen["cases"]]


def start_process(launcher: Launcher, command: list[str], **options) -> subprocess.Popen:
    """A process group of its own.

    Raises:
        GradingError: there is no such command, or no process groups on this system.
    """
    if os.name != "posix":
        raise GradingError("workers need Linux or macOS; on Windows run this in WSL2 or Docker")
    try:
        return subprocess.Popen(
            command, env=launcher.env, start_new_session=True, bufsize=0,
            stderr=subprocess.DEVNULL, **options,
        )  # fmt: skip
    except OSError as error:
        raise GradingError(f"cannot start {command[0]}: {error}") from error


def end_process(process: subprocess.Popen, launcher: Launcher, name: str) -> None:
    """Kill its group, and clean up what that leaves."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if launcher.stop:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                named(launcher.stop, name), stdin=subprocess.DEVNULL,
                capture_output=True, timeout=STOP_S,
            )  # fmt: skip


class _Worker(Exchange):
    """A worker process: killed with its group at the end."""

    def __init__(self, launcher: Launcher, folder: str):
        self.name, pipe = secrets.token_hex(8), subprocess.PIPE
        self.process = start_process(
            launcher, launcher.command(self.name), stdin=pipe, stdout=pipe, cwd=folder
        )
        super().__init__(
            launcher, self.process.pid, self.process.stdout.fileno(),
            self.process.stdin.fileno(), launcher.memory_bytes,
        )  # fmt: skip

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *exc) -> None:
        end_process(self.process, self.launcher, self.name)
        self.process.stdin.close()
        self.process.stdout.close()


def _error_record(error: dict) -> dict:
    return {"error": error, "mutated": [], "calls": []}


def _checked_record(reply: dict, case: dict) -> dict:
    """A record of the documented form, whatever came back: it is untrusted."""
    record = reply.get("record")
    if not isinstance(record, dict):
        raise Fault("Protocol")
    mutated, calls = record.get("mutated"), record.get("calls")
    known = {*(str(i + 1) for i in range(len(case["args"]))), *case["kwargs"]}
    # Other labels could carry the arguments themselves into what the student is told.
    labels = isinstance(mutated, list) and all(isinstance(label, str) for label in mutated)
    if not labels or not known.issuperset(mutated) or not isinstance(calls, list):
        raise Fault("Protocol")
    if "error" in record:
        error = {**_checked_error(record["error"]), "phase": "call"}
        return {"error": error, "mutated": mutated, "calls": calls}
    if "value" not in record:
        raise Fault("Protocol")
    return {"value": record["value"], "mutated": mutated, "calls": calls}


def _checked_error(error: Any) -> dict:
    if not isinstance(error, dict):
        raise Fault("Protocol")
    types, text, line, phase = (error.get(k) for k in ("types", "text", "line", "phase"))
    named = isinstance(types, list) and types and all(isinstance(name, str) for name in types)
    if not named or not isinstance(text, str) or not isinstance(phase, str):
        raise Fault("Protocol")
    types = [_printable(name[:80]) for name in types[:16]]
    text = _printable(text[: worker.MAX_TEXT])
    line = line if type(line) is int else None
    return {"types": types, "text": text, "line": line, "phase": phase[:8]}


def _printable(text: str) -> str:
    """Half a surrogate pair can't be written to a file, and an escape could rule a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
