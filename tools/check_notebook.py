"""The hidden checks over one notebook, as an author writes one: ``python -m grader check``."""

import argparse
import sys
from pathlib import Path

NO_SANDBOX = """check runs the notebook's code on this machine as you, without a sandbox: it can
read and delete your files. If you trust it, add --unsafe."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m grader check``."""
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--task", help="only this grade_id")
    parser.add_argument("--exercise", help="its name, if the file is called otherwise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unsafe", action="store_true", help="run the code without a sandbox")
    parser.set_defaults(function=check_notebook)


def check_notebook(arguments: argparse.Namespace) -> int:
    """Print a verdict for each task; exit status 0 if all pass, 1 if not, 2 without --unsafe."""
    if not arguments.unsafe:
        print(NO_SANDBOX, file=sys.stderr)
        return 2
    print("WARNING: no sandbox; the notebook's code runs as you.", file=sys.stderr)
    from grader import cells, freeze, judge, run  # --help answers at once

    name = arguments.exercise or arguments.notebook.stem
    submission, passed = cells.read_notebook(arguments.notebook), True
    tasks = freeze.freeze_exercises(arguments.root, [name], arguments.seed, arguments.task)
    if not tasks:
        raise ValueError(f"--task: {name} has no checks for {arguments.task!r}")
    for (_, task), frozen in tasks.items():
        answer = cells.find_cell(submission, task).source
        verdict = judge.judge(frozen, run.run_answer(frozen, answer))
        print(f"{verdict.points}/{verdict.max_points}  {task}: {verdict.message}")
        passed = passed and verdict.passed
    return int(not passed)
