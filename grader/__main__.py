"""``python -m grader``: ``build``, ``check NOTEBOOK``, ``grade FOLDER --out RESULTS``."""

import argparse
import importlib
import os
import sys
from datetime import datetime
from pathlib import Path

from . import GradingError
from .sandbox import Limits, Sandbox

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where tools/ is
TOOLS = {  # authors' commands: the module, and what it does
    "build": ("build_exercises", "write exercises/ from solutions/"),
    "check": ("check_notebook", "hidden checks over one notebook"),
}
EPILOG = """exit status of grade: 0 all graded; 1 some answers could not be graded (no student's
fault) or wait for a person's points, or files were not taken: summary.html lists them; 2 nothing
was graded; 130 interrupted. Run it again to go on where it stopped."""


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 fine; 1 something differs or a check failed; 2 nothing could be checked."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parser(argv).parse_args(argv)
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


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m grader", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."), help="the course's folder")
    commands = parser.add_subparsers(required=True)
    for name, (tool, help_text) in TOOLS.items():
        command = commands.add_parser(name, help=help_text)
        if name in argv:  # only then imported: --help answers at once
            importlib.import_module(f"tools.{tool}").add_arguments(command)
    command = commands.add_parser("grade", help="grade a folder of submissions", epilog=EPILOG)
    command.set_defaults(function=_grade)
    add, limits = command.add_argument, ", ".join(Limits.__dataclass_fields__)
    add("submissions", type=Path, help="folders or files of students, as they come")
    add("--out", type=Path, required=True, metavar="RESULTS", help="grades, feedback, database")
    add("--exercise", dest="exercises", action="append", metavar="NN",
        help="only this one; may be repeated")  # fmt: skip
    add("--seed", "--course-seed", type=int, help="of the hidden inputs (default: drawn once)")
    add("--deadline", type=datetime.fromisoformat, metavar="YYYY-MM-DDTHH:MM",
        help="later ones are marked late")  # fmt: skip
    add("--roster", type=Path, help="table of all students: a file is whose name its path has")
    add("--per-student", action="store_true",
        help="exercises have values of one's own; needs --roster and --seed")  # fmt: skip
    add("--pattern", metavar="REGEX", help="finds (?P<student>...) in the path of each file")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time (default: cores)")
    add("--regrade", action="append", default=[], metavar="STUDENT|TASK|EXERCISE|all")
    add("--adjustments", type=Path, help="CSV (default: RESULTS/adjustments.csv)")
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster, in place of this machine")
    add("--limit", action="append", default=[], metavar="NAME=VALUE",
        help=f"one of {limits}; may be repeated")  # fmt: skip
    add("--unsafe", action="store_true", help="grade even without a sandbox that holds")
    return parser


def _grade(arguments: argparse.Namespace) -> int:
    from .grade import Settings, grade
    from .reports import printed

    sandbox = Sandbox(limits=Limits().with_changes(arguments.limit))
    names = Settings.__dataclass_fields__.keys() - {"sandbox"}
    settings = Settings(sandbox=sandbox, **{name: getattr(arguments, name) for name in names})
    outcome = grade(arguments.root, arguments.submissions, arguments.out, settings)
    print(printed(outcome, arguments.out))
    if outcome.interrupted:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return 130
    return int(outcome.book.totals.isna().any() or bool(outcome.rejected))


if __name__ == "__main__":
    sys.exit(main())
