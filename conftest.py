"""Lets tests import tools/, and makes `pytest --nbval` compare all that a notebook shows."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "tools"))
# Set before torch is imported. Several test processes with several threads each wait for one
# another (measured on 2 cores: forward passes 30 times as slow).
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where somebody asks for more, a thread that waits must not spin on the core of another process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ["nbval_checks"]

# Its tests share a page of JupyterLab; its conftest.py says why.
ONE_PAGE = "tests/browser/widgets_in_lab/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist=loadfile`, but all tests of one folder go to the same worker.

    `_split_scope` is what pytest-xdist's own schedulers, and its documentation, override.
    """
    from xdist.scheduler import LoadFileScheduling

    class OnePage(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return ONE_PAGE if nodeid.startswith(ONE_PAGE) else super()._split_scope(nodeid)

    return OnePage(config, log) if config.getoption("dist") == "loadfile" else None
