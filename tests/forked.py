"""Processes with an environment of their own that need not import Transformers again.

Importing it takes seconds. One process does it once, and the others are forked from that one: each
takes milliseconds, and what it changes in the libraries ends with it.
"""

import contextlib
import functools
import importlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tools"))  # for the process that runs this file

import fork_server

# Not lecture_lib.pipelines: importing it registers the course's pipelines with Transformers.
IMPORTED = ["lecture_lib.loading.load", "lecture_lib.loading.hub", "transformers.pipelines"]
PERSONAL = ("HF_", "HUGGING", "TRANSFORMERS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Forked:
    """A process that answers questions with a function.

    Args:
        function: of a module of the tests; its arguments and results must be plain data.
        home: a folder for Hugging Face's caches; what the process says on stderr goes there too.
        environment: added to this process's, less the tokens and proxies of whoever runs the tests.
    """

    def __init__(self, function: Callable, home: Path, **environment: str):
        clean = {k: v for k, v in os.environ.items() if not k.upper().startswith(PERSONAL)}
        home.mkdir(exist_ok=True)
        self._said = home / "stderr"
        self._pipe = Client(_server())
        self._pipe.send(sys.path)
        self._pipe.send((function, self._said, clean | {"HF_HOME": str(home)} | environment))

    def ask(self, *arguments: Any, **named: Any) -> Any:
        """The function's result."""
        self._pipe.send((arguments, named))
        try:
            return self._pipe.recv()
        except EOFError:
            raise AssertionError(f"the process ended: {self._said.read_text()}") from None

    def stop(self) -> str:
        """End the process; what it wrote to stderr."""
        self._pipe.send(None)
        return self._pipe.recv()


@functools.cache
def _server() -> str:
    """The address of the process that forks, which ends with this one: with its standard input."""
    address = str(Path(tempfile.mkdtemp(), "forked"))
    _server.process = fork_server.start(__file__, address)  # closing its input would end it
    return address


def _answer_all(connection: socket.socket) -> None:
    pipe = Connection(connection.detach())
    sys.path[:] = pipe.recv()  # first, since what follows names a function of the tests
    function, said, environment = pipe.recv()
    with said.open("w") as file:
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    _read_environment_again()
    with contextlib.suppress(EOFError):  # the test has ended without stop()
        while question := pipe.recv():
            arguments, named = question
            pipe.send(function(*arguments, **named))
        sys.stderr.flush()
        pipe.send(said.read_text())


def _read_environment_again() -> None:
    """huggingface_hub reads its environment when it is imported, and that was before the fork."""
    from huggingface_hub import constants, hf_api

    importlib.reload(constants)
    hf_api.api.endpoint = constants.ENDPOINT


if __name__ == "__main__":
    fork_server.serve(sys.argv[1], IMPORTED, _answer_all)
    shutil.rmtree(Path(sys.argv[1]).parent)
