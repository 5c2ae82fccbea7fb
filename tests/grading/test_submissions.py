"""Whose a notebook is, for which exercise, and which of several versions counts."""

import os
from datetime import UTC, datetime

import nbformat
import pytest
from small_course import hand_in, notebook

from grader.submissions import find_submissions

EXERCISES = {"01_lists": ["double", "mean"], "02_more": ["half"]}


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("alice/01_lists.ipynb", "alice"),
        ("alice/01_lists/01_lists.ipynb", "alice"),
        ("alice/hw/my answers.ipynb", "alice"),
        ("alice/01_lists-Copy1.ipynb", "alice"),
        ("alice_01_lists.ipynb", "alice"),
        ("alice-01_lists.ipynb", "alice"),
        ("01_lists_alice.ipynb", "alice"),
        ("alice.ipynb", "alice"),
        ("alice (1).ipynb", "alice"),
        ("a.b@uni.example/01_lists.ipynb", "a.b@uni.example"),
        ("smithann_LATE_81_4711_01_lists-2.ipynb", "smithann_81"),
        ("smithann_81_4712_01_lists.ipynb", "smithann_81"),
        ("Ann Smith_12345_assignsubmission_file_/01_lists.ipynb", "Ann Smith_12345"),
        ("Ann Smith_12345_assignsubmission_file_01_lists.ipynb", "Ann Smith_12345"),
        ("李/01_lists.ipynb", "李"),
        ("=cmd()/01_lists.ipynb", "=cmd()"),
        ("UPPER/01_LISTS.IPYNB", "UPPER"),
    ],
)
def test_the_student_is_known_by_folder_or_file(put, tmp_path, path, student):
    put(path)
    taken, rejected = find_submissions(tmp_path, EXERCISES)
    assert [(s.student, s.exercise) for s in taken] == [(student, "01_lists")]
    assert rejected == []


def test_the_newest_version_counts_and_the_others_are_mentioned(put, tmp_path):
    put("alice/01_lists.ipynb", 300, double="new")
    put("alice/01_lists-1.ipynb", 200, double="old")
    put("alice/old/01_lists (7).ipynb", 100, double="oldest")
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.notebook.answers["double"] == "new"
    assert submission.remarks == ("3 versions: alice/01_lists.ipynb counts",)


def test_at_equal_times_the_number_in_the_name_decides(put, tmp_path):
    for version in ("", "-2", "-10", " (3)"):
        put(f"alice/01_lists{version}.ipynb", 100, double=f"version{version}")
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.notebook.answers["double"] == "version-10"


def test_a_version_that_can_be_read_goes_before_a_newer_one_that_cannot(put, tmp_path):
    put("alice/01_lists.ipynb", 100)
    put("alice/01_lists-1.ipynb", 200).write_text("{")
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.path == "alice/01_lists.ipynb"
    assert "damaged" in submission.remarks[0]


def test_a_lecture_of_the_same_name_does_not_count(put, tmp_path):
    put("alice/exercises/01_lists.ipynb", 100)
    lecture = put("alice/notebooks/01_lists.ipynb", 200)
    nbformat.write(nbformat.v4.new_notebook(), lecture)
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.path == "alice/exercises/01_lists.ipynb"


def test_several_exercises_each(put, tmp_path):
    put("alice/01_lists.ipynb")
    put("alice/02_more.ipynb", exercise="02_more")
    put("bob/x.ipynb", exercise="02_more")
    found = find_submissions(tmp_path, EXERCISES)[0]
    assert [(s.student, s.exercise) for s in found] == [
        ("alice", "01_lists"), ("alice", "02_more"), ("bob", "02_more")]  # fmt: skip


def test_what_belongs_to_no_exercise_is_listed(put, tmp_path):
    put("alice/02_more.ipynb", exercise="02_more")
    (tmp_path / "note.ipynb").write_text("no notebook")
    taken, rejected = find_submissions(tmp_path, {"01_lists": ["double", "mean"]})
    assert taken == []
    assert [path for path, _ in rejected] == ["alice/02_more.ipynb", "note.ipynb"]


@pytest.mark.parametrize(("when", "late"), [(99, False), (100, False), (101, True)])
def test_late_is_what_comes_after_the_deadline(put, tmp_path, when, late):
    put("alice/01_lists.ipynb", when)
    deadline = datetime.fromtimestamp(100, UTC)
    (submission,) = find_submissions(tmp_path, EXERCISES, deadline)[0]
    assert submission.late is late


def test_the_time_stamp_of_nbgrader_goes_before_the_files_own(put, tmp_path):
    put("alice/01_lists/01_lists.ipynb", 100)
    stamp = tmp_path / "alice" / "01_lists" / "timestamp.txt"
    stamp.write_text("2030-02-01 12:00:00.123456 UTC\n")
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.submitted == datetime(2030, 2, 1, 12, 0, 0, 123456, tzinfo=UTC)
    stamp.write_text("yesterday")
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.submitted.timestamp() == 100


def test_checkpoints_are_skipped_and_names_in_other_encodings_are_not(put, tmp_path):
    put("alice/.ipynb_checkpoints/01_lists-checkpoint.ipynb")
    put("alice/01_lists.ipynb")
    put("bob/01_lists.ipynb")
    os.rename(tmp_path / "bob", os.fsencode(tmp_path) + b"/b\xff")
    taken, _ = find_submissions(tmp_path, EXERCISES)
    assert [(s.student, s.path) for s in taken] == [
        ("alice", "alice/01_lists.ipynb"), ("b?-7d1016b8", "b\ufffd/01_lists.ipynb")]  # fmt: skip


def test_nothing_is_kept_of_tasks_that_there_are_not(course, tmp_path):
    """A hundred megabytes of them in each file would be kept for all files together."""
    made = notebook(course)
    mark = {"grade_id": "mine", "solution": True, "grade": False}
    made.cells.append(nbformat.v4.new_code_cell("x = 1", metadata={"nbgrader": mark}))
    hand_in(tmp_path, "ann", made)
    (found,) = find_submissions(tmp_path, {"01_lists": ["double", "mean"]})[0]
    assert found.notebook.answers.keys() == {"double", "mean"}
