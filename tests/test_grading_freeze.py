"""Freezing a task: the same data each time, and tasks that cannot work are refused."""

import json
import os
import subprocess
import sys

import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from small_tasks import mean_task, trusted_verdict

from grader import encoding
from grader.checks import Case, Probe, load_tasks
from grader.freeze import FreezeError, freeze
from grader.session import Session


def test_the_same_seed_gives_the_same_bytes_and_another_other_cases():
    first, again, other = (encoding.dumps(freeze(*mean_task(), seed)) for seed in (3, 3, 4))
    assert first == again
    assert json.loads(first)["cases"] != json.loads(other)["cases"]


UNORDERED = """
from grader import encoding
from grader.checks import Case, Exact, Task
from grader.freeze import freeze
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SOURCE = '''def count(words):
    ### BEGIN SOLUTION
    if not words: raise ValueError(object())
    return {word: {letter: 1 for letter in set(word)} for word in set(words)}
    ### END SOLUTION'''
mark = {"nbgrader": {"grade_id": "count", "solution": True, "grade": False}}
text = new_markdown_cell("Difficulty 1 of 5 · 2 minutes · 1 points")
notebook = new_notebook(cells=[text, new_code_cell(SOURCE, metadata=mark)])
task = Task(grade_id="count", entry="count", compare=Exact(), misconceptions=[
    ("lists", "set(words)", "words[:2]", "each word counts"), ("letters", "1 for", "2 for", "one")],
    cases=lambda rng: [Case(["ab", "cd", "ef", "gh", "ij"]), Case([])])
print(encoding.dumps(freeze(task, notebook)))
"""


@pytest.mark.slow
def test_neither_the_order_of_a_set_nor_an_address_changes_what_is_frozen():
    """Else a later run would grade all answers to such a task once more."""
    line, found = [sys.executable, "-c", UNORDERED], set()
    for seed in "123":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.check_output(line, env=environment))
    assert len(found) == 1


def test_what_setup_cells_print_is_not_shown_to_who_grades(capsys):
    task, notebook = mean_task()
    locked = {"nbgrader": {"grade_id": "said", "locked": True, "solution": False, "grade": False}}
    notebook.cells.insert(0, new_code_cell("print('for students')", metadata=locked))
    frozen = freeze(task, notebook)
    assert "print('for students')" in frozen["ask"]["setup"]
    assert capsys.readouterr().out == ""


def test_frozen_data_survives_json():
    frozen = json.loads(encoding.dumps(freeze(*mean_task())))
    assert trusted_verdict("def mean(x): return sum(x) / len(x)", frozen).passed


@pytest.mark.parametrize("seed", range(8))
def test_a_seed_that_draws_cases_which_tell_too_little_draws_others(seed):
    # One item tells nothing of a sum that is not divided; every second case is one item.
    task, notebook = mean_task(
        cases=lambda rng: [Case([2.0] * int(rng.integers(1, 3)))],
        misconceptions=[("sum", " / len(x)", "", "divide by the number of items")],
    )
    frozen = freeze(task, notebook, seed)
    assert [len(case["args"][0]) for case in frozen["cases"]] == [2]
    assert frozen == freeze(task, notebook, seed)


SUM = ("a", " / len(x)", "", "m")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            [("sum(x)", "(0 + sum(x))", "no name")],
            "'no name' cannot be told from the reference: add a case",
        ),
        # Too near: an answer between the two would pass for both.
        ([("near", "sum(x)", "(1 + 5e-6) * sum(x)", "m")], "from the reference"),
        ([SUM, ("b", " / len(x)", " * (1 + 5e-6)", "n")], "'a' and 'b' cannot be told apart"),
        ([SUM, ("b", " / len(x)", " + 0", "n")], "'a' and 'b' cannot be told apart"),
        ([("a", "sum(x)", "nums(x)", "m")], "'a' ends with NameError"),
        ([("a", "/", "/)", "m")], "'a' ends with .*SyntaxError"),
        ([("a", "avg", "b", "m")], "'avg' is 0 times in the solution cell, not once"),
    ],
)
def test_misconceptions_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(FreezeError, match=message):
        freeze(*mean_task(misconceptions=wrong))


def test_a_margin_of_ten_tolerances_is_enough():
    far = ("far", "sum(x)", "(1 + 2e-5) * sum(x)", "m")
    assert freeze(*mean_task(misconceptions=[far]))["key"]["misconceptions"][0]["name"] == "far"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cases": lambda rng: []}, "at least one"),
        ({"cases": lambda rng: [Case([1.0], entry="median")]}, "entry 'median'"),
        ({"cases": lambda rng: [Case(object())]}, "a value of type object"),
        ({"solution": "def mean(x): return x.mean()"}, "the solution ends with AttributeError"),
        ({"solution": "mean = 3"}, "NotCallable"),
        ({"entry": ("mean", "median")}, "MissingName: median"),
    ],
)
def test_tasks_that_cannot_work_are_refused(fields, message):
    with pytest.raises(FreezeError, match=message):
        freeze(*mean_task(**fields))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def mean(x): return 1", "an empty answer would pass"),
        ("%time\nmean = 1", "invalid syntax"),
    ],
)
def test_a_notebook_that_gives_the_answer_away_or_cannot_run_is_refused(source, message):
    def answer(grade_id, source):
        fields = {"grade_id": grade_id, "solution": True, "grade": False, "locked": False}
        return new_code_cell(source, metadata={"nbgrader": fields})

    text = new_markdown_cell("Difficulty 1 of 5 · 2 minutes · 3 points")
    mine = [text, answer("mean", "def mean(x): return sum(x) / len(x)")]
    good = new_notebook(cells=[answer("sum", "def add(x): ..."), *mine])
    task, _ = mean_task()
    assert freeze(task, good)["points"] == 3
    with pytest.raises(FreezeError, match=message):
        freeze(task, new_notebook(cells=[answer("sum", source), *mine]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"watch": ("time",)}, "watch: must be one of 'mutated'"),
    ],
)
def test_tasks_that_make_no_sense_are_refused_at_once(fields, message):
    with pytest.raises(ValueError, match=message):
        mean_task(**fields)


def test_checks_files_without_tasks_are_refused(tmp_path):
    path = tmp_path / "01_x.py"
    path.write_text("TASKS = [1]")
    with pytest.raises(ValueError, match="needs tasks"):
        load_tasks(path)


def scaled_sum(scale, *numbers):
    return scale * sum(numbers)


def arguments(case, body):
    """The argument as an answer sees it, and the record of its call."""
    seen = []
    task = mean_task("def mean(x): return 0", cases=lambda rng: [case], misconceptions=[])
    frozen = freeze(*task)
    session = Session(frozen["ask"])
    session.names = {"mean": lambda x: seen.append(x) or body(x)}
    record = session.call(frozen["cases"][0])
    return seen[0], record


def test_a_toy_lm_arrives_whole():
    from lecture_lib.decoding import ToyLM

    model = ToyLM({"": {"a": 0.25, "b": 0.75}}, vocab=["b", "a"], default={"a": 1.0})
    back, record = arguments(Case(model), lambda model: model([[], [0]]).tolist())
    assert isinstance(back, ToyLM)
    assert (back.vocab, back.table, back.default) == (model.vocab, model.table, model.default)
    assert torch.equal(back([[], [0]]), model([[], [0]]))
    assert record["mutated"] == []


def test_a_probe_is_sent_as_source_and_its_calls_are_counted():
    _, record = arguments(Case(Probe(scaled_sum, 10)), lambda probe: [probe(1, 2), probe(3)])
    assert (encoding.decode(record["value"]), record["n_calls"]) == ([30, 30], 2)
    with pytest.raises(ValueError, match="needs a def"):
        Probe(lambda x: x)
