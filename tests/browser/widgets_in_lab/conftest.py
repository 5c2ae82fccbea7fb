"""One page, with every lecture's widgets and the model, for all tests of this folder.

To open JupyterLab and to load the model takes longer than most of these tests, so the root's
conftest.py gives the whole folder to one worker.
"""

import pytest
from lab_browser import running_chromium, watched


@pytest.fixture(scope="package")
def widgets_page(lab):
    """The notebook with every lecture's widgets, behind its set-up."""
    from lab_page import LabPage
    from lab_server import WIDGETS

    with running_chromium() as chromium, watched(chromium):
        page = LabPage(chromium.new_page(), lab).open(WIDGETS)
        page.run_setup()
        yield page
    lab.end_kernels()
