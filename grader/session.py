"""One answer cell behind its setup, called on the cases of its task; every outcome as plain data.

A worker runs a student's answer so, and ``freeze`` the author's: through the very same code.
"""

import random
import sys
from types import SimpleNamespace
from typing import Any

from . import encoding, fixtures

MAX_TEXT = 200


class Session:
    """One answer cell behind its setup, and the calls into it.

    Args:
        ask: the part of a frozen task that a worker may see, without the cases.
        namespace: names that the setup has made already; then the setup is not run again.
    """

    def __init__(self, ask: dict, namespace: dict | None = None):
        self.ask = ask
        self.base = namespace if namespace is not None else run_setup(ask["setup"])
        self.names: dict[str, Any] = {}
        self.drive = None
        if ask["drive"] is not None:
            self.drive = fixtures.function_from_source(**ask["drive"])

    def load(self, answer: str) -> dict | None:
        """Run the answer cell; the error it ended with, or None."""
        self.names = dict(self.base)
        try:
            exec(compile(answer, "<answer>", "exec"), self.names)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: it must not end the grading
            return describe_error(error, "load")
        return None

    def call(self, case: dict) -> dict:
        """Record of one case: value or error, arguments that were changed, calls of fixtures."""
        calls: list = []
        known: dict[int, Any] = {}

        def fixture(tag: str, data: dict) -> Any:
            value = fixtures.decode_fixture(tag, data, calls)
            known[id(value)] = data
            kept.append(value)  # an id is good only as long as its object lives
            return value

        kept: list = []
        args = [encoding.decode(item, fixture=fixture) for item in case["args"]]
        kwargs = {k: encoding.decode(v, fixture=fixture) for k, v in case["kwargs"].items()}
        record = self._value_or_error(case, args, kwargs)
        after = {**{str(i + 1): arg for i, arg in enumerate(args)}, **kwargs}
        before = {**{str(i + 1): arg for i, arg in enumerate(case["args"])}, **case["kwargs"]}
        record["mutated"] = [k for k in before if _changed(before[k], after[k], known)]
        record["calls"] = calls
        return record

    def _value_or_error(self, case: dict, args: list, kwargs: dict) -> dict:
        missing = [name for name in self.ask["entries"] if name not in self.names]
        if missing:
            return {"error": plain_error("MissingName", missing[0])}
        entry = self.names[case["entry"]]
        if not case["read"] and not callable(entry):
            return {"error": plain_error("NotCallable", case["entry"])}
        seed_generators(case["seed"])
        try:
            if case["read"]:
                value = entry
            elif self.drive is not None:
                answer = SimpleNamespace(**{name: self.names[name] for name in self.ask["entries"]})
                value = self.drive(answer, *args, **kwargs)
            else:
                value = entry(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return {"error": describe_error(error, "call")}
        try:
            return {"value": encoding.encode(value)}
        except encoding.EncodingError as error:
            return {"error": plain_error("NotPlainData", str(error))}
        except Exception as error:  # an object that breaks whoever looks at it
            return {"error": plain_error("NotPlainData", type(error).__name__)}


def run_setup(sources: list[str]) -> dict[str, Any]:
    """Names that the setup makes. An error in it is the author's and is not caught here."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for source in sources:
        exec(compile(source, "<setup>", "exec"), namespace)
    return namespace


def seed_generators(seed: int) -> None:
    """Seed every global generator, so that a submission that samples can be run again."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def plain_error(kind: str, text: str, phase: str = "call") -> dict:
    return {"types": [kind], "text": text[:MAX_TEXT], "line": None, "phase": phase}


def describe_error(error: BaseException, phase: str) -> dict:
    """An exception as plain data; never fails, whatever the exception's own methods do."""
    types = [kind.__name__ for kind in type(error).__mro__ if kind is not object]
    try:
        text = " ".join(str(error).split())[:MAX_TEXT]
    except BaseException:
        text = ""
    line = error.lineno if isinstance(error, SyntaxError) else None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<answer>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return {"types": types[:16], "text": text, "line": line, "phase": phase}


def _changed(before: Any, after: Any, known: dict[int, Any]) -> bool:
    try:
        return encoding.encode(after, fixture=lambda value: known.get(id(value))) != before
    except Exception:  # something that is no plain data was put into it
        return True
