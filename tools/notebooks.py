#!/usr/bin/env python3
"""Runs the course's notebooks and saves, or checks, what they show.

python tools/notebooks.py execute [NAME ...]   run, then save the outputs in place
python tools/notebooks.py check [NAME ...]     run, then compare with the committed outputs

A NAME is a path, or a notebook's name in notebooks/ and solutions/ (01_language_models). Without
names: all notebooks of both folders.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nbformat import NotebookNode
from notebook_compare import Sanitizer, compare_notebooks, load_sanitizer
from notebook_format import NotebookError, cell_name, read_notebook, write_notebook
from notebook_kernel import CELL_TIMEOUT_S, build_font_cache, run_notebook
from notebook_rules import committed_problems, output_problems, read_uncompared_cells
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


def check_notebook(
    path: Path,
    *,
    sanitize: Sanitizer = str,
    uncompared: Mapping[str, str] | None = None,
    run_as: NotebookNode | None = None,
    cell_timeout_s: int = CELL_TIMEOUT_S,
    on_cell: Callable[[int], None] | None = None,
) -> list[str]:
    """The second check: what is wrong with a notebook's committed outputs, found by running it.

    Args:
        uncompared: ids of the cells whose values may differ from run to run, with the reason.
        run_as: run this notebook in place of the one on disk: an exercise with its solutions put
            in, which must show what the solution shows.

    Returns:
        The problems, one text each; none where all is as committed.
    """
    try:
        committed = read_notebook(path)
        problems = committed_problems(committed, uncompared or {})
        fresh = run_notebook(
            run_as or committed, path.parent, cell_timeout_s=cell_timeout_s, on_cell=on_cell
        )
    except NotebookError as error:
        return [str(error)]
    return problems + compare_notebooks(
        committed, fresh, sanitize=sanitize, uncompared=uncompared or {}
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["execute", "check"])
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
    failed = [path for path in paths if not _run_one(args.command, path)]
    print(f"notebooks: {len(paths) - len(failed)} of {len(paths)} fine")
    return 1 if failed else 0


def _run_one(command: str, path: Path) -> bool:
    """Run one notebook with its progress on the terminal; whether all is well."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
    started = time.monotonic()
    try:
        n_cells = len(read_notebook(path).cells)
        with tqdm(total=n_cells, desc=name, unit="cell", leave=False, disable=None) as bar:

            def show(index: int) -> None:
                bar.update(index + 1 - bar.n)

            if command == "execute":
                execute_notebook(path, show)
                problems = []
            else:
                uncompared = read_uncompared_cells(UNCOMPARED_FILE).get(name, {})
                sanitize = load_sanitizer(SANITIZE_FILE)
                problems = check_notebook(
                    path, sanitize=sanitize, uncompared=uncompared, on_cell=show
                )
    except (NotebookError, ValueError) as error:
        problems = [str(error)]
    print(
        f"{'FAILED' if problems else 'ok'}  {name}  {time.monotonic() - started:.1f} s", flush=True
    )
    for problem in problems:
        print(f"  {problem}".replace("\n", "\n  "))
    return not problems


if __name__ == "__main__":
    sys.exit(main())
