"""``python -m grader``: ``build``, ``check NOTEBOOK``, ``grade FOLDER --out RESULTS``."""

import argparse
import os
import sys
from datetime import datetime
from pathlib import Path

from . import GradingError
from .limits import Limits
from .sandbox import Sandbox

NO_SANDBOX = """check runs the notebook's code on this machine as you, without a sandbox: it can
read and delete your files. If you trust it, add --unsafe."""
EPILOG = """exit status of grade: 0 all graded; 1 some answers could not be graded (no student's
fault) or wait for a person's points, or files were not taken: summary.html lists them; 2 nothing
was graded; 130 interrupted. Run it again to go on where it stopped."""


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 fine; 1 something differs or a check failed; 2 nothing could be checked."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.function(arguments)
    except (ValueError, GradingError) as error:
        print(error, file=sys.stderr)
    except OSError as error:  # a full disk, or a folder that cannot be
        where = f"{error.filename}: " if error.filename else ""
        print(f"{where}{error.strerror or error}; nothing that was graded is lost", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted: run the same command again", file=sys.stderr)
        return 130
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m grader", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."), help="the course's folder")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("build", help="write exercises/ from solutions/")
    command.set_defaults(function=_build)
    command.add_argument("--check", action="store_true", help="write nothing; fail if it differs")

    command = commands.add_parser("check", help="hidden checks over one notebook")
    command.set_defaults(function=_check)
    command.add_argument("notebook", type=Path)
    command.add_argument("--task", help="only this grade_id")
    command.add_argument("--exercise", help="its name, if the file is called otherwise")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--unsafe", action="store_true", help="run the code without a sandbox")

    command = commands.add_parser("grade", help="grade a folder of submissions", epilog=EPILOG)
    command.set_defaults(function=_grade)
    add, limits = command.add_argument, ", ".join(Limits.__dataclass_fields__)
    add("submissions", type=Path, help="folders or files of students, as they come")
    add("--out", type=Path, required=True, metavar="RESULTS", help="grades, feedback, database")
    add("--exercise", dest="exercises", action="append", metavar="NN",
        help="only this one; may be repeated")  # fmt: skip
    add("--seed", "--course-seed", type=int, help="of the hidden inputs (default: drawn once)")
    add(
        "--deadline",
        type=datetime.fromisoformat,
        metavar="YYYY-MM-DDTHH:MM",
        help="later ones are marked late",
    )
    add("--roster", type=Path, help="table of all students: a file is whose name its path has")
    add(
        "--per-student",
        action="store_true",
        help="exercises were handed out with values of one's own; needs --roster and --seed",
    )
    add("--pattern", metavar="REGEX", help="finds (?P<student>...) in the path of each file")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time (default: cores)")
    add("--regrade", action="append", default=[], metavar="STUDENT|TASK|EXERCISE|all")
    add("--adjustments", type=Path, help="CSV (default: RESULTS/adjustments.csv)")
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster, in place of this machine")
    add("--limit", action="append", default=[], metavar="NAME=VALUE",
        help=f"one of {limits}; may be repeated")  # fmt: skip
    add("--unsafe", action="store_true", help="grade even without a sandbox that holds")
    return parser


# Each command imports what it needs when it runs: --help answers at once.


def _build(arguments: argparse.Namespace) -> int:
    from . import build

    drift = build.find_drift(arguments.root) if arguments.check else build.build(arguments.root)
    for name, why in drift.items():
        written = not arguments.check and why != build.ORPHANED
        print(f"exercises/{name}: {'written' if written else why}")
    if arguments.check:
        print("run: python -m grader build" if drift else "exercises/ is what solutions/ gives")
        return int(bool(drift))
    return int(build.ORPHANED in drift.values())


def _check(arguments: argparse.Namespace) -> int:
    if not arguments.unsafe:
        print(NO_SANDBOX, file=sys.stderr)
        return 2
    from . import cells, freeze, judge, run

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


def _grade(arguments: argparse.Namespace) -> int:
    from .grade import Settings, grade
    from .reports import format_points

    sandbox = Sandbox(limits=Limits().with_changes(arguments.limit))
    names = Settings.__dataclass_fields__.keys() - {"sandbox"}
    settings = Settings(sandbox=sandbox, **{name: getattr(arguments, name) for name in names})
    outcome = grade(arguments.root, arguments.submissions, arguments.out, settings)
    book, totals = outcome.book, outcome.book.totals
    mean = format_points(totals.mean() if totals.count() else 0.0)
    print(f"{len(totals)} students, {outcome.n_graded} answers graded now, seed {outcome.seed}")
    print(f"mean {mean} of {format_points(book.max_points)} points")
    not_graded = sorted({f"{row['student']}, {row['column']}: {row['message']}"
                         for row in book.rows
                         if row["points"] is None and not row["parts"]})  # fmt: skip
    print(*not_graded[:10], sep="\n", end="\n" if not_graded else "")
    if len(not_graded) > 10:
        print(f"... and {len(not_graded) - 10} more that are not graded")
    for path, why in outcome.rejected[:10]:
        print(f"not taken: {path}: {why}")
    if len(outcome.rejected) > 10:
        print(f"... and {len(outcome.rejected) - 10} more files that are not taken")
    for task, rows in book.written.items():
        waiting = sum(row["points"] is None for row in rows)
        print(f"{task}: {waiting} of {len(rows)} answers wait for a person's points, see written/")
    print(f"grades.csv, results.jsonl, summary.html, feedback/: in {arguments.out}")
    if outcome.interrupted:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return 130
    return int(totals.isna().any() or bool(outcome.rejected))


if __name__ == "__main__":
    sys.exit(main())
