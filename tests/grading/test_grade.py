"""What is graded when: new and changed answers, once each; the seed; regrading; adjustments."""

import contextlib
import csv
import os
import sqlite3
from concurrent.futures import Future
from datetime import UTC, datetime

import nbformat
import pytest
from small_course import RIGHT, WRONG, answer, hand_in, notebook, points

from grader import GradingError, pool, self_test
from grader import grade as grading
from grader.sandbox import Sandbox


@pytest.fixture
def three(course, tmp_path):
    hand_in(tmp_path / "in", "alice", notebook(course))
    hand_in(tmp_path / "in", "bob", notebook(course, double=WRONG["double"]))
    hand_in(tmp_path / "in", "carol", notebook(course, double=None))
    hand_in(tmp_path / "in", "carol", notebook(course, "02_more"), "02_more")
    return tmp_path / "in"


def test_points_of_right_wrong_and_missing_answers(three, grade_here):
    outcome = grade_here()
    assert points(outcome) == {
        "alice": {"double": 2, "mean": 3},
        "bob": {"double": 0, "mean": 3},
        "carol": {"double": 0, "mean": 3, "half": 1},
    }
    bob, carol = (answer(outcome, student, "double") for student in ("bob", "carol"))
    assert bob["message"] == "this is the input itself"
    assert bob["misconception"] == "not-doubled"
    assert "not answered yet" in carol["message"]


def test_nothing_is_graded_twice_and_equal_answers_once(three, grade_here):
    assert grade_here().n_graded == 3 + 1 + 1  # three kinds of double, one of mean, one of half
    again = grade_here()
    assert again.n_graded == 0
    assert points(again)["bob"] == {"double": 0, "mean": 3}


def test_only_what_was_changed_is_graded_again(course, three, grade_here):
    grade_here()
    other = "def double(x):\n    return list(map(lambda item: 2 * item, x))"
    hand_in(three, "bob", notebook(course, double=other))
    outcome = grade_here()
    assert outcome.n_graded == 1
    assert points(outcome)["bob"] == {"double": 2, "mean": 3}


def test_another_seed_changes_the_inputs_so_that_hard_coded_answers_fail(
    course, tmp_path, grade_here
):
    from grader import encoding, freeze

    frozen = freeze.freeze_exercises(course, ["01_lists"], 1)["01_lists", "mean"]
    inputs = [encoding.decode(case["args"][0]) for case in frozen["cases"]]
    table = {repr(x): sum(x) / len(x) for x in inputs}
    cheat = f"def mean(x):\n    return {table}[repr(x)]"
    hand_in(tmp_path / "in", "eve", notebook(course, mean=cheat))
    hand_in(tmp_path / "in", "alice", notebook(course))
    assert points(grade_here(seed=1))["eve"]["mean"] == 3
    other = grade_here(seed=2)
    assert points(other) == {
        "alice": {"double": 2, "mean": 3},
        "eve": {"double": 2, "mean": 0},
    }
    assert other.n_graded == 3
    assert grade_here(seed=2).n_graded == 0


def test_a_new_folder_draws_a_seed_and_keeps_it(three, grade_here):
    first = grade_here(seed=None)
    assert grade_here(seed=None).seed == first.seed
    assert grade_here(seed=None).n_graded == 0


@pytest.mark.parametrize(
    ("name", "n_graded"), [("bob", 2), ("mean", 1), ("02_more", 1), ("all", 5)]
)
def test_regrading_a_student_a_task_or_an_exercise(three, grade_here, name, n_graded):
    before = points(grade_here())
    outcome = grade_here(regrade=[name])
    assert outcome.n_graded == n_graded
    assert points(outcome) == before


def test_regrading_someone_unknown_is_refused(three, grade_here):
    grade_here()
    with pytest.raises(ValueError, match="no student, task or exercise is called 'nobody'"):
        grade_here(regrade=["nobody"])


def test_adjustments_survive_regrading(three, grade_here, tmp_path):
    grade_here()
    table = tmp_path / "out" / "adjustments.csv"
    table.write_text("student,task,points,reason,who\nbob,01_lists/double,1.5,right idea,Prof. X\n")
    for settings in ({}, {"regrade": ["all"]}, {"seed": 9}):
        outcome = grade_here(**settings)
        row = answer(outcome, "bob", "double")
        assert (row["points"], row["graded_points"]) == (1.5, 0)
    with (tmp_path / "out" / "grades.csv").open() as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows["bob"]["01_lists/double"] == "1.5"
    assert rows["bob"]["total"] == "4.5"
    assert rows["bob"]["adjusted"] == "01_lists/double"


def test_a_later_run_over_other_submissions_loses_no_one(course, three, grade_here):
    grade_here()
    (three / "alice" / "01_lists.ipynb").unlink()
    hand_in(three, "dave", notebook(course))
    outcome = grade_here(exercises=["02"])
    assert points(outcome)["alice"] == {"double": 2, "mean": 3}
    assert "dave" not in points(outcome)
    assert list(outcome.book.tasks) == ["01_lists/double", "01_lists/mean", "02_more/half"]


def test_late_submissions_are_marked(three, grade_here):
    path = three / "alice" / "01_lists.ipynb"
    os.utime(path, (2_000_000_000, 2_000_000_000))
    outcome = grade_here(deadline=datetime(2030, 1, 1, tzinfo=UTC))
    assert outcome.book.late == {"alice": ["01_lists"]}
    assert [answer(outcome, who, "mean")["late"] for who in ("alice", "bob")] == [True, False]
    assert points(outcome)["alice"] == {"double": 2, "mean": 3}


class Flaky:
    """An executor whose first results break in a chosen way."""

    def __init__(self, errors):
        self.errors = errors

    def shutdown(self, **how):
        pass

    def submit(self, function, *args):
        future = Future()
        if self.errors:
            future.set_exception(self.errors.pop())
        else:
            future.set_result(function(*args))
        return future


def with_executor(monkeypatch, errors):
    executor = contextlib.nullcontext((Flaky(errors), 1))
    monkeypatch.setattr(grading, "open_executor", lambda *_: executor)


@pytest.mark.parametrize("kind", [GradingError, RuntimeError])
def test_what_could_not_be_graded_is_no_zero(three, grade_here, monkeypatch, tmp_path, kind):
    with_executor(monkeypatch, [kind("the disk is full")])
    outcome = grade_here()
    not_graded = list(outcome.book.totals.index[outcome.book.totals.isna()])
    assert not_graded
    assert any("the disk is full" in what for _, _, what in outcome.book.to_look_at())
    with (tmp_path / "out" / "grades.csv").open() as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows[not_graded[0]]["total"] == ""
    assert grade_here().n_graded == 2, "the answers of that submission, and nothing else"
    assert grade_here().book.totals.notna().all()


def test_it_does_not_grade_without_a_sandbox_unless_told_to(three, grade_here, monkeypatch):
    def escapes(sandbox):
        raise self_test.EscapeError("network: connected")

    monkeypatch.setattr(self_test, "check_sandbox", escapes)
    graded = []
    monkeypatch.setattr(pool, "grade_submission", lambda *args: graded.append(args))
    with pytest.raises(GradingError, match="network: connected"):
        grade_here(unsafe=False, sandbox=Sandbox())
    with pytest.raises(GradingError, match="needs unsafe"):
        grade_here(unsafe=False)
    assert not graded


def test_two_runs_into_one_folder_are_refused(three, grade_here, tmp_path):
    from grader.store import open_store

    with open_store(tmp_path / "out"), pytest.raises(GradingError, match="another run"):
        grade_here()


def test_a_database_that_is_damaged_or_of_another_version_is_named(three, grade_here, tmp_path):
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "grading.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(GradingError, match=r"grading\.sqlite: file is not a database"):
        grade_here()
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE submissions (student TEXT, exercise TEXT)")
    with pytest.raises(GradingError, match=r"2 columns.*another version.* grade into a new folder"):
        grade_here()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"jobs": 0}, "jobs: needs an integer"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": 4_000_000}, "seed: got 4000000"),
        ({"exercises": ["07"]}, "exercise: '07' is not one of 01_lists, 02_more"),
    ],
)
def test_settings_that_cannot_be(three, grade_here, settings, told):
    with pytest.raises(ValueError, match=told):
        grade_here(**settings)


def test_a_folder_without_notebooks_is_refused(tmp_path, grade_here):
    with pytest.raises(ValueError, match="is no folder"):
        grade_here()
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match=r"no \.ipynb files"):
        grade_here()


def test_right_and_wrong_are_what_they_are_called():
    assert RIGHT.keys() == WRONG.keys()


HELPER = "def helper(x):\n    return sum(x)"
SHARED = "def mean(x):\n    return helper(x) / other(x) / np.ones(1)[0]"


def test_a_helper_in_another_cell_is_named_with_its_place(course, tmp_path, grade_here):
    made = notebook(course, mean=SHARED, double=f"def double(x):\n    return x + x\n\n{HELPER}")
    made.cells.insert(0, nbformat.v4.new_code_cell("import os, numpy as np\nlen, a = 1, 2"))
    hand_in(tmp_path / "in", "ann", made)
    hand_in(tmp_path / "in", "ben", notebook(course, mean=SHARED))
    hand_in(tmp_path / "in", "cem", notebook(course, mean="def mean(x):\n    raise NameError(len)"))
    made = notebook(course, double=f"{RIGHT['double']}\n\nprint(double(given))")
    made.cells.insert(0, nbformat.v4.new_code_cell("given: list = [1]"))
    hand_in(tmp_path / "in", "eve", made)
    outcome = grade_here(exercises=["01"])
    trial = answer(outcome, "eve", "double")
    assert trial["points"] == 2
    assert "; the cell fails after it has defined double: NameError" in trial["student_message"]
    assert "The notebook defines given in cell 1 from the top" in trial["student_message"]
    told = {
        name: answer(outcome, name, "mean")["student_message"] for name in ("ann", "ben", "cem")
    }
    lacks = ("NameError in line 2 of the answer cell: the cell uses helper, np, other, which "
             "it does not define; each task is graded with its own cell only")  # fmt: skip
    assert told["ben"].endswith(lacks)
    assert told["ann"].endswith(
        f"{lacks}. The notebook defines helper in cell 3 from the top (double): it is needed in "
        "this cell, too. The notebook defines np in cell 1 from the top: it is needed in this "
        "cell, too"
    )
    assert "len" not in told["cem"]
    page = (tmp_path / "out" / "feedback" / "ann.html").read_text()
    assert "defines helper in cell 3" in page
    # It is known in a later run, over another folder, as well.
    hand_in(tmp_path / "in2", "dee", notebook(course))
    later = grading.grade(course, tmp_path / "in2", tmp_path / "out", grading.Settings(
        exercises=["01"], unsafe=True, sandbox=Sandbox(bubblewrap=False)))  # fmt: skip
    assert answer(later, "ann", "mean")["student_message"] == told["ann"]
