"""A pytest plugin: what nbval does not look at, checked on the outputs of nbval's own run.

nbval compares texts. It passes another picture, another order of outputs of different kinds and a
widget that is gone; it takes a cell without a count for one that was never run; and it waits for
the reply of a kernel that died. With this plugin, each notebook gets one more test (is it committed
clean, with all its outputs), and each cell one more comparison. Nothing runs a second time.
"""

import copy
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from queue import Empty

import forked_kernel
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbformat.v4 import output_from_msg
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError
from notebook_compare import compare_outputs, load_sanitizer
from notebook_format import NotebookError
from notebook_kernel import ThisInterpreterKernels, build_font_cache, kernel_environment
from notebook_rules import committed_problems, read_uncompared_cells

from notebooks import ROOT, SANITIZE_FILE, UNCOMPARED_FILE

SANITIZE = load_sanitizer(SANITIZE_FILE)
UNCOMPARED = read_uncompared_cells(UNCOMPARED_FILE)
OUTPUTS = ("stream", "display_data", "execute_result", "error")
CLEAR = "clear_output"  # what a cell showed until then, such as a progress bar, is gone
LOOK_AT_KERNEL_EVERY_S = 1
OF_THIS_PROCESS = ExitStack()
OF_ALL_PROCESSES: dict[tuple[str, ...], KernelSpecManager] = {}
KERNELS = "kernels"  # what a worker of pytest-xdist is told: where lectures' kernels are forked


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """All workers' lectures have kernels of one process, which need not be started for each."""
    if getattr(node.config.option, "nbval", False) and sys.platform == "linux":
        node.workerinput[KERNELS] = forked_kernels().address


def pytest_configure(config):
    if address := getattr(config, "workerinput", {}).get(KERNELS):
        OF_ALL_PROCESSES[forked_kernel.LECTURE] = ForkedKernels(address)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(parent):
    collected = yield
    return [
        CheckedNotebook.from_parent(parent, path=file.path) if isinstance(file, IPyNbFile) else file
        for file in collected
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Add to nbval's own verdict on a cell all differences that our comparison finds."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    item.parent.messages.clear()
    try:
        result = yield
    except NbCellError as error:
        message = "\n".join([str(error), *item.parent.differences(item)])
        raise NbCellError(item.cell_num, message, error.source, error.inner_traceback) from None
    if differences := item.parent.differences(item):
        raise NbCellError(item.cell_num, "\n".join(differences), item.cell.source)
    return result


class CheckedNotebook(IPyNbFile):
    """nbval's notebook, in the fixed environment, with the additional checks."""

    @property
    def uncompared(self) -> dict[str, str]:
        """Ids of the cells whose values may differ, with the reason."""
        inside = self.path.is_relative_to(ROOT)
        return UNCOMPARED.get(self.path.relative_to(ROOT).as_posix(), {}) if inside else {}

    def collect(self):
        self.add_marker("notebook")
        cells = list(super().collect())  # this also reads self.nb
        # nbval joins pieces of streams in place when it compares.
        self.committed = {cell.id: copy.deepcopy(cell.get("outputs")) for cell in self.nb.cells}
        yield CommittedOutputs.from_parent(self, name="committed outputs")
        yield from cells

    def get_kernel_message(self, timeout=None, stream="iopub"):
        """nbval's; what it makes of the messages later loses the order of its outputs."""
        message = super().get_kernel_message(timeout=timeout, stream=stream)
        self.messages.append(message)
        return message

    def setup(self):
        self.messages = []
        build_font_cache()
        self.resources = ExitStack()
        environment = self.resources.enter_context(kernel_environment())
        timeout = self.config.option.nbval_kernel_startup_timeout
        # Small notebooks of the tests elsewhere don't need what a lecture imports.
        inside = self.path.is_relative_to(ROOT)
        kernels = forked_kernels(forked_kernel.LECTURE if inside else forked_kernel.KERNEL)
        self.kernel = WatchedKernel(kernels, self.path.parent, environment, timeout)
        self.setup_sanitize_files()

    def teardown(self):
        super().teardown()
        if self.kernel is not None:
            self.resources.close()

    def differences(self, item: IPyNbCell) -> list[str]:
        """What the committed outputs of a cell and those of nbval's run differ in."""
        # The last message is the cell's own, and others may come from what an earlier cell started.
        own = self.messages[-1]["parent_header"].get("msg_id") if self.messages else None
        fresh = []
        for message in self.messages:
            if message["parent_header"].get("msg_id") == own:
                if message["msg_type"] == CLEAR:
                    fresh.clear()
                elif message["msg_type"] in OUTPUTS:
                    fresh.append(output_from_msg(message))
        cell_id = item.cell.id
        values = cell_id not in self.uncompared
        return list(compare_outputs(self.committed[cell_id], fresh, SANITIZE, values=values))


class CommittedOutputs(pytest.Item):
    """The test that a notebook is committed clean: executed whole, in order, without warnings."""

    def runtest(self):
        problems = committed_problems(self.parent.nb, self.parent.uncompared)
        if problems:
            raise NotebookError("\n".join(problems))

    def repr_failure(self, excinfo, style=None):
        if excinfo.errisinstance(NotebookError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, 0, f"{self.parent.name}: {self.name}"


@cache
def forked_kernels(imports: tuple[str, ...] = forked_kernel.LECTURE) -> KernelSpecManager:
    """The kernels of this process: on Linux forks of another one, which runs these imports."""
    if sys.platform != "linux":
        return ThisInterpreterKernels()
    if imports in OF_ALL_PROCESSES:
        return OF_ALL_PROCESSES[imports]
    folder = OF_THIS_PROCESS.enter_context(tempfile.TemporaryDirectory())
    environment = OF_THIS_PROCESS.enter_context(kernel_environment())
    address = os.path.join(folder, "socket")
    OF_THIS_PROCESS.enter_context(forked_kernel.start_server(address, environment, imports))
    return ForkedKernels(address)


class ForkedKernels(ThisInterpreterKernels):
    """Knows one kernel, whatever its name: a fork of the process at an address."""

    def __init__(self, address: str):
        super().__init__()
        self.address = address

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        spec = super().get_kernel_spec(kernel_name)
        spec.argv = [sys.executable, forked_kernel.__file__, self.address, *spec.argv[3:]]
        return spec


def pytest_unconfigure():
    OF_THIS_PROCESS.close()


class WatchedKernel(RunningKernel):
    """nbval's running kernel, of the given kind, whose death ends the wait for a cell at once."""

    def __init__(self, kernels: KernelSpecManager, folder: Path, environment: dict, timeout: float):
        # Its ports are looked for before it is started. Where another process takes one of them in
        # that second the kernel dies, so it is started a second time.
        for is_last in (False, True):
            self.km = KernelManager(kernel_spec_manager=kernels)
            self.km.start_kernel(cwd=str(folder), env=environment, stderr=subprocess.DEVNULL)
            self.kc = self.km.client()
            self.kc.start_channels()
            try:
                self.kc.wait_for_ready(timeout=timeout)
                break
            except RuntimeError:
                if is_last:
                    raise
                self.stop()
        self._ensure_iopub_up()

    def await_reply(self, msg_id, timeout=None):
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                return super().await_reply(msg_id, timeout=min(LOOK_AT_KERNEL_EVERY_S, left))
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died in this cell") from None
                if time.monotonic() >= deadline:
                    raise
