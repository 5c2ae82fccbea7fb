"""The launcher: ranks that die, hang, raise or lose their parent, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from jupyter_client.manager import KernelManager

from lecture_lib.parallel.failures import RankError, RankTimeoutError
from lecture_lib.parallel.launch import run_ranks
from lecture_lib.parallel.private_network import private_network
from lecture_lib.parallel.progress import ProgressLine

TESTS = str(Path(__file__).parent)


def pids(folder) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in Path(folder).iterdir()]


def still_running(folder, within_s=0.0) -> list[int]:
    """Which of the noted processes live on (a zombie does not); may wait for their end."""
    until = time.monotonic() + within_s
    while True:
        alive = [pid for pid in pids(folder) if _lives(pid)]
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


def test_ranks_talk_to_one_another_and_return_what_they_made(tmp_path):
    results = run_ranks("parallel_targets:add_up", {"folder": str(tmp_path)}, 3, timeout_s=120)
    assert [result["total"] for result in results] == [6.0, 6.0, 6.0]
    assert [result["tensors"]["row"].tolist() for result in results] == [[0] * 3, [1] * 3, [2] * 3]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert all(result["threads"] <= max(1, cores // 3) for result in results)
    assert len(pids(tmp_path)) == 3
    assert not still_running(tmp_path)


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
        run_ranks("parallel_targets:break_one", arguments, 3, timeout_s=300)
    assert not isinstance(caught.value, RankTimeoutError), "the others were waited for"
    assert caught.value.rank == 1
    if how == "raise":
        assert "in raise_on_purpose" in caught.value.traceback
    assert len(pids(tmp_path)) == 3
    assert not still_running(tmp_path)


def test_a_rank_that_hangs_is_shown_where_it_stands(tmp_path, monkeypatch):
    asleep = tmp_path / "asleep"
    tmp_path = tmp_path / "pids"
    tmp_path.mkdir()

    def late_once_it_hangs():
        return time.monotonic() + (1000 if asleep.exists() else 0)

    clock = SimpleNamespace(monotonic=late_once_it_hangs, sleep=time.sleep)
    monkeypatch.setattr("lecture_lib.parallel.launch.time", clock)
    arguments = {"folder": str(tmp_path), "hung": 1, "asleep": str(asleep)}
    with pytest.raises(RankTimeoutError, match="2 of 2 ranks had not ended after 300 s") as caught:
        run_ranks("parallel_targets:hang_one", arguments, 2, timeout_s=300)
    assert caught.value.rank == 1
    assert "sleep_on_purpose" in caught.value.traceback
    assert "rank 0 stood at" in caught.value.traceback
    assert isinstance(caught.value, TimeoutError)
    assert not still_running(tmp_path)


def test_what_a_rank_started_goes_with_it(tmp_path):
    with pytest.raises(RankError, match="with a child"):
        run_ranks("parallel_targets:leave_a_child", {"folder": str(tmp_path)}, 1, timeout_s=120)
    assert len(pids(tmp_path)) == 2
    assert not still_running(tmp_path, within_s=5)


def test_a_target_that_is_not_there_is_the_ranks_error():
    with pytest.raises(RankError, match="ModuleNotFoundError"):
        run_ranks("no_such_module:nothing", {}, 1, timeout_s=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_ranks": 0}, "n_ranks"),
        ({"n_ranks": 2.0}, "n_ranks"),
        ({"n_ranks": 2, "timeout_s": 0}, "timeout_s"),
    ],
)
def test_bad_arguments_start_nothing(arguments, message, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(ValueError, match=message):
        run_ranks("parallel_targets:add_up", {}, **arguments)


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_ranks_do_not_outlive_a_parent_that_is_killed(tmp_path):
    temporary = tmp_path / "temporary"
    tmp_path = tmp_path / "pids"
    temporary.mkdir()
    tmp_path.mkdir()
    script = (
        "from lecture_lib.parallel.launch import run_ranks\n"
        f"run_ranks('parallel_targets:hang_one', {{'folder': {str(tmp_path)!r}, 'hung': 0}}, 2)"
    )
    # It leaves its temporary folder behind; pytest clears this one.
    environment = os.environ | {"PYTHONPATH": TESTS, "TMPDIR": str(temporary)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment)
    try:
        wait_for_ranks(tmp_path, 2)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert not still_running(tmp_path, within_s=10)
    finally:
        parent.kill()
        parent.wait()


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

    def outputs(self):
        """Everything that the cell showed, up to its end."""
        shown = []
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != self.message:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return shown
            if kind not in ("status", "execute_input"):
                shown.append((kind, content))

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.mark.slow
def test_a_notebook_cell_runs_is_interrupted_and_runs_again(tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    run = "[r['total'] for r in run_ranks('parallel_targets:add_up', {{'folder': {!r}}}, 2)]"
    notebook = Notebook()
    try:
        notebook.start(
            f"from lecture_lib.parallel.launch import run_ranks\n{run.format(str(first))}"
        )
        shown = notebook.outputs()
        assert ("execute_result", "[3.0, 3.0]") in [
            (kind, content.get("data", {}).get("text/plain")) for kind, content in shown
        ]
        lines = [c["data"]["text/plain"] for kind, c in shown if "display_data" in kind]
        assert any("2 ranks" in line for line in lines), "no progress was shown"
        assert lines[-1] == lines[0] == "", "something of it stays in the saved notebook"
        assert not [content for kind, content in shown if kind == "stream"]

        arguments = {"folder": str(second), "hung": 0}
        notebook.start(f"run_ranks('parallel_targets:hang_one', {arguments!r}, 2)")
        wait_for_ranks(second, 2)
        notebook.manager.interrupt_kernel()
        errors = [content["ename"] for kind, content in notebook.outputs() if kind == "error"]
        assert errors == ["KeyboardInterrupt"]
        assert not still_running(second)

        notebook.start(run.format(str(third)))
        assert "[3.0, 3.0]" in json.dumps(notebook.outputs())
        assert not still_running(third)
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
    with ProgressLine() as line:
        line.show("2 ranks, 0 s: 2 starting")
        line.show("too soon after the first to be shown")
    assert terminal.text == "\r2 ranks, 0 s: 2 starting" + "\r" + " " * 24 + "\r"


def test_a_private_network_has_a_loopback_of_its_own_and_nothing_else():
    with private_network() as network:
        if network is None:
            pytest.skip("this system allows no network namespaces")
        command = network.wrap([sys.executable, "-c", "print(open('/proc/self/net/dev').read())"])
        fds = tuple(network.fds.values())
        lines = subprocess.check_output(command, pass_fds=fds, text=True).strip().splitlines()
        ping = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); "
            "print(socket.create_connection(s.getsockname()).getpeername()[0])"
        )
        address = subprocess.check_output(
            network.wrap([sys.executable, "-c", ping]), pass_fds=fds, text=True
        )
    assert len(lines) == 3, "only the two head lines and lo"
    interface, *counters = lines[2].split()
    assert interface == "lo:"
    assert set(counters) == {"0"}
    assert address.strip() == "127.0.0.1"
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
