"""Forks workers whose imports are done: ``python -I -B warm_zygote.py``, inside a sandbox.

This process runs trusted code only: it imports the modules that it is told, and never sees an
answer. For each task it forks three times:

    zygote      keeps the imported modules; may make namespaces, by CAP_SYS_ADMIN in the sandbox
      keeper    makes the namespaces of one task, and waits
        init    process 1 in them: mounts, then gives up every capability; reaps
          task  process 2: worker.serve() on two pipes that it alone holds; runs the answer

Protocol, one packet of JSON a message on the socket that it was started with as stdin:

    {"modules", "kept", "disk_bytes"} -> {"ready": true} or {"error"}
    {"op": "start"} and the two pipes  -> {"started": true or false}
    {"op": "end"}                      -> {"ended": true}, once no process of the task is left
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

if __package__ in (None, ""):  # as a script under -I the package's folder is not on the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from grader import forbidden_calls, warm_isolation, worker

MAX_MESSAGE = 1 << 16
READY = b"!"


def main() -> None:
    """Serve until the grader closes its end."""
    control = socket.socket(fileno=os.dup(0))
    worker.silence()
    order = json.loads(control.recv(MAX_MESSAGE))
    for name in order["modules"]:
        with contextlib.suppress(Exception):  # the task's own setup will say what is wrong with it
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that a task's collections do not copy these pages
    n_threads = len(os.listdir("/proc/self/task"))
    if n_threads != 1:  # a lock that another thread holds would stay locked in the child
        _send(control, {"error": f"{n_threads} threads after importing {order['modules']}"})
        return
    warm_isolation.set_dumpable(False)
    _send(control, {"ready": True})
    task = None
    while True:
        message, pipes, _, _ = socket.recv_fds(control, MAX_MESSAGE, 2)
        if not message:
            return
        if json.loads(message)["op"] == "start":
            task = _start(control, pipes, order)
            _send(control, {"started": task is not None})
        else:
            _end(task)
            _send(control, {"ended": True})


def _send(control: socket.socket, message: dict) -> None:
    control.send(json.dumps(message).encode())


def _start(control: socket.socket, pipes: list[int], order: dict) -> tuple[int, int] | None:
    """Process ids of keeper and init; None if there are no namespaces to be had."""
    reading, writing = os.pipe()
    keeper = _fork(lambda: _keep(control, reading, pipes, order, writing))
    for descriptor in (*pipes, writing):
        os.close(descriptor)
    with os.fdopen(reading, "rb") as file:  # until all have closed it: before the answer is sent
        told = file.read()
    if READY in told:
        return keeper, int(told.replace(READY, b""))
    os.waitpid(keeper, 0)
    return None


def _end(task: tuple[int, int] | None) -> None:
    """With process 1 of its namespace the kernel kills all others, and waits for them."""
    if task is not None:
        keeper, init = task
        with contextlib.suppress(ProcessLookupError):
            os.kill(init, signal.SIGKILL)
        os.waitpid(keeper, 0)


def _keep(
    control: socket.socket, reading: int, pipes: list[int], order: dict, writing: int
) -> None:
    control.close()
    os.close(reading)
    warm_isolation.new_namespaces()
    init = _fork(lambda: _init(pipes, order, writing))
    os.write(writing, str(init).encode())
    for descriptor in (*pipes, writing):
        os.close(descriptor)
    os.waitpid(init, 0)


def _init(pipes: list[int], order: dict, writing: int) -> None:
    os.setsid()  # kill(0, ...) must not reach the zygote, whose process group this was
    warm_isolation.fresh_folders(order["kept"], order["disk_bytes"])
    warm_isolation.loopback_up()
    warm_isolation.drop_capabilities()
    task = _fork(lambda: _serve(*pipes, writing))
    for descriptor in (*pipes, writing):
        os.close(descriptor)
    while os.wait()[0] != task:
        pass


def _serve(requests: int, replies: int, writing: int) -> None:
    warm_isolation.set_dumpable(True)  # as any process is; it looks into itself by /proc/self
    warm_isolation.check_harmless()
    forbidden_calls.forbid()
    os.write(writing, READY)
    os.close(writing)
    worker.serve(os.fdopen(requests, "r", encoding="utf-8"),
                 os.fdopen(replies, "w", encoding="utf-8"))  # fmt: skip


def _fork(child: Callable[[], None]) -> int:
    pid = os.fork()
    return pid if pid else _run(child)


def _run(child: Callable[[], None]) -> NoReturn:
    """The child never comes back into the code of its parent."""
    try:
        child()
        os._exit(0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
