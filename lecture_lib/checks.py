"""Checks of arguments at the public boundary. Each message names the argument and what it got."""

import difflib
import math
import types
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any


def check_count(name: str, value: Any, least: int = 1, most: float = math.inf) -> int:
    """An integer of ``least`` or more, up to ``most``, NumPy's included; else a ValueError."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= value <= most:
        limits = f"of {least} or more" if most == math.inf else f"from {least} to {most:,}"
        raise ValueError(f"{name}: needs an integer {limits}, got {value!r}")
    return int(value)


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """A finite number within the limits given, as it is; else a ValueError."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    too_low = number and ((above is not None and value <= above) or
                          (least is not None and value < least))  # fmt: skip
    if not number or too_low or (most is not None and value > most):
        limits = [f"above {above:g}"] if above is not None else []
        if least is not None:
            limits.append(f"of {least:g} or more" if most is None else f"from {least:g}")
        if most is not None:
            limits.append(f"to {most:g}" if least is not None else f"and at most {most:g}")
        kind = "a number" if limits else "a finite number"
        raise ValueError(f"{name}: needs {' '.join([kind, *limits])}, got {value!r}")
    return value


def check_choice(name: str, value: Any, choices: Sequence) -> Any:
    """One of the choices, or a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name}: must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_text(name: str, value: Any, *, may_be_empty: bool = False) -> str:
    """A string with at least one character, or a ValueError."""
    if not isinstance(value, str) or not (value or may_be_empty):
        raise ValueError(f"{name}: must be a non-empty string, got {value!r}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """True or False, or a ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: must be True or False, got {value!r}")
    return value


def check_stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """Stop strings as a tuple, or ValueError."""
    stop = (stop,) if isinstance(stop, str) else tuple(stop or ())
    for string in stop:
        if not isinstance(string, str) or not string:
            raise ValueError(f"stop: needs non-empty strings, got {string!r}")
    return stop


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
