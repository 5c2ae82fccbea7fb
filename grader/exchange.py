"""Requests to a worker and its replies, each within time and size. Replies are untrusted."""

import json
import os
import secrets
import selectors
import time

from . import encoding
from .launcher import Launcher, resident_bytes

WATCH_S = 0.1  # how often a silent worker's memory is looked at
MAX_ITEMS = 2_000_000  # in all replies: as objects each costs far more than its bytes


class Fault(Exception):
    """No reply that can be used; ``kind``: "Died", "TimeLimit" or "Protocol"."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


class Exchange:
    """The grader's ends of a worker's two pipes.

    Args:
        pid: of the process whose memory, with that of all that came from it, is watched.
        replies, requests: file descriptors, read from and written to without blocking.
        memory_bytes: most that those processes may hold; None watches nothing.
    """

    def __init__(
        self, launcher: Launcher, pid: int, replies: int, requests: int, memory_bytes: int | None
    ):
        self.launcher, self.pid, self.memory_bytes = launcher, pid, memory_bytes
        self.replies, self.requests = replies, requests
        os.set_blocking(requests, False)
        os.set_blocking(replies, False)
        self.next_look = time.monotonic() + WATCH_S
        self.buffer = bytearray()  # what was read beyond the last reply
        self.items_left = MAX_ITEMS

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
        with selectors.DefaultSelector() as ready:
            ready.register(self.replies, selectors.EVENT_READ)
            ready.register(self.requests, selectors.EVENT_WRITE)
            searched = 0
            while (end := self.buffer.find(b"\n", searched)) < 0:
                searched = len(self.buffer)
                if searched > self.launcher.max_line:
                    raise Fault("Protocol")
                if (left := deadline - time.monotonic()) <= 0:
                    raise Fault("TimeLimit")
                self._look_at_memory()
                for event, _ in ready.select(min(left, WATCH_S)):
                    if event.fd == self.replies:
                        self._read()
                    elif not (line := self._write(line)):
                        ready.unregister(self.requests)
        reply = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return reply

    def _look_at_memory(self) -> None:
        if self.memory_bytes is None or time.monotonic() < self.next_look:
            return
        if resident_bytes(self.pid) > self.memory_bytes:
            raise Fault("Died")
        self.next_look = time.monotonic() + WATCH_S

    def _read(self) -> None:
        try:
            chunk = os.read(self.replies, 1 << 20)
        except BlockingIOError:  # student code opened its pipe at the other end, and was faster
            return
        if not chunk:
            raise Fault("Died")
        self.buffer += chunk

    def _write(self, line: bytes) -> bytes:
        try:
            return line[os.write(self.requests, line[: 1 << 16]) :]
        except BlockingIOError:  # as above
            return line
        except BrokenPipeError as error:
            raise Fault("Died") from error
