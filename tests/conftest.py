"""What several test modules share."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

collect_ignore = ["exercises/sample"]  # its notebooks are material of tests, not executed
# What a fixture needs marks the tests that use it.
MARKS = {"sandbox": "sandbox", "site": "slow", "loaded": "real_model", "packed": "real_model"}
BROWSER_TESTS = Path(__file__).parent / "browser"


def pytest_collection_modifyitems(items):
    """Mark what needs more than Python, so that `make test-fast` can leave it out.

    What takes longest comes first, since what began last would keep the other workers waiting: the
    browser's tests, which are one worker's, then notebooks, and files with slow tests.
    """
    for item in items:
        if item.path.is_relative_to(BROWSER_TESTS):
            item.add_marker("browser")
        for fixture in {*MARKS} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(MARKS[fixture])
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(
        key=lambda item: (
            not item.path.is_relative_to(BROWSER_TESTS),
            item.path not in slow and item.path.suffix != ".ipynb",
        )
    )


@pytest.fixture(scope="session")
def loaded():
    """The bundled model, loaded once in each test process."""
    from lecture_lib.loading import load_model

    return load_model(device="cpu")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the static site, built once for all test processes of a run."""
    import build_site

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            build_site.build(folder)
    return folder
