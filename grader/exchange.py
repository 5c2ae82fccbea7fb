"""What the grader asks about one task and what comes back: in time, in size, of the right form.

Everything that comes back is untrusted: student code runs in the process that answers.
"""

import json
import secrets
import selectors
import socket
import time
from typing import Any

from . import encoding, session
from .limits import Limits

WATCH_S = 0.1  # how often a silent worker's memory is looked at
MAX_ITEMS = 2_000_000  # in all replies: as objects each costs far more than its bytes


class GradingError(RuntimeError):
    """Grading itself failed; the student is not to blame."""


class Fault(Exception):
    """No reply that can be used; ``kind``: "Died", "TimeLimit" or "Protocol"."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


class Exchange:
    """The grader's end of a task's socket.

    Args:
        check_memory: called about ten times a second; it raises Fault where there is too much.
    """

    def __init__(self, ours: socket.socket, limits: Limits, check_memory=lambda: None):
        self.socket, self.limits, self.check_memory = ours, limits, check_memory
        ours.setblocking(False)
        self.next_look = time.monotonic() + WATCH_S
        self.buffer = bytearray()  # what was read beyond the last reply
        self.items_left = MAX_ITEMS

    def run(self, frozen: dict, answer: str, seconds: list) -> list[dict]:
        """Records of an answer cell, one a case; the time of each is appended to ``seconds``.

        Raises:
            GradingError: the task's setup failed. The answer has not been sent by then: what
                fails is not the student's doing.
        """
        request = {"op": "setup", "ask": frozen["ask"]}
        if (error := self._error_of(request, self.limits.load_s)) is not None:
            raise GradingError(f"setup of task {frozen['grade_id']!r} failed: {error}")
        request = {"op": "load", "answer": answer}
        if (error := self._error_of(request, self.limits.answer_s)) is not None:
            return [error_record({**error, "phase": "load"})] * len(frozen["cases"])
        return self._call_all(frozen, seconds)

    def _error_of(self, request: dict, timeout_s: float) -> dict | None:
        try:
            error = self.ask(request, timeout_s).get("error")
            return None if error is None else _checked_error(error)
        except Fault as fault:
            return session.plain_error(fault.kind, "")

    def _call_all(self, frozen: dict, seconds: list) -> list[dict]:
        records: list[dict] = []
        timeout_s = frozen["timeout_s"] * self.limits.time_factor
        for case in frozen["cases"]:
            start = time.monotonic()
            try:
                reply = self.ask({"op": "call", "case": case}, timeout_s)
                records.append(_checked_record(reply, case))
            except Fault as fault:
                records.append(error_record(session.plain_error(fault.kind, "")))
                not_run = error_record(session.plain_error("NotRun", ""))
                return records + [not_run] * (len(frozen["cases"]) - len(records))
            finally:
                seconds.append(time.monotonic() - start)
        return records

    def ask(self, request: dict, timeout_s: float) -> dict:
        """The reply that carries this request's id; Fault if there is none in time and size."""
        request_id = secrets.token_hex(16)
        line = encoding.dumps({**request, "id": request_id}).encode() + b"\n"
        reply = self._exchange(line, time.monotonic() + timeout_s)
        self.items_left -= sum(map(reply.count, (b",", b"[", b"{")))
        if self.items_left < 0:
            raise Fault("Protocol")
        try:
            reply = json.loads(reply)
        except (ValueError, RecursionError) as error:
            raise Fault("Protocol") from error
        if not isinstance(reply, dict) or reply.get("id") != request_id:
            raise Fault("Protocol")
        return reply

    def _exchange(self, line: bytes, deadline: float) -> bytes:
        """Send a line and receive one; both at once, since the other side may do neither."""
        with selectors.DefaultSelector() as ready:
            ready.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            searched = 0
            while (end := self.buffer.find(b"\n", searched)) < 0:
                searched = len(self.buffer)
                if searched > self.limits.output_mb << 20:
                    raise Fault("Protocol")
                if (left := deadline - time.monotonic()) <= 0:
                    raise Fault("TimeLimit")
                if time.monotonic() >= self.next_look:
                    self.check_memory()
                    self.next_look = time.monotonic() + WATCH_S
                for _, events in ready.select(min(left, WATCH_S)):
                    line = self._transfer(events, line)
                    if not line:
                        ready.modify(self.socket, selectors.EVENT_READ)
        reply = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return reply

    def _transfer(self, events: int, line: bytes) -> bytes:
        """Read what is there, write what there is room for; what is left of the line."""
        try:
            if events & selectors.EVENT_READ:
                chunk = self.socket.recv(1 << 20)
                if not chunk:
                    raise Fault("Died")
                self.buffer += chunk
            elif line:
                line = line[self.socket.send(line[: 1 << 16]) :]
        except BlockingIOError:
            pass
        except OSError as error:  # the other end is closed, with something in it unread
            raise Fault("Died") from error
        return line


def error_record(error: dict) -> dict:
    return {"error": error, "mutated": [], "calls": []}


def _checked_record(reply: dict, case: dict) -> dict:
    """A record of the documented form, whatever came back."""
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
    text = _printable(text[: session.MAX_TEXT])
    line = line if type(line) is int else None
    return {"types": types, "text": text, "line": line, "phase": phase[:8]}


def _printable(text: str) -> str:
    """Half a surrogate pair can't be written to a file, and an escape could rule a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
