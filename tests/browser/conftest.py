"""JupyterLab and Chromium for the tests in this folder, which see what a student sees."""

import needs
import pytest
from lab_browser import CHROMIUM, pages, running_chromium


@pytest.fixture(scope="session", autouse=True)
def a_browser():
    """What every test of this folder needs."""
    if not CHROMIUM:
        needs.missing("the tests in a browser need Chromium", "sudo apt install chromium")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """One JupyterLab for all tests of this process."""
    from lab_server import running_lab

    with running_lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


# For one module only: while Playwright is on, nothing else in the process can use asyncio.
@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def lab_page(lab, chromium):
    """Opens notebooks, freshly copied: ``lab_page("notebooks/NAME.ipynb")`` is a ``LabPage``."""
    with pages(lab, chromium) as open_notebook:
        yield open_notebook


@pytest.fixture(scope="module")
def lab_page_of_module(lab, chromium):
    """The same, with pages that stay open for all tests of a module."""
    with pages(lab, chromium) as open_notebook:
        yield open_notebook


@pytest.fixture(scope="module")
def widgets_page(lab_page_of_module):
    """The notebook with every lecture's widgets, the model loaded: one kernel for a module."""
    from lab_server import WIDGETS

    page = lab_page_of_module(WIDGETS)
    page.run_setup()
    return page
