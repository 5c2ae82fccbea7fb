"""What is in the files: copies of the stub, long outputs; and files that are no one's."""

import json
import os
import time

import nbformat
import pytest
from small_course import RIGHT, answer, hand_in, notebook, points

from grader import __main__ as command
from grader import cells, reports, submitted_file
from grader.submitted_file import UnreadableError, read_submitted

FULL = {"double": 2, "mean": 3}


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["last", "first"])
def test_a_copy_of_the_cell_as_handed_out_is_skipped(course, tmp_path, grade_here, order):
    made = notebook(course)
    stub = cells.find_cell(notebook(course, double=None), "double")
    stub.source = stub.source.replace("\n", " \n") + "\n\n"
    i = made.cells.index(cells.find_cell(made, "double"))
    made.cells[i : i + 1] = [made.cells[i], stub][order]
    hand_in(tmp_path / "in", "ann", made)
    outcome = grade_here()
    assert points(outcome) == {"ann": FULL}
    assert answer(outcome, "ann", "double")["remark"] == (
        "2 cells had this task's mark: joined in their order, without copies of the stub"
    )


def test_only_copies_of_the_stub_are_no_answer(course, tmp_path, grade_here):
    made = notebook(course, double=None)
    stub = cells.find_cell(made, "double")
    made.cells.insert(0, stub)
    hand_in(tmp_path / "in", "ann", made)
    outcome = grade_here()
    assert "not answered yet" in answer(outcome, "ann", "double")["message"]


def test_a_fresh_copy_of_the_exercise_does_not_hide_the_work(put, course, tmp_path, grade_here):
    """nbgitpuller moves the work away for it; so do students who download it again."""
    put("in/ann/01_lists__20300131120000.ipynb", 100)
    put("in/ann/01_lists.ipynb", 200, double=None, mean=None)
    put("in/ben/01_lists.ipynb", 200, double=None, mean=None)
    assert points(grade_here()) == {"ann": FULL, "ben": {"double": 0, "mean": 0}}


def test_long_outputs_cost_nothing(course, tmp_path):
    made = json.loads(nbformat.writes(notebook(course)))
    cell = next(cell for cell in made["cells"] if cell["cell_type"] == "code")
    printed = ["step 12: 0.123, [1, 2]\n"] * 1_000_000  # which takes four bytes more for each line
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": printed}]
    (tmp_path / "a.ipynb").write_text(json.dumps(made))
    assert (tmp_path / "a.ipynb").stat().st_size > 25_000_000
    assert read_submitted(tmp_path / "a.ipynb").answers["mean"] == RIGHT["mean"]


def test_what_would_fill_the_memory_is_refused_in_time(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text('{"cells": [' + ",".join(["[]"] * 10_000_000) + "]}")
    before = time.process_time()
    with pytest.raises(UnreadableError, match="besides its texts"):
        read_submitted(path)
    assert time.process_time() - before < 20
    path.write_text('{"cells": ["' + "\\" * (submitted_file.MAX_STRUCTURE + 10))
    with pytest.raises(UnreadableError):
        read_submitted(path)


@pytest.mark.parametrize("deep", ["(" * 50_000, "x = " + "[" * 300 + "]" * 300, "-" * 99_000 + "1"])
def test_a_cell_too_deep_to_parse_costs_its_own_task_alone(course, tmp_path, grade_here, deep):
    hand_in(tmp_path / "in", "ann", notebook(course, double=deep))
    hand_in(tmp_path / "in", "ben", notebook(course))
    assert points(grade_here()) == {"ann": {"double": 0, "mean": 3}, "ben": FULL}


@pytest.fixture
def graded_odd(course, tmp_path, capsys, monkeypatch):
    """The command's exit status and output, over one notebook and these files."""

    def grade(*options, **files):
        folder = tmp_path / "in"
        hand_in(folder, "ann", notebook(course))
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(content)
        line = ["--root", str(course), "grade", str(folder), "--out", str(tmp_path / "out"),
                "--exercise", "01", "--unsafe", *options]  # fmt: skip
        monkeypatch.setenv("PATH", "/nonexistent")  # no bwrap: that is tested elsewhere
        return command.main(line), capsys.readouterr().out

    return grade


def test_every_file_that_is_not_taken_is_in_the_summary_and_the_exit_status(graded_odd, tmp_path):
    assert graded_odd()[0] == 0
    files = {"work__zip": "PK", "data__json": '{"a": 1}', "mine__py": "def f(): pass",
             "cut__ipynb__json": '{"cells": [', "01_lists__ipynb": "{}"}  # fmt: skip
    status, printed = graded_odd(**files)
    assert status == 1
    page = (tmp_path / "out" / "summary.html").read_text()
    for name in files:
        name = name.replace("__", ".")
        assert f"not taken: {name}: " in printed
        assert name in page
    assert "Files that were not taken" in page


def test_what_cannot_be_told_ends_the_command_with_a_question(put, graded_odd):
    put("in/sheet/ann.ipynb")
    put("in/sheet/ben.ipynb")
    assert graded_odd()[0] == 2
    assert graded_odd("--pattern", r"(?P<student>\w+)\.ipynb")[0] == 0
    assert graded_odd("--pattern", "(")[0] == 2


def test_folders_too_deep_to_be_listed_are_told_and_stop_nobody(graded_odd, tmp_path):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(30):  # longer than the system allows a path to be
        os.mkdir("x" * 200, dir_fd=handle)
        below = os.open("x" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    status, printed = graded_odd()
    assert status == 1
    assert "1 student, 2 answers graded now" in printed
    assert "not read: File name too long" in printed


def test_no_name_of_a_file_rules_the_instructors_terminal(graded_odd):
    status, printed = graded_odd(**{"a\x1b]0;b\x07__txt": "x"})
    assert status == 1
    assert "not taken: a?]0;b?.txt: no notebook" in printed


def test_properties_of_the_system_are_nobodys_work(graded_odd):
    assert graded_odd(__DS_Store="x", ___01_lists__ipynb="x")[0] == 0


def test_an_unreadable_notebook_of_a_student_is_in_the_exit_status(graded_odd):
    status, printed = graded_odd(ben_01_lists__ipynb="{")
    assert status == 1
    assert "2 students" in printed
    assert "not taken: ben_01_lists.ipynb: damaged" in printed


def test_two_names_never_share_a_page():
    names = ["José", "Jos_-24c2ab65", "Jos_", "Jos_-24c2ab65-3c3c3c3c", "x/y", "x_y-00000000"]
    pages = [reports.file_name(name) for name in names]
    pages += [reports.file_name(page) for page in pages]
    assert len({*pages}) == len({*names, *pages[: len(names)]})


@pytest.mark.parametrize(
    "name", ["n;=1+1", "=1+1", "a\t@x", "a; -1", "|+1", "ok;\n=2", "\t1", "＝1+1"]
)
def test_no_separator_makes_a_formula_of_a_name(name):
    for separator in ",;\t|\n":
        for cell in reports.no_formula(name).split(separator):
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))


def test_names_without_formulas_stay_as_they_are():
    for name in ("Ann-Lee", "a.b+c@uni.example", "Lee; Ann", "O'Neil", "x = y"):
        assert reports.no_formula(name) == name


def test_what_is_stored_as_json_is_plain(course, tmp_path):
    found = read_submitted(hand_in(tmp_path, "ann", notebook(course)))
    assert json.loads(json.dumps(found.answers)) == found.answers
