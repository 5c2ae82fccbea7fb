"""Starts a task of an exercise, or tries one in a few seconds.

    make new-task EXERCISE=09_beam_search NAME=my-task
    make try-task EXERCISE=09_beam_search NAME=my-task

``new`` appends four cells to the solution notebook (text, answer, visible tests, hint) and a Task
to the hidden checks, all of which work as they are; then replace what says TODO. ``try`` says
whether the solution passes, the empty stub fails, each misconception is told by its name, and no
cell is too long; and it lists the small changes of the solution (`mutants.py`) that no case sees.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

sys.path.insert(0, str(Path(__file__).parents[1]))

import build_exercises as build
from mutants import survivors
from notebook_rules import cell_problems

from grader import cells, freeze, judge, session
from grader.checks import load_tasks

TEXT = """## Task {number}: TODO title

Difficulty 2 of 5 · 10 minutes · 3 points

TODO: what to write. **Predict** first: TODO, a question that the task answers."""
ANSWER = '''def {function}(x):
    """TODO: what it returns.

    x: TODO, what is allowed.
    """
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION'''
TESTS = 'assert {function}(3) == 6, "TODO: the likely mistake"'
HINT = """<details><summary>Hint</summary>

TODO: the step that most students miss, not the answer.
</details>"""
TASK = """{constant} = Task(
    grade_id="{name}", entry="{function}", compare=Exact(),
    cases=lambda rng: [
        Case(int(rng.integers(3, 99)), label="TODO: what is special about it"),
        Case(0, label="nothing"),
    ],
    misconceptions=[  # text of the solution cell, what stands there instead, message
        ("2 * x", "x", "TODO: what is wrong, and what to do instead"),
    ])  # fmt: skip
"""
LEAST_MISCONCEPTIONS = 4


def new_task(root: Path, exercise: str, name: str) -> None:
    """Write the task's cells and checks; ValueError if the names can't be taken."""
    [exercise] = freeze.find_exercises(root, [exercise])
    notebook_path, checks_path = _paths(root, exercise)
    notebook = cells.read_notebook(notebook_path)
    taken = cells.answer_ids(notebook)
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name in taken:
        raise ValueError(f"NAME: small letters, digits and -, none of {', '.join(taken)}")
    names = {"name": name, "function": name.replace("-", "_"), "number": len(taken) + 1,
             "constant": name.replace("-", "_").upper()}  # fmt: skip
    text, answer, tests = (part.format(**names) for part in (TEXT, ANSWER, TESTS))
    last = max(i for i, cell in enumerate(notebook.cells) if cells.role(cell) == "grade")
    if notebook.cells[last + 1 :] and notebook.cells[last + 1].source.startswith("<details>"):
        last += 1  # the hint belongs to the last task
    notebook.cells[last + 1 : last + 1] = [
        new_markdown_cell(text, id=f"task-{name}"),
        _graded_cell(answer, name, solution=True),
        _graded_cell(tests, cells.visible_tests_id(name), grade=True, locked=True, points=3),
        new_markdown_cell(HINT, id=f"hint-{name}"),
    ]
    checks = _with_task(checks_path.read_text(encoding="utf-8"), TASK.format(**names))
    nbformat.write(notebook, notebook_path)
    checks_path.write_text(checks, encoding="utf-8")


def _graded_cell(source: str, grade_id: str, **fields):
    plain = {"grade": False, "solution": False, "locked": False, "schema_version": 3,
             "task": False, "cell_type": "code"}  # fmt: skip
    metadata = {"nbgrader": {**plain, "grade_id": grade_id, **fields}}
    return new_code_cell(source, id=grade_id, metadata=metadata)


def _with_task(checks: str, task: str) -> str:
    """The checks file with one Task more, and what it imports."""
    imports = re.search(r"from grader.checks import (.*)", checks)
    if imports is None:
        raise ValueError("checks: need 'from grader.checks import ...'")
    needed = sorted({*imports[1].split(", "), "Case", "Exact", "Task"})
    start, end = imports.span(1)
    return f"{checks[:start]}{', '.join(needed)}{checks[end:].rstrip()}\n\n\n{task}"


def try_task(root: Path, exercise: str, name: str) -> list[str]:
    """What is wrong with the task, one line each; prints what is right."""
    [exercise] = freeze.find_exercises(root, [exercise])
    notebook_path, checks_path = _paths(root, exercise)
    notebook = cells.read_notebook(notebook_path)
    if problems := build.lint(notebook):
        return problems
    task = next((task for task in load_tasks(checks_path) if task.grade_id == name), None)
    if task is None:
        return [f"{checks_path.name} has no task {name!r}"]
    frozen = freeze.freeze(task, notebook)  # runs the solution, and every misconception
    print(f"{exercise}, {name}: {frozen['points']} points, {len(frozen['cases'])} cases")
    problems = [
        *cell_problems(notebook, is_lecture=False),
        *_visible_problems(notebook, name),
    ]
    for each in frozen["key"]["misconceptions"]:
        verdict = judge.judge(frozen, each["records"])
        print(f"  {verdict.message}")
        if verdict.misconception != each["name"]:
            problems.append(f"{each['name']} is taken for {verdict.misconception}")
    n_mutants, unnoticed = survivors(frozen, cells.find_cell(notebook, name).source)
    print(f"  of {n_mutants} small changes of the solution no case notices {len(unnoticed)}")
    print(*(f"    {change}\n" for change in unnoticed), sep="", end="")
    if len(task.misconceptions) < LEAST_MISCONCEPTIONS:
        problems.append(f"{len(task.misconceptions)} misconceptions; {LEAST_MISCONCEPTIONS} needed")
    texts = [cell.source for cell in notebook.cells] + [checks_path.read_text(encoding="utf-8")]
    if any("TODO" in text for text in texts):
        problems.append("something still says TODO")
    return problems


def _visible_problems(notebook, name: str) -> list[str]:
    """Do the visible tests pass with the solution, and fail with the empty stub?"""
    setup, solution = cells.setup_sources(notebook, name), cells.find_cell(notebook, name).source
    tests = cells.find_cell(notebook, cells.visible_tests_id(name)).source
    # As nbgrader makes it, which takes two seconds to import.
    stub = re.sub(f"{build.BEGIN}.*?{build.END}", build.STUB, solution, flags=re.DOTALL)
    problems = []
    try:
        session.run_setup([*setup, solution, tests])
    except Exception as error:
        problems.append(f"the visible tests fail with the solution: {error!r}")
    try:
        session.run_setup([*setup, stub, tests])
    except NotImplementedError:
        return problems
    except Exception as error:
        return [*problems, f"the empty stub fails, but not as unanswered: {error!r}"]
    return [*problems, "the visible tests pass with the empty stub"]


def _paths(root: Path, exercise: str) -> tuple[Path, Path]:
    solutions = root / "solutions"
    return solutions / f"{exercise}.ipynb", solutions / "checks" / f"{exercise}.py"


def main(argv: list[str] | None = None, root: Path = Path(".")) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["new", "try"])
    parser.add_argument("exercise", help="its name or number")
    parser.add_argument("name", help="of the task, which is the answer cell's grade_id")
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "new":
            new_task(root, arguments.exercise, arguments.name)
            print("written; replace what says TODO in solutions/ and solutions/checks/")
            return 0
        start = time.perf_counter()
        problems = try_task(root, arguments.exercise, arguments.name)
    except ValueError as error:
        problems = [str(error)]
    else:
        seconds = time.perf_counter() - start
        print(f"{'not yet right' if problems else 'all right'}, in {seconds:.1f} s")
    print(*problems, sep="\n", end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
