"""An unknown name, and which known names it may have been meant for."""

import difflib
from collections.abc import Iterable, Sequence


class UnknownNameError(KeyError, ValueError):
    """Nothing has this name; the message suggests near ones."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0])


def suggest(
    name: object, known: Iterable[str], *, cutoff: float = 0.5, near: Sequence[str] = ()
) -> str:
    """The words "did you mean a or b?" or, where nothing is near, "there are: a, b, c".

    Args:
        name: what was asked for. known: the names there are, in lower case.
        cutoff: how alike names must be, from 0 to 1 (difflib's ratio).
        near: names that are known to be near; then nothing is compared.
    """
    known = list(known)
    near = near or difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=cutoff)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"
