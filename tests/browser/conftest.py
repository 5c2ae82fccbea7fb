"""JupyterLab and Chromium for the tests in this folder, which see what a student sees."""

import importlib.util
import os
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


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
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox wants more rights than root in a container has.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False
        )
        yield browser
        browser.close()


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


@contextmanager
def pages(lab, chromium):
    """At the end all pages are closed, and nothing must have asked for the network."""
    from lab_page import LabPage, outside

    lab.restore()
    left_the_machine, broken = [], []
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)

    def check(route):
        if outside(route.request.url):
            left_the_machine.append(route.request.url)
            return route.abort()
        return route.continue_()

    context.route("**/*", check)

    def open_notebook(name):
        page = context.new_page()
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("websocket", lambda ws: outside(ws.url) and left_the_machine.append(ws.url))
        return LabPage(page, lab).open(name)

    try:
        yield open_notebook
    finally:
        context.close()
        lab.end_kernels()
    assert not left_the_machine, f"these requests would leave the machine: {left_the_machine}"
    assert not broken, f"JavaScript errors in the page: {broken}"
