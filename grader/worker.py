"""Runs answers on hidden inputs, returns plain data: ``python -I -B worker.py FD MODULES``.

One such process serves the answers of one submission. It imports the modules that their setup
imports, once, and forks for each task; the fork runs the setup, the answer cell and its cases. No
answer is ever run in, or sent to, the process that forks, and nothing is left of a task when the
next one starts: no process, no file. The forks can neither look into it nor change its limits.

On the socket FD it says with a byte that it is ready. The grader sends a byte with a socket for a
task, and one more when the task is over, and is told again by a byte once nothing is left of it.
On the task's socket a message is one line of JSON, and each is answered by one:

    {"setup": [source], "entries": [name], "drive": ...}     -> null or an error
    the answer cell's source, which is not run yet           -> {"undefined": [name]} or an error
    the answer cell's source                                 -> null or an error
    {"entry", "read", "args", "kwargs", "seed"}, any number  -> {"value" or "error",
                                                                 "mutated": [label], "n_calls"}

An error is {"types": [class names, the most special first], "text", "line", "phase"}. The worker
judges nothing and knows no expected value. What student code prints goes nowhere; student code
that breaks this process only spoils its own answer.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import types
from typing import TextIO

if __package__ in (None, ""):  # as a script under -I the package's folder is not on the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from grader import encoding, jupyter, seccomp
from grader.session import Session, describe_error, read_answer

WRITABLE = ("/tmp", "/dev/shm")


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer a task's messages until the input ends."""

    def reply(data: dict | None) -> None:
        replies.write(encoding.dumps(data) + "\n")
        replies.flush()

    try:
        session = Session(json.loads(requests.readline()))
    except Exception as error:
        return reply(describe_error(error, "setup"))
    reply(None)
    reply(read_answer(json.loads(requests.readline()), jupyter.names() | session.base))
    # As in JupyterLab, `from __main__ import f` and pickle find what the cell defines.
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    session.names = vars(main)
    reply(session.load(json.loads(requests.readline())))
    for line in requests:
        reply(session.call(json.loads(line)))


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    before = entries() if os.getpid() == 2 else set()
    modules = json.loads(sys.argv[2])
    for name in modules:
        with contextlib.suppress(Exception):  # the task's own setup will say what is wrong with it
            importlib.import_module(name)
    # A lock that another thread holds would stay locked in a fork, so each imports what it needs.
    if modules and sys.platform == "linux" and len(os.listdir("/proc/self/task")) > 1:
        os.execv(sys.executable, [*sys.orig_argv[:-1], "[]"])
    gc.collect()
    gc.freeze()  # so that a task's collections do not copy these pages
    seccomp.set_dumpable(False)
    while True:
        control.send(b"r")
        _, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not handles:  # the grader has closed its end
            return
        fork(control, handles[0])
        control.recv(1)
        end(before)


def fork(control: socket.socket, handle: int) -> None:
    """A fork serves a task on the socket ``handle``."""
    if os.fork():
        os.close(handle)
        return
    try:
        control.close()
        seccomp.set_dumpable(True)  # as any process is; it looks into itself by /proc/self
        channel = socket.socket(fileno=handle)
        serve(channel.makefile("r", encoding="utf-8"), channel.makefile("w", encoding="utf-8"))
        os._exit(0)
    finally:  # whatever happens, a fork never comes back into the code above
        os._exit(1)


def end(before: set[str]) -> None:
    """Kill all that came from the task and remove its files, or end this process with the sandbox.

    Only as process 2 of a sandbox: there, all processes but this one and the first came from it.
    """
    if os.getpid() != 2:
        sys.exit(1)
    os.kill(-1, signal.SIGKILL)  # no process can fork while it is sent
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # not the task alone: a process can name this one as its parent
    while any(name.isdigit() and int(name) > 2 for name in os.listdir("/proc")):
        time.sleep(0.001)
    for path in sorted(entries() - before, reverse=True):  # a folder comes after what is in it
        with contextlib.suppress(OSError):
            remove = os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.remove
            remove(path)
    if entries() - before:
        sys.exit(1)


def entries() -> set[str]:
    """The files and folders in the two places that can be written to, without what is mounted."""
    found = set()
    for place in WRITABLE:
        device = os.lstat(place).st_dev
        for where, folders, names in os.walk(place):
            found |= {os.path.join(where, name) for name in (*folders, *names)}
            # os.path.ismount looks at every folder above, too many times in a thousand folders.
            folders[:] = [name for name in folders if os.lstat(f"{where}/{name}").st_dev == device]
    return found


if __name__ == "__main__":
    main()
