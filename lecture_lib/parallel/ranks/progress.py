"""A line that shows what the ranks are doing, in a notebook's cell or on a terminal."""

import contextlib
import sys
import time
from pathlib import Path

UPDATE_EVERY_S = 0.25
ERASED_LINE = "\r\x1b[K"  # to the line's start, then erase what is there


class ProgressLine:
    """One line that is overwritten, and empty in the end: nothing of it stays in a saved notebook.

    Outside of a notebook it is written to stderr, and only where that is a terminal.
    """

    def __init__(self):
        self._handle = None
        self._shown_at = 0.0

    def __enter__(self):
        if _in_notebook():
            from IPython.display import display

            self._handle = display({"text/plain": ""}, raw=True, display_id=True)
        return self

    def show(self, text: str) -> None:
        if time.monotonic() - self._shown_at >= UPDATE_EVERY_S:
            self._shown_at = time.monotonic()
            self._write(text)

    def __exit__(self, *_) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": text}, raw=True)
        elif sys.stderr is not None and sys.stderr.isatty():
            print(ERASED_LINE + text, end="", file=sys.stderr, flush=True)


def describe_states(folder: Path, n_ranks: int, waited_s: float) -> str:
    """ "3 ranks, 2 s: 1 starting, 2 connecting", from what the ranks report in their folder."""
    states = ["starting"] * n_ranks
    for rank in range(n_ranks):
        with contextlib.suppress(OSError):
            states[rank] = (folder / f"{rank}.state").read_text() or states[rank]
    parts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"{n_ranks} ranks, {waited_s:.0f} s: {', '.join(parts)}"


def _in_notebook() -> bool:
    """Whether a Jupyter kernel shows what is displayed (IPython in a terminal does not)."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
