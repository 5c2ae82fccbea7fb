"""How long from `git clone` to the first picture, on this machine and its network.

    python benchmarks/first_run.py      # stores its results; needs the network

Clones the repository into an empty folder, sets it up with its own command and an empty cache of
converted models, and runs lecture 00 until a picture is there. pip's own cache is left as it is.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import save, show

ROOT = Path(__file__).resolve().parent.parent
# Runs cell after cell of a notebook; prints when the first picture has come.
_FIRST_PICTURE = """
import sys, nbformat
from nbclient import NotebookClient
nb = nbformat.read("notebooks/00_start_here.ipynb", 4)
client = NotebookClient(nb, resources={"metadata": {"path": "notebooks"}})
with client.setup_kernel():
    for i, cell in enumerate(nb.cells):
        if cell.cell_type == "code":
            client.execute_cell(cell, i)
            if any("image/png" in o.get("data", {}) for o in cell.outputs):
                sys.exit()
sys.exit("lecture 00 shows no picture")
"""


def timed(command: list[str], folder: Path, environment: dict) -> float:
    """Seconds that a command took.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)
    return time.perf_counter() - started


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "course"
        environment = {**os.environ, "LECTURE_LIB_CACHE": str(Path(folder) / "cache")}
        steps = {
            "git clone": timed(
                ["git", "clone", "-q", str(ROOT), str(clone)], Path(folder), environment
            ),
            "set-up (environment, packages, model)": timed(
                [sys.executable, "tools/course.py", "setup"], clone, environment
            ),
            "lecture 00 to its first picture": timed(
                [sys.executable, "tools/course.py", "run", "python", "-c", _FIRST_PICTURE],
                clone, environment,
            ),
        }  # fmt: skip
    rows = [{"step": step, "seconds": seconds} for step, seconds in steps.items()]
    show({"steps": rows})
    save("first_run", {"packages": "from a near mirror"}, {"steps": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
