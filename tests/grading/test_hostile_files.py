"""Files that are not what they should be: nobody's grading stops, and what can be read counts."""

import json
import os

import nbformat
import pytest
from small_course import answer, hand_in, notebook, points

from grader import submitted_file
from grader.submitted_file import UnreadableError, read_submitted

FULL = {"double": 2, "mean": 3}
NOTHING = {"double": 0, "mean": 0}


def as_json(course) -> dict:
    return json.loads(nbformat.writes(notebook(course)))


def edited_tests(data):
    for cell in data["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade"):
            cell["source"] = "assert True"
            cell["metadata"]["nbgrader"]["points"] = 1000


def deleted_tests(data):
    data["cells"] = [c for c in data["cells"] if not c["metadata"].get("nbgrader", {}).get("grade")]


def wrong_types(data):
    for cell in data["cells"]:
        cell["cell_type"] = {"code": "markdown", "markdown": "raw"}[cell["cell_type"]]


def split_cells(data):
    """What JupyterLab does with "Split Cell": the mark is on both halves."""
    whole = [c for c in data["cells"] if c["metadata"].get("nbgrader", {}).get("solution")]
    for cell in whole:
        lines = cell["source"] if isinstance(cell["source"], list) else cell["source"].splitlines(1)
        cut = next(i for i, line in enumerate(lines) if line.startswith("def"))
        second = {**cell, "id": cell["id"] + "b", "source": lines[cut:]}
        cell["source"] = lines[:cut]
        data["cells"].insert(data["cells"].index(cell) + 1, second)


def rubbish_cells(data):
    data["cells"] += [None, 3, [], {}, {"metadata": 7}, {"metadata": {"nbgrader": "x"}},
                      {"metadata": {"nbgrader": {"solution": True, "grade_id": ["double"]}}},
                      {"metadata": {"nbgrader": {"solution": True, "grade_id": "x"}},
                       "source": {"a": 1}}]  # fmt: skip


def windows_line_ends(data):
    for cell in data["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")


STILL_READ = {
    "edited-tests": edited_tests,
    "deleted-tests": deleted_tests,
    "wrong-types": wrong_types,
    "split-cells": split_cells,
    "rubbish-cells": rubbish_cells,
    "windows-line-ends": windows_line_ends,
}
ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"]


def bad_files(folder, course):
    """Files that hold no notebook, by the student who hands them in."""
    text = json.dumps(as_json(course)).encode()
    deep = b'{"cells": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    contents = {
        "empty": b"",
        "spaces": b" \n\n",
        "cut-off": text[: len(text) // 2],
        "binary": bytes(range(256)) * 50,
        "a-picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "json-list": b"[1, 2]",
        "json-text": b'"notebook"',
        "no-cells": b'{"nbformat": 4, "metadata": {}}',
        "cells-are-text": b'{"cells": "none", "nbformat": 4}',
        "deep": deep,
        "old": b'{"worksheets": 3, "nbformat": 3}',
        "long-number": b'{"cells": ' + b"9" * 10_000 + b"}",
    }
    for student, content in contents.items():
        path = folder / student / "01_lists.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    huge = folder / "huge" / "01_lists.ipynb"
    huge.parent.mkdir()
    with huge.open("wb") as file:
        file.truncate(100_000_000)
    pipe = folder / "pipe" / "01_lists.ipynb"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    folder_itself = folder / "folder-named-so" / "01_lists.ipynb"
    folder_itself.mkdir(parents=True)
    return [*contents, "huge", "pipe"]


@pytest.fixture
def handed_in(course, tmp_path):
    folder = tmp_path / "in"
    for student, change in STILL_READ.items():
        data = as_json(course)
        change(data)
        path = hand_in(folder, student, notebook(course))
        path.write_text(json.dumps(data), encoding="utf-8")
    for encoding in ENCODINGS:
        path = hand_in(folder, encoding, notebook(course))
        source = "# é\ndef double(x):\n    return [2 * item for item in x]"
        text = nbformat.writes(notebook(course, double=source))
        path.write_bytes(json.dumps(json.loads(text), ensure_ascii=False).encode(encoding))
    return bad_files(folder, course)


def test_what_can_be_read_counts_and_what_cannot_stops_nobody(handed_in, grade_here):
    outcome = grade_here()
    found = points(outcome)
    for student in (*STILL_READ, *ENCODINGS):
        assert found[student] == FULL, student
    for student in handed_in:
        assert found[student] == NOTHING, student
    told = {(student, what) for student, _, what in outcome.book.to_look_at()}
    texts = dict(told)
    assert "empty" in texts["empty"]
    assert "100 MB" in texts["huge"]
    assert "no regular file" in texts["pipe"]
    assert "damaged" in texts["cut-off"]
    assert "markdown" in texts["wrong-types"]
    assert "2 cells had this task's mark" in texts["split-cells"]
    assert {s for s, _ in told} == {*handed_in, "wrong-types", "split-cells"}


def test_links_are_never_followed(course, tmp_path, grade_here):
    """A link to the solutions, or to another student's folder, would be graded as one's own."""
    folder = tmp_path / "in"
    hand_in(folder, "alice", notebook(course))
    (folder / "bob").mkdir()
    (folder / "bob" / "01_lists.ipynb").symlink_to(course / "solutions" / "01_lists.ipynb")
    (folder / "carol").symlink_to(folder / "alice")
    (folder / "dave").mkdir()
    (folder / "dave" / "work").symlink_to(course / "solutions")
    (folder / "loop").symlink_to(folder)
    outcome = grade_here()
    assert points(outcome) == {"alice": FULL, "bob": NOTHING}
    page = (tmp_path / "out" / "summary.html").read_text()
    assert "a link; hand in the file itself" in page
    assert "carol" in page
    assert "dave/work" in page


def test_a_missing_answer_is_told_from_a_wrong_one(course, tmp_path, grade_here):
    made = notebook(course)
    made.cells = [c for c in made.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "mean"]
    hand_in(tmp_path / "in", "alice", made)
    stripped = notebook(course)
    for cell in stripped.cells:
        cell.metadata.pop("nbgrader", None)
    hand_in(tmp_path / "in", "bob", stripped)
    outcome = grade_here()
    assert points(outcome) == {"alice": {"double": 2, "mean": 0}, "bob": NOTHING}
    assert "no answer cell" in answer(outcome, "alice", "mean")["message"]
    assert any("marks (metadata) lost" in what for _, _, what in outcome.book.to_look_at())


def test_a_huge_answer_is_not_read(course, tmp_path):
    source = "#" * (submitted_file.MAX_ANSWER + 1)
    found = read_submitted(hand_in(tmp_path, "alice", notebook(course, mean=source)))
    assert found.answers["mean"] == ""
    assert "longer than" in found.remarks["mean"]
    assert found.answers["double"]


def test_lone_surrogates_are_replaced(course, tmp_path):
    path = hand_in(tmp_path, "alice", notebook(course))
    path.write_text(path.read_text().replace("item + item", "item \\ud800 item"))
    assert "item ? item" in read_submitted(path).answers["double"]


def test_an_unreadable_file_says_why(tmp_path):
    with pytest.raises(UnreadableError, match="No such file"):
        read_submitted(tmp_path / "none.ipynb")
