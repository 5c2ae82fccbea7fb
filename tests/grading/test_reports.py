"""Files that people read: complete, and harmless whatever students wrote."""

import csv
import json
import os
import re
from datetime import datetime

import pytest
from small_course import WRONG, answer, grade_in, hand_in, notebook
from test_similar import ORIGINAL, OTHER, RENAMED, THIRD

from grader import reports
from grader.discretion import words_of_assert

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def graded(course, tmp_path_factory):
    """The outcome and the folder of reports, which tests only read."""
    there = tmp_path_factory.mktemp("graded")
    folder = there / "in"
    alice = hand_in(folder, "alice", notebook(course))
    handed_in = datetime(2030, 1, 2, 3, 4).timestamp()
    os.utime(alice, (handed_in, handed_in))
    hand_in(folder, "bob", notebook(course, double=WRONG["double"], mean=WRONG["mean"]))
    hand_in(folder, "carol", notebook(course, mean="def mean(x):\n    return sum(x)  # mine"))
    hand_in(folder, "carol", notebook(course, "02_more"), "02_more")
    evil = f"x = '{SCRIPT}'\ndef double(x):\n    raise ValueError({SCRIPT!r})"
    hand_in(folder, "<img src=x onerror=alert(2)>", notebook(course, double=evil))
    hand_in(folder, "=HYPERLINK(1)", notebook(course, double=f"{SCRIPT}"))
    return grade_in(course, there), there / "out"


def test_grades_csv_has_a_row_a_student_and_a_column_a_task(graded):
    _, out = graded
    with (out / "grades.csv").open(newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert list(rows["alice"]) == [
        "student", "01_lists/double", "01_lists/mean", "02_more/half", "01_lists", "02_more",
        "total", "max", "late", "adjusted", "01_lists handed in", "02_more handed in",
        "max 01_lists/double", "max 01_lists/mean", "max 02_more/half"]  # fmt: skip
    *alice, lists, more, _, _, _ = rows["alice"].values()
    assert alice == ["alice", "2", "3", "", "5", "", "5", "6", "", ""]
    assert (lists, more) == ("2030-01-02 03:04", "")
    assert list(rows["carol"].values())[:-5] == [
        "carol", "2", "0", "1", "2", "1", "3", "6", "", ""]  # fmt: skip
    assert rows["carol"]["02_more handed in"]
    assert "'=HYPERLINK(1)" in rows


def test_grades_csv_has_the_most_points_of_each_task(graded):
    _, out = graded
    with (out / "grades.csv").open(newline="") as file:
        last = [list(row.values())[-3:] for row in csv.DictReader(file)]
    assert last == [["2", "3", "1"]] * 5


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
    assert "<span>def double(x):\n</span><span>    return x\n</span>" in bob
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


def test_a_page_begins_with_an_overview_and_calls_tasks_by_their_titles(graded):
    _, out = graded
    page = (out / "feedback" / "carol.html").read_text()
    overview, first, *_ = page.split("<h2")
    assert '<a href="#task-2">Task 2: the mean</a>' in overview
    assert re.search(r"0 of 3</td>\s*<td><span class=.failed.>0 of 2 passed", overview)
    assert first.startswith(' id="task-1">Task 1: the double</h2>')


def test_the_summary_counts_mistakes_that_were_not_recognised(course, tmp_path, grade_here):
    folder = tmp_path / "in"
    # Right on five numbers alone; wrong on both; never answered.
    hand_in(folder, "ann", notebook(course, mean="def mean(x):\n    return sum(x) / 5"))
    hand_in(folder, "ben", notebook(course, mean="def mean(x):\n    return sum(x) / 7"))
    hand_in(folder, "cem", notebook(course, mean="def mean(x):\n    return sum(x) / 9"))
    hand_in(folder, "dee", notebook(course, mean=None, double=WRONG["double"]))
    outcome = grade_here(exercises=["01"])
    figures = {row["task"]: row for row in outcome.book.task_figures()}
    mean, double = figures["01_lists/mean"], figures["01_lists/double"]
    assert (mean["n"], mean["n_tried"]) == (4, 3)
    assert mean["unknown"] == [("every case: wrong", 2), ("hidden case 1 of 2: wrong", 1)]
    assert mean["rates"] == [("hidden case 1 of 2", 0), ("five", 1)]
    assert double["unknown"] == []
    page = re.sub(r"<[^>]+>", "", (tmp_path / "out" / "summary.html").read_text())
    assert "3 not recognised, most often every case: wrong (2 ×)" in page
    assert re.search(r"33%\s*five", page)
    assert "Mean 1.5, median 2 of 5 points" in page  # 2, 2, 2 and 0


def test_every_student_is_linked_to_their_page(graded):
    _, out = graded
    links = set(re.findall(r'href="(feedback/[^"]+)"', (out / "summary.html").read_text()))
    assert {out / link for link in links} == set((out / "feedback").iterdir())


def test_what_a_person_should_see_is_listed(course, tmp_path, grade_here):
    folder = tmp_path / "in"
    hand_in(folder, "name", notebook(course, double="def double(x):\n    return 2 * y"))
    hand_in(folder, "syntax", notebook(course, double="def double(x)\n    return 2 * y"))
    hand_in(folder, "other", notebook(course, double="def Double(x):\n    return 2 * y"))
    hand_in(folder, "wrong", notebook(course, double=WRONG["double"]))
    found = {student: what for student, _, what in grade_here().book.to_look_at()}
    assert found.keys() == {"name", "syntax", "other"}
    assert "NameError" in found["name"]
    assert "SyntaxError" in found["syntax"]
    assert "does not define double" in found["other"]


FRAGILE = """def double(x):
    assert len(x) > 1, "give me more"
    return [2 * item for item in x]"""
SPY = """seen = []
def double(x):
    seen.append(x)
    if len(x) == 1:
        raise AssertionError(seen)
    return x"""


def test_visible_tests_are_told_beside_the_hidden_ones_and_cost_nothing(
    course, tmp_path, grade_here
):
    folder = tmp_path / "in"
    hand_in(folder, "fragile", notebook(course, double=FRAGILE))
    hand_in(folder, "seven", notebook(course, mean="def mean(x):\n    return sum(x) / 2"))
    hand_in(folder, "wrong", notebook(course, double=WRONG["double"]))
    outcome = grade_here()
    fragile, wrong = (answer(outcome, who, "double") for who in ("fragile", "wrong"))
    assert (fragile["points"], fragile["visible"]["outcome"]) == (2, "failed")
    assert fragile["visible"]["message"].endswith("line 2 of the answer cell: give me more")
    assert wrong["visible"]["message"] == "AssertionError: got [1]: twice each number"
    assert wrong["visible"]["student_message"] == "AssertionError: got …: twice each number"
    assert answer(outcome, "seven", "double")["visible"]["outcome"] == "passed"
    assert outcome.book.disagreements() == {
        "01_lists/double": {"visible fails, hidden passes": ["fragile"]},
        "01_lists/mean": {"visible passes, hidden fails": ["seven"]},
    }
    assert "The points come from the hidden checks alone" in feedback(tmp_path, "fragile")
    assert "The visible tests fail: AssertionError" in feedback(tmp_path, "wrong")
    assert "visible fails, hidden passes:" in (tmp_path / "out" / "summary.html").read_text()


def feedback(folder, student: str) -> str:
    return (folder / "out" / "feedback" / f"{student}.html").read_text()


def test_visible_tests_carry_no_hidden_input_out(course, tmp_path, grade_here):
    hand_in(tmp_path / "in", "spy", notebook(course, double=SPY))
    visible = answer(grade_here(), "spy", "double")["visible"]
    assert re.search(r"\d\.\d{5}", visible["message"]), "the instructor sees all of it"
    assert visible["student_message"] == "AssertionError in line 5 of the answer cell: " \
        "an assert does not hold"  # fmt: skip
    assert not re.search(r"\d\.\d{5}", feedback(tmp_path, "spy"))


def test_of_a_failing_visible_assert_its_own_words_are_told_and_no_value():
    tests = (
        'assert f(1) == 2, "twice each number"\n'
        'assert f(2) == 4, f"got {f(2)}: twice the number, {f(2):.2f} is more"\n'
        'assert f(3), f"{f(3)}"\nassert f(4)\nassert f(5), "a" + str(5)\n'
    )
    told = words_of_assert
    assert told("twice each number", tests) == "twice each number"
    second = "got …: twice the number, … is more"
    assert told("got [0.5]: twice the number, 0.51 is more", tests) == second
    assert told("got [0.5]: twice the", tests) == second  # cut off
    assert told("0.123 got 0.456: twice the number, 0.789", tests) == second
    for text in ("0.123456", "", "a5"):
        assert told(text, tests) is None


def test_copies_of_one_task_are_found_though_the_rest_is_their_own(course, tmp_path, grade_here):
    third = ORIGINAL.replace("weight", "w").replace("logits", "x")
    copies = {"ann": (ORIGINAL, OTHER), "ben": (RENAMED, THIRD), "cem": (third, "mean = sum")}
    for who, (copied, own) in copies.items():
        hand_in(tmp_path / "in", who, notebook(course, double=copied, mean=own))
    grade_here()
    page = re.sub(r"<[^>]+>", "", (tmp_path / "out" / "summary.html").read_text())
    for pair in ("ann, ben", "ann, cem", "ben, cem"):
        assert re.search(rf"Task 1: the double\s*01_lists/double\s*100%\s*{pair}\s", page), pair


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
    assert table == (
        "student,02_more/half,02_more,total,max,late,adjusted,02_more handed in,max 02_more/half\n"
    )


def test_file_names_are_safe_and_different():
    names = ["alice", "a/b", "a_b", "../x", ".x", "-rf", "é", "è", "a" * 300, "a" * 301, "x\n"]
    names += [reports.file_name("José"), "José"]
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
