"""The small notebook, run once for all tests."""

import pytest
from notebook_kernel import run_notebook
from small_notebooks import CELLS, make_notebook


@pytest.fixture(scope="session")
def fresh_run(tmp_path_factory):
    """What one would commit. Copy it before changing it."""
    return run_notebook(make_notebook(CELLS), tmp_path_factory.mktemp("run"))
