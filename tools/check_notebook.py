"""The hidden checks over one notebook, as an author writes one: ``python -m grader check``."""

import argparse
import sys

from grader import cells, freeze, judge, run

NO_SANDBOX = """check runs the notebook's code on this machine as you, without a sandbox: it can
read and delete your files. If you trust it, add --unsafe."""


def check_notebook(arguments: argparse.Namespace) -> int:
    """Print a verdict for each task; exit status 0 if all pass, 1 if not, 2 without --unsafe."""
    if not arguments.unsafe:
        print(NO_SANDBOX, file=sys.stderr)
        return 2
    print("WARNING: no sandbox; the notebook's code runs as you.", file=sys.stderr)
    name = arguments.exercise or arguments.notebook.stem
    submission, passed = cells.read_notebook(arguments.notebook), True
    tasks = freeze.freeze_exercises(arguments.root, [name], arguments.seed, arguments.task)
    if not tasks:
        raise ValueError(f"--task: {name} has no checks for {arguments.task!r}")
    for (_, task), frozen in tasks.items():
        verdict = judge.judge(frozen, run.run_answer(frozen, cells.answer_source(submission, task)))
        print(f"{verdict.points}/{verdict.max_points}  {task}: {verdict.message}")
        passed = passed and verdict.passed
    return int(not passed)
