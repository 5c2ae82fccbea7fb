"""Runs notebooks the same way everywhere: a fresh kernel, a fixed environment.

The kernel is always this interpreter's own: a kernel spec named python3 that some other
environment left in a user's or system's Jupyter folder is never looked at.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from notebook_format import NotebookError, cell_name, normalise

CELL_TIMEOUT_S = 300
STARTUP_TIMEOUT_S = 60

# Two notebooks run at once, and threads that wait for one another take many times as long. Whoever
# sets another number gets it: the outputs have to be the same.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
FIXED_VARIABLES = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# What a user may have set for other purposes and what would change the outputs.
DROPPED_VARIABLES = (
    "MPLBACKEND",  # without it ipykernel picks its inline backend, as in JupyterLab
    "PYTHONWARNINGS",
    "PYTHONSTARTUP",
    "COLUMNS",
    "LINES",
)


@contextmanager
def kernel_environment():
    """The environment variables that every run of a notebook gets, with an empty IPython folder."""
    environment = {k: v for k, v in os.environ.items() if k not in DROPPED_VARIABLES}
    environment = dict.fromkeys(THREAD_VARIABLES, "1") | environment | FIXED_VARIABLES
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None:  # the defaults, not the matplotlibrc of whoever runs this
        rc_file = Path(matplotlib.origin).parent / "mpl-data" / "matplotlibrc"
        environment["MATPLOTLIBRC"] = str(rc_file)
    folder = tempfile.mkdtemp(prefix="ipython-")
    environment["IPYTHONDIR"] = folder  # no startup files, no profile, no history
    environment["TMPDIR"] = folder  # what a kernel that is killed leaves behind is removed as well
    try:
        yield environment
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build_font_cache() -> None:
    """Let matplotlib list the fonts now: a kernel doing it first prints a warning in a cell."""
    if importlib.util.find_spec("matplotlib") is not None:
        import matplotlib.font_manager  # noqa: F401


class ThisInterpreterKernels(KernelSpecManager):
    """Knows one kernel, whatever its name: ipykernel in the Python that runs this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def run_notebook(
    nb: NotebookNode,
    folder: Path,
    *,
    cell_timeout_s: int = CELL_TIMEOUT_S,
    on_cell: Callable[[int], None] | None = None,
) -> NotebookNode:
    """Run a copy of a notebook top to bottom in a fresh kernel; the original stays as it is.

    Args:
        folder: the kernel's working directory.
        on_cell: called with the index of each code cell before it runs.

    Returns:
        The normalised notebook with the outputs of this run.

    Raises:
        NotebookError: a cell raised, took longer than ``cell_timeout_s`` or ended the kernel.
    """
    nb = normalise(nb)
    running = 0

    def remember(cell, cell_index):
        nonlocal running
        running = cell_index
        if on_cell:
            on_cell(cell_index)

    with kernel_environment() as environment, tempfile.TemporaryFile() as log:
        client = _client(nb, timeout=cell_timeout_s, on_cell_execute=remember)
        try:
            client.execute(
                cwd=str(folder), env=environment, stdout=log, stderr=log, cleanup_kc=True
            )
        except DeadKernelError as error:
            what = "the kernel died (killed, crashed or out of memory)"
            raise NotebookError(_in_cell(nb, running, what)) from error
        except RuntimeError as error:
            raise NotebookError(f"the kernel did not start: {error}\n{_last_words(log)}") from error
        except CellTimeoutError as error:
            what = f"ran longer than {cell_timeout_s} s"
            raise NotebookError(_in_cell(nb, running, what)) from error
        except CellExecutionError as error:
            what = f"raised {error.ename}: {error.evalue}\n{error.traceback}"
            raise NotebookError(_in_cell(nb, running, what)) from error
    return normalise(nb)


def _client(nb: NotebookNode, **options) -> NotebookClient:
    return NotebookClient(
        nb,
        km=AsyncKernelManager(kernel_spec_manager=ThisInterpreterKernels()),
        startup_timeout=STARTUP_TIMEOUT_S,
        record_timing=False,
        store_widget_state=False,
        shutdown_kernel="immediate",
        skip_cells_with_tag="",
        **options,
    )


def _last_words(log) -> str:
    """What a kernel wrote that no cell shows: why it did not start."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith("[IPKernelApp]"))[-2000:]


def _in_cell(nb: NotebookNode, index: int, what: str) -> str:
    cell = nb.cells[index]
    return f"{cell_name(nb, index)}: {what}\n--- the cell:\n{cell.source}\n---"
