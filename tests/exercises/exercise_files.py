"""Finding the exercises, and their answers: written in NN_topic_answers.py, or made from edits."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from small_tasks import run_trusted

from grader import cells, checks, freeze, judge, run, session

HERE = Path(__file__).parent
COURSE = HERE.parents[1]
# The sample has the same layout as the course; it is how the machinery itself is tested.
ROOTS = {COURSE: HERE, HERE / "sample": HERE / "sample"}
TITLE = re.compile(r"^# %% *([\w-]+): *([\w-]+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """One exercise: its folder, name, and the folder of its answers file."""

    root: Path
    name: str
    answers_folder: Path

    @property
    def solution(self):
        return _read(self.root / "solutions" / f"{self.name}.ipynb")

    @property
    def exercise(self):
        return _read(self.root / "exercises" / f"{self.name}.ipynb")

    @property
    def tasks(self):
        return _tasks(self.root / "solutions" / "checks" / f"{self.name}.py")

    @property
    def written(self) -> list[tuple[str, str, str]]:
        """(grade_id, "right" or a misconception's name, source) of each written answer."""
        path = self.answers_folder / f"{self.name}_answers.py"
        parts = TITLE.split(path.read_text(encoding="utf-8")) if path.exists() else [""]
        return list(zip(parts[1::3], parts[2::3], parts[3::3], strict=True))

    @property
    def answers(self) -> list[tuple[str, str, str]]:
        """Those, and a wrong one for every misconception."""
        made = [
            (task.grade_id, name, checks.edited(solution, changes))
            for task in self.tasks
            if (solution := cells.find_cell(self.solution, task.grade_id).source)
            for name, *changes, _ in task.misconceptions
        ]
        return self.written + made


def find_exercises() -> list[Exercise]:
    """Every exercise that has a solution notebook or checks."""
    return [
        Exercise(root, name, folder)
        for root, folder in ROOTS.items()
        for name in sorted(
            {path.stem for path in (root / "solutions").glob("*.ipynb")}
            | {path.stem for path in (root / "solutions" / "checks").glob("*.py")}
        )
    ]


@cache
def frozen(exercise: Exercise, grade_id: str) -> dict:
    """The task, frozen once for all tests."""
    task = next(task for task in exercise.tasks if task.grade_id == grade_id)
    return freeze.freeze(task, exercise.solution)


def verdict(exercise: Exercise, grade_id: str, source: str, *, process: bool = False):
    """Verdict on an answer cell; in this process unless asked otherwise (torch takes seconds)."""
    data = frozen(exercise, grade_id)
    if process:
        return judge.judge(data, run.run_answer(data, source))
    namespace = _setup(tuple(data["ask"]["setup"]))
    return judge.judge(data, run_trusted(data, source, namespace))


@cache
def _setup(sources: tuple[str, ...]) -> dict:
    return session.run_setup(list(sources))


@cache
def _read(path: Path):
    return cells.read_notebook(path)


@cache
def _tasks(path: Path):
    return checks.load_tasks(path)
