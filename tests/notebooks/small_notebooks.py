"""Small notebooks to break on purpose, and the course's nbval command to run on them."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import ROOT

# A cell of every kind that the lectures have, and no heavy import: its kernel starts in a second.
CELLS = {
    "setup": "import io\nfrom IPython.display import HTML, display\nfrom PIL import Image",
    "number": "print('the answer is', round(41.6 + 0.4, 2))",
    "result": "6 * 7",
    "picture": "Image.new('RGB', (40, 30), (200, 30, 60))",
    "html-picture": """\
import base64
file = io.BytesIO()
Image.new("RGB", (40, 30), (20, 90, 160)).save(file, "png")
uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
display(HTML(f'<img src="{uri}" alt="a blue box">'))""",
    "two-kinds": "print('before')\ndisplay(HTML('<b>between</b>'))\nprint('after')",
    "widget": "import ipywidgets\nipywidgets.IntSlider(value=3, description='top k')",
    "silent": "x = 1",
    "last": "print('x is', x)",
}


def make_notebook(cells: dict[str, str]) -> NotebookNode:
    """A notebook with these code cells, by id."""
    code = [new_code_cell(source, id=cell_id) for cell_id, source in cells.items()]
    return new_notebook(cells=[new_markdown_cell("# Title", id="title"), *code])


def make_decoy_kernel(folder: Path) -> Path:
    """A Jupyter data folder with a broken kernel python3, as another environment may leave one."""
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    broken = [sys.executable, "-c", "raise SystemExit('the kernel of another environment')"]
    spec.write_text(json.dumps({"argv": broken, "display_name": "decoy", "language": "python"}))
    return folder


def run_nbval(folder: Path, jupyter_path: Path) -> dict[str, tuple[int, str]]:
    """What the course's nbval command says of each notebook in a folder.

    Returns:
        name of the notebook -> (how many of its cells failed, their messages).

    Raises:
        subprocess.TimeoutExpired: it waited for something that does not come.
    """
    report = folder / "report.xml"
    # The folder lies outside the project, so the project's conftest.py has to be named.
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "conftest", "-c", "pyproject.toml"]
    command += [f"--rootdir={folder}", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    environment = os.environ | {"JUPYTER_PATH": str(jupyter_path)}
    subprocess.run(
        [*command, str(folder)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, timeout=600
    )
    found: dict[str, tuple[int, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        name = case.get("classname").removesuffix(".ipynb")
        n_failed, text = found.get(name, (0, ""))
        for failure in [*case.iter("failure"), *case.iter("error")]:
            n_failed, text = n_failed + 1, text + (failure.text or "")
        found[name] = (n_failed, text)
    return found
