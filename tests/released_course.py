"""The course as a student has it: the release, unpacked, in an environment of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from notebook_kernel import kernel_environment

ROOT = Path(__file__).resolve().parent.parent


def clean_copy(folder: Path) -> Path:
    """The course as it lies here, committed in a repository of its own, in ``folder``.

    Notebooks that git doesn't know and the README doesn't link to are someone's scratch paper.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = _git(ROOT, "ls-files", "--cached", "-z").split("\0")
    names += [
        name
        for name in _git(ROOT, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
        if not name.endswith(".ipynb") or f"/{Path(name).name})" in readme
    ]
    for name in filter(None, names):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit all that is in ``folder``, a repository or not yet one."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    _git(folder, *who, "commit", "-qm", "all")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def unpack(archive: Path, folder: Path) -> Path:
    """The unpacked release; the zip holds one folder."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    [course] = folder.iterdir()
    return course


def make_environment(course: Path, folder: Path) -> Path:
    """A virtual environment with this one's packages, and the release's library; its Python.

    A line in a .pth file adds a folder as it is: the .pth files in that folder, such as that of
    the editable course, are not read.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = next(folder.glob("[bS][ic][nr]*/python*"))
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", where).stdout.strip())
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    missing = run(python, "-c", "import lecture_lib")
    assert "No module named 'lecture_lib'" in missing.stderr, missing.stderr
    (folder / "share").mkdir(exist_ok=True)
    for name in ("share/jupyter", "etc/jupyter"):  # JupyterLab's pages, the kernel "python"
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(Path(sys.prefix) / name)
    install(python, course, packages)
    return python


def install(python: Path, course: Path, packages: Path) -> None:
    """``pip install -e .`` as requirements.txt has it, where this can be done without a network."""
    done = run(python, "-c", "import pip, setuptools; print(setuptools.__version__)")
    if not done.returncode and int(done.stdout.split(".")[0]) >= 77:
        offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
        done = run(python, "-m", "pip", "install", *offline, "-e", course)
        assert done.returncode == 0, done.stderr
    else:
        (packages / "released.pth").write_text(str(course))


def run(python: Path, *arguments, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run this Python in an environment that knows nothing of the course beside the release."""
    with kernel_environment() as environment:
        environment.pop("PYTHONPATH", None)
        environment |= {"JUPYTER_PREFER_ENV_PATH": "1", "VIRTUAL_ENV": str(python.parent.parent)}
        environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
        # Not where the tests run: -c takes its working directory for a place of modules.
        command = [str(argument) for argument in (python, *arguments)]
        return subprocess.run(
            command, cwd=cwd or python.parent, env=environment, capture_output=True, text=True
        )
