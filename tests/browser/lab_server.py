"""A JupyterLab of its own: private settings, a copy of the notebooks, no network."""

import json
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from notebook_kernel import kernel_environment

from lecture_lib import widgets
from lecture_lib.loading.bundled_model import CACHE_VARIABLE, cache_dir

COURSE = Path(__file__).resolve().parents[2]
FOLDERS = ("notebooks", "exercises")
WIDGETS = "widgets.ipynb"  # the cells of all lectures that show a widget, behind one set-up
WIDGETS_SETUP = """\
from transformers import AutoTokenizer
from lecture_lib.engine import Engine
from lecture_lib.loading import load_model
from lecture_lib.course_t5 import FOLDER
from lecture_lib.widgets import *
loaded = load_model()
engine, spec, smol = Engine(loaded), loaded.spec, loaded.tokenizer
t5_tokenizer = AutoTokenizer.from_pretrained(FOLDER)
bandwidth, tokens_per_s = 20e9, {}
TEXTS, row_costs = {"list": "1, 2, 3, 1, 2,", "free": "Once upon"}, [1 + n / 10 for n in range(11)]
costs, per_token, link = [0.045, 0.0022, 1e-6], 46_080, 1.25e9"""
STARTUP_S = 180  # a busy machine with a cold disk takes a minute
SETTINGS = {
    # Without this it asks whether to fetch news from the network, in a box over the page.
    "apputils-extension/notification": {"fetchNews": "false"},
    # All cells are in the page, also those below the fold.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class LabServer:
    """A running JupyterLab, whose root folder holds copies of the course's notebooks."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.root = folder / "course"
        self.log = folder / "lab.log"
        self.token = secrets.token_hex(16)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def restore(self) -> None:
        """Put fresh copies of the notebooks in place of what a test has made of them."""
        for name in FOLDERS:
            shutil.rmtree(self.root / name, ignore_errors=True)
            if (COURSE / name).is_dir():
                leave = shutil.ignore_patterns(".ipynb_checkpoints")
                shutil.copytree(COURSE / name, self.root / name, ignore=leave)

    def ask(self, method: str, path: str):
        """One request to the server's REST interface; the answer, decoded."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            body = response.read()
        return json.loads(body) if body else None

    def end_kernels(self) -> None:
        for kernel in self.ask("GET", "/api/kernels"):
            self.ask("DELETE", f"/api/kernels/{kernel['id']}")


@contextmanager
def running_lab(folder: Path, kernels: KernelSpecManager | None = None):
    """A ``LabServer`` that answers; it is stopped at the end.

    Args:
        folder: an empty one, for all that belongs to the server.
        kernels: what its notebooks run in, where it isn't the plain kernel of its Python.

    Raises:
        RuntimeError: it ended, or did not answer in time; with the last lines of its log.
    """
    lab = LabServer(folder)
    lab.restore()
    nbformat.write(_widgets(lab.root / "notebooks"), lab.root / WIDGETS)
    _write_settings(folder / "settings")
    if kernels is not None:
        spec = folder / "data" / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(kernels.get_kernel_spec("python3").to_json())
    with kernel_environment() as environment, lab.log.open("wb") as log:
        process = subprocess.Popen(
            _command(lab), cwd=lab.root, env=_private(environment, lab), stdout=log, stderr=log
        )
        try:
            _wait(lab, process)
            yield lab
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _widgets(lectures: Path) -> nbformat.NotebookNode:
    """One notebook with every lecture's widgets, so that one kernel and one page do for all."""
    shows = re.compile(rf"({'|'.join(widgets.__all__)})\(")
    cells = [WIDGETS_SETUP]
    for path in sorted(lectures.glob("*.ipynb")):
        code = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        cells += [source for source in code if shows.match(source)]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nb


def _command(lab: LabServer) -> list[str]:
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={lab.port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={lab.root}", "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",  # the other one asks PyPI
    ]  # fmt: skip


def _private(environment: dict[str, str], lab: LabServer) -> dict[str, str]:
    """No settings, trust or history of whoever runs this; only the caches that take long to fill.

    These are found before HOME changes: the converted model, and matplotlib's list of fonts
    (building it prints a warning into a cell).
    """
    import matplotlib

    kept = {k: v for k, v in environment.items() if not k.startswith(("JUPYTER", "XDG_"))}
    caches = {CACHE_VARIABLE: str(cache_dir()), "MPLCONFIGDIR": matplotlib.get_cachedir()}
    folders = {
        "HOME": "home", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    for name in folders.values():
        (lab.folder / name).mkdir(exist_ok=True)
    private = {variable: str(lab.folder / name) for variable, name in folders.items()}
    jupyter = {
        "JUPYTER_TOKEN": lab.token, "JUPYTER_PLATFORM_DIRS": "0",
        "JUPYTER_PREFER_ENV_PATH": "0",  # a kernel in the data folder comes first
    }  # fmt: skip
    return {**kept, **caches, **private, **jupyter}


def _write_settings(folder: Path) -> None:
    for name, values in SETTINGS.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")


def _wait(lab: LabServer, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            lab.ask("GET", "/api/status")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    log = lab.log.read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"JupyterLab does not answer (exit code {process.poll()}):\n{log[-3000:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
