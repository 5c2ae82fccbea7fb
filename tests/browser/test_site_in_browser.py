"""The static site in a browser: on a desk and on a phone, in light and dark, with no other machine.

What each page looks like is for a person to see, where BROWSER_SCREENSHOTS names a folder.
"""

import functools
import http.server
import os
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
PAGES = ["index", *(f"notebooks/{stem}" for stem in LECTURES)]
WIDTHS = {"desk": 1280, "phone": 375}
THEMES = ("light", "dark")

# Texts that are hard to read: their contrast with what is behind them, by the rule of WCAG.
_PALE = """() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => {
        const [r, g, b] = channels(colour).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = (element) => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if ((channels(colour)[3] ?? 1) > 0.5) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const pale = [];
    const texts = document.createTreeWalker(document.querySelector("article"), 4);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const text = texts.currentNode.data.trim();
        if (!text || !element.checkVisibility() || element.closest("mjx-container, a")) continue;
        const both = [getComputedStyle(element).color, paper(element)];
        const [dark, light] = both.map(luminance).sort((a, b) => a - b);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < 3) pale.push(`${text.slice(0, 40)}: ${both} ${contrast.toFixed(1)}`);
    }
    return pale;
}"""


def show_in(page, theme: str) -> None:
    """As a reader sees it whose system has this theme."""
    page.emulate_media(color_scheme=theme)
    page.locator(f'html[data-theme="{theme}"]').wait_for()


def test_every_page_is_whole_legible_and_asks_nobody_else(page, site_url):
    for name in PAGES:
        page.goto(f"{site_url}/{name}.html", wait_until="networkidle")
        shown = page.locator("main img").evaluate_all(
            "all => all.map(i => [i.alt, i.naturalWidth])"
        )
        assert all(width for _alt, width in shown), f"{name}: {shown}"
        page.evaluate("window.MathJax?.startup?.promise?.then(() => null)")
        wrong = page.locator("mjx-merror, [data-mjx-error]").all_inner_texts()
        assert wrong == [], f"{name}: no formulas"
        for theme in THEMES:
            show_in(page, theme)
            for place, width in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate(_PALE) == [], f"{name}, {theme}"
                wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert wide <= 0, f"{name}: {wide} pixels wider than the window of a {place}"
                if folder := os.environ.get("BROWSER_SCREENSHOTS"):
                    kept = Path(folder) / f"site_{Path(name).name}_{place}_{theme}.png"
                    page.screenshot(path=kept, full_page=True)


def test_the_first_picture_is_seen_within_two_seconds(page, site_url):
    """Of the page's own processor time: a clock would measure what else the machine does."""
    page.goto(f"{site_url}/index.html", wait_until="networkidle")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def processor_s() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "ProcessTime")

    for name in PAGES[1:]:
        before = processor_s()
        page.goto(f"{site_url}/{name}.html", wait_until="commit")
        page.wait_for_function(
            """() => {
                const first = document.querySelector("article img");
                return first ? first.complete : document.readyState === "complete";
            }"""
        )
        assert processor_s() - before < 2, name


@pytest.mark.parametrize("theme", THEMES)
def test_a_widget_moves_by_keyboard_without_kernel_and_server(page, site, theme):
    page.goto((site / "notebooks" / "04_kv_cache.html").as_uri())
    show_in(page, theme)
    slider, picture = page.get_by_role("slider", name="Step"), page.locator(".frame img")
    assert slider.get_attribute("aria-valuetext") == "0"
    assert page.locator(".frame").get_attribute("aria-live") == "polite"
    seen = set()
    slider.focus()
    for key in ("", "ArrowRight", "ArrowRight", "End"):
        if key:
            page.keyboard.press(key)
        page.wait_for_function("document.querySelector('.frame img').naturalWidth > 100")
        seen.add((picture.get_attribute("alt"), picture.get_attribute("src")))
    assert len({alt for alt, _ in seen}) == len({source for _, source in seen}) == 4
    assert slider.get_attribute("aria-valuetext") == "10"
    assert page.locator(".frames output").inner_text() == "10"
    keep_screenshot(page.locator(".frames"), f"site_widget_{theme}")


def test_all_widgets_move(page, site_url):
    n_moved = 0
    for name in PAGES[1:]:
        page.goto(f"{site_url}/{name}.html")
        for box in page.locator(".frames").all():
            slider, seen = box.get_by_role("slider"), set()
            for key in ("Home", "ArrowRight", "End"):
                slider.press(key)
                seen.add(box.locator(".frame").inner_html())
            assert len(seen) == 3, name
            n_moved += 1
    assert n_moved > 10


def test_the_formulas_are_typeset(page, site_url):
    page.goto(f"{site_url}/notebooks/05_compute_and_memory.html", wait_until="networkidle")
    page.locator("mjx-container").first.wait_for()


def test_the_search_finds_the_lecture(page, site_url):
    page.goto(f"{site_url}/search.html?q=perplexity", wait_until="networkidle")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    assert any("Language models" in text for text in found.all_inner_texts())
