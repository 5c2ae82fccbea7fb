"""Chromium on the course in JupyterLab, for tests and scripts; nothing may leave the machine."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


@contextmanager
def running_chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox wants more rights than root in a container has.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False
        )
        yield browser
        browser.close()


@contextmanager
def pages(lab, chromium):
    """Opens notebooks; at the end all pages are closed and all kernels ended."""
    from lab_page import LabPage

    lab.restore()
    try:
        with watched_context(chromium) as context:
            context.set_default_timeout(20_000)
            yield lambda name: LabPage(context.new_page(), lab).open(name)
    finally:
        lab.end_kernels()


@contextmanager
def watched_context(chromium):
    """A context in which nothing may ask for another machine, nor fail in JavaScript."""
    from lab_page import outside

    left_the_machine, broken = [], []
    context = chromium.new_context(viewport={"width": 1280, "height": 900})

    def check(route):
        if outside(route.request.url):
            left_the_machine.append(route.request.url)
            return route.abort()
        return route.continue_()

    def watch(page):
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("websocket", lambda ws: outside(ws.url) and left_the_machine.append(ws.url))

    context.route("**/*", check)
    context.on("page", watch)
    try:
        yield context
    finally:
        context.close()
    assert not left_the_machine, f"these requests would leave the machine: {left_the_machine}"
    assert not broken, f"JavaScript errors in the page: {broken}"


@contextmanager
def live_lab():
    """For scripts: a JupyterLab and a Chromium of their own; what opens a notebook in them."""
    from lab_server import running_lab

    with (
        tempfile.TemporaryDirectory() as folder,
        running_lab(Path(folder)) as lab,
        running_chromium() as browser,
        pages(lab, browser) as open_notebook,
    ):
        yield open_notebook
