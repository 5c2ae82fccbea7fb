"""The lecture's inference script, repaired: every setting acts, or is refused with the reason.

settings  TaskInfo: what is asked for, checked; which settings can't act, and why
run       generate() and stream(): the texts of a task; log-probabilities
command   the command line: python -m lecture_lib.inference_script --help
prompt    the interactive loop: /settings, history, Ctrl-C
sweep     one setting at several values, as a table
"""

from importlib import import_module

# Most of them need torch, and --help does not: each is imported when it is asked for.
_MODULES = {"TaskInfo": ".settings", "generate": ".run"}
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
