"""What JupyterLab gives a cell beyond Python: magics, ``display``, ``get_ipython()``, ``await``.

All of it is run in the process of the answer, within its limits, and can do no more than the
answer itself. What shows, measures, installs or asks the shell does nothing here.
"""

import ast
import codeop
import inspect
import linecache
import re
import sys
from collections import defaultdict
from io import StringIO
from typing import Any

NAME = "<answer>"  # of the file that errors say a line of the cell is in
RUNS_ITS_CODE = re.compile(r"%%(time|timeit|capture|prun)\b")
TIMED_LINE = re.compile(r"get_ipython\(\)\.run_line_magic\('(?:time|prun)', (.+)\)$")
INSTALL = re.compile(r"^([ \t]*)(?=(?:pip|conda) install )", re.MULTILINE)


class Shell(list):
    """IPython's shell, its parts, ``display`` and what a command prints: none does anything."""

    n = s = p = ""  # a command's output as one text

    def __call__(self, *args: Any, display_id: Any = None, **kwargs: Any) -> "Shell | None":
        return self if display_id else None

    def __getattr__(self, name: str) -> "Shell":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def getoutput(self, *args: Any) -> "Shell":
        return self

    grep = fields = getoutput  # of such an output

    def run_cell_magic(self, magic: str, line: str, cell: str) -> None:
        if RUNS_ITS_CODE.match(f"%%{magic}"):
            run_cell(cell, sys._getframe(1).f_globals)

    def input(self, prompt: object = "") -> str:
        raise EOFError("nobody is there to answer input()")


def names() -> dict[str, Any]:
    """What a cell finds in JupyterLab without defining or importing it."""
    shell = Shell([""])  # one empty line: who reads the first line of some output finds one
    return {**dict.fromkeys(("_", "__", "___", "_i", "_ii", "_iii"), ""), "In": defaultdict(str),
            "Out": defaultdict(str), "get_ipython": lambda: shell, "display": shell,
            "input": shell.input, "breakpoint": shell}  # fmt: skip


def run_cell(source: str, names: dict[str, Any]) -> None:
    """Run a cell as JupyterLab does: part by part, so that what stands before an error counts."""
    source = as_python(source)
    linecache.cache[NAME] = len(source), None, source.splitlines(keepends=True), NAME
    if "IPython" in source:
        import IPython

        IPython.get_ipython = IPython.core.getipython.get_ipython = names["get_ipython"]
    compiler = codeop.Compile()  # remembers what was imported from __future__
    compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for part in ast.parse(source, NAME).body:
        code = compiler(ast.Module([part], []), NAME, "exec")
        if code.co_flags & inspect.CO_COROUTINE:
            import asyncio

            asyncio.run(eval(code, names))
        else:
            exec(code, names)


def as_python(source: str) -> str:
    """The cell as plain Python, by IPython's rules if it is none; each line stays where it is."""
    try:
        ast.parse(source)
        return source
    except (SyntaxError, ValueError):  # ValueError: a null byte
        from IPython.core.inputtransformer2 import TransformerManager
    top = re.match(r"(?:[ \t]*\n)*", source)[0]  # IPython drops empty lines on top
    lines = list(StringIO(INSTALL.sub(r"\1%", source[len(top) :]) + "\n"))
    manager, changed = TransformerManager(), True
    for transform in manager.cleanup_transforms:
        lines = transform(lines)
    if lines[0].startswith("%%"):  # else the cell is in another language, or a file's text
        rest = "".join(lines[1:]).removesuffix("\n")
        return as_python(f"{top}\n{rest}") if RUNS_ITS_CODE.match(lines[0]) else ""
    lines = list(StringIO(top + "".join(lines)))
    while changed:
        before = lines
        changed, lines = manager.do_one_token_transform(before)
        if changed:
            i = next(i for i, line in enumerate(lines) if line != before[i])
            timed = TIMED_LINE.sub(lambda found: ast.literal_eval(found[1]) or "None", lines[i])
            n_joined = "".join(before).count("\n") - "".join(lines).count("\n")
            lines[i : i + 1] = [timed, *"\n" * n_joined]
    return "".join(lines)
