"""Lectures as nbconvert writes them: every picture is there, in words too."""

import pytest
from notebook_format import read_notebook
from notebook_rules import image_alts

from notebooks import ROOT, find_notebooks

LECTURES = [path for path in find_notebooks() if path.parent == ROOT / "notebooks"]


@pytest.fixture(scope="module")
def exporter():
    """One for all lectures, since each compiles its templates anew."""
    from nbconvert import HTMLExporter

    return HTMLExporter()


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_each_picture_has_its_words_in_nbconvert(path, exporter):
    nb = read_notebook(path)
    # Only what can hold a picture, and no code: to colour it takes most of the time.
    nb.cells = [cell for cell in nb.cells if cell.get("outputs") or "<img" in cell.source]
    for cell in nb.cells:
        cell.source = "" if cell.cell_type == "code" else cell.source
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    n_pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    page, _ = exporter.from_notebook_node(nb)
    alts = image_alts(page)
    assert len(alts) >= n_pictures
    with_tables = ("11a_inference_script", "14a_many_requests", "14b_paging_and_serving")
    tables_alone = path.stem in with_tables
    assert (n_pictures == 0) == tables_alone
    assert all(alt and len(alt) > 20 for alt in alts)
    # What nbconvert writes where a picture brings no words.
    assert not [alt for alt in alts if "No description" in alt]
