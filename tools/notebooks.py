#!/usr/bin/env python3
"""Runs the course's notebooks and saves what they show (`pytest --nbval` checks it).

python tools/notebooks.py execute [NAME ...]   run, then save the outputs in place

A NAME is a path, or a notebook's name in notebooks/ and solutions/ (01_language_models). Without
names: all notebooks of both folders.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from notebook_format import NotebookError, cell_name, read_notebook, write_notebook
from notebook_kernel import build_font_cache, run_notebook
from notebook_rules import output_problems
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("notebooks", "solutions")
SANITIZE_FILE = ROOT / "tests" / "notebooks" / "sanitize.cfg"
UNCOMPARED_FILE = ROOT / "tests" / "notebooks" / "uncompared_cells.toml"


def find_notebooks(names: list[str] | None = None) -> list[Path]:
    """The notebooks with these names, or all; in order.

    Raises:
        ValueError: a name that no notebook has.
    """
    everything = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.ipynb"))]
    if not names:
        return everything
    found = []
    for name in names:
        path = Path(name)
        matches = [p for p in everything if name in (p.stem, p.name)]
        if path.suffix == ".ipynb" and path.is_file():
            matches = [path.resolve()]
        if not matches:
            known = ", ".join(sorted({p.stem for p in everything})) or "none"
            raise ValueError(f"no notebook is called {name!r}; there are: {known}")
        found += matches
    return found


def execute_notebook(path: Path, on_cell: Callable[[int], None] | None = None) -> None:
    """Run a notebook and save it in place; the file stays as it was where that fails.

    Raises:
        NotebookError: a cell failed, or printed a warning, a progress bar or an address.
    """
    fresh = run_notebook(read_notebook(path), path.parent, on_cell=on_cell)
    for i, cell in enumerate(fresh.cells):
        for output in cell.get("outputs", []):
            for problem in output_problems(output):
                raise NotebookError(
                    f"{cell_name(fresh, i)}: {problem}\n--- the cell:\n{cell.source}"
                )
    write_notebook(fresh, path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["execute"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args(argv)
    try:
        paths = find_notebooks(args.names)
    except ValueError as error:
        print(f"notebooks: {error}", file=sys.stderr)
        return 2
    if not paths:
        print("notebooks: there are none", file=sys.stderr)
        return 2
    build_font_cache()
    failed = [path for path in paths if not _run_one(path)]
    print(f"notebooks: {len(paths) - len(failed)} of {len(paths)} fine")
    return 1 if failed else 0


def _run_one(path: Path) -> bool:
    """Run one notebook with its progress on the terminal; whether all is well."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
    started = time.monotonic()
    problem = ""
    try:
        n_cells = len(read_notebook(path).cells)
        with tqdm(total=n_cells, desc=name, unit="cell", leave=False, disable=None) as bar:
            execute_notebook(path, lambda index: bar.update(index + 1 - bar.n))
    except (NotebookError, ValueError) as error:
        problem = f"\n{error}".replace("\n", "\n  ")
    verdict = "FAILED" if problem else "ok"
    print(f"{verdict}  {name}  {time.monotonic() - started:.1f} s{problem}", flush=True)
    return not problem


if __name__ == "__main__":
    sys.exit(main())
