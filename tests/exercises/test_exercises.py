"""Every exercise: right answers pass, the stub fails, each known mistake is told by its name."""

import nbformat
import pytest
from exercise_files import COURSE, ROOTS, find_exercises, frozen, verdict
from nbclient import NotebookClient
from small_tasks import merge_solutions

from grader import cells, session
from tools import build_exercises as build

pytestmark = pytest.mark.slow  # not each test, but there are 1300
EXERCISES = find_exercises()
TASKS = [(exercise, task) for exercise in EXERCISES for task in exercise.tasks]
ANSWERS = [
    (exercise, grade_id, name, source)
    for exercise in EXERCISES
    for grade_id, name, source in exercise.answers
]
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
each_task = pytest.mark.parametrize(
    ("exercise", "task"), TASKS, ids=[f"{e.name}-{t.grade_id}" for e, t in TASKS]
)
each_answer = pytest.mark.parametrize(
    ("exercise", "grade_id", "name", "source"),
    ANSWERS,
    ids=[f"{e.name}-{grade_id}-{name}" for e, grade_id, name, _ in ANSWERS],
)


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_exercises_are_what_the_solutions_give(root):
    assert build.find_drift(root) == {}


@each_exercise
def test_notebook_and_checks_hold_the_same_tasks(exercise):
    assert [task.grade_id for task in exercise.tasks] == cells.answer_ids(exercise.solution)
    written = {grade_id for grade_id, _, _ in exercise.written}
    assert written <= {task.grade_id for task in exercise.tasks}


@each_task
def test_points_are_the_same_for_students_and_in_the_grades(exercise, task):
    tests = cells.find_cell(exercise.exercise, cells.visible_tests_id(task.grade_id))
    points = frozen(exercise, task.grade_id)["points"]
    assert points == cells.nbgrader_field(tests, "points")
    assert points == cells.points(exercise.exercise, task.grade_id) > 0


@each_exercise
def test_the_exercise_with_solutions_runs_whole(exercise, tmp_path):
    merged = merge_solutions(exercise.exercise, exercise.solution)
    if exercise.root == COURSE and code_of(merged) == code_of(exercise.solution):
        return  # nbval runs this very code, with all its outputs compared
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(merged, timeout=300, resources=resources).execute()
    ran = [cell for cell in merged.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))


def code_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@each_task
def test_every_misconception_has_an_answer(exercise, task):
    answered = {name for grade_id, name, _ in exercise.answers if grade_id == task.grade_id}
    assert answered - {"right"} == {name for name, *_ in task.misconceptions}
    assert len(task.misconceptions) >= 4


@each_task
def test_solution_passes(exercise, task):
    source = cells.find_cell(exercise.solution, task.grade_id).source
    result = verdict(exercise, task.grade_id, source)
    assert result.passed, result.message
    assert result.points == frozen(exercise, task.grade_id)["points"]


@each_task
def test_stub_fails(exercise, task):
    stub = cells.find_cell(exercise.exercise, task.grade_id).source
    result = verdict(exercise, task.grade_id, stub)
    assert (result.passed, result.points) == (False, 0)
    assert "NotImplementedError" in result.message


@each_task
def test_visible_tests_fail_with_the_stub_and_pass_with_the_solution(exercise, task):
    tests = cells.find_cell(exercise.exercise, cells.visible_tests_id(task.grade_id)).source
    setup = cells.setup_sources(exercise.solution, task.grade_id)
    solution = cells.find_cell(exercise.solution, task.grade_id).source
    session.run_setup([*setup, solution, tests])
    stub = cells.find_cell(exercise.exercise, task.grade_id).source
    with pytest.raises(NotImplementedError):
        session.run_setup([*setup, stub, tests])


@each_answer
def test_answer_is_told_what_it_is(exercise, grade_id, name, source):
    task = next(task for task in exercise.tasks if task.grade_id == grade_id)
    messages = {known: message for known, *_, message in task.misconceptions}
    result = verdict(exercise, grade_id, source)
    if name == "right":
        assert result.passed, result.message
    else:
        assert (result.passed, result.misconception) == (False, name), result.message
        assert messages[name] in ("", result.message)


@each_exercise
def test_a_worker_process_gives_the_same_verdict(exercise):
    task = exercise.tasks[0]
    assert verdict(
        exercise,
        task.grade_id,
        cells.find_cell(exercise.solution, task.grade_id).source,
        process=True,
    ).passed


@each_task
def test_worker_is_not_sent_what_it_must_not_know(exercise, task):
    data = frozen(exercise, task.grade_id)
    assert set(data["ask"]) == {"setup", "entries", "drive"}
    tests = [cell.source for cell in exercise.solution.cells if cells.role(cell) == "grade"]
    own = cells.find_cell(exercise.solution, task.grade_id).source
    assert not {own, *tests} & set(data["ask"]["setup"])


@each_exercise
def test_solution_notebook_is_valid(exercise):
    nbformat.validate(exercise.solution)
    assert build.lint(exercise.solution) == []
