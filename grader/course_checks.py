"""All hidden checks of some exercises, frozen with the course's seed."""

import secrets
from pathlib import Path

from . import cells, checks, freeze, jobs
from .build import solution_paths
from .run import GradingError

# numpy's global generator takes seeds below 2**32, and a case's seed is 1000 times this.
SEEDS = 4_000_000
BUNDLED = "smollm2-135m-instruct"


def find_exercises(root: Path, wanted: list[str] | None = None) -> list[str]:
    """Names of the course's exercises, all of them or those wanted.

    Args:
        wanted: names, or their numbers ("01").

    Raises:
        ValueError: an exercise that the course has not.
    """
    names = [path.stem for path in solution_paths(root)]
    if not wanted:
        return names
    chosen = set()
    for text in wanted:
        found = [name for name in names if text in (name, name.split("_")[0])]
        if len(found) != 1:
            raise ValueError(f"exercise: {text!r} is not one of {', '.join(names)}")
        chosen.add(found[0])
    return [name for name in names if name in chosen]


def freeze_exercises(root: Path, names: list[str], seed: int) -> dict[tuple[str, str], dict]:
    """Frozen checks by (exercise, task), in the order of the course.

    Raises:
        FreezeError: with this seed a task's cases cannot tell its misconceptions apart.
        ValueError: the seed is out of range.
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"seed: got {seed}, must be from 0 to {SEEDS - 1}")
    frozen = {}
    for name in names:
        notebook = cells.read_notebook(root / "solutions" / f"{name}.ipynb")
        for task in checks.load_tasks(root / "solutions" / "checks" / f"{name}.py"):
            frozen[name, task.grade_id] = freeze.freeze(task, seed, notebook)
    for (name, task), data in frozen.items():
        others = jobs.models_of(data) - {BUNDLED}
        if others:
            raise GradingError(f"{name}/{task}: the sandbox holds no model {sorted(others)[0]!r}")
    return frozen


def draw_seed(root: Path, names: list[str]) -> tuple[int, dict[tuple[str, str], dict]]:
    """A seed that nobody knows, and the checks frozen with it.

    Few seeds draw inputs on which two mistakes look the same; such a seed is drawn again.

    Raises:
        FreezeError: five seeds in a row would not do.
    """
    for attempt in range(5):
        seed = secrets.randbelow(SEEDS)
        try:
            return seed, freeze_exercises(root, names, seed)
        except freeze.FreezeError:
            if attempt == 4:
                raise
    raise AssertionError("unreachable")
