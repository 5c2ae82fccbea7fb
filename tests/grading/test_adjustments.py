"""The instructor's table of adjustments: what it may hold."""

import pytest

from grader.gradebook import Adjustment, Task, check_adjustments, read_adjustments

HEAD = "student,task,points,reason,who\n"
ROWS = [
    ("alice", Task("01", "mean", 3.0)),
    ("alice", Task("02", "mean", 3.0)),
    ("bob", Task("01", "double", 2.0)),
]


def test_csv_and_toml_say_the_same(tmp_path):
    as_csv, as_toml = tmp_path / "a.csv", tmp_path / "a.toml"
    as_csv.write_text("\ufeff" + HEAD + 'bob, double, 1.5, "good, late", X\n,,,,\n', "utf-8")
    as_toml.write_text(
        '[[adjustment]]\nstudent = "bob"\ntask = "double"\npoints = 1.5\n'
        'reason = "good, late"\nwho = "X"\n'
    )
    wanted = [Adjustment("bob", "double", 1.5, "good, late", "X")]
    assert read_adjustments(as_csv) == read_adjustments(as_toml) == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("student,task\n", "lacks the columns points, reason, who"),
        (HEAD + "bob,double,1,,X\n", "adjustment 1 has no reason"),
        (HEAD + "bob,double,1,why,\n", "adjustment 1 has no who"),
        (HEAD + "bob,double,many,why,X\n", "points 'many', a number is needed"),
        (HEAD + "bob,double,nan,why,X\n", "points 'nan', a number is needed"),
        (HEAD + "bob,double,1,why,X\nbob,double,2,why,X\n", "two for 'bob', task 'double'"),
    ],
)
def test_tables_that_are_wrong_are_refused(tmp_path, text, told):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        read_adjustments(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.toml").write_text("[[adjustment")
    for name in ("a.toml", "none.csv"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            read_adjustments(tmp_path / name)


@pytest.mark.parametrize(
    ("student", "task", "points", "told"),
    [
        ("eve", "mean", 1, "student 'eve', task 'mean': nothing handed in"),
        ("bob", "maen", 1, "task 'maen': nothing handed in"),
        ("alice", "mean", 1, "in several exercises: write exercise/task"),
        ("bob", "double", 2.5, r"got 2.5 points, 0 to 2 can be"),
        ("bob", "double", -1, "got -1 points"),
    ],
)
def test_adjustments_that_fit_nothing_are_refused(student, task, points, told):
    with pytest.raises(ValueError, match=told):
        check_adjustments([Adjustment(student, task, points, "why", "X")], ROWS)
    check_adjustments([Adjustment("alice", "02/mean", 3, "why", "X")], ROWS)
