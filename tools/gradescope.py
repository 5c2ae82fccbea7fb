#!/usr/bin/env python3
"""An autograder for Gradescope: dist/gradescope-NN_topic.zip, for each exercise one.

python tools/gradescope.py             all exercises
python tools/gradescope.py 01 02       these

The hidden checks are in it, since it stays with the instructor. All students get the same hidden
inputs; another zip draws others, unless --seed says which.
"""

import argparse
import json
import sys
from pathlib import Path

from release import zip_bytes
from release_files import ReleaseError, course_files

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = "tools/gradescope_zip/"


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all is written, 1 nothing is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exercises", nargs="*", metavar="NN", help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder (default: dist)")
    parser.add_argument("--seed", type=int, help="of the hidden inputs")
    arguments = parser.parse_args(argv)
    from grader import freeze

    try:
        for name in freeze.find_exercises(ROOT, arguments.exercises):
            seed = freeze.draw_seed() if arguments.seed is None else arguments.seed
            print(write_autograder(ROOT, arguments.out, name, seed))
    except (ValueError, ReleaseError) as error:
        print(f"gradescope: {error}", file=sys.stderr)
        return 1
    return 0


def write_autograder(root: Path, out: Path, name: str, seed: int) -> Path:
    """Write the zip of one exercise into ``out``; its path.

    ReleaseError if ``root`` is no git checkout, which says what belongs to the course.
    """
    wanted = ("grader/", "lecture_lib/", SCRIPTS, f"solutions/{name}.ipynb",
              f"solutions/checks/{name}.py")  # fmt: skip
    names = [path for path in course_files(root, allow_uncommitted=True) if path.startswith(wanted)]
    files = {path.removeprefix(SCRIPTS): (root / path).read_bytes() for path in names}
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    files["requirements.txt"] = "".join(x for x in lines if not x.startswith("-e")).encode()
    files["settings.json"] = json.dumps({"exercise": name, "seed": seed}).encode()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"gradescope-{name}.zip"
    path.write_bytes(zip_bytes("", files, executable=("setup.sh", "run_autograder")))
    return path


if __name__ == "__main__":
    sys.exit(main())
