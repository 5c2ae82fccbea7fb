"""The second check: every notebook, run again, shows what is committed - pictures and all.

`pytest --nbval` is the first. `test_notebook_proof.py` shows what each of the two catches.
"""

import pytest
from notebook_compare import load_sanitizer
from notebook_format import read_notebook
from notebook_kernel import run_notebook
from notebook_rules import read_uncompared_cells

from lecture_lib.grading.cells import merge_solutions
from notebooks import ROOT, SANITIZE_FILE, UNCOMPARED_FILE, check_notebook, find_notebooks

SANITIZE = load_sanitizer(SANITIZE_FILE)
UNCOMPARED = read_uncompared_cells(UNCOMPARED_FILE)
EXERCISES = [path.name for path in sorted((ROOT / "exercises").glob("*.ipynb"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in find_notebooks()]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_shows_what_is_committed(name):
    problems = check_notebook(ROOT / name, sanitize=SANITIZE, uncompared=UNCOMPARED.get(name, {}))
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_runs_with_the_solutions_put_in(name):
    solution = read_notebook(ROOT / "solutions" / name)
    merged = merge_solutions(read_notebook(ROOT / "exercises" / name), solution)
    # Where it is the solution's very code, the test above has run it and compared all it shows.
    if code_of(merged) != code_of(solution):
        run_notebook(merged, ROOT / "exercises")


def code_of(nb):
    return [cell.source for cell in nb.cells if cell.cell_type == "code"]
