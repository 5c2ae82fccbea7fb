"""exercises/NN_topic.ipynb from solutions/NN_topic.ipynb, byte for byte repeatable.

nbgrader's preprocessors do the work, as a library: no database, no course folder. A solution
notebook that would come out wrong (a leaked answer, a lost signature) is refused by ``lint``.
"""

from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from . import cells
from .lint import lint

STUB = 'raise NotImplementedError("replace this line with your answer")'
TEXT_STUB = "*Replace this line with your answer.*"


class BuildError(ValueError):
    """A solution notebook that cannot become an exercise; one line a problem."""


@dataclass(frozen=True)
class Drift:
    """What is not as ``build`` would leave it: file names."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    orphaned: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.orphaned)

    def lines(self) -> list[str]:
        """One sentence a file."""
        return [
            *(
                f"exercises/{name}: differs from what solutions/{name} gives"
                for name in self.changed
            ),
            *(f"exercises/{name}: missing" for name in self.missing),
            *(f"exercises/{name}: orphaned, solutions/ has no such file" for name in self.orphaned),
        ]


def build_exercise(solution: NotebookNode) -> NotebookNode:
    """The exercise of a solution notebook, which is left as it is.

    Raises:
        BuildError: listing all that is wrong with the solution notebook.
    """
    problems = lint(solution)
    if problems:
        raise BuildError("\n".join(problems))
    # nbgrader takes two seconds to import; who only reads notebooks need not wait for it.
    from nbgrader.preprocessors import (
        CheckCellMetadata,
        ClearOutput,
        ClearSolutions,
        ComputeChecksums,
        LockCells,
    )

    exercise = nbformat.from_dict(solution)
    exercise.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    resources: dict = {}
    for preprocessor in (
        LockCells(),
        ClearSolutions(code_stub={"python": STUB}, text_stub=TEXT_STUB),
        ClearOutput(remove_metadata_fields={"collapsed", "scrolled", "execution"}),
        CheckCellMetadata(),
        ComputeChecksums(),
    ):
        exercise, resources = preprocessor(exercise, resources)
    return exercise


def exercise_bytes(solution_path: Path) -> bytes:
    """What the exercise's file must hold.

    Raises:
        BuildError: the solution notebook cannot become an exercise.
    """
    try:
        exercise = build_exercise(cells.read_notebook(solution_path))
    except (BuildError, cells.NotebookError) as error:
        lines = [f"{solution_path.name}: {line}" for line in str(error).splitlines()]
        raise BuildError("\n".join(lines)) from error
    return (nbformat.writes(exercise, version=4).rstrip("\n") + "\n").encode()


def find_drift(root: Path) -> Drift:
    """Compare ``root/exercises`` with what ``root/solutions`` gives."""
    wanted = {path.name: exercise_bytes(path) for path in solution_paths(root)}
    found = {path.name: path.read_bytes() for path in sorted((root / "exercises").glob("*.ipynb"))}
    return Drift(
        changed=tuple(n for n in wanted if n in found and found[n] != wanted[n]),
        missing=tuple(n for n in wanted if n not in found),
        orphaned=tuple(n for n in found if n not in wanted),
    )


def build(root: Path) -> Drift:
    """Write ``root/exercises``; returns what had changed or was missing. Orphans are left alone."""
    drift = find_drift(root)
    (root / "exercises").mkdir(exist_ok=True)
    for name in (*drift.changed, *drift.missing):
        (root / "exercises" / name).write_bytes(exercise_bytes(root / "solutions" / name))
    return drift


def solution_paths(root: Path) -> list[Path]:
    """The solution notebooks, in order.

    Raises:
        BuildError: there is no folder ``solutions``.
    """
    if not (root / "solutions").is_dir():
        raise BuildError(f"{root}: has no folder solutions/ (run this in the course's folder)")
    return sorted((root / "solutions").glob("*.ipynb"))
