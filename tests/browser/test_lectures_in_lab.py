"""Every lecture, opened in JupyterLab and run to its end, as a student does."""

import os
from pathlib import Path

import pytest
from lab_server import COURSE

pytestmark = [pytest.mark.real_model, pytest.mark.slow]
LECTURES = sorted(path.name for path in (COURSE / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", LECTURES)
def test_lecture_runs_and_shows_everything(lab_page, name):
    lecture = lab_page(f"notebooks/{name}")
    lecture.run_all()
    assert lecture.errors == []
    n_cells = sum(cell["cell_type"] == "code" for cell in lecture.nb["cells"])
    assert lecture.prompts == [f"[{i}]:" for i in range(1, n_cells + 1)]
    save_screenshots(lecture, name.removesuffix(".ipynb"))
    check_pictures(lecture)
    check_text(lecture)
    assert lecture.wider_than_their_place() == []


def check_pictures(lecture):
    lecture.page.wait_for_load_state()
    for image in lecture.images:
        # JupyterLab itself says "Image" where there are no words.
        assert len(image["alt"]) > 20, f"a picture's alternative text is {image['alt']!r}"
        assert image["width"], f"not shown: {image['alt']}"


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


def save_screenshots(lecture, name):
    """For a person to look at, where BROWSER_SCREENSHOTS names a folder.

    In JupyterLab's light theme, or in those that BROWSER_THEMES names: "Light Dark".
    """
    folder = os.environ.get("BROWSER_SCREENSHOTS")
    for theme in os.environ.get("BROWSER_THEMES", "Light").split() if folder else ():
        lecture.command("apputils:change-theme", theme=f"JupyterLab {theme}")
        lecture.page.locator(f'body[data-jp-theme-name="JupyterLab {theme}"]').wait_for(
            state="attached"
        )
        lecture.page.locator("#jupyterlab-splash").wait_for(state="detached")
        lecture.screenshots(Path(folder), f"{name}_{theme.lower()}")
