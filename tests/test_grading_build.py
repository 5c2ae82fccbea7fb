"""Exercises are built from solutions: repeatable, nothing leaks, and what is wrong is refused."""

import ast
import copy
import json
import shutil
from pathlib import Path

import nbformat
import pytest

from grader import cells
from grader.__main__ import main
from tools import build_exercises as build
from tools.build_exercises import BuildError, build_exercise, exercise_bytes, find_drift

SAMPLE = Path(__file__).parent / "exercises" / "sample"
NAME = "01_sample.ipynb"


@pytest.fixture
def solution():
    return cells.read_notebook(SAMPLE / "solutions" / NAME)


@pytest.fixture
def course(tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "course")
    return tmp_path / "course"


def test_the_exercise_keeps_all_but_the_solutions(solution):
    before = copy.deepcopy(solution)
    exercise = build_exercise(solution)
    assert solution == before, "the solution notebook itself was changed"
    nbformat.validate(exercise)
    for old, new in zip(solution.cells, exercise.cells, strict=True):
        assert (new.id, new.cell_type) == (old.id, old.cell_type)
        if cells.role(old) != "solution":
            assert new.source == old.source
    stub = cells.find_cell(exercise, "perplexity").source
    assert stub == (
        "def perplexity(log_probs):\n"
        '    """Perplexity of a text whose tokens had these natural-log probabilities (nats)."""\n'
        '    raise NotImplementedError("replace this line with your answer")'
    )
    text = nbformat.writes(exercise)
    for leaked in ("log_probs) / len", "argmax", "log2(perpl", "n_new_rows = 1", " SOLUTION"):
        assert leaked not in text


def test_students_cannot_delete_or_edit_what_is_locked(solution):
    exercise = build_exercise(solution)
    tests = cells.find_cell(exercise, "test-greedy").metadata
    assert (tests.editable, tests.deletable) == (False, False)
    answer = cells.find_cell(exercise, "greedy").metadata
    assert ("editable" in answer, answer.deletable) == (False, False)


def test_outputs_counts_and_the_editors_traces_are_cleared(solution):
    plain = build_exercise(solution)
    for i, cell in enumerate(cell for cell in solution.cells if cell.cell_type == "code"):
        cell.execution_count = i + 1
        cell.outputs = [nbformat.v4.new_output("stream", text="secret")]
        cell.metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
        cell.metadata["collapsed"] = True
    solution.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
    solution.metadata["widgets"] = {"state": {}}
    assert build_exercise(solution) == plain


def test_twice_the_same_bytes_ending_in_a_newline():
    first, second = (exercise_bytes(SAMPLE / "solutions" / NAME) for _ in range(2))
    assert first == second == (SAMPLE / "exercises" / NAME).read_bytes()
    assert first.endswith(b"}\n")


def test_drift_is_named(course, capsys):
    assert not find_drift(course)
    path = course / "exercises" / NAME
    path.write_bytes(path.read_bytes().replace(b"a sample", b"a simple"))
    shutil.copy(path, course / "exercises" / "09_old.ipynb")
    shutil.copy(course / "solutions" / NAME, course / "solutions" / "02_new.ipynb")
    assert main(["--root", str(course), "build", "--check"]) == 1
    told = capsys.readouterr().out
    assert f"exercises/{NAME}: differs" in told
    assert "exercises/02_new.ipynb: missing" in told
    assert "exercises/09_old.ipynb: orphaned" in told
    assert main(["--root", str(course), "build"]) == 1, "the orphan is still there"
    (course / "exercises" / "09_old.ipynb").unlink()
    assert main(["--root", str(course), "build"]) == 0
    assert main(["--root", str(course), "build", "--check"]) == 0
    assert path.read_bytes() == (SAMPLE / "exercises" / NAME).read_bytes()


def test_line_ends_count_as_drift(course):
    path = course / "exercises" / NAME
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(find_drift(course)) == [NAME]


def edit_source(grade_id, old, new):
    def spoil(notebook):
        cell = cells.find_cell(notebook, grade_id)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return spoil


def edit_metadata(which, /, **fields):
    def spoil(notebook):
        cells.find_cell(notebook, which).metadata.nbgrader.update(fields)

    return spoil


def drop_cell(grade_id):
    def spoil(notebook):
        notebook.cells.remove(cells.find_cell(notebook, grade_id))

    return spoil


def drop_text(notebook):
    del notebook.cells[3]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (edit_source("greedy", "### BEGIN SOLUTION", "#"), "must be pairs of lines"),
        (edit_source("greedy", "### END SOLUTION", "#"), "must be pairs of lines"),
        (edit_source("greedy", "### BEGIN", "## BEGIN"), "must be pairs of lines"),
        (edit_source("new-rows", "###", "#"), "must be pairs"),
        (edit_source("test-bits", "assert", "### BEGIN HIDDEN TESTS\nassert"), "HIDDEN TESTS"),
        (edit_source("test-bits", ', "p = 1/4', ' #, "p'), "assert without a message"),
        (edit_source("test-new-rows", "assert", "print(1) #"), "without an assert"),
        (edit_source("imports", "import math", "%matplotlib inline"), "not plain Python"),
        (
            edit_source("imports", "import math", "### BEGIN SOLUTION\n### END SOLUTION"),
            "no answer",
        ),
        (edit_metadata("bits", grade_id="greedy"), "used by 2 cells"),
        (edit_metadata("bits", grade_id="bytes"), "0 cells have the grade_id 'test-bytes'"),
        (edit_metadata("bits", schema_version=2), "schema_version must be 3"),
        (edit_metadata("bits", cell_type="markdown"), "cell_type the cell's"),
        (edit_metadata("bits", grade=True), "2 points, the metadata say otherwise"),
        (edit_metadata("test-bits", points=7), "2 points, the metadata say otherwise"),
        (drop_cell("test-bits"), "0 cells have the grade_id 'test-bits'"),
        (drop_text, "lacks 'Difficulty D of 5"),
        (lambda notebook: notebook.cells[0].pop("id"), "has no id"),
        (lambda n: cells.find_cell(n, "bits").metadata.nbgrader.pop("locked"), "lacks locked"),
    ],
)
def test_a_solution_notebook_that_is_wrong_is_refused(solution, spoil, message):
    spoil(solution)
    with pytest.raises(BuildError, match=message):
        build_exercise(solution)


def test_points_are_written_once(course):
    """The metadata of a task and the sums of the introduction follow the line above the task."""
    path = course / "solutions" / NAME
    solution = cells.read_notebook(path)
    solution.cells[0].source += "\n\nSix tasks, about 1 minutes, 1 points."
    text = solution.cells[solution.cells.index(cells.find_cell(solution, "bits")) - 1]
    text.source = text.source.replace("2 points", "5 points")
    nbformat.write(solution, path)
    build.build(course)
    for part in ("solutions", "exercises"):
        changed = cells.read_notebook(course / part / NAME)
        assert cells.nbgrader_field(cells.find_cell(changed, "test-bits"), "points") == 5
        assert cells.points(changed, "bits") == 5
        answers = [cell for cell in changed.cells if cells.role(cell) == "solution"]
        ids = [cells.nbgrader_field(answer, "grade_id") for answer in answers]
        total = sum(cells.points(changed, grade_id) for grade_id in ids)
        assert f" minutes, {total} points" in changed.cells[0].source
        n = {1: "One task", 2: "Two tasks", 3: "Three tasks", 4: "Four tasks"}[len(ids)]
        assert f"\n{n}, about " in changed.cells[0].source


def test_the_file_is_named(course):
    path = course / "solutions" / NAME
    path.write_text(path.read_text().replace("### END SOLUTION", "# end"))
    with pytest.raises(BuildError, match=f"{NAME}: cell 4 \\(perplexity\\): solution marks"):
        build.build(course)
    path.write_text("no json")
    with pytest.raises(BuildError, match="not a notebook"):
        build.build(course)


def test_a_folder_without_solutions_is_refused(tmp_path, capsys):
    assert main(["--root", str(tmp_path), "build"]) == 2
    assert "has no folder solutions/" in capsys.readouterr().err


def test_a_copied_answer_cell_is_ambiguous(solution):
    solution.cells.append(copy.deepcopy(cells.find_cell(solution, "greedy")))
    with pytest.raises(ValueError, match="2 cells have the grade_id 'greedy'"):
        cells.find_cell(solution, "greedy")


def test_setup_is_all_setup_cells_and_functions_before_but_no_values(solution):
    imports, cat = (cells.find_cell(solution, name).source for name in ("imports", "cat"))
    assert cells.setup_sources(solution, "perplexity") == [imports, cat]
    last = cells.answer_ids(solution)[-1]
    earlier = [cells.find_cell(solution, name) for name in cells.answer_ids(solution)[:-1]]
    kinds = {cell.id: {type(part) for part in ast.parse(cell.source).body} for cell in earlier}
    functions = [cell.source for cell in earlier if kinds[cell.id] == {ast.FunctionDef}]
    assert 0 < len(functions) < len(earlier), "the sample has both"
    given = cells.setup_sources(solution, last)
    assert set(given) == {imports, cat, *functions}
    with pytest.raises(ValueError, match="0 cells have the grade_id 'nothing'"):
        cells.setup_sources(solution, "nothing")


def test_check_refuses_without_a_sandbox_unless_told(course, capsys):
    argv = ["--root", str(course), "check", str(course / "exercises" / NAME), "--task", "new-rows"]
    assert main(argv) == 2
    assert "without a sandbox" in capsys.readouterr().err


def test_check_prints_a_verdict_a_task(course, capsys):
    path = course / "exercises" / NAME
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "perplexity":
            cell["source"] = "def perplexity(x): return -sum(x) / len(x)"
    path.write_text(json.dumps(notebook))
    common = ["--root", str(course), "check", "--unsafe"]
    assert main([*common, str(path), "--task", "perplexity"]) == 1
    out, err = capsys.readouterr()
    assert out == (
        "0/3  perplexity: this is the cross-entropy in nats: perplexity is its exponential\n"
    )
    assert "WARNING" in err
    solution = str(course / "solutions" / NAME)
    assert main([*common, solution, "--task", "new-rows"]) == 0
    assert capsys.readouterr().out == "1/1  new-rows: all hidden checks pass\n"
    assert main([*common, solution, "--task", "nothing"]) == 2
    assert "no checks for 'nothing'" in capsys.readouterr().err
