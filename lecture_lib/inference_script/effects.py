"""Which settings of a script act? Note which are read, change each, and see what comes out."""

from collections import UserDict
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from lecture_lib.checks import checked


class WatchedSettings(UserDict):
    """Settings (name -> value) that remember in ``read`` which of them somebody has looked up."""

    @checked
    def __init__(self, settings: Mapping[str, Any]):
        self.read: set[str] = set()
        super().__init__(settings)

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        self.read.add(name)
        return value


@checked
def setting_effects(
    run: Callable[[Mapping[str, Any]], Any],
    settings: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    contexts: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Run a script once as it is and once with each setting changed.

    A run that comes out the same proves little by itself (another value might have acted); a
    setting that was never even read can't act.

    Args:
        run: from settings to what comes out, which is compared by ==. Its ValueError counts as a
            refusal.
        settings: name -> value, as they are.
        changes: name -> another value to try.
        contexts: name -> further settings, for both of its runs, without which it can't act.

    Returns:
        DataFrame, a row for each of ``changes``: setting, to (the value tried), with (its context
        in words), read (bool), effect: "none", "acts" or "refused".

    Raises:
        ValueError: a name in ``changes`` or ``contexts`` that is not in ``settings``.
    """
    contexts = contexts or {}
    named = [*changes, *contexts, *(name for extra in contexts.values() for name in extra)]
    if unknown := sorted(set(named) - set(settings)):
        raise ValueError(f"changes, contexts: no such settings: {', '.join(unknown)}")
    before: dict[str, Any] = {}  # by the context, in words
    rows = []
    for name, value in changes.items():
        context = contexts.get(name, {})
        shown = ", ".join(f"{n} {v}" for n, v in context.items())
        if shown not in before:
            before[shown] = run(WatchedSettings({**settings, **context}))
        watched = WatchedSettings({**settings, **context, name: value})
        try:
            effect = "none" if run(watched) == before[shown] else "acts"
        except ValueError:
            effect = "refused"
        rows.append((name, str(value), shown, name in watched.read, effect))
    return pd.DataFrame(rows, columns=["setting", "to", "with", "read", "effect"])
