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

TIMEOUT_MS = 120_000  # it is waited for only where something fails, or on a very busy machine

# What JupyterLab says where a notebook is closed while its kernel has yet to answer.
TOO_EARLY = "Canceled future for create_subshell_request"


@contextmanager
def running_chromium():
    """A browser context. It keeps a profile, so that JupyterLab's scripts are compiled once."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        # Chromium's sandbox wants more rights than root in a container has.
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False,
            viewport={"width": 1280, "height": 900},
        )  # fmt: skip
        context.set_default_timeout(TIMEOUT_MS)
        yield context
        context.close()


@contextmanager
def pages(lab, chromium):
    """Opens notebooks; at the end all pages are closed and all kernels ended."""
    from lab_page import LabPage

    lab.restore()
    try:
        with watched(chromium):
            yield lambda name: LabPage(chromium.new_page(), lab).open(name)
    finally:
        lab.end_kernels()


@contextmanager
def watched(chromium):
    """Pages opened inside may not ask for another machine, nor fail in JavaScript.

    Requests are watched and not intercepted, which would switch off the browser's cache. None can
    leave the machine in any case: the browser resolves no name (FLAGS).
    """
    from lab_page import outside

    left_the_machine, broken, opened = [], [], []

    def check(asked):
        if outside(asked.url):
            left_the_machine.append(asked.url)

    def watch(page):
        opened.append(page)
        page.on("pageerror", lambda error: TOO_EARLY in str(error) or broken.append(str(error)))
        page.on("websocket", check)
        page.on("request", check)

    chromium.on("page", watch)
    try:
        yield
    finally:
        chromium.remove_listener("page", watch)
        for page in opened:
            page.close()
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
