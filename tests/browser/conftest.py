"""JupyterLab and Chromium for the tests in this folder, which see what a student sees."""

import needs
import pytest
from lab_browser import CHROMIUM, running_chromium, watched
from nbval_checks import forked_kernels


@pytest.fixture(scope="session", autouse=True)
def a_browser():
    """What every test of this folder needs."""
    if not CHROMIUM:
        needs.missing("the tests in a browser need Chromium", "sudo apt install chromium")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """One JupyterLab for all tests of this process. Its kernels need not import torch again."""
    from lab_server import running_lab

    with running_lab(tmp_path_factory.mktemp("lab"), forked_kernels()) as server:
        yield server


# For one module only: while Playwright is on, nothing else in the process can use asyncio.
@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page_of_module(lab, chromium):
    """One page for all tests of a module: to load JupyterLab takes longer than a notebook."""
    from lab_page import LabPage

    with watched(chromium):
        yield LabPage(chromium.new_page(), lab)


@pytest.fixture
def lab_page(lab, page_of_module):
    """Opens a notebook, freshly copied: ``lab_page("notebooks/NAME.ipynb")`` is a ``LabPage``."""
    lab.restore()
    yield page_of_module.open
    page_of_module.close()
    lab.end_kernels()
