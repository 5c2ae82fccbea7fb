"""The static site in a browser: no request leaves the machine, the search finds, nothing is cut."""

import functools
import http.server
import importlib.util
import sys
import threading
from pathlib import Path

import pytest
from lab_page import keep_screenshot, outside
from lab_server import COURSE

sys.path.insert(0, str(COURSE / "tools"))
import build_site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("myst_nb") is None,
        reason="Sphinx is not installed (docs/requirements-site.txt; `make site` installs it)",
    ),
]


@pytest.fixture(scope="module")
def site_url(tmp_path_factory):
    """The site, built anew and served on loopback."""
    folder = tmp_path_factory.mktemp("built") / "site"
    build_site.build(folder)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(chromium):
    """A page; at the end nothing must have asked for another machine, nor failed in JavaScript."""
    left, broken = [], []
    context = chromium.new_context(viewport={"width": 1280, "height": 900})

    def check(route):
        if outside(route.request.url):
            left.append(route.request.url)
            return route.abort()
        return route.continue_()

    context.route("**/*", check)
    page = context.new_page()
    page.on("pageerror", lambda error: broken.append(str(error)))
    yield page
    context.close()
    assert not left, f"these requests would leave the machine: {left}"
    assert not broken, f"JavaScript errors in the page: {broken}"


LECTURES = sorted(path.stem for path in (COURSE / "notebooks").glob("*.ipynb"))


def test_every_page_is_whole_and_asks_nobody_else(page, site_url):
    for name in ["index", *(f"notebooks/{stem}" for stem in LECTURES)]:
        page.goto(f"{site_url}/{name}.html", wait_until="networkidle")
        shown = page.locator("main img").evaluate_all(
            "all => all.map(i => [i.alt, i.naturalWidth])"
        )
        assert all(width for _alt, width in shown), f"{name}: {shown}"
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name}: {wide} pixels wider than the window"
        keep_screenshot(page, f"site_{Path(name).name}")


def test_the_formulas_are_typeset(page, site_url):
    page.goto(f"{site_url}/notebooks/05_compute_and_memory.html", wait_until="networkidle")
    page.locator("mjx-container").first.wait_for()
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0


def test_the_search_finds_the_lecture(page, site_url):
    page.goto(f"{site_url}/search.html?q=perplexity", wait_until="networkidle")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    assert any("Language models" in text for text in found.all_inner_texts())
