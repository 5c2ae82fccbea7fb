"""The released course in JupyterLab: it imports the release's own library, and widgets work.

tests/test_release.py runs an exercise of it whole, by the command that a student has for that.
"""

import sys

import lab_server
import pytest
import release
import released_course
from lab_browser import watched
from lab_page import LabPage

pytestmark = [pytest.mark.real_model, pytest.mark.slow]
LECTURE = "notebooks/01_language_models.ipynb"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of the student's environment, on the unpacked release.

    Its kernels are plain ones, as students have them: here nothing was imported before.
    """
    folder = tmp_path_factory.mktemp("release")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "check_exercises", lambda root: None)  # tests/test_release.py
        patch.setattr(release, "check_files", lambda root, files: None)  # has both
        whole = released_course.clean_copy(folder / "course")
        _, archive = release.release(whole, folder / "dist")
    course = released_course.unpack(archive, folder / "unpacked")
    python = released_course.make_environment(course, folder / "environment")
    command = lab_server._command
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab_server, "COURSE", course)
        patch.delenv("PYTHONPATH", raising=False)
        patch.setattr(
            lab_server, "_command",
            lambda lab: [str(python) if part == sys.executable else part for part in command(lab)],
        )  # fmt: skip
        with lab_server.running_lab(tmp_path_factory.mktemp("lab")) as server:
            server.library = course / "lecture_lib"
            yield server


@pytest.fixture(scope="module")
def shared_page(lab, chromium):
    """A page of this JupyterLab."""
    with watched(chromium):
        yield LabPage(chromium.new_page(), lab)


def test_lecture_01_begins_with_the_releases_library_and_shows_a_widget(lab, lab_page):
    lecture = lab_page(LECTURE)
    lecture.run_setup()
    lecture.show_widget("SentenceScorer(")
    cell = lecture.find_cell("SentenceScorer(")
    lecture.type_source(cell, "import lecture_lib\nprint(lecture_lib.__file__)")
    lecture.run(cell)
    assert str(lab.library) in lecture.cell(cell).inner_text()
