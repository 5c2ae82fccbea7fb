"""The instructor's table of adjustments: what it may hold."""

import pytest
from small_course import hand_in, notebook, points

from grader.gradebook import make_gradebook, read_adjustments

HEAD = "student,task,points,reason,who\n"


def test_a_table_from_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeff" + HEAD + 'bob, double, 1.5, "good, late", X\n,,,,\n', "utf-8")
    wanted = {"student": "bob", "task": "double", "points": 1.5, "reason": "good, late", "who": "X"}
    assert read_adjustments(path) == [wanted]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("student,task\n", "lacks the columns points, reason, who"),
        (HEAD + "bob,double,1,,X\n", "adjustment 1 has no reason"),
        (HEAD + "bob,double,1,why,\n", "adjustment 1 has no who"),
        (HEAD + "bob,double,1,why\n", "adjustment 1 has no who"),
        (HEAD + "bob,double,many,why,X\n", "points 'many', a number is needed"),
        (HEAD + "bob,double,nan,why,X\n", "points 'nan', a number is needed"),
    ],
)
def test_tables_that_are_wrong_are_refused(tmp_path, text, told):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        read_adjustments(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv cannot be read"):
        read_adjustments(tmp_path / "none.csv")


@pytest.fixture
def graded(course, tmp_path, grade_here):
    """The results folder after bob's work was graded."""
    hand_in(tmp_path / "in", "bob", notebook(course))
    grade_here()
    return tmp_path / "out"


def test_an_old_toml_file_is_not_ignored_in_silence(graded, grade_here):
    (graded / "adjustments.toml").write_text('[[adjustment]]\nstudent = "bob"\n')
    with pytest.raises(ValueError, match=r"toml is not read; write a CSV table adjustments\.csv"):
        grade_here()
    with pytest.raises(ValueError, match=r"adjustments\.toml lacks the columns"):
        grade_here(adjustments=graded / "adjustments.toml")


def test_a_table_is_read_whatever_lies_beside_it(graded, grade_here, tmp_path):
    """A file of another program may well have the table's name."""
    for name in ("x.toml", "out/adjustments.toml"):
        (tmp_path / name).write_text("[tool]\n")
    (tmp_path / "x.csv").write_text(f"{HEAD}bob,double,1,why,X\n")
    assert points(grade_here(adjustments=tmp_path / "x.csv"))["bob"]["double"] == 1
    (graded / "adjustments.csv").write_text(f"{HEAD}bob,double,0.5,why,X\n")
    assert points(grade_here())["bob"]["double"] == 0.5


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("eve,mean,1", "student 'eve', task 'mean': nothing handed in"),
        ("bob,maen,1", "task 'maen': nothing handed in"),
        ("bob,double,2.5", r"got 2.5 points, 0 to 2 can be"),
        ("bob,double,-1", "got -1 points"),
        ("bob,double,1,why,X\nbob,01_lists/double,2", "there are two"),
    ],
)
def test_adjustments_that_fit_nothing_are_refused(graded, grade_here, table, told):
    (graded / "adjustments.csv").write_text(f"{HEAD}{table},why,X\n")
    with pytest.raises(ValueError, match=told):
        grade_here()


class TwoExercises:
    """A store in which alice has a task of the same name in two exercises."""

    def submissions(self):
        return [{"student": "alice", "exercise": name, "late": 0} for name in ("01", "02")]

    def answers(self):
        rest = {
            "task": "mean",
            "source": "x",
            "key": "k",
            "result": None,
            "remark": None,
            "parts": None,
        }
        return [{**each, **rest} for each in self.submissions()]


def test_a_task_of_two_exercises_needs_the_exercise():
    tasks = {("01", "mean"): 3.0, ("02", "mean"): 3.0}
    adjusted = {"student": "alice", "task": "mean", "points": 3.0, "reason": "why", "who": "X"}
    with pytest.raises(ValueError, match="in several exercises: write exercise/task"):
        make_gradebook(TwoExercises(), tasks, [adjusted], {})
    book = make_gradebook(TwoExercises(), tasks, [{**adjusted, "task": "02/mean"}], {})
    assert [row["points"] for row in book.rows] == [None, 3.0]
