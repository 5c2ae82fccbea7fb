"""JupyterLab and Chromium for the tests in this folder, which see what a student sees."""

import importlib.util
import os

import pytest
from lab_browser import CHROMIUM, pages, running_chromium


def pytest_collection_modifyitems(items):
    missing = [
        what
        for what, there in {
            "playwright (pip install playwright)": importlib.util.find_spec("playwright"),
            "a Chromium (apt install chromium)": CHROMIUM,
            "JupyterLab": importlib.util.find_spec("jupyterlab"),
        }.items()
        if not there
    ]
    if missing:
        skip = pytest.mark.skip(reason=f"not on this machine: {', '.join(missing)}")
        here = os.path.dirname(__file__)
        for item in items:
            if str(item.path).startswith(here + os.sep):
                item.add_marker(skip)


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
