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

# Files whose tests share what takes long to start: JupyterLab in a browser; processes that fork
# others, which need not import Transformers again.
SHARING = (
    ("tests/browser/",),
    ("tests/test_hf_", "tests/test_loading", "tests/test_parallel_", "tests/test_pipelines"),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist=loadfile`, but files that share something go to the same worker.

    `_split_scope` is what pytest-xdist's own schedulers, and its documentation, override.
    """
    from xdist.scheduler import LoadFileScheduling

    class Sharing(LoadFileScheduling):
        def _split_scope(self, nodeid):
            shared = next((names for names in SHARING if nodeid.startswith(names)), None)
            return shared[0] if shared else super()._split_scope(nodeid)

    return Sharing(config, log) if config.getoption("dist") == "loadfile" else None
