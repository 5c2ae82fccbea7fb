#!/usr/bin/env python3
"""All that CI runs, with a last line that counts everything.

python tools/run_tests.py              everything: tests, notebooks, ruff
python tools/run_tests.py tests        one part of it: tests, notebooks
python tools/run_tests.py fast         the quick tests of the library alone, two to three minutes
python tools/run_tests.py rounding     the notebooks and the parity tests once more, computed as
                                       another kind of processor computes them
python tools/run_tests.py -k EXPR      only the tests and notebooks that pytest's -k selects, and
                                       ruff, which takes a second

The exit code is 0 if something ran and nothing failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("all", "tests", "notebooks", "fast", "rounding")
N_SLOWEST = 10
NO_TESTS_RAN = 5  # pytest's exit code
# Each worker may hold a model in memory, so more than four are a risk on a small machine.
MAX_WORKERS = 4
# Without vector instructions sums are added up in another order, as on another kind of processor.
# oneDNN must not use what PyTorch then has no kernels for: its attention in bfloat16 would fail.
OTHER_ROUNDING = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"}

# There packed weights are multiplied number by number, which can take long: measured last, on a
# processor with AVX-512, it was two minutes; estimated before, a quarter of an hour.
TOO_SLOW = ["--ignore", "notebooks/12b_packed_weights.ipynb"]

NOTEBOOKS = ["--nbval", "notebooks", "solutions"]
RUFF = (["check"], ["format", "--check"])


@dataclass
class Count:
    """How many tests passed, failed and were skipped, for want of what; and how long files took."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: Counter = field(default_factory=Counter)
    seconds: Counter = field(default_factory=Counter)

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.reasons + other.reasons,
            self.seconds + other.seconds,
        )

    def __bool__(self) -> bool:
        return bool(self.passed or self.failed or self.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=PARTS, default="all")
    parser.add_argument("-k", dest="expression", default="", metavar="EXPR")
    args = parser.parse_args(argv)
    lines, total, interrupted, selected = [], Count(), False, False
    for title, run in stages(args.part, args.expression):
        print(f"\n=== {title}", flush=True)
        started = time.monotonic()
        try:
            count = run()
        except KeyboardInterrupt:
            interrupted = True
            break
        total += count
        selected = selected or (bool(count) and not title.startswith("ruff"))
        lines.append(f"{title:<42} {time.monotonic() - started:7.1f} s   {count}")
    print("\nThe ten slowest files, in seconds of one worker:")
    for name, seconds in total.seconds.most_common(N_SLOWEST):
        print(f"{seconds:8.1f} s   {name}")
    print("\n" + "\n".join(lines))
    for reason, n in total.reasons.most_common():
        print(f"{n} test{'s' * (n > 1)} skipped: {reason}")
    if interrupted:
        print("interrupted: the rest did not run")
    elif not selected:
        print(f"error: no test is selected by -k {args.expression!r}")
    print(total, flush=True)
    return 130 if interrupted else int(total.failed > 0 or not selected)


def stages(part: str, expression: str) -> list:
    """(title, function that runs the stage and counts) of each stage of a part, in order."""
    # One worker more than there are cores, since a third of their time they wait: for a browser, a
    # server, a limit. The few tests that an expression selects start faster without workers.
    n_workers = 1 if expression else min((os.cpu_count() or 1) + 1, MAX_WORKERS)
    options = ["-k", expression] if expression else []
    if n_workers > 1:
        # All tests of a file on one worker: the cells of a notebook share a kernel, and fixtures
        # are made once. In the order given, so that the long notebooks don't come last.
        options += [f"--numprocesses={n_workers}", "--dist=loadfile", "--no-loadscope-reorder"]
    chosen = {
        "all": [*NOTEBOOKS, "tests"],
        "tests": ["tests"],
        "notebooks": NOTEBOOKS,
        "fast": ["tests", "-m", "not slow and not real_model and not browser and not sandbox"],
        "rounding": ["--nbval", "notebooks", *TOO_SLOW, "tests", "-m", "notebook or parity"],
    }[part]
    title = {"all": "notebooks and tests", "fast": "quick tests", "rounding": "another rounding"}
    variables = OTHER_ROUNDING if part == "rounding" else {}
    found = [
        (title.get(part, part), lambda: run_pytest([*chosen, *options], expression, variables))
    ]
    if part in ("all", "tests"):
        for ruff in RUFF:
            command = [sys.executable, "-m", "ruff", *ruff]
            found.append((f"ruff {ruff[0]}", lambda command=command: run_command(command)))
    return found


def run_pytest(arguments: list[str], expression: str, variables: dict | None = None) -> Count:
    """Run pytest with its output on the terminal; its counts, from its own report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *arguments]
        command += [f"--junit-xml={report}", f"--durations={N_SLOWEST}"]
        environment = os.environ | (variables or {})
        # Some containers set it: each worker and each kernel would compile all modules anew.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
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
        reasons = Counter(skip.get("message") for skip in suite.iter("skipped"))
        seconds: Counter = Counter()
        for case in suite.iter("testcase"):
            seconds[case.get("classname")] += float(case.get("time"))
        count += Count(passed, failed, skipped, reasons, seconds)
    return count


def run_command(command: list[str]) -> Count:
    """Run a checker that passes or fails as a whole."""
    return Count(failed=1) if subprocess.call(command, cwd=ROOT) else Count(passed=1)


if __name__ == "__main__":
    sys.exit(main())
