"""``python -m grader grade SUBMISSIONS --out RESULTS``: its arguments, its words."""

import argparse
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import docker
from .limits import Limits
from .sandbox import BACK_ENDS, Sandbox

if TYPE_CHECKING:
    from .grade import Outcome

EPILOG = """exit status: 0 all graded; 1 some answers could not be graded (no student's fault);
2 nothing was graded; 130 interrupted. Run it again to go on where it stopped."""


def add_parser(commands) -> None:
    """Add the command to a parser's subcommands."""
    command = commands.add_parser("grade", help="grade a folder of submissions", epilog=EPILOG)
    add = command.add_argument
    add("submissions", type=Path, help="folders or files of students, as they come")
    add("--out", type=Path, required=True, metavar="RESULTS", help="grades, feedback, database")
    add("--exercise", action="append", metavar="NN", help="only this one; may be repeated")
    add("--seed", "--course-seed", type=int, help="of the hidden inputs (default: drawn once)")
    add("--deadline", type=_moment, metavar="YYYY-MM-DDTHH:MM", help="later ones are marked late")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time (default: cores)")
    add("--regrade", action="append", default=[], metavar="STUDENT|TASK|EXERCISE|all")
    add("--adjustments", type=Path, help="CSV or TOML (default: RESULTS/adjustments.csv or .toml)")
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster, in place of this machine")
    add("--sandbox", choices=BACK_ENDS[:2], default=BACK_ENDS[0])
    add("--image", default=docker.IMAGE, help="for --sandbox docker")
    add("--limit", action="append", default=[], metavar="NAME=VALUE",
        help=f"one of {', '.join(Limits.__dataclass_fields__)}; may be repeated")  # fmt: skip
    add("--cold", action="store_true", help="each task imports anew (default: forked warm)")
    add("--unsafe", action="store_true", help="grade even without a sandbox that holds")
    command.set_defaults(function=run_grade)


def run_grade(arguments: argparse.Namespace) -> int:
    from .grade import Settings, grade  # imports much that --help does not need

    settings = Settings(
        exercises=arguments.exercise,
        seed=arguments.seed,
        deadline=arguments.deadline,
        jobs=arguments.jobs,
        regrade=arguments.regrade,
        scheduler=arguments.scheduler,
        unsafe=arguments.unsafe,
        adjustments=arguments.adjustments,
        sandbox=Sandbox(
            arguments.sandbox,
            Limits().with_changes(arguments.limit),
            image=arguments.image,
            warm=not arguments.cold,
        ),
    )
    outcome = grade(arguments.root, arguments.submissions, arguments.out, settings)
    print("\n".join(_words(outcome, arguments.out)))
    if outcome.interrupted:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return 130
    return int(any(student.total is None for student in outcome.book.students))


def _words(outcome: "Outcome", results: Path) -> list[str]:
    from .reports import format_points

    book = outcome.book
    totals = [student.total for student in book.students if student.total is not None]
    mean = sum(totals) / len(totals) if totals else 0.0
    lines = [
        f"{len(book.students)} students, {outcome.n_graded} answers graded now, "
        f"seed {outcome.seed}",
        f"mean {format_points(mean)} of {format_points(book.max_points)} points",
    ]
    not_graded = {f"{s.name}, {g.task.column}: {g.message}"
                  for s in book.students for g in s.grades if g.points is None}  # fmt: skip
    lines += sorted(not_graded)[:10]
    if len(not_graded) > 10:
        lines.append(f"... and {len(not_graded) - 10} more that are not graded")
    return [*lines, f"grades.csv, results.jsonl, summary.html, feedback/: in {results}"]


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: like 2030-01-31T23:59 ({error})") from None
