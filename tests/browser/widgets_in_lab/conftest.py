"""One notebook, with every lecture's widgets and the model, for all tests of this folder."""

import pytest


@pytest.fixture(scope="package")
def widgets_page(lab, shared_page):
    """The notebook with every lecture's widgets, behind its set-up."""
    from lab_server import WIDGETS

    page = shared_page.open(WIDGETS)
    page.run_setup()
    yield page
    page.close()
    lab.end_kernels()
