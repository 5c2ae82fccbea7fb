#!/usr/bin/env python3
"""Is this machine ready, and do the visible tests of your answers pass?

python tools/run_tests.py              all exercises
python tools/run_tests.py -k 01        only those whose names contain 01

nbgrader runs each notebook of exercises/ from top to bottom; the files stay as they are.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from lecture_lib.environment import check_environment

ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all is well, 1 the machine isn't ready or a test doesn't pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-k", dest="word", default="", metavar="WORD")
    word = parser.parse_args(argv).word
    exercises = sorted((ROOT / "exercises").glob("*.ipynb"))
    chosen = [path for path in exercises if word in path.stem]
    if not chosen:
        print(f"no exercise has {word!r} in its name: {', '.join(p.stem for p in exercises)}")
        return 1
    report = check_environment()
    print(report.verdict(), flush=True)
    return int(not all([report.ok, *(check_exercise(path) for path in chosen)]))


def check_exercise(path: Path) -> bool:
    """Run one exercise and print a line for it, and one for each test that doesn't pass."""
    from nbgrader.validator import Validator

    print(f"{path.stem}: running ...", flush=True)
    found = Validator().validate(str(path))
    changed = found.get("type_changed", []) + found.get("changed", [])
    if changed:
        print(f"{path.stem}: a cell of tests was changed, copy the exercise anew:")
        print("\n".join(_indented(cell["source"]) for cell in changed))
        return False
    failed = found.get("failed", [])
    for cell in failed:
        print(_indented(_last_line(cell["raw_error"])))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    n_tests = sum(cell["metadata"].get("nbgrader", {}).get("grade", False) for cell in cells)
    print(f"{path.stem}: {n_tests - len(failed)} of {n_tests} visible tests pass", flush=True)
    return not failed


def _last_line(error: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", error)  # the colours of a terminal
    lines = [line for line in plain.splitlines() if line.strip()]
    return lines[-1] if lines else "an error without words"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
