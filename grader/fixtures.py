"""Arguments that are more than plain data, and what a function under test did with them.

    ToyLM                  {"$toy_lm": ...}   rebuilt from its table
    Model("name")          {"$model": name}   arrives as a LoadedModel
    Probe(function, ...)   {"$probe": ...}    a helper function, sent as source

Each records its calls. The records are made in the same process as the student's code, so they
serve to explain an honest mistake; they are no proof against somebody who forges them.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import encoding

MAX_CALLS = 10_000  # a record is a line of JSON; nobody reads further


@dataclass(frozen=True)
class Model:
    """The real model as an argument: ``load_model(name)``. Recorded: the shape of input_ids."""

    name: str = "smollm2-135m-instruct"


class Probe:
    """A helper function as an argument: ``function(*bound, *args)``. Recorded: args.

    ValueError if it is a lambda, uses outer variables or has no source: it is sent as text.
    """

    def __init__(self, function: Callable, *bound: Any):
        self.source = function_source(function)
        self.name = function.__name__
        self.bound = bound


def function_source(function: Callable) -> str:
    """Source of a function that is sent to a worker, so that it may use only its own imports."""
    if function.__name__ == "<lambda>" or function.__closure__:
        raise ValueError(f"function: needs a def that uses no outer variable, got {function}")
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(f"function: {function} has no source that could be sent") from error


def function_from_source(source: str, name: str) -> Callable:
    """The function that ``function_source`` described, in a namespace of its own."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return namespace[name]


def encode_fixture(value: Any) -> dict | None:
    """JSON of a fixture, None for any other value."""
    if isinstance(value, Model):
        return {"$model": value.name}
    if isinstance(value, Probe):
        bound = [encoding.encode(item) for item in value.bound]
        return {"$probe": value.source, "name": value.name, "bound": bound}
    toy_lm = sys.modules.get("lecture_lib.decoding.toy_lm")  # unless imported, it cannot be one
    if toy_lm is not None and isinstance(value, toy_lm.ToyLM):
        table = [[list(prefix), list(dist.items())] for prefix, dist in value.table.items()]
        default = None if value.default is None else list(value.default.items())
        return {"$toy_lm": {"table": table, "vocab": value.vocab, "default": default}}
    return None


def decode_fixture(tag: str, data: dict, calls: list) -> Any:
    """The object for a fixture's JSON; what is asked of it is appended to ``calls``."""
    makers = {
        "$toy_lm": _recording_toy_lm,
        "$model": _recording_model,
        "$probe": _recording_probe,
    }
    if tag not in makers:
        raise encoding.EncodingError(f"JSON that does not describe a value: {tag}")

    def record(call: Any) -> None:
        if len(calls) < MAX_CALLS:
            calls.append(call)

    return makers[tag](data, record)


def _recording_toy_lm(data: dict, record: Callable) -> Any:
    from lecture_lib.decoding.toy_lm import ToyLM

    data = data["$toy_lm"]

    class RecordingToyLM(ToyLM):
        def next_log_probs(self, prefixes):
            record([[int(token) for token in prefix] for prefix in prefixes])
            plain = ToyLM(self.table, vocab=self.vocab, default=self.default)
            return plain.next_log_probs(prefixes)

        __call__ = next_log_probs

        def next_distribution(self, prefix=()):
            record([self.encode(prefix)])
            return super().next_distribution(prefix)

    table = {tuple(prefix): dict(dist) for prefix, dist in data["table"]}
    default = None if data["default"] is None else dict(data["default"])
    return RecordingToyLM(table, vocab=data["vocab"], default=default)


_MODELS: dict[str, tuple[Any, list]] = {}  # loading takes seconds; one task has many cases


def _recording_model(data: dict, record: Callable) -> Any:
    name = data["$model"]
    if name not in _MODELS:
        from lecture_lib.loading import load_model

        loaded, sink = load_model(name), []

        def look(module, args, kwargs):
            input_ids = kwargs.get("input_ids", args[0] if args else None)
            if input_ids is not None and sink:
                sink[0](list(input_ids.shape))

        loaded.model.register_forward_pre_hook(look, with_kwargs=True)
        _MODELS[name] = (loaded, sink)
    loaded, sink = _MODELS[name]
    sink[:] = [record]
    return loaded


def _recording_probe(data: dict, record: Callable) -> Any:
    function = function_from_source(data["$probe"], data["name"])
    bound = [encoding.decode(item) for item in data["bound"]]

    def probe(*args, **kwargs):
        record(encoding.encode([list(args), kwargs]))
        return function(*bound, *args, **kwargs)

    return probe
