"""A new task is started by one command, works as it is, and a second command tries it."""

import shutil
from pathlib import Path

import nbformat
import pytest

from grader import cells, freeze
from tools import build_exercises as build
from tools import exercise_task

SAMPLE = Path(__file__).parent / "exercises" / "sample"


@pytest.fixture
def course(tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture
def run(course, capsys):
    """Runs the command in the course: its exit status and what it printed."""

    def run(*arguments):
        return exercise_task.main(list(arguments), course), capsys.readouterr().out

    return run


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_new_task_can_be_built_graded_and_is_not_yet_right(course, run):
    assert run("new", "01", "twice-as-much")[0] == 0
    notebook = cells.read_notebook(course / "solutions/01_sample.ipynb")
    nbformat.validate(notebook)
    assert cells.answer_ids(notebook)[-1] == "twice-as-much"
    build.build(course)
    frozen = freeze.freeze_exercises(course, ["01_sample"], 0)
    assert frozen["01_sample", "twice-as-much"]["points"] == 3
    assert len(frozen) == 5
    status, told = run("try", "01", "twice-as-much")
    assert status == 1
    assert "TODO: what is wrong" in told
    assert "1 misconceptions; 4 needed" in told
    assert "still says TODO" in told


@pytest.mark.parametrize("name", ["greedy", "Two Words", "1st"])
def test_a_name_that_cannot_be_taken_is_refused_before_anything_is_written(course, run, name):
    before = {path: path.read_bytes() for path in course.rglob("*.*") if path.is_file()}
    status, told = run("new", "01", name)
    assert (status, told.startswith("NAME:")) == (1, True)
    assert {path: path.read_bytes() for path in course.rglob("*.*") if path.is_file()} == before


def test_a_task_that_is_right_names_every_misconception(run):
    status, told = run("try", "01_sample", "greedy")
    assert status == 0, told
    assert "  this takes the LEAST probable token" in told
    assert "small changes of the solution no case notices" in told


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("checks/01_sample.py", '"argmax", "argmin"', '"argmax", "argmax"', "from the reference"),
        ("checks/01_sample.py", '"argmax", "argmin"', '"argmux", "argmin"', "is 0 times"),
        ("01_sample.ipynb", "2)) == 2,", "2)) == 3,", "the visible tests fail with the solution"),
        ("01_sample.ipynb", "4 points", "5 points", "the text says 5 points"),
        ("01_sample.ipynb", "4 points", "4 points" + " and" * 130, "words, allowed 130"),
    ],
)
def test_what_is_wrong_with_a_task_is_said(course, run, file, old, new, told):
    edit(course / "solutions" / file, old, new)
    status, said = run("try", "01", "greedy")
    assert status == 1
    assert told in said
