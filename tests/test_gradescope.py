"""The autograder for Gradescope: its scripts run as Gradescope runs them, in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import gradescope
import nbformat
import needs
import pytest
from released_course import ROOT, commit

sys.path.append(str(ROOT / "tests" / "grading"))
from small_course import WRONG, make_course, notebook

pytestmark = pytest.mark.slow

AS_OTHER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# What may be there, and its type: https://gradescope-autograders.readthedocs.io/en/latest/specs/
DOCUMENTED = {
    "score": (int, float), "execution_time": (int, float), "output": str, "output_format": str,
    "test_output_format": str, "test_name_format": str, "visibility": str,
    "stdout_visibility": str, "extra_data": dict, "tests": list, "leaderboard": list,
}  # fmt: skip
DOCUMENTED_TEST = {
    "score": (int, float), "max_score": (int, float), "status": str, "name": str,
    "name_format": str, "number": str, "output": str, "output_format": str, "tags": list,
    "visibility": str, "extra_data": dict,
}  # fmt: skip
FORMATS = {"text", "html", "simple_format", "md", "ansi"}
VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small course with the grader and the scripts, under git."""
    root = make_course(tmp_path_factory.mktemp("course"))
    for name in ("grader", "lecture_lib", "tools/gradescope_zip"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", root)
    commit(root)
    return root


@pytest.fixture
def autograder(small, tmp_path):
    """What Gradescope makes of the zip, after its setup script; others may read this folder."""
    archive = gradescope.write_autograder(small, tmp_path, "01_lists", seed=5)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        for name in ("source", "submission", "results", "bin"):
            (folder / name).mkdir()
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder / "source")
            modes = {each.filename: each.external_attr >> 16 for each in file.infolist()}
        for name, mode in modes.items():
            (folder / "source" / name).chmod(mode)
        shutil.copy(folder / "source" / "run_autograder", folder)
        stub(folder / "bin/apt-get", f'echo apt-get "$@" >> {folder}/log')
        stub(folder / "bin/python3.12", make_environment(folder))
        done = run(folder, folder / "source" / "setup.sh")
        assert done.returncode == 0, done.stderr
        yield folder


def python_for_all() -> str:
    """A Python of this one's version that other users may run too."""
    version = "import sys; print(sys.version_info[:2])"
    before = AS_OTHER if os.geteuid() == 0 else []
    for python in (sys._base_executable, "/usr/bin/python3"):
        # By a shell: setpriv itself may still do what root may.
        command = [*before, "sh", "-c", '"$1" -c "$2"', "sh", python, version]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.stdout == f"{sys.version_info[:2]}\n":
            return python
    needs.missing("a Python that other users may run", "sudo apt install python3-venv")


def make_environment(folder: Path) -> str:
    """A script in place of Python: its virtual environments have all that is installed here."""
    (folder / "pip.py").write_text(f"import sys; print(*sys.argv, file=open('{folder}/log', 'a'))")
    borrowed = sysconfig.get_path("purelib")
    return f"""{python_for_all()} -m venv --without-pip "$3"
cp {folder}/pip.py "$3"/lib/python*/site-packages
for packages in "$3"/lib/python*/site-packages; do echo {borrowed} > $packages/borrowed.pth; done"""


def stub(path: Path, commands: str) -> None:
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)


def run(folder: Path, script: Path, *before: str) -> subprocess.CompletedProcess:
    path = f"{folder}/bin:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": f"{folder}/home", "TOKEN": "what only Gradescope knows"}
    return subprocess.run(
        [*before, script], cwd=folder, env=environment, capture_output=True, text=True
    )


def hand_in(folder: Path, made) -> None:
    nbformat.write(made, folder / "submission" / "my homework.ipynb")


def results(folder: Path) -> dict:
    """What was written, if all that is in it is documented."""
    found = json.loads((folder / "results" / "results.json").read_text())
    for fields, documented in [
        (found, DOCUMENTED),
        *((t, DOCUMENTED_TEST) for t in found.get("tests", [])),
    ]:
        for name, value in fields.items():
            assert isinstance(value, documented[name]), name
        assert fields.get("output_format", "text") in FORMATS
        assert fields.get("visibility", "visible") in VISIBILITIES
        assert fields.get("stdout_visibility", "hidden") in VISIBILITIES
        assert fields.get("status", "passed") in ("passed", "failed")
    assert "score" in found or all("score" in test for test in found["tests"])
    return found


@pytest.fixture(params=["as root", "as another user"])
def user(request, autograder):
    """The command that runs a program as this user, who owns the folder."""
    if request.param == "as root":
        if os.geteuid():
            pytest.skip("only root can try it as root")
        # A container forbids what bubblewrap needs.
        stub(
            autograder / "bin/bwrap",
            "echo bwrap: No permissions to create new namespace >&2; exit 1",
        )
        return []
    if shutil.which("bwrap") is None:
        needs.missing("the grader's sandbox", "sudo apt install bubblewrap")
    if os.geteuid():
        return []
    subprocess.run(["chown", "-R", "65534:65534", autograder], check=True)
    return AS_OTHER


CURIOUS = """import os
def double(x):
    for path in {paths}:
        try:
            os.listdir(path) if os.path.isdir(path) else open(path).read()
            return path
        except OSError:
            pass
    return [2 * item for item in x]"""


@pytest.mark.sandbox
def test_each_task_counts_on_its_own_and_says_what_is_wrong(small, autograder, user):
    hidden = ("source/solutions", "source/solutions/checks/01_lists.py", "source/settings.json")
    paths = [str(autograder / name) for name in (*hidden, "results", "submission")]
    curious = CURIOUS.format(paths=paths)  # right where it can read none of them
    hand_in(autograder, notebook(small, double=curious, mean=WRONG["mean"]))
    done = run(autograder, autograder / "run_autograder", *user)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(autograder)
    double, mean = found["tests"]
    assert (double["number"], double["name"]) == ("1", "Task 1: the double")
    assert (double["score"], double["max_score"], double["status"]) == (2, 2, "passed")
    assert (mean["score"], mean["max_score"], mean["status"]) == (0, 3, "failed")
    assert "divide by the number of items" in mean["output"]
    assert "hidden check, five: wrong" in mean["output"]
    assert (
        "visible tests: failed, AssertionError: 2 lies in the middle of 1 and 3" in mean["output"]
    )
    assert found["stdout_visibility"] == "hidden"


@pytest.mark.sandbox
def test_without_a_notebook_there_are_no_points_and_a_message(autograder, user):
    (autograder / "submission" / "answers.txt").write_text("I lost it")
    done = run(autograder, autograder / "run_autograder", *user)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(autograder)
    assert found["score"] == 0
    assert "hand in 01_lists.ipynb" in found["output"]


def test_nothing_is_written_where_answers_could_read_the_checks(small, autograder):
    """Another user than root can't give rights away; without bubblewrap nothing is run."""
    stub(autograder / "bin/bwrap", "exit 1")
    user = []
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "65534:65534", autograder], check=True)
        user = AS_OTHER
    hand_in(autograder, notebook(small))
    done = run(autograder, autograder / "run_autograder", *user)
    assert done.returncode == 1
    assert "no sandbox here" in done.stderr
    assert not (autograder / "results" / "results.json").exists()


def test_the_zip_holds_what_it_needs_at_its_root(autograder):
    source = autograder / "source"
    assert os.access(source / "run_autograder", os.X_OK)
    assert json.loads((source / "settings.json").read_text()) == {"exercise": "01_lists", "seed": 5}
    assert [path.name for path in (source / "solutions").rglob("*.*")] == [
        "01_lists.ipynb",
        "01_lists.py",
    ]
    told = (autograder / "log").read_text()
    assert "apt-get install -y --no-install-recommends bubblewrap python3.12-venv" in told
    assert "torch==" in told.splitlines()[-2]
    assert told.splitlines()[-1].endswith("-r requirements.txt")
    assert "-e ." not in (source / "requirements.txt").read_text()
