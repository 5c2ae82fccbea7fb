#!/usr/bin/env python3
"""All that CI runs, in stages, with one last line that counts everything.

python tools/run_tests.py              everything
python tools/run_tests.py -k EXPR      only what pytest's -k selects, in each stage

A stage that fails doesn't stop the next. The exit code is 0 if something ran and nothing failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECOND_CHECK = "tests/notebooks/test_notebooks.py"
NO_TESTS_RAN = 5  # pytest's exit code
# Each worker may hold a model in memory, so more than four are a risk on a small machine.
MAX_WORKERS = 4

NBVAL = [
    "--nbval",
    "--nbval-current-env",
    "--nbval-cell-timeout=300",
    "--nbval-sanitize-with=tests/notebooks/sanitize.cfg",
    "-p",
    "no:cacheprovider",
]


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )

    def __bool__(self) -> bool:
        return self != Count()

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-k", dest="expression", default="", metavar="EXPR")
    expression = parser.parse_args(argv).expression
    lines, total, interrupted = [], Count(), False
    for title, run in stages(expression):
        print(f"\n=== {title}", flush=True)
        started = time.monotonic()
        try:
            count = run()
        except KeyboardInterrupt:
            interrupted = True
            break
        total += count
        lines.append(f"{title:<42} {time.monotonic() - started:7.1f} s   {count}")
    print("\n" + "\n".join(lines))
    if interrupted:
        print("interrupted: the rest did not run")
    elif not total:
        print(f"error: no test is selected by -k {expression!r}")
    print(total, flush=True)
    return 130 if interrupted else int(total.failed > 0 or not total)


def stages(expression: str) -> list:
    """(title, function that runs the stage and counts) of each stage, in order."""
    selection = ["-k", expression] if expression else []
    folders = [name for name in ("notebooks", "solutions") if (ROOT / name).is_dir()]
    # The few tests that an expression selects start faster without workers.
    n_workers = 1 if expression else min(os.cpu_count() or 1, MAX_WORKERS)
    parallel = [f"--numprocesses={n_workers}"] if n_workers > 1 else []
    # loadfile: all cells of a notebook run in one kernel, a fixture of a file is made once.
    tests = [*parallel, "--dist=loadfile", "tests", f"--ignore={SECOND_CHECK}"]
    nbval = [*parallel, "--dist=loadfile", *NBVAL, *folders]
    second = [*parallel, "--maxschedchunk=1", SECOND_CHECK]
    found = [
        ("tests", lambda: run_pytest([*tests, *selection], expression)),
        ("notebooks by nbval", lambda: run_pytest([*nbval, *selection], expression)),
        ("notebooks again, pictures too", lambda: run_pytest([*second, *selection], expression)),
    ]
    if not expression:  # -k chooses among tests, and these are none
        found += [
            ("ruff check", lambda: run_command([sys.executable, "-m", "ruff", "check"])),
            (
                "ruff format",
                lambda: run_command([sys.executable, "-m", "ruff", "format", "--check"]),
            ),
        ]
    return found


def run_pytest(arguments: list[str], expression: str) -> Count:
    """Run pytest with its output on the terminal; its counts, from its own report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # The workers share the processor already; threads in each would only get in their way.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        command = [sys.executable, "-m", "pytest", *arguments, f"--junit-xml={report}"]
        code = subprocess.call(command, cwd=ROOT, env=environment)
        count = read_report(report)
    if code == NO_TESTS_RAN and expression:
        return count
    if code and not count.failed:  # it broke before or after the tests, or found none
        print(f"error: pytest ended with exit code {code}, which counts as a failure", flush=True)
        count.failed += 1
    return count


def read_report(report: Path) -> Count:
    """The counts of a junit report; zeros where pytest did not get as far as writing one."""
    if not report.exists():
        return Count()
    count = Count()
    for suite in ET.parse(report).iter("testsuite"):
        failed = int(suite.get("failures")) + int(suite.get("errors"))
        skipped = int(suite.get("skipped"))
        passed = max(0, int(suite.get("tests")) - failed - skipped)
        count += Count(passed, failed, skipped)
    return count


def run_command(command: list[str]) -> Count:
    """Run a checker that passes or fails as a whole."""
    return Count(failed=1) if subprocess.call(command, cwd=ROOT) else Count(passed=1)


if __name__ == "__main__":
    sys.exit(main())
