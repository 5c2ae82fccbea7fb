"""A lecture that is opened and not run: what a fresh clone shows, and what one's own run left.

Every kind of output and text is looked at, in as few lectures as show it, since to open one takes
seconds. Every lecture's pictures and formulas are looked at in test_site_in_browser.py, and
test_lectures_in_lab.py opens another lecture each day.
"""

import html
import json
import re

import pytest
from lab_server import COURSE
from playwright.sync_api import expect

WITH_A_WIDGET = "notebooks/01_language_models.ipynb"
WIDGET = "application/vnd.jupyter.widget-view+json"


def kinds(path) -> set[str]:
    """A lecture's MIME types of outputs, HTML tags in outputs and text, formulas and tables."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] != "code"]
    texts += ["".join(data.get("text/html", "")) for data in shown]
    return {mime for data in shown for mime in data} | set(
        re.findall(r"<\w+|\$\$|\|--", "\n".join(texts))
    )


def chosen() -> list[str]:
    """Lectures that show every kind: each adds the most to those before it."""
    left = {path.name: kinds(path) for path in sorted((COURSE / "notebooks").glob("*.ipynb"))}
    names = []
    while any(left.values()):
        names.append(max(left, key=lambda name: len(left[name])))
        shown = left[names[-1]]
        left = {name: kinds - shown for name, kinds in left.items()}
    return names


@pytest.mark.parametrize("name", chosen())
def test_a_fresh_clone_shows_its_pictures_and_formulas(lab_page, name):
    """It is untrusted: JupyterLab cleans HTML outputs, and shows no widget."""
    lecture = lab_page(f"notebooks/{name}")
    # It must not get further than what was saved in the file.
    numbers = [c["execution_count"] for c in lecture.nb["cells"] if c["cell_type"] == "code"]
    assert lecture.prompts == [f"[{number}]:" for number in numbers]
    assert not is_trusted(lecture)
    saved = [picture for output in outputs(lecture) for picture in pictures_in(output)]
    expect(lecture.page.locator(".jp-Notebook img")).to_have_count(len(saved))
    for image in lecture.page.locator(".jp-Notebook img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        assert image.bounding_box()["width"] > 100
    assert [image["alt"] for image in lecture.images] == saved
    assert lecture.wider_than_their_place() == []
    n_widgets = sum(WIDGET in output.get("data", {}) for output in outputs(lecture))
    notes = lecture.page.get_by_text("run the cell to use the controls")
    expect(notes).to_have_count(n_widgets)
    check_text(lecture)


def check_text(lecture):
    """Formulas are typeset, and what explains stays folded until it is asked for."""
    text = lecture.page.locator(".jp-MarkdownOutput")
    source = "".join("".join(c["source"]) for c in lecture.nb["cells"] if c["cell_type"] != "code")
    formulas = text.locator("mjx-container")
    if "$$" in source:
        formulas.first.wait_for()
    assert lecture.page.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert "$$" not in " ".join(text.all_inner_texts())
    folded = text.locator("details")
    assert folded.count() == source.count("<details>")
    for details in folded.all()[:1]:
        words = details.locator("p").first
        assert not words.is_visible()
        details.locator("summary").click()
        assert words.is_visible()
        details.locator("summary").click()


@pytest.mark.real_model
@pytest.mark.slow
def test_a_saved_run_of_ones_own_shows_no_widget(lab_page):
    """After one's own run the file is trusted, and JupyterLab wants the widget that is gone."""
    mine = lab_page(WITH_A_WIDGET)
    cell = mine.find_cell("SentenceScorer(")
    mine.command("notebook:clear-all-cell-outputs")  # the file's outputs would stay untrusted
    mine.run(mine.find_cell("loaded = load_model()"), cell)
    expect(mine.cell(cell).get_by_role("textbox", name="Sentences")).to_be_visible()
    mine.command("docmanager:save")
    mine.close()
    mine.lab.end_kernels()

    again = lab_page(WITH_A_WIDGET)
    assert is_trusted(again)
    expect(again.cell(cell)).to_contain_text(re.compile("model not found|Loading widget"))


def is_trusted(lecture) -> bool:
    return lecture.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets"
        ".every(cell => cell.model.type !== 'code' || cell.model.trusted)"
    )


def outputs(lecture):
    return [output for cell in lecture.nb["cells"] for output in cell.get("outputs", [])]


def pictures_in(output) -> list[str]:
    """The alternative texts of the pictures in a saved output."""
    source = "".join(output.get("data", {}).get("text/html", ""))
    return [html.unescape(alt) for alt in re.findall(r'<img alt="([^"]*)"', source)]
