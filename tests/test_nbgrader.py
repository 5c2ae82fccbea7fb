"""nbgrader's own tools open the same notebooks: what the instructor's guide says of them."""

import logging
import os
import shutil
import sys
from pathlib import Path

import pytest
from traitlets.config import Config

from grader import cells

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
NAME = "01_language_models"
WITHOUT_TORCH = "10_sampling"  # runs in a second


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course folder of nbgrader's with one of our solutions as source."""
    (tmp_path / "source" / "01").mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / f"{NAME}.ipynb", tmp_path / "source" / "01")
    # It starts the command alembic, which lies beside this Python.
    folder = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.db_url = f"sqlite:///{tmp_path}/gradebook.db"
    config.CourseDirectory.assignment_id = "01"
    return tmp_path, config


def test_generate_assignment_gives_our_exercise_and_knows_its_points(course):
    from nbgrader.api import Gradebook
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory

    root, config = course
    stub = 'raise NotImplementedError("replace this line with your answer")'
    config.ClearSolutions.code_stub = {"python": stub}
    config.ClearSolutions.text_stub = "*Replace this line with your answer.*"
    directory = CourseDirectory(config=config)
    converter = GenerateAssignment(coursedir=directory, config=config)
    converter.log.setLevel(logging.ERROR)
    converter.start()
    theirs = cells.read_notebook(root / "release" / "01" / f"{NAME}.ipynb")
    ours = cells.read_notebook(ROOT / "exercises" / f"{NAME}.ipynb")
    assert [c.source for c in theirs.cells] == [c.source for c in ours.cells]
    assert [c.metadata.get("nbgrader") for c in theirs.cells] == [
        c.metadata.get("nbgrader") for c in ours.cells
    ]
    with Gradebook(f"sqlite:///{root}/gradebook.db") as book:
        known = {cell.name: cell.max_score for cell in book.find_notebook(NAME, "01").grade_cells}
    points = {
        cells.nbgrader_field(cell, "grade_id"): cells.nbgrader_field(cell, "points")
        for cell in ours.cells
        if cells.nbgrader_field(cell, "grade")
    }
    assert known == points
    assert len(points) >= 3


def test_validate_passes_a_solution_and_fails_an_empty_exercise(course):
    from nbgrader.validator import Validator
    from traitlets.config import Config

    folder = course[0] / "source" / "01"
    name = f"{WITHOUT_TORCH}.ipynb"
    for kind in ("solutions", "exercises"):
        (folder / kind).mkdir()
        shutil.copy(ROOT / kind / name, folder / kind)
    # A cell has 30 seconds otherwise, which are too few on a busy machine.
    validator = Validator(config=Config({"Execute": {"timeout": 600}}))
    passed = validator.validate(str(folder / "solutions" / name))
    assert passed == {}  # it names what fails, and nothing else
    found = validator.validate(str(folder / "exercises" / name))
    tasks = cells.answer_ids(cells.read_notebook(folder / "exercises" / name))
    open_questions = [c for c in found["failed"] if "did not provide" in c["error"]]
    assert len(found["failed"]) - len(open_questions) == len(tasks)
    assert len(open_questions) == 1


def test_a_students_check_knows_nbgraders_checksums():
    from nbgrader.utils import compute_checksum
    from release_student_check import checksum

    tests = [c for c in cells.read_notebook(ROOT / "exercises" / f"{NAME}.ipynb").cells
             if cells.role(c) == "grade"]  # fmt: skip
    assert [checksum(c) for c in tests] == [compute_checksum(c) for c in tests]
    tests[0].source += "\n"
    assert checksum(tests[0]) != cells.nbgrader_field(tests[0], "checksum")
