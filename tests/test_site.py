"""The static site: built from the committed notebooks, complete, with no dead link, offline."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_site  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_each_lecture_is_a_page_with_all_its_pictures(site):
    for path in NOTEBOOKS:
        page = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        n_pictures = sum("image/png" in output.get("data", {}) for output in outputs)
        alts = [alt for alt in re.findall(r'<img alt="([^"]*)"', page) if len(alt) > 30]
        assert len(alts) >= n_pictures, f"{path.name}: {len(alts)} of {n_pictures} have words"


def test_a_widget_is_shown_as_its_picture(site):
    page = (site / "notebooks" / "04_kv_cache.html").read_text(encoding="utf-8")
    assert "A picture of the default state" in page
    assert "application/vnd.jupyter.widget-view" not in page


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
