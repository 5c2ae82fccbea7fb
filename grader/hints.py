"""What only another cell has, found by reading a notebook as data: nothing here runs it."""

import builtins
import re
import symtable
from contextlib import suppress
from functools import lru_cache

from .jupyter import names
from .submitted_file import SubmittedNotebook

MAX_READ = 100_000  # characters of a notebook's code, 100 more for each cell; else no hints
MAGIC = re.compile(r"(^|=)([ \t]*)(?:[%!].*|\w[\w.]*\?+)$", re.MULTILINE)
GIVEN = {*dir(builtins), *names(), "__name__"}


def elsewhere(notebook: SubmittedNotebook, task: str, setup: list[str]) -> str | None:
    """A remark on names that an answer uses, but only other cells of its notebook define.

    ``setup``: what is run in front of the answer when it is graded.
    """
    answers = [(f"the answer {name}", source) for name, source in notebook.answers.items()]
    others, own = [*notebook.others, *answers], notebook.answers.get(task, "")
    if sum(len(source) + 100 for _, source in others) > MAX_READ:
        return None
    defined, used = _names(own)
    missing = used.difference(defined, GIVEN, *(_names(source)[0] for source in setup))
    places = {name: where for where, source in others for name in missing & _names(source)[0]}
    told = [f"{name[:40]} is defined only in {where}" for name, where in sorted(places.items())]
    return f"{', '.join(told[:4])}: an answer is graded without other cells" if told else None


@lru_cache(1000)
def _names(source: str) -> tuple[set[str], set[str]]:
    """The names that a source defines for what comes after it, and those that it uses."""
    defined, used = set(), set()
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        tables = [symtable.symtable(MAGIC.sub(r"\1\2None", source), "", "exec")]
        for table in tables:  # it grows
            tables += table.get_children()
            for name in table.get_symbols():
                if table.get_type() == "module" or name.is_global():
                    if name.is_assigned() or name.is_imported():
                        defined.add(name.get_name())
                    if name.is_referenced():
                        used.add(name.get_name())
    return defined, used
