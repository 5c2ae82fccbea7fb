"""The static site in a browser: no request leaves the machine, the search finds, nothing is cut."""

import functools
import http.server
from pathlib import Path

import pytest
from lab_browser import watched
from lab_page import keep_screenshot
from lab_server import COURSE
from loopback_server import LoopbackServer, QuietHandler

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site_url(site):
    """The site, served on loopback."""

    class Handler(QuietHandler, http.server.SimpleHTTPRequestHandler):
        """Files of a folder."""

    with LoopbackServer(functools.partial(Handler, directory=str(site))) as server:
        yield server.url


@pytest.fixture
def page(chromium):
    with watched(chromium):
        yield chromium.new_page()


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
        page.evaluate("window.MathJax?.startup?.promise?.then(() => null)")
        wrong = page.locator("mjx-merror, [data-mjx-error]").all_inner_texts()
        assert wrong == [], f"{name}: no formulas"
        keep_screenshot(page, f"site_{Path(name).name}")


def test_the_formulas_are_typeset(page, site_url):
    page.goto(f"{site_url}/notebooks/05_compute_and_memory.html", wait_until="networkidle")
    page.locator("mjx-container").first.wait_for()


def test_the_search_finds_the_lecture(page, site_url):
    page.goto(f"{site_url}/search.html?q=perplexity", wait_until="networkidle")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    assert any("Language models" in text for text in found.all_inner_texts())
