"""Checks of arguments at the public boundary. Each message names the argument and what it got."""

import difflib
import functools
import inspect
import sys
import types
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Sized
from functools import partial
from numbers import Integral, Real
from operator import attrgetter
from typing import Any, get_args, get_origin

LARGEST = 2**63 - 1  # what a tensor, a generator of random numbers and a table can hold


def shown(value: Any) -> str:
    """A value as a message shows it: its repr, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = f"an integer of {value.bit_length():,} bits"
    return text if len(text) <= 200 else f"{text[:80]} ... ({len(text):,} characters)"


def check_count(name: str, value: Any, least: int = 1, most: int = LARGEST) -> int:
    """An integer from ``least`` to ``most``, also NumPy's, as Python's int; else a ValueError."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or not least <= int(value) <= most:
        is_limited = most < LARGEST or (is_whole and value > most)
        limits = f" from {least} to {most:,}" if is_limited else f" of {least} or more"
        limits = limits if is_limited or least > -LARGEST else ""
        raise ValueError(f"{name}: needs an integer{limits}, got {shown(value)}")
    return int(value)


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """A finite number within the limits given, a whole one as Python's int; else a ValueError."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    number = number and abs(value) <= sys.float_info.max  # not NaN, and not 10**400
    too_low = number and ((above is not None and value <= above) or
                          (least is not None and value < least))  # fmt: skip
    if not number or too_low or (most is not None and value > most):
        limits = [f"above {above:g}"] if above is not None else []
        if least is not None:
            limits.append(f"of {least:g} or more" if most is None else f"from {least:g}")
        if most is not None:
            limits.append(f"to {most:g}" if least is not None else f"and at most {most:g}")
        kind = "a number" if limits else "a finite number"
        raise ValueError(f"{name}: needs {' '.join([kind, *limits])}, got {shown(value)}")
    return int(value) if isinstance(value, Integral) else value


def check_choice(name: str, value: Any, choices: Sequence) -> Any:
    """One of the choices, or a ValueError that lists them."""
    if not isinstance(value, Hashable) or value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name}: must be one of {listed}, got {shown(value)}")
    return value


def check_text(name: str, value: Any, least: str = "character") -> str:
    """A string of Unicode characters, of at least one "character", one "word", or maybe none ("");
    else a ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{name}: needs a string, got {type(value).__name__}")
    if least and not (value.strip() if least == "word" else value):
        raise ValueError(f"{name}: is empty; needs at least one {least}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise ValueError(
            f"{name}: character {error.start + 1} is {half!r}, the half of a surrogate pair, which "
            "is no Unicode character; leave it out"
        ) from None
    return value


def check_flag(name: str, value: Any) -> bool:
    """True or False, or a ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: must be True or False, got {shown(value)}")
    return value


def check_type(name: str, value: Any, kinds: Any, needs: str) -> Any:
    """A value of one of these types; else a ValueError that says what it ``needs``."""
    if not isinstance(value, kinds):
        raise ValueError(f"{name}: needs {needs}, got {type(value).__name__}")
    return value


# An argument of this name needs these attributes; its type does not matter.
_PARTS = {
    "loaded": ("what load_model() returns", "model.config", "tokenizer"),
    "engine": ("an Engine, as Engine(loaded) makes it", "hf_model.config"),
    "model": ("a model of Transformers", "config"),
    "tokenizer": ("a tokenizer of Transformers", "decode"),
}


def check_parts(name: str, value: Any) -> Any:
    """What has the attributes of what the library calls so (_PARTS); else a ValueError."""
    needs, *parts = _PARTS[name]
    try:
        attrgetter(*parts)(value)
    except AttributeError as error:
        raise ValueError(f"{name}: needs {needs}, got {type(value).__name__} ({error})") from None
    return value


def check_stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """Stop strings as a tuple, or ValueError."""
    stop = () if stop is None else (stop,) if isinstance(stop, str) else stop
    check_type("stop", stop, Iterable, "a string or several")
    return tuple(check_text("stop", string) for string in stop)


def checked(function: Callable) -> Callable:
    """Decorator: each argument is checked by its annotation, or by its name if it is in _PARTS."""
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*args, **kwargs):
        known = zip(parameters.values(), args, strict=False)
        args = [*(_check_argument(*pair) for pair in known), *args[len(parameters) :]]
        for name in kwargs.keys() & parameters.keys():
            kwargs[name] = _check_argument(parameters[name], kwargs[name])
        return function(*args, **kwargs)

    return call


def _check_argument(parameter: inspect.Parameter, value: Any) -> Any:
    name, annotation = parameter.name, parameter.annotation
    parts = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    kinds = [get_origin(part) or part for part in parts]
    if name in _PARTS and annotation is parameter.empty:
        return None if value is parameter.default else check_parts(name, value)
    if kinds[0] in (Any, parameter.empty) or value is parameter.default:
        return value
    if isinstance(value, str) and str in kinds:
        return check_text(name, value, "")
    if kinds[0] in _SIMPLE and set(kinds[1:]) <= {types.NoneType}:
        return _SIMPLE[kinds[0]](name, value)
    wider = {int: Integral, float: Real, Sequence: Sized}  # NumPy's numbers and arrays, too
    words = [_WORDS.get(kind.__name__, kind.__name__) for kind in kinds]
    needs = " or ".join(f"a {word}" for word in words if word != "NoneType")
    check_type(name, value, tuple(wider.get(kind, kind) for kind in kinds), needs)
    if parameter.default is parameter.empty and isinstance(value, Sized) and len(value) == 0:
        raise ValueError(f"{name}: is empty; needs at least one")
    return value


_WORDS = {"str": "string", "int": "whole number", "float": "number", "Callable": "function"}
_SIMPLE = {bool: check_flag, int: partial(check_count, least=-LARGEST), float: check_number}


class UnknownNameError(KeyError, ValueError):
    """Nothing has this name; the message suggests near ones."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0])


def presets(argument: str, entries: Mapping[str, Any]) -> Mapping[str, Any]:
    """Presets by name, read-only; an unknown name is an UnknownNameError that suggests near ones.

    Args:
        argument: what the functions that take a preset's name call it, for the message.
    """
    return types.MappingProxyType(_Presets(argument, entries))


class _Presets(dict):
    def __init__(self, argument: str, entries: Mapping[str, Any]):
        super().__init__(entries)
        self.argument = argument

    def __missing__(self, name: object) -> Any:
        near = difflib.get_close_matches(str(name).lower(), self, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(self)}"
        raise UnknownNameError(f"{self.argument}: none is called {name!r}; {hint}")
