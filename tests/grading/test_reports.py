"""Files that people read: complete, and harmless whatever students wrote."""

import csv
import json
import re

import pytest
from small_course import WRONG, hand_in, notebook

from grader import reports

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def graded(course, tmp_path, grade_here):
    folder = tmp_path / "in"
    hand_in(folder, "alice", notebook(course))
    hand_in(folder, "bob", notebook(course, double=WRONG["double"], mean=WRONG["mean"]))
    hand_in(folder, "carol", notebook(course, mean="def mean(x):\n    return sum(x)  # mine"))
    hand_in(folder, "carol", notebook(course, "02_more"), "02_more")
    evil = f"x = '{SCRIPT}'\ndef double(x):\n    raise ValueError({SCRIPT!r})"
    hand_in(folder, "<img src=x onerror=alert(2)>", notebook(course, double=evil))
    hand_in(folder, "=HYPERLINK(1)", notebook(course, double=f"{SCRIPT}"))
    outcome = grade_here()
    return outcome, tmp_path / "out"


def test_grades_csv_has_a_row_a_student_and_a_column_a_task(graded):
    _, out = graded
    with (out / "grades.csv").open(newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert list(rows["alice"]) == [
        "student", "01_lists/double", "01_lists/mean", "02_more/half", "01_lists", "02_more",
        "total", "max", "late", "adjusted"]  # fmt: skip
    assert list(rows["alice"].values()) == ["alice", "2", "3", "", "5", "", "5", "6", "", ""]
    assert list(rows["carol"].values()) == ["carol", "2", "0", "1", "2", "1", "3", "6", "", ""]
    assert "'=HYPERLINK(1)" in rows


def test_results_jsonl_has_every_check(graded):
    _, out = graded
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 5 * 2 + 1
    bob = next(row for row in lines if (row["student"], row["task"]) == ("bob", "mean"))
    assert (bob["points"], bob["max_points"], bob["misconception"]) == (0, 3, "sum")
    assert [check["label"] for check in bob["checks"]] == ["hidden case 1 of 2", "five"]
    assert {check["outcome"] for check in bob["checks"]} == {"wrong"}
    assert all(set(check) == {"label", "outcome", "message", "seconds"} for check in bob["checks"])


def test_every_student_gets_a_page(graded):
    outcome, out = graded
    pages = {path.name: path.read_text() for path in (out / "feedback").iterdir()}
    assert len(pages) == len(outcome.book.students) == 5
    bob = pages["bob.html"]
    assert "0 of 5 points" in bob
    assert "this is the input itself" in bob
    assert "divide by the number of items" in bob
    assert "def double(x):\n    return x" in bob
    assert "alice" not in bob
    assert re.search(r"<td>five</td><td class=\"failed\">wrong</td>", bob)


def test_no_page_holds_markup_that_a_student_wrote(graded):
    _, out = graded
    for path in out.rglob("*.html"):
        page = path.read_text()
        assert "<script" not in page
        assert "<img" not in page
    evil = next(p.read_text() for p in (out / "feedback").iterdir() if "img" in p.name)
    assert "&lt;script&gt;" in evil


def test_the_summary_names_the_hardest_task_and_its_mistakes(graded):
    outcome, out = graded
    figures = outcome.book.task_figures()
    assert figures[0]["task"] == "01_lists/double"
    assert figures[0]["share"] == pytest.approx(2 / 5)
    mean = next(row for row in figures if row["task"] == "01_lists/mean")
    assert mean["mistakes"] == [(2, "sum", "divide by the number of items")]
    page = (out / "summary.html").read_text()
    assert "divide by the number of items" in page
    assert "5 students, 3 tasks, 6 points in all; seed 1" in page


def test_the_histogram_counts_every_student_once(graded):
    outcome, _ = graded
    bins = reports.histogram(outcome.book)
    counts = [each["count"] for each in bins]
    # totals 5, 0, 3, 3, 3 of 6 points, in bins 0.6 wide
    assert counts == [1, 0, 0, 0, 0, 3, 0, 0, 1, 0]


def test_files_that_are_no_ones_give_empty_reports(tmp_path, grade_here):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note.ipynb").write_text("no notebook")
    assert grade_here(exercises=["02"]).book.students == []
    assert "no notebook" in (tmp_path / "out" / "summary.html").read_text()
    table = (tmp_path / "out" / "grades.csv").read_text()
    assert table == "student,02_more/half,02_more,total,max,late,adjusted\n"


def test_file_names_are_safe_and_different():
    names = ["alice", "a/b", "a_b", "../x", ".x", "-rf", "é", "è", "a" * 300, "a" * 301, "x\n"]
    files = [reports.file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert all(re.fullmatch(r"[\w@+][\w.@+-]{0,100}", file, re.ASCII) for file in files)
    assert files[0] == "alice"


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "grades.csv"
    reports.write_whole(path, "old")

    def fails(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(reports.os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        reports.write_whole(path, "new")
    assert path.read_text() == "old"
