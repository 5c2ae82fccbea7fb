"""What the grader sends to one task and what comes back: in time, in size, of the right form.

Everything that comes back is untrusted, since student code runs in the process that answers. Only
the first two replies are not: they say whether the setup ran, and whether the answer cell is
Python and which names it lacks, before any of it is run. Replies need no number of their request.
Who sends one ahead answers a case without having seen it, and learns nothing from it, because a
case is sent when the reply to the one before has been read.
"""

import json
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from . import GradingError, encoding
from .sandbox import Limits
from .session import MAX_CALLS, MAX_TEXT, plain_error

FAULTS = {"Died", "TimeLimit", "Protocol"}  # no reply that can be used, by kind
WATCH_S = 0.1  # how often a worker's memory and CPU time are looked at
MAX_ITEMS = 100_000  # in all replies: the grader looks at each of them many times
GIVE_UP = threading.Event()  # set when grading is to end at once: who waits gets a GradingError


class Fault(Exception):
    """No reply that can be used: one of FAULTS."""


class Exchange:
    """The grader's end of a task's socket; ``cpu_s`` is `Worker.cpu_s`."""

    def __init__(self, ours: socket.socket, limits: Limits, cpu_s: Callable[[], float]):
        self.socket, self.limits, self.cpu_s = ours, limits, cpu_s
        ours.settimeout(WATCH_S)
        self.next_look, self.most_cpu_s = time.monotonic() + WATCH_S, math.inf
        self.items_left, self.bytes_left = MAX_ITEMS, limits.output_mb << 20
        self.undefined: list[str] = []  # names that the answer cell lacks

    def run(self, frozen: dict, answer: str) -> list[dict]:
        """Records of an answer cell, one for each case; "seconds" is how long it took.

        GradingError if the task's setup fails: no student code has run by then.
        """
        cases, limits = frozen["cases"], self.limits
        if error := self._error_of(frozen["ask"], limits.load_s, "setup"):
            raise GradingError(f"setup of task {frozen['grade_id']!r} failed: {error}")
        failed = (self._error_of(answer, limits.answer_s, "syntax")
                  or self._error_of(answer, limits.answer_s, "load"))  # fmt: skip
        if failed and (failed["phase"] == "syntax" or failed["types"][0] in FAULTS):
            return [error_record(failed)] * len(cases)
        records: list[dict] = []
        for case in cases:
            start = time.monotonic()
            try:
                record = self.ask(case, frozen["timeout_s"] * limits.time_factor)
                record = with_load(failed, self._checked_record(record, case))
            except Fault as fault:
                record = error_record(plain_error(str(fault)))
            records.append({**record, "seconds": time.monotonic() - start})
            if "error" in record and record["error"]["types"][0] in FAULTS:
                break
        return records + [error_record(plain_error("NotRun"))] * (len(cases) - len(records))

    def _error_of(self, message: Any, timeout_s: float, phase: str) -> dict | None:
        try:
            reply = self.ask(message, timeout_s)
            if phase == "syntax" and "undefined" in reply:
                self.undefined, reply = reply["undefined"], None
            return None if reply is None else self._checked_error(reply, phase)
        except Fault as fault:
            return {**plain_error(str(fault)), "phase": phase}

    def ask(self, message: Any, timeout_s: float) -> Any:
        """The one line that comes back; Fault if there is none, or more, in time and size.

        In time: by the clock, and by the CPU time of all processes of the task together.
        """
        deadline = time.monotonic() + timeout_s
        self.most_cpu_s = self.cpu_s() + timeout_s
        line, reply = memoryview(encoding.dumps(message).encode() + b"\n"), bytearray()
        while line:
            line = line[self.wait_for(self.socket.send, line, deadline) :]
        while not reply.endswith(b"\n"):
            reply += self.wait_for(self.socket.recv, 1 << 20, deadline)
            if len(reply) > self.bytes_left:
                raise Fault("Protocol")
        self.bytes_left -= len(reply)
        self.items_left -= sum(map(reply.count, (b",", b"[", b"{")))
        if self.items_left < 0:
            raise Fault("Protocol")
        try:
            return json.loads(reply)
        except (ValueError, RecursionError) as error:
            raise Fault("Protocol") from error

    def wait_for(self, action: Callable, argument: Any, deadline: float) -> Any:
        """Send or receive as soon as it is possible; until then the worker is watched."""
        while (now := time.monotonic()) < deadline:
            if GIVE_UP.is_set():
                raise GradingError("grading was interrupted")
            if now >= self.next_look:
                if self.cpu_s() > self.most_cpu_s:
                    break
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

    def _checked_record(self, record: Any, case: dict) -> dict:
        """A record of the documented form, whatever came back."""
        match record:
            case {"mutated": [*mutated], "n_calls": int(n_calls)} if 0 <= n_calls <= MAX_CALLS:
                known = [*(str(i + 1) for i in range(len(case["args"]))), *case["kwargs"]]
                rest = {"mutated": mutated, "n_calls": n_calls}
                # Other labels could carry the arguments themselves into what the student is told.
                if not all(label in known for label in mutated):
                    raise Fault("Protocol")
                if "error" in record:
                    return {"error": self._checked_error(record["error"], "call"), **rest}
                if "value" in record:
                    return {"value": record["value"], **rest}
        raise Fault("Protocol")

    def _checked_error(self, error: Any, phase: str) -> dict:
        match error:
            case {"types": [_, *_] as types, "text": str(text), "line": int() | None as line}:
                if all(isinstance(name, str) for name in types):
                    types = [_printable(name[:80]) for name in types[:16]]
                    text = _printable(text[:MAX_TEXT])
                    named = {"undefined": self.undefined} if types[0] == "NameError" else {}
                    return {"types": types, "text": text, "line": line, "phase": phase, **named}
        raise Fault("Protocol")


def error_record(error: dict) -> dict:
    return {"error": error, "mutated": [], "n_calls": 0}


def with_load(failed: dict | None, record: dict) -> dict:
    """The record, if the cell ended with the error ``failed``; what it had defined then counts."""
    if failed and "error" in record and record["error"]["types"][0] == "MissingName":
        return error_record(failed)
    return {**record, "load": failed} if failed else record


def _printable(text: str) -> str:
    """Half a surrogate pair can't be written to a file, and an escape could rule a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
