"""Lets tests import tools/, and makes `pytest --nbval` run notebooks as the second check does."""

import os
import sys
import time
from pathlib import Path
from queue import Empty

import pytest

sys.path.insert(0, str(Path(__file__).parent / "tools"))
# Set before torch is imported. Several test processes with several threads each wait for one
# another (measured on 2 cores: forward passes 30 times as slow), and 1 thread rounds as CI does.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("nbval", default=False):
        return
    from notebook_kernel import build_font_cache, kernel_environment

    build_font_cache()
    environment = kernel_environment()
    variables = environment.__enter__()
    config.add_cleanup(lambda: environment.__exit__(None, None, None))
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)  # nbval's kernels inherit them
    _notice_dead_kernels()


def _notice_dead_kernels() -> None:
    """nbval waits for a dead kernel's reply until the cell's timeout; this looks each second."""
    from nbval.kernel import RunningKernel

    wait = RunningKernel.await_reply

    def await_reply(self, msg_id, timeout=None):
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                return wait(self, msg_id, timeout=max(0, min(1, deadline - time.monotonic())))
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died in this cell") from None
                if time.monotonic() >= deadline:
                    raise

    RunningKernel.await_reply = await_reply
