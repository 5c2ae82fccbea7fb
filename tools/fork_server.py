"""A process that has made its imports forks others, which need not make them again."""

import importlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable


def start(
    script: str, address: str, environment: dict[str, str] | None = None, *arguments: str
) -> subprocess.Popen:
    """Run ``script ADDRESS ARGUMENTS``, which calls ``serve``; returns when it can be connected to.

    Args:
        address: a path for its socket.
        environment: what its Python, its libraries and its forks read when they start.
    """
    command, pipe = [sys.executable, script, address, *arguments], subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)
    if not server.stdout.readline():
        raise RuntimeError(f"{script} ended before it listened")
    return server


def serve(address: str, imports: Iterable[str], child: Callable[[socket.socket], None]) -> None:
    """Import, then fork a process for every connection, in which ``child(connection)`` runs.

    It returns when the standard input is closed: its owner has done so, or has ended. Connections
    wait until the imports are made.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        for name in imports:
            importlib.import_module(name)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                child(connection)
                os._exit(0)
            connection.close()
