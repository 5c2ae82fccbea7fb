"""The set-up script: what it decides, without installing anything."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP_PAGE = ROOT / "docs" / "setup.md"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """tools/course.py as a module, in a project folder of its own."""
    spec = importlib.util.spec_from_file_location("course", ROOT / "tools" / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("requirements.txt", "requirements-test.txt", "pyproject.toml"):
        (tmp_path / name).write_text(f"{name} 1\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    stamps = {name: tmp_path / ".venv" / path.name for name, path in module.STAMPS.items()}
    monkeypatch.setattr(module, "STAMPS", stamps)
    return module


@pytest.fixture
def calls(course, monkeypatch):
    """What would be run inside .venv; everything succeeds."""
    made = []
    monkeypatch.setattr(course, "run_in_venv", lambda cmd: made.append([str(c) for c in cmd]) or 0)
    monkeypatch.setattr(course, "make_venv", lambda python: fake_venv(course))
    monkeypatch.setattr(course, "check_disk_space", lambda: None)
    return made


def fake_venv(course):
    course.venv_python().parent.mkdir(parents=True, exist_ok=True)
    course.venv_python().touch()


def installs(calls):
    return [call for call in calls if "install" in call]


def test_the_second_time_nothing_is_installed(course, calls):
    course.ensure_installed()
    assert ["-r", "requirements.txt"] in [call[4:6] for call in installs(calls)]
    assert any("--no-deps" in call and course.MODEL_PACKAGE in call for call in installs(calls))
    calls.clear()
    course.ensure_installed()
    assert installs(calls) == []
    assert [call[1:] for call in calls] == [["-m", "lecture_lib.loading"]]


@pytest.mark.parametrize("command", ["lab", "test", "site", "run"])
def test_what_tests_need_is_installed_for_all_but_the_lab(course, calls, monkeypatch, command):
    monkeypatch.setattr(course, "install_system_packages", lambda: None)
    assert course.main([command]) == 0
    added = [call for call in installs(calls) if "requirements-test.txt" in call]
    assert len(added) == (command != "lab")
    calls.clear()
    course.main([command])
    assert installs(calls) == []


def test_the_real_models_are_fetched_when_asked_for_and_for_the_tests(course, calls, monkeypatch):
    monkeypatch.setattr(course, "install_system_packages", lambda: None)
    fetched = ["-m", "lecture_lib.loading", "models"]
    for command, wanted in (("models", True), ("test", True), ("lab", False), ("setup", False)):
        calls.clear()
        assert course.main([command]) == 0
        assert (fetched in [call[1:] for call in calls]) == wanted, command


def test_what_students_get_needs_nothing_for_its_tests(course, calls, monkeypatch):
    (course.ROOT / "requirements-test.txt").unlink()
    monkeypatch.setattr(course.shutil, "which", lambda name: None)  # no sandbox, no browser
    assert course.main(["test"]) == 0
    assert [
        call[1:] for call in calls if "apt-get" in call or "requirements-test.txt" in call
    ] == []
    assert calls[-1][1:] == ["tools/run_tests.py"]


@pytest.mark.parametrize(
    ("there", "uid", "sudo_asks", "packages"),
    [
        ({"apt-get"}, 0, False, ["bubblewrap", "chromium", "iproute2"]),
        ({"apt-get", "google-chrome", "ip"}, 0, False, ["bubblewrap"]),
        ({"apt-get", "bwrap", "chromium", "ip"}, 0, False, []),
        ({"bwrap"}, 0, False, []),
        ({"apt-get", "sudo"}, 1000, False, ["bubblewrap", "chromium", "iproute2"]),
        ({"apt-get", "sudo"}, 1000, True, []),
        ({"apt-get"}, 1000, False, []),
    ],
)
def test_the_system_packages_are_installed_where_no_password_is_needed(
    course, calls, monkeypatch, there, uid, sudo_asks, packages
):
    monkeypatch.setattr(course.sys, "platform", "linux")
    monkeypatch.setattr(course.os, "geteuid", lambda: uid, raising=False)
    monkeypatch.setattr(course.shutil, "which", lambda name: name if name in there else None)
    answered = subprocess.CompletedProcess([], int(sudo_asks))
    monkeypatch.setattr(course, "run_quietly", lambda command: answered)
    course.install_system_packages()
    install = [call for call in calls if "install" in call]
    assert [call[call.index("--no-install-recommends") + 1 :] for call in install] == (
        [packages] if packages else []
    )
    assert all((call[0] == "sudo") == (uid != 0) for call in calls)


@pytest.mark.parametrize("change", ["requirements.txt", "pyproject.toml", "python", "folder"])
def test_a_change_installs_again(course, calls, monkeypatch, change, tmp_path):
    course.ensure_installed()
    calls.clear()
    if change == "python":
        course.venv_python().unlink()
    elif change == "folder":
        stamp = course.STAMPS["requirements.txt"].read_text()
        monkeypatch.setattr(course, "ROOT", tmp_path / "moved")
        (tmp_path / "moved").mkdir()
        for name in ("requirements.txt", "pyproject.toml"):
            (tmp_path / "moved" / name).write_text(f"{name} 1\n")
        assert course.STAMPS["requirements.txt"].read_text() == stamp
    else:
        (tmp_path / change).write_text("changed\n")
    course.ensure_installed()
    assert installs(calls)


def test_a_broken_install_is_tried_again(course, calls, monkeypatch):
    monkeypatch.setattr(course, "run_in_venv", lambda cmd: 1)
    with pytest.raises(course.SetupError, match=r"pip .* failed"):
        course.ensure_installed()
    assert not course.up_to_date("requirements.txt")


def test_too_old_a_python_is_told_what_to_do(course, monkeypatch, capsys):
    monkeypatch.setattr(course.sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(course.shutil, "which", lambda name: None)
    assert course.main(["setup"]) == 1
    message = capsys.readouterr().err
    assert "needs Python 3.11 to 3.13, but this is 3.9" in message
    assert "make lab PYTHON=" in message


def test_another_python_on_the_path_is_taken(course, monkeypatch):
    monkeypatch.setattr(course.sys, "version_info", (3, 14, 0))
    wanted = {"python3.12": sys.executable}
    monkeypatch.setattr(course.shutil, "which", wanted.get)
    assert course.find_python() == sys.executable


def test_no_space_is_told_before_anything_is_done(course, monkeypatch):
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(course.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(course.SetupError, match="GiB of free disk space"):
        course.check_disk_space()


@pytest.mark.parametrize("said", ["ensurepip is not available", "No module named venv"])
def test_no_venv_module_is_told_which_package_to_install(course, monkeypatch, said):
    def run(command, **kwargs):
        if "venv" in command:
            return subprocess.CompletedProcess(command, 1, said, "")
        return subprocess.CompletedProcess(command, 0, "3.12\n", "")

    monkeypatch.setattr(course.subprocess, "run", run)
    with pytest.raises(course.SetupError, match=r"apt install python3\.12-venv") as caught:
        course.make_venv("python3.12")  # another one than the system's: its own package
    assert said in str(caught.value)


def test_a_venv_that_fails_for_another_reason_is_not_sent_to_apt(course, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "[Errno 28] No space left on device")
    monkeypatch.setattr(course.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(course.SetupError, match="No space left on device") as caught:
        course.make_venv("python3")
    assert "apt" not in str(caught.value)
    assert f"GiB in {course.ROOT}" in str(caught.value)


@pytest.mark.parametrize("pip_runs", [True, False])
def test_a_venv_that_has_lost_its_pip_is_made_again(course, monkeypatch, pip_runs):
    fake_venv(course)
    made = []

    def run(command, **kwargs):
        made.extend(["venv"] if "venv" in command else [])
        code = 0 if pip_runs or "pip" not in command else 1
        return subprocess.CompletedProcess(command, code, "", "")

    monkeypatch.setattr(course.subprocess, "run", run)
    course.make_venv("python3")
    assert made == ([] if pip_runs else ["venv"])


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:9"])
def test_a_failed_pip_names_network_proxy_and_disk(course, calls, monkeypatch, capsys, proxy):
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setattr(course, "run_in_venv", lambda cmd: 1)
    assert course.main(["setup"]) == 1
    message = capsys.readouterr().err
    assert ("HTTPS_PROXY is set, check it" if proxy else "set HTTPS_PROXY") in message
    assert "`No space left on device`: make room. Free: " in message
    assert "run the same command again" in message


def test_a_disk_that_fills_up_later_gives_no_traceback(course, calls, monkeypatch, capsys):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(course, "quieten_lab", full)
    assert course.main(["setup"]) == 1
    assert "course: [Errno 28] No space left on device. Free: " in capsys.readouterr().err


def test_windows_asks_its_launcher_for_another_python(course, monkeypatch):
    monkeypatch.setattr(course, "WINDOWS", True)
    monkeypatch.setattr(course.sys, "version_info", (3, 14, 0))
    monkeypatch.setattr(course.shutil, "which", {"py": "py.exe"}.get)

    def run(command, **kwargs):
        known = command[:2] == ["py", "-3.12"]
        return subprocess.CompletedProcess(command, 0 if known else 103, "C:\\py312.exe\n", "")

    monkeypatch.setattr(course.subprocess, "run", run)
    assert course.find_python() == "C:\\py312.exe"
    assert course.venv_python() == course.VENV / "Scripts" / "python.exe"
    monkeypatch.setattr(course.shutil, "which", lambda name: None)
    with pytest.raises(course.SetupError, match=r"py -3\.12 tools\\course\.py lab"):
        course.find_python()


@pytest.mark.parametrize(("uid", "browser"), [(0, False), (0, True), (1000, False), (1000, True)])
def test_lab_gets_what_this_machine_needs(course, calls, monkeypatch, uid, browser):
    monkeypatch.setattr(course.os, "geteuid", lambda: uid, raising=False)
    monkeypatch.setattr(course, "has_browser", lambda: browser)
    course.open_lab(["--port=9999"])
    (command,) = calls
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in command
    assert f"--ServerApp.root_dir={course.ROOT}" in command  # exercises/ lies beside notebooks/
    assert "--port=9999" in command
    assert ("--allow-root" in command) == (uid == 0)
    assert ("--no-browser" in command) == (not browser)


def test_the_first_notebook_and_the_model_package_exist(course):
    assert (ROOT / course.FIRST_NOTEBOOK).is_file()
    assert f"pip install --no-deps {course.MODEL_PACKAGE}" in SETUP_PAGE.read_text()


def test_an_old_python_gets_as_far_as_the_message():
    """The script must parse on Python 3.8: its message is for those who have one."""
    import ast

    ast.parse((ROOT / "tools" / "course.py").read_text(), feature_version=(3, 8))


def test_the_page_about_setting_up_quotes_the_messages():
    table = SETUP_PAGE.read_text().split("## When something goes wrong")[1]
    source = (ROOT / "tools" / "course.py").read_text()
    for quoted in (
        "could not create .venv",
        "failed; pip's own lines above say why",
        "GiB of free disk space",
        "No space left on device",
        "Failed to establish a new connection",
    ):
        assert quoted in table, quoted
        assert quoted in source, quoted
