"""Processes with an environment of their own that need not import Transformers again.

Importing it takes seconds. One process does it once, and the others are forked from that one: each
takes milliseconds, and what it changes in the libraries ends with it.
"""

import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Not lecture_lib.pipelines: importing it registers the course's pipelines with Transformers.
IMPORTED = ["lecture_lib.loading.load", "lecture_lib.loading.hub", "transformers.pipelines"]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(IMPORTED)
PERSONAL = ("HF_", "HUGGING", "TRANSFORMERS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Forked:
    """A process that answers questions with a function of a test module.

    Args:
        function: what it answers with; arguments and results must be plain data.
        home: a folder for Hugging Face's caches; what the process says on stderr goes there too.
        environment: added to this process's, less the tokens and proxies of whoever runs the tests.
    """

    def __init__(self, function: Callable, home: Path, **environment: str):
        clean = {k: v for k, v in os.environ.items() if not k.upper().startswith(PERSONAL)}
        home.mkdir(exist_ok=True)
        self._said = home / f"stderr of {function.__name__}"
        self._pipe, theirs = _CONTEXT.Pipe()
        arguments = (function, theirs, self._said, clean | {"HF_HOME": str(home)} | environment)
        self._process = _CONTEXT.Process(target=_answer_all, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, *arguments: Any, **named: Any) -> Any:
        """The function's result."""
        self._pipe.send((arguments, named))
        try:
            return self._pipe.recv()
        except EOFError:
            raise AssertionError(f"the process ended:\n{self.stop()}") from None

    def stop(self) -> str:
        """End the process; what it wrote to stderr."""
        self._pipe.close()
        self._process.join()
        return self._said.read_text()


def _answer_all(function: Callable, pipe: Any, said: Path, environment: dict[str, str]) -> None:
    with said.open("w") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # for the rest of the process
    os.environ.clear()
    os.environ.update(environment)
    _read_environment_again()
    while True:
        try:
            arguments, named = pipe.recv()
        except EOFError:  # the test has closed its end
            return
        pipe.send(function(*arguments, **named))


def _read_environment_again() -> None:
    """huggingface_hub reads its environment when it is imported, and that was before the fork."""
    from huggingface_hub import constants, hf_api

    importlib.reload(constants)
    hf_api.api.endpoint = constants.ENDPOINT
