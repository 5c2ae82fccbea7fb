"""What the grader sends to one task and what comes back: in time, in size, of the right form.

Everything that comes back is untrusted, since student code runs in the process that answers. Only
the first reply is not: it says whether the setup ran, before there is any student code. Replies
need no number of their request. Who sends one ahead answers a case without having seen it, and
learns nothing from it, because a case is sent when the reply to the one before has been read.
"""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from . import GradingError, encoding
from .limits import Limits
from .session import MAX_CALLS, MAX_TEXT, plain_error

WATCH_S = 0.1  # how often a worker's memory is looked at
MAX_ITEMS = 2_000_000  # in all replies: as objects each costs far more than its bytes


class Fault(Exception):
    """No reply that can be used: "Died", "TimeLimit" or "Protocol"."""


class Exchange:
    """The grader's end of a task's socket; ``check_memory`` raises Fault if there is too much."""

    def __init__(self, ours: socket.socket, limits: Limits, check_memory: Callable[[], None]):
        self.socket, self.limits, self.check_memory = ours, limits, check_memory
        ours.settimeout(WATCH_S)
        self.next_look = time.monotonic() + WATCH_S
        self.items_left = MAX_ITEMS

    def run(self, frozen: dict, answer: str, seconds: list) -> list[dict]:
        """Records of an answer cell, one for each case, whose time is appended to ``seconds``.

        GradingError if the task's setup fails: no student code has run by then.
        """
        cases, limits = frozen["cases"], self.limits
        if error := self._error_of(frozen["ask"], limits.load_s, "setup"):
            raise GradingError(f"setup of task {frozen['grade_id']!r} failed: {error}")
        failed = self._error_of(answer, limits.answer_s, "load")
        if failed and failed["types"][0] in ("Died", "TimeLimit", "Protocol"):
            return [error_record(failed)] * len(cases)
        records: list[dict] = []
        for case in cases:
            start = time.monotonic()
            try:
                record = self.ask(case, frozen["timeout_s"] * limits.time_factor)
                records.append(with_load(failed, _checked_record(record, case)))
            except Fault as fault:
                not_run = [error_record(plain_error("NotRun"))] * (len(cases) - len(records) - 1)
                return [*records, error_record(plain_error(str(fault))), *not_run]
            finally:
                seconds.append(time.monotonic() - start)
        return records

    def _error_of(self, message: Any, timeout_s: float, phase: str) -> dict | None:
        try:
            error = self.ask(message, timeout_s)
            return None if error is None else _checked_error(error, phase)
        except Fault as fault:
            return {**plain_error(str(fault)), "phase": phase}

    def ask(self, message: Any, timeout_s: float) -> Any:
        """The one line that comes back; Fault if there is none, or more, in time and size."""
        deadline = time.monotonic() + timeout_s
        line, reply = memoryview(encoding.dumps(message).encode() + b"\n"), bytearray()
        while line:
            line = line[self.wait_for(self.socket.send, line, deadline) :]
        while not reply.endswith(b"\n"):
            reply += self.wait_for(self.socket.recv, 1 << 20, deadline)
            if len(reply) > self.limits.output_mb << 20:
                raise Fault("Protocol")
        self.items_left -= sum(map(reply.count, (b",", b"[", b"{")))
        if self.items_left < 0:
            raise Fault("Protocol")
        try:
            return json.loads(reply)
        except (ValueError, RecursionError) as error:
            raise Fault("Protocol") from error

    def wait_for(self, action: Callable, argument: Any, deadline: float) -> Any:
        """Send or receive as soon as it is possible; until then the memory is watched."""
        while (now := time.monotonic()) < deadline:
            if now >= self.next_look:
                self.check_memory()
                self.next_look = now + WATCH_S
            try:
                if done := action(argument):
                    return done
                raise Fault("Died")  # the other end is closed
            except TimeoutError:
                continue
            except OSError as error:  # closed with something in it unread
                raise Fault("Died") from error
        raise Fault("TimeLimit")


def error_record(error: dict) -> dict:
    return {"error": error, "mutated": [], "n_calls": 0}


def with_load(failed: dict | None, record: dict) -> dict:
    """The record, if the cell ended with the error ``failed``; what it had defined then counts."""
    if failed and "error" in record and record["error"]["types"][0] == "MissingName":
        return error_record(failed)
    return {**record, "load": failed} if failed else record


def _checked_record(record: Any, case: dict) -> dict:
    """A record of the documented form, whatever came back."""
    match record:
        case {"mutated": [*mutated], "n_calls": int(n_calls)} if 0 <= n_calls <= MAX_CALLS:
            known = [*(str(i + 1) for i in range(len(case["args"]))), *case["kwargs"]]
            rest = {"mutated": mutated, "n_calls": n_calls}
            # Other labels could carry the arguments themselves into what the student is told.
            if not all(label in known for label in mutated):
                raise Fault("Protocol")
            if "error" in record:
                return {"error": _checked_error(record["error"], "call"), **rest}
            if "value" in record:
                return {"value": record["value"], **rest}
    raise Fault("Protocol")


def _checked_error(error: Any, phase: str) -> dict:
    match error:
        case {"types": [_, *_] as types, "text": str(text), "line": int() | None as line}:
            if all(isinstance(name, str) for name in types):
                types = [_printable(name[:80]) for name in types[:16]]
                text = _printable(text[:MAX_TEXT])
                return {"types": types, "text": text, "line": line, "phase": phase}
    raise Fault("Protocol")


def _printable(text: str) -> str:
    """Half a surrogate pair can't be written to a file, and an escape could rule a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
