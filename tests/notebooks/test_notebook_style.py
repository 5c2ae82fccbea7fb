"""Every committed notebook is short, can be read aloud, and is in the committed format."""

import pytest
from notebook_format import read_notebook
from notebook_rules import read_uncompared_cells, style_problems

from notebooks import ROOT, UNCOMPARED_FILE, find_notebooks

UNCOMPARED = read_uncompared_cells(UNCOMPARED_FILE)
NAMES = [path.relative_to(ROOT).as_posix() for path in find_notebooks()]


def test_there_are_notebooks():
    assert NAMES


def test_the_list_of_uncompared_cells_names_notebooks_that_exist():
    assert set(UNCOMPARED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_keeps_to_the_limits(name):
    problems = style_problems(
        read_notebook(ROOT / name), ROOT / name, is_lecture=name.startswith("notebooks/")
    )
    assert not problems, "\n" + "\n".join(problems)
