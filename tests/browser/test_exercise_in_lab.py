"""An exercise as a student works on it: open, fail, answer, pass."""

import json
import re

import pytest
from lab_server import COURSE

EXERCISE = "exercises/01_language_models.ipynb"
SOLUTION = COURSE / "solutions/01_language_models.ipynb"
pytestmark = [pytest.mark.real_model, pytest.mark.slow]


def right_answers() -> dict[str, str]:
    """The instructor's answer to each task, by its grade_id."""
    answers = {}
    for cell in json.loads(SOLUTION.read_text("utf-8"))["cells"]:
        marks = cell["metadata"].get("nbgrader", {})
        if marks.get("solution") and cell["cell_type"] == "code":  # not the open question
            lines = "".join(cell["source"]).splitlines()
            answers[marks["grade_id"]] = "\n".join(line for line in lines if "###" not in line)
    return answers


def cell_of(exercise, grade_id) -> int:
    """The index of the cell with this grade_id."""
    ids = [c["metadata"].get("nbgrader", {}).get("grade_id") for c in exercise.nb["cells"]]
    return ids.index(grade_id)


def test_answers_are_typed_in_and_the_visible_tests_pass(lab_page):
    exercise = lab_page(EXERCISE)
    exercise.run(cell_of(exercise, "setup"))
    answers = right_answers()
    assert len(answers) >= 3
    first = next(iter(answers))
    exercise.run(cell_of(exercise, first), cell_of(exercise, f"test-{first}"))
    assert "replace this line with your answer" in "".join(exercise.errors)

    for grade_id, source in answers.items():
        exercise.type_source(cell_of(exercise, grade_id), source)
    cells = exercise.nb["cells"]
    # The open question's run takes as long as all others.
    code = [i for i, c in enumerate(cells)
            if c["cell_type"] == "code" and not c["id"].startswith("open-")]  # fmt: skip
    exercise.run(*code)
    assert exercise.errors == []
    assert sum(bool(re.fullmatch(r"\[\d+\]:", prompt)) for prompt in exercise.prompts) == len(code)
    exercise.command("docmanager:save")
    saved = json.loads((exercise.lab.root / EXERCISE).read_text("utf-8"))
    for grade_id, source in answers.items():
        assert "".join(saved["cells"][cell_of(exercise, grade_id)]["source"]) == source


def test_a_wrong_answer_is_told_what_is_wrong(lab_page):
    exercise = lab_page(EXERCISE)
    task = cell_of(exercise, "bigram-model")
    exercise.type_source(task, 'def bigram_model(texts):\n    return {"<start>": {"the": 2}}')
    exercise.run(cell_of(exercise, "setup"), task, cell_of(exercise, "test-bigram-model"))
    [error] = exercise.errors
    assert "AssertionError" in error
    assert "so its counts are divided by their sum" in error
