"""``python -m grader``: ``build``, ``check NOTEBOOK``, ``grade SUBMISSIONS``."""

import argparse
import sys
from pathlib import Path

from . import grade_command

NO_SANDBOX = """check runs the notebook's code on this machine as you, without a sandbox: it can
read and delete your files. If you trust it, add --unsafe."""


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 fine; 1 something differs or a check failed; 2 nothing could be checked."""
    parser = argparse.ArgumentParser(prog="python -m grader", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."), help="the course's folder")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("build", help="write exercises/ from solutions/")
    command.add_argument(
        "--check", action="store_true", help="write nothing; fail on any difference"
    )
    command.set_defaults(function=_build)
    command = commands.add_parser("check", help="hidden checks over one notebook")
    command.add_argument("notebook", type=Path)
    command.add_argument("--task", help="only this grade_id")
    command.add_argument("--exercise", help="its name, if the file is called otherwise")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--unsafe", action="store_true", help="run the code without a sandbox")
    command.set_defaults(function=_check)
    grade_command.add_parser(commands)
    arguments = parser.parse_args(argv)
    from . import run  # not before --help has been answered

    try:
        return arguments.function(arguments)
    except (ValueError, run.GradingError) as error:
        print(error, file=sys.stderr)
        return 2


def _build(arguments: argparse.Namespace) -> int:
    from . import build

    if arguments.check:
        drift = build.find_drift(arguments.root)
        print("\n".join(drift.lines()) or "exercises/ is what solutions/ gives")
        if drift:
            print("run: python -m grader build")
        return int(bool(drift))
    drift = build.build(arguments.root)
    for name in (*drift.changed, *drift.missing):
        print(f"exercises/{name}: written")
    for name in drift.orphaned:
        print(f"exercises/{name}: orphaned, delete it or add solutions/{name}")
    return int(bool(drift.orphaned))


def _check(arguments: argparse.Namespace) -> int:
    if not arguments.unsafe:
        print(NO_SANDBOX, file=sys.stderr)
        return 2
    from . import cells, checks, freeze, judge, run

    print("WARNING: no sandbox; the notebook's code runs as you.", file=sys.stderr)
    name = arguments.exercise or arguments.notebook.stem
    solution = cells.read_notebook(arguments.root / "solutions" / f"{name}.ipynb")
    tasks = checks.load_tasks(arguments.root / "solutions" / "checks" / f"{name}.py")
    submission = cells.read_notebook(arguments.notebook)
    if arguments.task is not None:
        tasks = [task for task in tasks if task.grade_id == arguments.task]
    if not tasks:
        raise ValueError(f"--task: {name} has no checks for {arguments.task!r}")
    passed = True
    for task in tasks:
        frozen = freeze.freeze(task, arguments.seed, solution)
        answer = cells.answer_source(submission, task.grade_id)
        verdict = judge.judge(frozen, run.run_answer(frozen, answer))
        print(f"{verdict.points}/{verdict.max_points}  {task.grade_id}: {verdict.message}")
        passed = passed and verdict.passed
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
