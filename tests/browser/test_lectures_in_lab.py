"""Lectures, opened in JupyterLab and run to their end, as a student does.

Running takes long, and the notebooks' own tests run every cell: so each run of the tests takes one
of the lectures, another one each day, or all where BROWSER_ALL_LECTURES is set. What a lecture
shows without a run is looked at in all of them, in test_opened_again_in_lab.py.
"""

import datetime
import os
from pathlib import Path

import pytest
from lab_server import COURSE

pytestmark = [pytest.mark.real_model, pytest.mark.slow]
LECTURES = sorted(path.name for path in (COURSE / "notebooks").glob("*.ipynb"))
ALL = bool(os.environ.get("BROWSER_ALL_LECTURES"))
N_RUN = len(LECTURES) if ALL else 1


@pytest.mark.parametrize("turn", range(N_RUN))
def test_lecture_runs_and_shows_everything(lab_page, turn):
    name = LECTURES[(N_RUN * datetime.date.today().toordinal() + turn) % len(LECTURES)]
    print(name)  # shown where it fails
    lecture = lab_page(f"notebooks/{name}")
    lecture.run_all()
    assert lecture.errors == []
    n_cells = sum(cell["cell_type"] == "code" for cell in lecture.nb["cells"])
    assert lecture.prompts == [f"[{i}]:" for i in range(1, n_cells + 1)]
    save_screenshots(lecture, name.removesuffix(".ipynb"))
    check_pictures(lecture)
    assert lecture.wider_than_their_place() == []


def check_pictures(lecture):
    lecture.page.wait_for_load_state()
    for image in lecture.images:
        # JupyterLab itself says "Image" where there are no words.
        assert len(image["alt"]) > 20, f"a picture's alternative text is {image['alt']!r}"
        assert image["width"], f"not shown: {image['alt']}"


def save_screenshots(lecture, name):
    """For a person to look at, where all lectures run and BROWSER_SCREENSHOTS names a folder.

    In JupyterLab's light theme, or in those that BROWSER_THEMES names: "Light Dark".
    """
    folder = os.environ.get("BROWSER_SCREENSHOTS")
    for theme in os.environ.get("BROWSER_THEMES", "Light").split() if ALL and folder else ():
        lecture.command("apputils:change-theme", theme=f"JupyterLab {theme}")
        lecture.page.locator(f'body[data-jp-theme-name="JupyterLab {theme}"]').wait_for(
            state="attached"
        )
        lecture.page.locator("#jupyterlab-splash").wait_for(state="detached")
        lecture.screenshots(Path(folder), f"{name}_{theme.lower()}")
