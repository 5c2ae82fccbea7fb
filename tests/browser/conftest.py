"""JupyterLab and Chromium for the tests in this folder, which see what a student sees.

One JupyterLab, one browser and one page are for all of them, since these take longer to start than
most tests: the root's conftest.py gives the whole folder to one worker.
"""

import sys
from pathlib import Path

import needs
import pytest

sys.path.append(str(Path(__file__).parent))

from lab_browser import CHROMIUM, running_chromium, watched
from nbval_checks import forked_kernels


@pytest.fixture(scope="session", autouse=True)
def a_browser():
    """What every test of this folder needs."""
    if not CHROMIUM:
        needs.missing("the tests in a browser need Chromium", "sudo apt install chromium")


@pytest.fixture(scope="package")
def lab(tmp_path_factory):
    """A running JupyterLab. Its kernels need not import torch again."""
    from lab_server import running_lab

    with running_lab(tmp_path_factory.mktemp("lab"), forked_kernels()) as server:
        yield server


# It ends with this package: while Playwright is on, nothing else in the process can use asyncio.
@pytest.fixture(scope="package")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def shared_page(lab, chromium):
    """One page: to load JupyterLab takes longer than to open a notebook."""
    from lab_page import LabPage

    with watched(chromium):
        yield LabPage(chromium.new_page(), lab)


@pytest.fixture
def lab_page(lab, shared_page):
    """Opens a notebook, freshly copied: ``lab_page("notebooks/NAME.ipynb")`` is a ``LabPage``."""
    lab.restore()
    yield shared_page.open
    shared_page.close()
    lab.end_kernels()
