#!/usr/bin/env python3
"""Is this machine ready, and do the visible tests of your answers pass?

python tools/run_tests.py                     all exercises
python tools/run_tests.py -k 01               only those whose names contain 01
python tools/run_tests.py --receipt FILE.md   only those with an answer; writes a receipt

Each notebook of exercises/ is run from top to bottom; the files stay as they are.
"""

import argparse
import hashlib
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

from lecture_lib.environment import check_environment

ROOT = Path(__file__).resolve().parent.parent
NO_POINTS = "The points come from the hidden checks, which your instructor runs."


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all is well, 1 the machine isn't ready or a test doesn't pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-k", dest="word", default="", metavar="WORD")
    parser.add_argument("--receipt", type=Path, metavar="FILE")
    arguments = parser.parse_args(argv)
    word, receipt = arguments.word, arguments.receipt
    exercises = sorted((ROOT / "exercises").glob("*.ipynb"))
    chosen = [path for path in exercises if word in path.stem]
    if not chosen:
        print(f"no exercise has {word!r} in its name: {', '.join(p.stem for p in exercises)}")
        return 1
    report = check_environment()
    print(report.verdict(), flush=True)
    passed, lines = report.ok, []
    for path in chosen:
        notebook = nbformat.read(path, as_version=4)
        if receipt and not is_begun(notebook):
            continue
        told = check_exercise(path, notebook)
        print(*told, sep="\n", flush=True)
        passed = passed and len(told) == 1
        lines += [*told, f"    sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"]
    if receipt:
        receipt.write_text(receipt_text(lines), encoding="utf-8")
    return int(not passed)


def is_begun(notebook) -> bool:
    """Whether an answer is no longer what was handed out."""
    answers = [cell for cell in notebook.cells if mark(cell, "solution")]
    return any("NotImplementedError" not in cell.source for cell in answers)


def receipt_text(lines: list[str]) -> str:
    """A page that says what was tested, of which commit, and when."""
    commit = os.environ.get("GITHUB_SHA", "not known")
    now = datetime.now(UTC).isoformat(" ", "seconds")
    told = "\n".join(lines or ["no exercise has an answer yet"])
    return f"# Receipt\n\nCommit {commit}, tested {now}.\n\n```\n{told}\n```\n\n{NO_POINTS}\n"


def check_exercise(path: Path, notebook) -> list[str]:
    """Run one exercise: a line for each test that doesn't pass, and last one for the exercise."""
    tests = [cell for cell in notebook.cells if mark(cell, "grade") and not mark(cell, "solution")]
    changed = [cell for cell in tests if mark(cell, "checksum") not in (None, checksum(cell))]
    if changed:
        told = f"{path.stem}: a cell of tests was changed, copy the exercise anew:"
        return [told, *(_indented(cell.source) for cell in changed)]
    with tqdm(total=len(notebook.cells), desc=path.stem, leave=False, disable=None) as bar:
        NotebookClient(
            notebook,
            allow_errors=True,
            resources={"metadata": {"path": str(path.parent)}},
            on_cell_execute=lambda cell, cell_index: bar.update(cell_index + 1 - bar.n),
        ).execute()
    errors = [out for cell in tests for out in cell.outputs if out.output_type == "error"]
    lines = [_indented(_last_line(f"{error.ename}: {error.evalue}")) for error in errors]
    n_passed = len(tests) - len(errors)
    return [*lines, f"{path.stem}: {n_passed} of {len(tests)} visible tests pass"]


def mark(cell, name: str):
    """A field of the cell's nbgrader metadata, or None."""
    return cell.metadata.get("nbgrader", {}).get(name)


def checksum(cell) -> str:
    """nbgrader's own checksum of a cell, by which a changed cell of tests is found."""
    flags = [str(bool(mark(cell, name))) for name in ("grade", "solution", "locked")]
    parts = [cell.source, cell.cell_type, *flags, mark(cell, "grade_id")]
    return hashlib.md5("".join([*parts, str(float(mark(cell, "points")))]).encode()).hexdigest()


def _last_line(error: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", error)  # the colours of a terminal
    lines = [line for line in plain.splitlines() if line.strip()]
    return lines[-1] if lines else "an error without words"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
