"""Submissions graded a minute: ours, in its sandbox, and `nbgrader autograde` on the same files.

    python benchmarks/grading_throughput.py            # stores its results
    python benchmarks/grading_throughput.py --quick    # a look: few submissions, writes nothing

Submissions are made from the course's own answers: right, differently written and wrong ones, drawn
by a seed; no two answers are equal, so that nothing is graded for two students at once. All graders
take turns on the same folder, round after round, each from the start to its finished grades; a
number is the median over the rounds. nbgrader has no sandbox and runs one notebook at a time, so
ours is timed with one job too; hidden checks (ours) and visible tests (nbgrader's) both run.
"""

import argparse
import csv
import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from results import middle, save, show
from tqdm import tqdm

from grader import cells, checks

COURSE = Path(__file__).resolve().parents[1]
TITLE = re.compile(r"^# %% *([\w-]+): *([\w-]+)[ \t]*$", re.MULTILINE)
NBGRADER = "nbgrader autograde, one at a time, no sandbox"
SCRIPTS = os.path.dirname(sys.executable)  # nbgrader calls alembic by its name
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PATH": os.pathsep.join([SCRIPTS, os.environ.get("PATH", os.defpath)]),
}


def find_exercise(number: str) -> str:
    """Name of the exercise that starts with the number."""
    found = sorted(path.stem for path in (COURSE / "solutions").glob(f"{number}_*.ipynb"))
    if len(found) != 1:
        raise SystemExit(f"exercises: {number!r} fits {found or 'none'}; give one, like 01")
    return found[0]


def course_answers(name: str, solution: nbformat.NotebookNode) -> dict[str, dict[str, list[str]]]:
    """Sources by task and kind: "right", "other" (differently written), "wrong"."""
    found = {task: {"right": [cells.find_cell(solution, task).source], "other": [], "wrong": []}
             for task in cells.answer_ids(solution)}  # fmt: skip
    text = (COURSE / "tests" / "exercises" / f"{name}_answers.py").read_text(encoding="utf-8")
    parts = TITLE.split(text)
    for task, label, source in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found[task]["other" if label == "right" else "wrong"].append(source.strip("\n"))
    for task in checks.load_tasks(COURSE / "solutions" / "checks" / f"{name}.py"):
        [source], wrong = found[task.grade_id]["right"], found[task.grade_id]["wrong"]
        wrong += [checks.edited(source, changes[1:-1]) for changes in task.misconceptions]
    return found


def make_submissions(folder: Path, name: str, n: int, seed: int) -> None:
    """``folder/student-i/name/name.ipynb``: as nbgrader lays them out, and as ours reads too."""
    rng = random.Random(seed)
    solution = cells.read_notebook(COURSE / "solutions" / f"{name}.ipynb")
    answers = course_answers(name, solution)
    for i in range(n):
        made = cells.read_notebook(COURSE / "exercises" / f"{name}.ipynb")
        for task, kinds in answers.items():
            kind = rng.choice([kind for kind, sources in kinds.items() if sources])
            source = rng.choice(kinds[kind])
            cells.find_cell(made, task).source = f"{source}\n# {task} of student {i}"
        path = folder / f"student-{i}" / name / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(made, path)


def run(command: list) -> float:
    """Seconds that a command took; one that fails ends the benchmark with what it said."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], capture_output=True, text=True,
        env=ENVIRONMENT, cwd=COURSE,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def grade_ours(work: Path, name: str, n: int, options: list[str]) -> float:
    out = work / "results"
    shutil.rmtree(out, ignore_errors=True)
    command = ["grader", "--root", COURSE, "grade", work / "submitted", "--out", out]
    seconds = run([*command, "--exercise", name, "--seed", 1, *options])
    with (out / "grades.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == n
    # Not the total: it is empty until a person has marked the open question.
    points = {tuple(row[name] for name in row if "/" in name) for row in rows}
    assert len(points) > 1 or n == 1, "right and wrong answers got the same points"
    return seconds


def prepare_nbgrader(work: Path, name: str) -> None:
    (work / "source" / name).mkdir(parents=True)
    shutil.copy(COURSE / "solutions" / f"{name}.ipynb", work / "source" / name)
    run(["nbgrader", "generate_assignment", name, "--course-dir", work])


def grade_nbgrader(work: Path, name: str, n: int, options: list[str]) -> float:
    shutil.rmtree(work / "autograded", ignore_errors=True)
    command = ["nbgrader", "autograde", name, "--course-dir", work, "--force", *options]
    seconds = run([*command, "--Execute.timeout=600"])  # its 30 s a cell fail on a busy machine
    graded = list((work / "autograded").glob(f"*/{name}/{name}.ipynb"))
    assert len(graded) == n
    return seconds


def contenders(jobs: int) -> dict:
    """Function and options by name; nbgrader is what the others are compared with."""
    found = {NBGRADER: (grade_nbgrader, [])}
    for n in sorted({1, jobs}):
        found[f"ours, sandbox, {n} job{'s' * (n > 1)}"] = (grade_ours, ["--jobs", str(n)])
    return found


def compare(names: list[str], args: argparse.Namespace, progress: tqdm) -> list[dict]:
    """A row for each exercise and grader."""
    rows = []
    for name in names:
        times: dict[str, list[float]] = {label: [] for label in contenders(args.jobs)}
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            make_submissions(work / "submitted", name, args.submissions, args.seed)
            prepare_nbgrader(work, name)
            for _ in range(args.rounds):
                for label, (grade, options) in contenders(args.jobs).items():
                    progress.set_postfix_str(f"{name}: {label}")
                    times[label].append(grade(work, name, args.submissions, options))
                    progress.update()
        for label, seconds in times.items():
            took, spread = middle(seconds)
            rows.append({"exercise": name, "grader": label, "took_s": took, "spread": spread})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exercises", nargs="+", default=["01"], metavar="NN")
    parser.add_argument("--submissions", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few submissions, nothing written")
    args = parser.parse_args()
    if importlib.util.find_spec("nbgrader") is None:
        raise SystemExit("nbgrader is not installed: pip install nbgrader, then run this again")
    if args.quick:
        args.exercises, args.submissions, args.rounds = args.exercises[:1], 3, 1
    names = [find_exercise(number) for number in args.exercises]
    total = len(names) * args.rounds * len(contenders(args.jobs))
    with tqdm(total=total, unit="run") as progress:
        rows = compare(names, args, progress)
    show({"speed": rows})
    if not args.quick:
        save("grading_throughput", args, {"speed": rows})


if __name__ == "__main__":
    main()
