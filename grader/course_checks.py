"""All hidden checks of some exercises, frozen with the course's seed."""

import ast
import contextlib
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from . import cells, checks, encoding, freeze
from .build import solution_paths
from .exchange import GradingError

# numpy's global generator takes seeds below 2**32, and a case's seed is 1000 times this.
SEEDS = 4_000_000
BUNDLED = "smollm2-135m-instruct"
MODULES_OF_CASES = {
    '"$toy_lm"': "lecture_lib.decoding.toy_lm",
    '"$model"': "lecture_lib.loading",
    '"lib":"torch"': "torch",
    '"lib":"numpy"': "numpy",
}


def find_exercises(root: Path, wanted: list[str] | None = None) -> list[str]:
    """Names of the course's exercises, or of those wanted by name or number ("01")."""
    names = [path.stem for path in solution_paths(root)]
    if not wanted:
        return names
    for text in wanted:
        if text not in [*names, *(name.split("_")[0] for name in names)]:
            raise ValueError(f"exercise: {text!r} is not one of {', '.join(names)}")
    return [name for name in names if {name, name.split("_")[0]} & set(wanted)]


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
        others = models_of(data) - {BUNDLED}
        if others:
            raise GradingError(f"{name}/{task}: the sandbox holds no model {sorted(others)[0]!r}")
    return frozen


def draw_seed(root: Path, names: list[str]) -> tuple[int, dict[tuple[str, str], dict]]:
    """A seed that nobody knows, and the checks frozen with it.

    Few seeds draw inputs on which two mistakes look the same; such a seed is drawn again.
    """
    for _ in range(4):
        seed = secrets.randbelow(SEEDS)
        with contextlib.suppress(freeze.FreezeError):
            return seed, freeze_exercises(root, names, seed)
    seed = secrets.randbelow(SEEDS)
    return seed, freeze_exercises(root, names, seed)


def models_of(frozen: dict) -> set[str]:
    """Names of the real models that a task's cases hold."""
    return set(re.findall(r'"\$model":"([^"]*)"', encoding.dumps(frozen["cases"])))


def modules_of(tasks: Sequence[dict]) -> list[str]:
    """Modules that the trusted parts of frozen tasks import: setup, driver, cases. Sorted."""
    found: set[str] = set()
    for frozen in tasks:
        drive = frozen["ask"]["drive"]
        for source in [*frozen["ask"]["setup"], *([] if drive is None else [drive["source"]])]:
            with contextlib.suppress(SyntaxError):  # the setup itself will fail, and say so
                found |= _imported(source)
        cases = encoding.dumps(frozen["cases"])
        found |= {module for mark, module in MODULES_OF_CASES.items() if mark in cases}
    return sorted(found)


def _imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return names
