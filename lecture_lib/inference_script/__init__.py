"""The lecture's inference script, whole: every setting acts.

settings           TaskInfo: what is asked for, checked
run                generate(): one task on the course's engine, or on Transformers where it must be
answer             Answer: one continuation, how its tokens were chosen, and where its text ends
with_transformers  the same by Transformers' generate
logprobs           the n likeliest tokens of each position, with the one that was chosen
command            the command line: python -m lecture_lib.inference_script --help
prompt             the interactive loop: /settings, history, Ctrl-C
sweep              one setting at several values, as a table and a picture
lecture_script     the lecture's own version, most of whose settings do nothing
effects            setting_effects(): which settings of a script act
timing             time to first token and time per output token, measured and predicted
"""

from importlib import import_module

# Most of them need torch, and --help does not: each is imported when it is asked for.
_MODULES = {"Answer": ".answer", "TaskInfo": ".settings", "generate": ".run"}
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
