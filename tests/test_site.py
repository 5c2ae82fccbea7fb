"""The static site: built from the committed notebooks, complete, with no dead link, offline."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_site  # noqa: E402
import site_frames  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_each_lecture_is_a_page_with_all_its_pictures(site):
    for path in NOTEBOOKS:
        page = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        data = [output.get("data", {}) for output in outputs]
        # A widget has frames in place of its picture, and not all frames are pictures.
        n_pictures = sum("image/png" in d and site_frames.WIDGET not in d for d in data)
        alts = [alt for alt in re.findall(r'<img alt="([^"]*)"', page) if len(alt) > 30]
        assert len(alts) >= n_pictures, f"{path.name}: {len(alts)} of {n_pictures} have words"


class Prose(HTMLParser):
    """The text of a page that a reader sees: no code, no printed output, no formula."""

    unseen = ("pre", "code", "script", "style")
    alone = ("br", "hr", "img", "input", "link", "meta", "wbr", "col")  # they have no end

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in self.alone:
            classes = (dict(attrs).get("class") or "").split()
            self.open.append((tag, tag in self.unseen or "math" in classes))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if not any(hidden for _tag, hidden in self.open):
            self.text += data


RAW = re.compile(
    r"\|\s*:?[-–]{1,}:?\s*\|"  # the second line of a table, where Sphinx made a dash of hyphens
    r"|\*\*\w|\$[^$\n]*[\\^_=][^$\n]*\$|\$\$"
    r"|\\(frac|displaystyle|times|sqrt|cdot|text|mathrm|sum|begin)\b|<IPython\.core"
)


def raw_markup(page: str) -> list[str]:
    """What should have been a table, a formula or bold print, with the text around it."""
    prose = Prose()
    prose.feed(page)
    found = RAW.finditer(prose.text)
    return [prose.text[max(0, match.start() - 30) : match.end() + 30] for match in found]


def test_no_page_shows_raw_markup(site):
    pages = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    assert len(pages) > len(NOTEBOOKS)
    found = {path.name: raw_markup(path.read_text(encoding="utf-8")) for path in pages}
    assert {name: raw for name, raw in found.items() if raw} == {}


@pytest.mark.parametrize(
    "text",
    ["| no. | rule |\n|:–|–:|\n| 1 | a |", "so $X W^Q$ is", r"\frac{a}{b}", "**bold**", "$$x$$"],
)
def test_raw_markup_is_found_and_code_is_not(text):
    assert raw_markup(f"<p>{text}</p>")
    assert not raw_markup(
        f'<pre>{text}</pre><span class="math">{text}</span><p>$5 or $6, a | b</p>'
    )


def widgets(path: Path) -> list[str]:
    """The ids of a notebook's cells whose output is a widget."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        cell["id"]
        for cell in cells
        if any(site_frames.WIDGET in output.get("data", {}) for output in cell.get("outputs", []))
    ]


def test_every_widget_moves_on_its_page(site):
    assert sum(len(widgets(path)) for path in NOTEBOOKS) > 10
    for path in NOTEBOOKS:
        page = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        boxes = page.split('<div class="frames">')[1:]
        assert len(boxes) == len(widgets(path)), path.name
        for name, box in zip(widgets(path), boxes, strict=True):
            frames = re.findall(r"<template data-value=.*?>(.*?)</template>", box, re.DOTALL)
            assert len(set(frames)) >= 3, f"{path.name}, {name}: {len(set(frames))} frames"
            pictures = re.findall(r'src="\.\./(_static/frames/[^"]*)"', "".join(frames))
            contents = {(site / picture).read_bytes() for picture in pictures}
            assert len(contents) >= 3 or not pictures, f"{path.name}, {name}: the same picture"
        assert "A picture of the default state" not in page
        assert "application/vnd.jupyter.widget-view" not in page


def test_a_widget_that_fails_names_its_lecture(tmp_path):
    (tmp_path / "notebooks").mkdir()
    output = {"data": {site_frames.WIDGET: {}, "text/html": ""}}
    cells = [
        {"cell_type": "code", "id": "first", "source": "x = 1", "outputs": []},
        {"cell_type": "code", "id": "late", "source": "1 / zero", "outputs": [output]},
        {"cell_type": "code", "id": "later", "source": "zero = 0", "outputs": []},
    ]
    path = tmp_path / "notebooks" / "99_broken.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    with pytest.raises(site_frames.FrameError, match=r"99_broken.ipynb, cell late: NameError"):
        site_frames.add_frames(path, tmp_path)


def test_a_cell_runs_after_those_that_it_needs():
    sources = ["import math", "def area(r):\n    return math.pi * r * r", "r = 0", "two = 2",
               "r = two + 0", "area(r)", "1 / 0"]  # fmt: skip
    cells = [{"cell_type": "code", "source": source} for source in sources]
    lecture = site_frames.Lecture(cells)
    assert lecture.run(5) == pytest.approx(12.566, rel=1e-3)
    assert lecture.done == {0, 1, 3, 4, 5}  # of two that give r the later one


def test_the_search_index_knows_the_lectures(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert all(f"notebooks/{path.stem}" in index for path in NOTEBOOKS)
    assert '"perplex"' in index or "perplex:" in index  # stemmed, as the search stems the query


def test_a_dead_link_and_a_foreign_script_are_found(tmp_path):
    (tmp_path / "there.html").write_text('<h1 id="top">x</h1>', encoding="utf-8")
    (tmp_path / "index.html").write_text(
        '<a href="there.html#top">1</a><a href="gone.html">2</a><a href="there.html#gone">3</a>'
        '<script src="https://example.org/x.js"></script><a href="https://example.org">4</a>',
        encoding="utf-8",
    )
    found = "\n".join(build_site.dead_links(tmp_path))
    assert "gone.html is not there" in found
    assert "#gone has no such anchor" in found
    assert "x.js is loaded from another machine" in found
    assert found.count("\n") == 2


def test_without_sphinx_the_message_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(build_site.importlib.util, "find_spec", lambda name: None)
    assert build_site.main([str(tmp_path / "site")]) == 1
    assert "make site" in capsys.readouterr().err
