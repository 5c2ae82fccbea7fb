"""One answer cell after its setup, called on the cases of its task; every outcome as plain data.

A worker runs a student's answer this way, and ``freeze`` the author's: with the very same code.
"""

import ast
import builtins
import os
import random
import symtable
import sys
import traceback
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from . import encoding, jupyter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # or threads of several workers wait for each other
MAX_TEXT = 200
MAX_NAMES = 5  # that an answer cell lacks, which its author is told
MAX_CALLS = 10_000  # nobody needs to know how many more


class Session:
    """One answer cell after its setup, and the calls into it.

    ``ask`` is the part of a frozen task that a worker may see, without the cases; ``base`` are the
    names that its setup makes.
    """

    def __init__(self, ask: dict):
        self.entries = ask["entries"]
        self.base = run_setup(ask["setup"])
        drive = ask["drive"]
        self.drive = drive and run_setup([drive["source"]])[drive["name"]]
        self.names: dict[str, Any] = {}

    def load(self, answer: str) -> dict | None:
        """Run the answer cell; the error it ended with, or None."""
        self.names.update(jupyter.names() | self.base)
        try:
            jupyter.run_cell(answer, self.names)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: it must not end the grading
            return describe_error(error, "load")
        return None

    def call(self, case: dict) -> dict:
        """Record of one case: value or error, arguments that were changed, calls of probes."""
        self.n_calls = 0
        before = {str(i + 1): arg for i, arg in enumerate(case["args"])} | case["kwargs"]
        after = {name: self._argument(arg) for name, arg in before.items()}
        args = list(after.values())[: len(case["args"])]
        record = self._value_or_error(case, args, {name: after[name] for name in case["kwargs"]})

        def changed(name: str) -> bool:
            value, data = after[name], before[name]
            if isinstance(data, dict) and not data.keys().isdisjoint(("$probe", "$toy_lm")):
                return False
            try:
                return encoding.encode(value) != data
            except Exception:  # something that is no plain data was put into it
                return True

        return {**record, "mutated": list(filter(changed, before)), "n_calls": self.n_calls}

    def _argument(self, data: Any) -> Any:
        """An argument: plain data, a `ToyLM`, or the function of a `Probe`."""
        match data:
            case {"$toy_lm": fields}:
                from lecture_lib.decoding.toy_lm import ToyLM

                return ToyLM(**encoding.decode(fields))
            case {"$probe": source, "name": name, "bound": bound}:
                function, bound = run_setup([source])[name], [encoding.decode(x) for x in bound]

                def probe(*args, **kwargs):
                    self.n_calls = min(self.n_calls + 1, MAX_CALLS)
                    return function(*bound, *args, **kwargs)

                return probe
        return encoding.decode(data)

    def _value_or_error(self, case: dict, args: list, kwargs: dict) -> dict:
        missing = [name for name in self.entries if name not in self.names]
        if missing:
            return {"error": plain_error("MissingName", missing[0])}
        entry = self.names[case["entry"]]
        if not case["read"] and not callable(entry):
            return {"error": plain_error("NotCallable", case["entry"])}
        seed_generators(case["seed"])
        try:
            if "test" in case:
                value = exec(compile(case["test"], "<tests>", "exec"), self.names)
            elif case["read"]:
                value = entry
            elif self.drive is not None:
                answer = SimpleNamespace(**{name: self.names[name] for name in self.entries})
                value = self.drive(answer, *args, **kwargs)
            else:
                value = entry(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return {"error": describe_error(error, "call")}
        try:
            return {"value": encoding.encode(value, in_order=False)}
        except encoding.EncodingError as error:
            return {"error": plain_error("NotPlainData", str(error))}
        except Exception as error:  # an object that breaks whoever looks at it
            return {"error": plain_error("NotPlainData", type(error).__name__)}


def read_answer(answer: str, known: Iterable[str]) -> dict:
    """What an answer cell says without being run: why it is no Python, or which names it lacks.

    These are the global names that it uses, but neither defines nor finds among the ``known``.
    """
    try:
        source = jupyter.as_python(answer)
        star = any(isinstance(part, ast.ImportFrom) and part.names[0].name == "*"
                   for part in ast.parse(source, jupyter.NAME).body)  # fmt: skip
        tables, used, defined = [symtable.symtable(source, jupyter.NAME, "exec")], set(), set()
        for table in tables:  # which grows
            tables += table.get_children()
            for symbol in filter(symtable.Symbol.is_global, table.get_symbols()):
                is_made = symbol.is_assigned() or symbol.is_imported()
                (defined if is_made else used).add(symbol.get_name())
    except Exception as error:
        return describe_error(error, "syntax")
    lacking = set() if star else used - defined - set(known) - set(dir(builtins))
    return {"undefined": [name[:80] for name in sorted(lacking)[:MAX_NAMES]]}


def run_setup(sources: list[str]) -> dict[str, Any]:
    """Names that trusted sources make. An error in them is the author's and is not caught here."""
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
        # torch.manual_seed() formats the stack for each kind of accelerator, a millisecond in all.
        sys.modules["torch"].default_generator.manual_seed(seed)


def plain_error(kind: str, text: str = "") -> dict:
    """An error that no Python class stands for, see ``judge.OWN_ERRORS``."""
    return {"types": [kind], "text": text[:MAX_TEXT], "line": None, "phase": "call"}


def describe_error(error: BaseException, phase: str) -> dict:
    """An exception as plain data; never fails, whatever the exception's own methods do."""
    types = [kind.__name__ for kind in type(error).__mro__ if kind is not object]
    try:
        text = " ".join(str(error).split())[:MAX_TEXT]
    except BaseException:
        text = ""
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame, number in traceback.walk_tb(error.__traceback__):
        line = number if frame.f_code.co_filename == jupyter.NAME else line
    return {"types": types[:16], "text": text, "line": line, "phase": phase}
