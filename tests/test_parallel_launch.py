"""The launcher: ranks that die, hang, raise or lose their parent, and what is left of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import parallel_targets
import psutil
import pytest
from jupyter_client.manager import KernelManager

from lecture_lib.parallel.ranks.failures import RankError, RankTimeoutError
from lecture_lib.parallel.ranks.launch import progress_line, run_ranks

pytestmark = pytest.mark.slow  # ranks that hang, wait and are waited for
TESTS = str(Path(__file__).parent)
# For scripts and notebooks with a server of their own, which then imports no more than it needs.
LAUNCH = """
import parallel_targets
from lecture_lib.parallel.ranks import launch
launch.PRELOADED = ["parallel_targets"]
"""


def pids(folder) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in Path(folder).iterdir()]


def still_running(pids, within_s=0.0) -> list[int]:
    """Which of these processes live on (a zombie does not); may wait for their end."""
    until = time.monotonic() + within_s
    while True:
        alive = [pid for pid in pids if _lives(pid)]
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(0.1)


def _lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_ranks(folder, n) -> None:
    until = time.monotonic() + 60
    while len(pids(folder)) < n:
        assert time.monotonic() < until, "the ranks did not start"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three ranks that add up and look around, in a folder and with a variable of this call."""
    folder, pid_folder = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("pids")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SAID_LATE", "yes")
        patch.syspath_prepend(folder)
        arguments = {"folder": str(pid_folder)}
        results = run_ranks(parallel_targets.add_up, arguments, 3, timeout_s=120)
    return SimpleNamespace(results=results, folder=folder, pid_folder=pid_folder)


def test_ranks_talk_to_one_another_and_return_what_they_made(run):
    assert [result["total"] for result in run.results] == [6.0, 6.0, 6.0]
    assert [result["tensors"]["row"].tolist() for result in run.results] == [
        [0] * 3, [1] * 3, [2] * 3,
    ]  # fmt: skip
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert all(result["threads"] <= max(1, cores // 3) for result in run.results)
    assert len(pids(run.pid_folder)) == 3
    assert not still_running(pids(run.pid_folder))


def test_ranks_have_the_callers_folder_variables_and_path_though_their_server_is_older(run):
    for result in run.results:
        assert Path(result["cwd"]) == run.folder
        assert result["said_late"] == "yes"
        assert Path(result["sys_path"][0]) == run.folder


@pytest.mark.skipif(sys.platform != "linux", reason="ranks share an import where they are forked")
def test_all_ranks_of_all_runs_share_one_import_of_torch(run, tmp_path):
    again = run_ranks(parallel_targets.add_up, {"folder": str(tmp_path)}, 1, timeout_s=120)
    (server,) = {result["parent"] for result in [*run.results, *again]}
    assert server != os.getpid()
    assert "libtorch" in Path(f"/proc/{server}/maps").read_text()


def test_a_private_network_has_a_loopback_of_its_own_and_nothing_else(run):
    if not run.results[0]["private_network"]:
        pytest.skip("this system allows no network namespaces")
    (network,) = {result["network"] for result in run.results}
    assert network != os.readlink("/proc/self/ns/net")
    assert [result["interfaces"] for result in run.results] == [["lo"]] * 3


def test_where_a_private_network_is_forbidden_ranks_run_without(tmp_path, monkeypatch):
    says_nothing_and_ends = id
    monkeypatch.setattr(
        "lecture_lib.parallel.ranks.launch.hold_private_network", says_nothing_and_ends
    )
    results = run_ranks(parallel_targets.add_up, {"folder": str(tmp_path)}, 2, timeout_s=120)
    assert [result["total"] for result in results] == [3.0, 3.0]
    assert not results[0]["private_network"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "rank 1 failed: LookupError: broken on purpose"),
        ("exit", "rank 1 ended with exit status 3"),
        ("kill", "rank 1 was ended by SIGKILL"),
    ],
)
def test_a_rank_that_fails_ends_the_others_and_is_named(tmp_path, how, message):
    arguments = {"folder": str(tmp_path), "broken": 1, "how": how}
    with pytest.raises(RankError, match=message) as caught:
        run_ranks(parallel_targets.break_one, arguments, 3, timeout_s=300)
    assert not isinstance(caught.value, RankTimeoutError), "the others were waited for"
    assert caught.value.rank == 1
    if how == "raise":
        assert "in raise_on_purpose" in caught.value.traceback
    assert len(pids(tmp_path)) == 3
    assert not still_running(pids(tmp_path))


def test_a_rank_that_hangs_is_shown_where_it_stands(tmp_path, monkeypatch):
    asleep = tmp_path / "asleep"
    tmp_path = tmp_path / "pids"
    tmp_path.mkdir()

    def late_once_it_hangs():
        return time.monotonic() + (1000 if asleep.exists() else 0)

    clock = SimpleNamespace(monotonic=late_once_it_hangs, sleep=time.sleep)
    monkeypatch.setattr("lecture_lib.parallel.ranks.launch.time", clock)
    arguments = {"folder": str(tmp_path), "hung": 1, "asleep": str(asleep)}
    with pytest.raises(RankTimeoutError, match="2 of 2 ranks had not ended after 300 s") as caught:
        run_ranks(parallel_targets.hang_one, arguments, 2, timeout_s=300)
    assert caught.value.rank == 1
    assert "sleep_on_purpose" in caught.value.traceback
    assert "rank 0 was at" in caught.value.traceback
    assert isinstance(caught.value, TimeoutError)
    assert not still_running(pids(tmp_path))


def test_what_a_rank_started_goes_with_it(tmp_path):
    with pytest.raises(RankError, match="with a child"):
        run_ranks(parallel_targets.leave_a_child, {"folder": str(tmp_path)}, 1, timeout_s=120)
    assert len(pids(tmp_path)) == 2
    assert not still_running(pids(tmp_path), within_s=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_ranks": 0}, "n_ranks"),
        ({"n_ranks": 2.0}, "n_ranks"),
        ({"n_ranks": 2, "timeout_s": 0}, "timeout_s"),
    ],
)
def test_bad_arguments_start_nothing(arguments, message, monkeypatch):
    monkeypatch.setattr("lecture_lib.parallel.ranks.launch.Processes", None)
    with pytest.raises(ValueError, match=message):
        run_ranks(parallel_targets.add_up, {}, **arguments)


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_ranks_and_what_they_started_do_not_outlive_a_script_that_is_killed(tmp_path):
    pid_folder = tmp_path / "pids"
    pid_folder.mkdir()
    # It has no `if __name__ == "__main__"`, and says each time that it runs.
    script = tmp_path / "script.py"
    script.write_text(
        f"open({str(tmp_path / 'times')!r}, 'a').write('once ')\n"
        f"{LAUNCH}\n"
        f"arguments = {{'folder': {str(pid_folder)!r}}}\n"
        "launch.run_ranks(parallel_targets.hang_with_a_child, arguments, 2)"
    )
    # It leaves its temporary folder behind, in one that is cleared in the end. Its path is short,
    # since the server's socket lies in it, and a socket's path may have 107 characters.
    temporary = tempfile.mkdtemp(prefix="killed-")
    path = os.pathsep.join([TESTS, str(Path(TESTS).parent)])
    environment = os.environ | {"PYTHONPATH": path, "TMPDIR": temporary}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    try:
        wait_for_ranks(pid_folder, 4)
        started = [each.pid for each in psutil.Process(parent.pid).children(recursive=True)]
        assert set(pids(pid_folder)) < set(started), "the server is not among them"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert not still_running(started, within_s=10)
        assert (tmp_path / "times").read_text() == "once "
    finally:
        parent.kill()
        parent.wait()
        shutil.rmtree(temporary, ignore_errors=True)


class Notebook:
    """A Jupyter kernel: executes cells, collects what they show."""

    def __init__(self):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=TESTS, stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def start(self, code):
        self.message = self.client.execute(textwrap.dedent(code))

    def messages(self):
        """What the cell shows, as it comes, up to its end."""
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != self.message:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return
            if kind not in ("status", "execute_input"):
                yield kind, content

    def outputs(self):
        return list(self.messages())

    def errors(self):
        """The names of the errors that the cell ended with; nothing else may be shown."""
        shown = self.outputs()
        assert {kind for kind, _ in shown} <= {"error", "display_data", "update_display_data"}
        return [content["ename"] for kind, content in shown if kind == "error"]

    def wait_for(self, text):
        assert any(text in json.dumps(content) for _, content in self.messages())

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def test_a_notebook_cell_is_interrupted_at_any_time_and_runs_again(tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    hang = "launch.run_ranks(parallel_targets.hang_one, {{'folder': {!r}, 'hung': 0}}, 2)"
    run = "[r['total'] for r in launch.run_ranks(parallel_targets.add_up, {{'folder': {!r}}}, 2)]"
    notebook = Notebook()
    try:
        notebook.start(LAUNCH)
        assert not notebook.outputs()
        notebook.start(hang.format(str(first)))
        notebook.wait_for("2 ranks")  # the server has just begun to import torch
        notebook.manager.interrupt_kernel()
        assert notebook.errors() == ["KeyboardInterrupt"]

        notebook.start(run.format(str(second)))
        shown = notebook.outputs()
        assert ("execute_result", "[3.0, 3.0]") in [
            (kind, content.get("data", {}).get("text/plain")) for kind, content in shown
        ]
        lines = [c["data"]["text/plain"] for kind, c in shown if "display_data" in kind]
        assert any("2 ranks" in line for line in lines), "no progress was shown"
        assert lines[-1] == lines[0] == "", "something of it stays in the saved notebook"
        assert not [content for kind, content in shown if kind == "stream"]

        notebook.start(hang.format(str(third)))
        wait_for_ranks(third, 2)
        notebook.manager.interrupt_kernel()
        assert notebook.errors() == ["KeyboardInterrupt"]
        for folder in (first, second, third):
            assert not still_running(pids(folder))
        assert not pids(first)
    finally:
        notebook.close()


def test_a_terminal_gets_one_line_that_is_wiped(monkeypatch):
    class Terminal:
        text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_line() as show:
        show("2 ranks, 0 s")
        show("2 ranks, 1 s")
    erased = "\r\x1b[K"
    assert terminal.text == f"{erased}2 ranks, 0 s{erased}2 ranks, 1 s{erased}"
