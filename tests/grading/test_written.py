"""Open questions: read by a person on one page, whose points go the way of every adjustment."""

import csv
import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from small_course import answer, hand_in, make_course, notebook, points

from grader import cells
from grader.submitted_file import read_submitted
from tools import build_exercises as build

QUESTION = "Why is the mean pulled up? Difficulty 2 of 5 · 5 minutes · 4 points"
PIXEL = (  # a picture of one black pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
HEAD = "student,task,points,reason,who\n"


def open_question(points=4):
    mark = {"grade": True, "solution": True, "locked": False, "schema_version": 3, "task": False,
            "cell_type": "markdown", "grade_id": "why", "points": points}  # fmt: skip
    source = "### BEGIN SOLUTION\nOne large number is enough.\n### END SOLUTION"
    return new_markdown_cell(source, id="why", metadata={"nbgrader": mark})


@pytest.fixture
def course(tmp_path):
    """The small course, whose first exercise ends with an open question and a text behind it."""
    root = make_course(tmp_path / "course")
    path = root / "solutions" / "01_lists.ipynb"
    solution = cells.read_notebook(path)
    text = new_markdown_cell(f"## Task 3: why\n\n{QUESTION}", id="text-why")
    solution.cells += [text, open_question(), new_markdown_cell("## What comes next", id="next")]
    nbformat.write(solution, path)
    build.build(root)
    return root


def answered(course, text, *added, **answers):
    """A student's notebook with this text, and cells added behind it."""
    made = notebook(course, **answers)
    cell = cells.find_cell(made, "why")
    cell.source = text
    i = made.cells.index(cell) + 1
    made.cells[i:i] = added
    return made


def only_page(folder):
    [path] = (folder / "out" / "written").iterdir()
    return path


def code(source, *outputs):
    return new_code_cell(source, outputs=list(outputs))


@pytest.fixture
def graded(course, tmp_path, grade_here):
    """ann answered with text and a cell below it, ben with markup, cem not at all, dee lost it."""
    picture = {"image/png": PIXEL, "text/html": "<b id=html>x</b>"}
    shown = [new_output("stream", text="ratio 4.5\n"), new_output("display_data", picture)]
    folder = tmp_path / "in"
    hand_in(folder, "ann", answered(course, "One <b>large</b> number.", code("print(r)", *shown)))
    hand_in(folder, "=ben", answered(course, "<script>alert(1)</script>"))
    hand_in(folder, "cem", notebook(course))
    lost = answered(course, "")
    lost.cells.remove(cells.find_cell(lost, "why"))
    hand_in(folder, "dee", lost)
    return grade_here()


def test_the_exercise_has_the_question_and_no_answer(course):
    exercise = cells.read_notebook(course / "exercises" / "01_lists.ipynb")
    assert cells.find_cell(exercise, "why").source == build.TEXT_STUB
    assert cells.points(exercise, "why") == 4


def test_points_are_asked_for_where_something_was_written(graded):
    assert {who: each["why"] for who, each in points(graded).items()} == {
        "ann": None, "=ben": None, "cem": 0, "dee": 0}  # fmt: skip
    assert all(each["mean"] == 3 for each in points(graded).values())
    totals = graded.book.totals
    assert sorted(totals.index[totals.isna()]) == ["=ben", "ann"]
    assert graded.book.max_points == 2 + 3 + 1 + 4
    assert graded.book.to_look_at() == []


def test_one_page_shows_texts_and_outputs_and_runs_nothing_of_theirs(graded, tmp_path):
    text = only_page(tmp_path).read_text()
    assert "Task 3: why" in text
    assert "One &lt;b&gt;large&lt;/b&gt; number." in text
    assert "ratio 4.5" in text
    assert f'src="data:image/png;base64,{PIXEL}"' in text
    assert "id=html" not in text, "a picture's other forms are not shown"
    assert "&lt;script&gt;alert(1)" in text
    scripts = re.findall(r"<script[^>]*>", text)
    nonce = re.search(r"script-src 'nonce-(\w{32,})'", text)[1]
    assert scripts == [f'<script nonce="{nonce}">']
    assert "What comes next" not in text
    assert text.count('class="answer"') == 2
    summary = (tmp_path / "out" / "summary.html").read_text()
    assert f'href="written/{only_page(tmp_path).name}"' in summary
    assert "2 answers, 2 wait for points" in re.sub(r"<[^>]+>", "", summary)


def test_points_go_through_the_adjustments_into_the_grades(graded, tmp_path, grade_here):
    out = tmp_path / "out"
    # The page writes names as a spreadsheet may see them.
    (out / "adjustments.csv").write_text(
        f'{HEAD}"ann","01_lists/why","3.5","clear","X"\n"\'=ben","01_lists/why","0","no","X"\n'
    )
    outcome = grade_here()
    assert {who: each["why"] for who, each in points(outcome).items()} == {
        "ann": 3.5, "=ben": 0, "cem": 0, "dee": 0}  # fmt: skip
    rows = {row["student"]: row for row in csv.DictReader((out / "grades.csv").open())}
    assert rows["ann"]["total"] == "8.5"
    assert (rows["ann"]["01_lists/why"], rows["ann"]["max 01_lists/why"]) == ("3.5", "4")
    assert "Marked by X: clear" in (out / "feedback" / "ann.html").read_text()
    assert 'class="answer"' not in only_page(tmp_path).read_text()
    (out / "adjustments.csv").write_text(f"{HEAD}ann,why,4.5,too many,X\n")
    with pytest.raises(ValueError, match=r"got 4.5 points, 0 to 4 can be"):
        grade_here()


def test_a_changed_answer_is_shown_anew(course, graded, tmp_path, grade_here):
    hand_in(tmp_path / "in", "ann", answered(course, "Rather the median."))
    assert answer(grade_here(), "ann", "why")["source"] == "Rather the median."
    text = only_page(tmp_path).read_text()
    assert "Rather the median." in text
    assert "ratio 4.5" not in text


def test_written_answers_are_not_compared_as_programs(course, tmp_path, grade_here):
    prose = " ".join(["one large number is enough to pull it up, and so on"] * 9)
    for who in ("ann", "ben"):
        hand_in(tmp_path / "in", who, answered(course, prose))
    grade_here()
    assert "None." in (tmp_path / "out" / "summary.html").read_text()


ODD = [
    {"outputs": 3},
    {"outputs": [3, {"text": {"a": 1}}, {"data": {"image/png": "<svg onload=x>"}}, {"data": 7}]},
    {"outputs": [{"data": {"image/png": ["QUJD\n", "QUJD"]}}, {"ename": "E", "evalue": "\ud800"}]},
]


def test_odd_outputs_stop_nothing(course, tmp_path):
    made = json.loads(nbformat.writes(answered(course, "text")))
    i = next(i for i, cell in enumerate(made["cells"]) if cell["id"] == "why")
    made["cells"][i + 1 : i + 1] = [{"cell_type": "code", "source": "x", **odd} for odd in ODD]
    path = tmp_path / "odd.ipynb"
    path.write_text(json.dumps(made))
    shown = [part["shown"] for part in read_submitted(path).written["why"][:4]]
    assert shown == [[], [], [{"text": ""}], [{"png": "QUJD\nQUJD"}, {"text": "?"}]]


def test_what_is_too_large_is_shown_in_part_and_told(course, tmp_path):
    path = tmp_path / "large.ipynb"
    large = code("x", new_output("stream", text="y" * 5_000_000))
    nbformat.write(answered(course, "text", large), path)
    found = read_submitted(path, {"".join(build.TEXT_STUB.split())})
    assert found.written["why"][0] == {"text": "text", "shown": []}
    assert "only the beginning" in found.remarks["why"]


@pytest.mark.parametrize(("change", "told"), [
    (lambda cell: cell.metadata.nbgrader.update(points=5), "the text says 4 points"),
    (lambda cell: cell.update(source="no marks"), "an answer without solution marks"),
])  # fmt: skip
def test_a_question_that_is_wrong_is_refused(course, change, told):
    solution = cells.read_notebook(course / "solutions" / "01_lists.ipynb")
    change(cells.find_cell(solution, "why"))
    assert [told in problem for problem in build.lint(solution)] == [True]
