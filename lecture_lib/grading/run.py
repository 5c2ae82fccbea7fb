"""Starts a worker for one task, within limits, and collects its records.

A sandbox is put in front by ``Launcher.prefix``; nothing else changes, since all that a worker
needs comes through its stdin.
"""

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import tempfile
import time
from typing import Any

from . import encoding, worker
from .launcher import WORKER, Launcher, named, resident_bytes

WATCH_S = 0.1  # how often a silent worker's memory is looked at
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
        # The answer is not in the process yet: what fails here is not the student's doing.
        error = _error_of(process, {"op": "setup", "ask": frozen["ask"]}, launcher.load_s)
        if error is not None:
            raise GradingError(f"setup of task {frozen['grade_id']!r} failed: {error}")
        error = _error_of(process, {"op": "load", "answer": answer}, launcher.answer_s)
        if error is not None:
            return [_error_record({**error, "phase": "load"})] * len(frozen["cases"])
        return _call_all(process, frozen, [] if seconds is None else seconds)


def _error_of(process: "_Worker", request: dict, timeout_s: float) -> dict | None:
    try:
        error = process.ask(request, timeout_s).get("error")
        return None if error is None else _checked_error(error)
    except _Fault as fault:
        return worker.plain_error(fault.kind, "")


def _call_all(process: "_Worker", frozen: dict, seconds: list) -> list[dict]:
    records: list[dict] = []
    for case in frozen["cases"]:
        start = time.monotonic()
        try:
            reply = process.ask(
                {"op": "call", "case": case}, frozen["timeout_s"] * process.launcher.time_factor
            )
            records.append(_checked_record(reply))
        except _Fault as fault:
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


class _Fault(Exception):
    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


class _Worker:
    """A worker process: request and reply with a deadline, killed with its group at the end."""

    def __init__(self, launcher: Launcher, folder: str):
        self.launcher, self.name = launcher, secrets.token_hex(8)
        if os.name != "posix":
            raise GradingError("workers need Linux or macOS; on Windows run this in WSL2 or Docker")
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        try:
            self.process = subprocess.Popen(
                launcher.command(self.name), stdin=pipe, stdout=pipe, stderr=null, cwd=folder,
                env=launcher.env, start_new_session=True, bufsize=0,
            )  # fmt: skip
        except OSError as error:
            raise GradingError(f"cannot start {launcher.command(self.name)[0]}: {error}") from error
        os.set_blocking(self.process.stdin.fileno(), False)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.next_look = time.monotonic() + WATCH_S
        self.buffer = bytearray()  # what was read beyond the last reply

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *exc) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        if self.launcher.stop:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    named(self.launcher.stop, self.name), stdin=subprocess.DEVNULL,
                    capture_output=True, timeout=STOP_S,
                )  # fmt: skip

    def ask(self, request: dict, timeout_s: float) -> dict:
        """The reply that carries this request's id; _Fault if there is none in time and size."""
        request_id = secrets.token_hex(16)
        line = encoding.dumps({**request, "id": request_id}).encode() + b"\n"
        reply = self._exchange(line, time.monotonic() + timeout_s)
        try:
            reply = json.loads(reply)
        except (ValueError, RecursionError) as error:
            raise _Fault("Protocol") from error
        if not isinstance(reply, dict) or reply.get("id") != request_id:
            raise _Fault("Protocol")
        return reply

    def _exchange(self, line: bytes, deadline: float) -> bytes:
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            ready.register(self.process.stdin, selectors.EVENT_WRITE)
            searched = 0
            while (end := self.buffer.find(b"\n", searched)) < 0:
                searched = len(self.buffer)
                if searched > self.launcher.max_line:
                    raise _Fault("Protocol")
                if (left := deadline - time.monotonic()) <= 0:
                    raise _Fault("TimeLimit")
                self._look_at_memory()
                for event, _ in ready.select(min(left, WATCH_S)):
                    if event.fileobj is self.process.stdout:
                        self._read()
                    elif not (line := self._write(line)):
                        ready.unregister(self.process.stdin)
        reply = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return reply

    def _look_at_memory(self) -> None:
        limit = self.launcher.memory_bytes
        if limit is None or time.monotonic() < self.next_look:
            return
        if resident_bytes(self.process.pid) > limit:
            raise _Fault("Died")
        self.next_look = time.monotonic() + WATCH_S

    def _read(self) -> None:
        chunk = os.read(self.process.stdout.fileno(), 1 << 20)
        if not chunk:
            raise _Fault("Died")
        self.buffer += chunk

    def _write(self, line: bytes) -> bytes:
        try:
            return line[os.write(self.process.stdin.fileno(), line[: 1 << 16]) :]
        except BrokenPipeError as error:
            raise _Fault("Died") from error


def _error_record(error: dict) -> dict:
    return {"error": error, "mutated": [], "calls": []}


def _checked_record(reply: dict) -> dict:
    """A record of the documented form, whatever came back: it is untrusted."""
    record = reply.get("record")
    if not isinstance(record, dict):
        raise _Fault("Protocol")
    mutated, calls = record.get("mutated"), record.get("calls")
    labels = isinstance(mutated, list) and all(isinstance(label, str) for label in mutated)
    if not labels or not isinstance(calls, list):
        raise _Fault("Protocol")
    if "error" in record:
        error = {**_checked_error(record["error"]), "phase": "call"}
        return {"error": error, "mutated": mutated, "calls": calls}
    if "value" not in record:
        raise _Fault("Protocol")
    return {"value": record["value"], "mutated": mutated, "calls": calls}


def _checked_error(error: Any) -> dict:
    if not isinstance(error, dict):
        raise _Fault("Protocol")
    types, text, line, phase = (error.get(k) for k in ("types", "text", "line", "phase"))
    named = isinstance(types, list) and types and all(isinstance(name, str) for name in types)
    if not named or not isinstance(text, str) or not isinstance(phase, str):
        raise _Fault("Protocol")
    types = [name[:80] for name in types[:16]]
    line = line if type(line) is int else None
    return {"types": types, "text": text[: worker.MAX_TEXT], "line": line, "phase": phase[:8]}
