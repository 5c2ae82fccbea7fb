"""What the grader asks about one task and what comes back: in time, in size, of the right form.

Everything that comes back is untrusted: student code runs in the process that answers.
"""

import json
import secrets
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from . import GradingError, encoding
from .limits import Limits
from .session import MAX_CALLS, MAX_TEXT, plain_error

WATCH_S = 0.1  # how often a silent worker's memory is looked at
MAX_ITEMS = 2_000_000  # in all replies: as objects each costs far more than its bytes


class Fault(Exception):
    """No reply that can be used; ``kind``: "Died", "TimeLimit" or "Protocol"."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


class Exchange:
    """The grader's end of a task's socket; ``check_memory`` raises Fault if there is too much."""

    def __init__(self, ours: socket.socket, limits: Limits, check_memory: Callable[[], None]):
        self.socket, self.limits, self.check_memory = ours, limits, check_memory
        ours.setblocking(False)
        self.next_look = time.monotonic() + WATCH_S
        self.buffer = bytearray()  # what was read beyond the last reply
        self.items_left = MAX_ITEMS

    def run(self, frozen: dict, answer: str, seconds: list) -> list[dict]:
        """Records of an answer cell, one for each case, whose time is appended to ``seconds``.

        GradingError if the task's setup fails: the answer has not been sent by then, so that it
        is not the student's doing.
        """
        cases, limits = frozen["cases"], self.limits
        if error := self._error_of({"op": "setup", "ask": frozen["ask"]}, limits.load_s):
            raise GradingError(f"setup of task {frozen['grade_id']!r} failed: {error}")
        if error := self._error_of({"op": "load", "answer": answer}, limits.answer_s):
            return [error_record({**error, "phase": "load"})] * len(cases)
        records: list[dict] = []
        for case in cases:
            start = time.monotonic()
            request = {"op": "call", "case": case}
            try:
                reply = self.ask(request, frozen["timeout_s"] * limits.time_factor)
                records.append(_checked_record(reply, case))
            except Fault as fault:
                records.append(error_record(plain_error(fault.kind)))
                not_run = [error_record(plain_error("NotRun"))]
                return records + not_run * (len(cases) - len(records))
            finally:
                seconds.append(time.monotonic() - start)
        return records

    def _error_of(self, request: dict, timeout_s: float) -> dict | None:
        try:
            error = self.ask(request, timeout_s).get("error")
            return None if error is None else _checked_error(error)
        except Fault as fault:
            return plain_error(fault.kind)

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
            ours = [self.socket]
            readable, writable, _ = select.select(
                ours, ours if line else [], [], min(left, WATCH_S)
            )
            try:
                if readable:
                    if not (chunk := self.socket.recv(1 << 20)):
                        raise Fault("Died")
                    self.buffer += chunk
                elif writable:
                    line = line[self.socket.send(line[: 1 << 16]) :]
            except OSError as error:  # the other end is closed, with something in it unread
                raise Fault("Died") from error
        reply = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return reply


def error_record(error: dict) -> dict:
    return {"error": error, "mutated": [], "n_calls": 0}


def _checked_record(reply: dict, case: dict) -> dict:
    """A record of the documented form, whatever came back."""
    record = reply.get("record")
    if not isinstance(record, dict):
        raise Fault("Protocol")
    mutated, n_calls = record.get("mutated"), record.get("n_calls")
    known = {*(str(i + 1) for i in range(len(case["args"]))), *case["kwargs"]}
    # Other labels could carry the arguments themselves into what the student is told.
    labels = isinstance(mutated, list) and all(isinstance(label, str) for label in mutated)
    if not labels or not known.issuperset(mutated):
        raise Fault("Protocol")
    if type(n_calls) is not int or not 0 <= n_calls <= MAX_CALLS:
        raise Fault("Protocol")
    rest = {"mutated": mutated, "n_calls": n_calls}
    if "error" in record:
        return {"error": {**_checked_error(record["error"]), "phase": "call"}, **rest}
    if "value" not in record:
        raise Fault("Protocol")
    return {"value": record["value"], **rest}


def _checked_error(error: Any) -> dict:
    if not isinstance(error, dict):
        raise Fault("Protocol")
    types, text, line, phase = (error.get(k) for k in ("types", "text", "line", "phase"))
    named = isinstance(types, list) and types and all(isinstance(name, str) for name in types)
    if not named or not isinstance(text, str) or not isinstance(phase, str):
        raise Fault("Protocol")
    types = [_printable(name[:80]) for name in types[:16]]
    line = line if type(line) is int else None
    return {"types": types, "text": _printable(text[:MAX_TEXT]), "line": line, "phase": phase[:8]}


def _printable(text: str) -> str:
    """Half a surrogate pair can't be written to a file, and an escape could rule a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
