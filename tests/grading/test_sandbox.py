"""The sandbox, and the self-test that is to notice where it does not hold."""

import inspect
import time
from pathlib import Path

import pytest
from small_course import RIGHT
from small_tasks import DEF, doubling

from grader import GradingError, attempts, judge, run, self_test
from grader import sandbox as sandbox_module
from grader.checks import Case
from grader.sandbox import Limits, Sandbox


def test_the_self_test_finds_nothing_in_a_whole_sandbox(tried):
    assert tried == dict.fromkeys(ATTEMPTS)


ATTEMPTS = [
    *("leave_traces", "find_traces", "forking_process", "inherited"),
    *("network", "other_files", "write_files", "other_processes", "user_namespace"),
    *("kernel_settings", "keyring", "environment"),
    *("memory", "memory_of_many", "shared_memory", "processes", "disk"),
]


class Holed(Sandbox):
    """A sandbox with options replaced (old, new, old, new, ...)."""

    options = ()

    def command(self, *filter_fd) -> list[str]:
        line = super().command(*filter_fd)
        for old, new in zip(self.options[::2], self.options[1::2], strict=True):
            assert any(old in part for part in line), old
            line = [part.replace(old, new) for part in line]
        return [part for part in line if part]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("network", ("--unshare-all", "--unshare-pid")),
        ("other_processes", ("--unshare-all", "--unshare-net")),
        ("user_namespace", ("--disable-userns", "")),
        ("other_files", ("/etc/alternatives", "/etc")),
        ("disk", (str(16 << 20), str(256 << 20))),
        ("memory", ("--data=", "--rss=")),
        ("memory_of_many", ()),
        ("shared_memory", ("--seccomp", "--sync-fd")),
        ("forking_process", ("--seccomp", "--sync-fd")),
        ("processes", ("--nproc=24", "--nproc=1000")),
    ],
)
def test_the_self_test_notices_a_hole(sandbox, monkeypatch, name, options):
    """The sandbox with one option taken away, and without counters, is told from a whole one."""
    monkeypatch.setattr(sandbox_module, "CGROUPS", Path("/nonexistent"))
    monkeypatch.setattr(run.Worker, "cpu_s", lambda self: 0.0)
    monkeypatch.setattr(Holed, "options", options)
    holed = Holed(limits=Limits(**self_test.SMALL))
    with self_test.targets(sandbox) as known, run.Worker(holed) as worker:
        assert self_test.attempt(name, known, worker)


def test_a_hole_stops_the_grading_and_is_named(monkeypatch):
    tried = {"network": "connected to 127.0.0.1", "disk": None}
    monkeypatch.setattr(self_test, "try_to_escape", lambda sandbox: tried)
    with pytest.raises(self_test.EscapeError, match="network: connected to 127"):
        self_test.check_sandbox(Sandbox())


def test_a_sandbox_that_does_not_start_is_told_from_one_that_holds(monkeypatch):
    """If nothing runs in it, no attempt succeeds either."""
    monkeypatch.setattr(Sandbox, "command", lambda self, *_: ["false"])
    with pytest.raises(GradingError, match="does not work"):
        self_test.check_sandbox(Sandbox())


def test_a_missing_bubblewrap_is_named(monkeypatch):
    monkeypatch.setattr(sandbox_module.shutil, "which", lambda name: None)
    with pytest.raises(GradingError, match="apt install bubblewrap"):
        Sandbox().command()


def test_private_folders_below_a_visible_one_are_refused():
    private = str(sandbox_module.PACKAGES[0] / "templates")
    with pytest.raises(GradingError, match="which students' code can read"):
        Sandbox(private=(private,)).command()


def test_every_attempt_is_tried(tried):
    functions = [name for name, each in vars(attempts).items() if inspect.isfunction(each)]
    assert [name for name in functions if not name.startswith("_")] == list(tried) == ATTEMPTS


@pytest.mark.parametrize(
    ("trees", "memory"),
    [(["pids", "memory"], "memory.limit_in_bytes"), ([""], "memory.max")],
    ids=["version 1", "version 2"],
)
def test_for_root_the_kernel_counts_processes_and_memory(monkeypatch, tmp_path, trees, memory):
    monkeypatch.setattr(sandbox_module, "CGROUPS", tmp_path)
    monkeypatch.setattr(sandbox_module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(sandbox_module.time, "sleep", lambda seconds: None)
    for tree in trees:
        (tmp_path / tree).mkdir(exist_ok=True)
        (tmp_path / tree / "cgroup.procs").touch()
    with sandbox_module.counted(Limits(memory_mb=5, processes=7)) as command:
        written = {path.name: path.read_text() for path in tmp_path.glob("**/lecture-grading/*/*")}
        assert written["pids.max"] == "7"
        assert written[memory] == str(5 << 20)
        assert command[2].count("cgroup.procs") == len(trees)


def test_workers_are_cleaned_up_after(sandbox):
    """A group of counters for each worker would pile up."""
    folders = [Path("/sys/fs/cgroup", tree, "lecture-grading") for tree in ("", "pids", "memory")]

    def groups() -> set[Path]:
        return {group for folder in folders if folder.is_dir() for group in folder.iterdir()}

    before = groups()
    assert judge.judge(doubling(), run.run_answer(doubling(), RIGHT["double"], sandbox)).passed
    left = groups() - before
    deadline = time.monotonic() + 120
    while left and time.monotonic() < deadline:  # those of other tests that run beside this one end
        time.sleep(0.2)
        left &= groups()
    assert not left


def test_limits_are_checked():
    assert Limits().with_changes(["memory_mb=100", "answer_s=1.5"]).answer_s == 1.5
    with pytest.raises(ValueError, match="memory_mb: needs a number above 0, got 0"):
        Limits(memory_mb=0)
    with pytest.raises(ValueError, match="limit memory_mb: got 'x'"):
        Limits().with_changes(["memory_mb=x"])


def test_the_grader_watches_the_memory_of_a_task():
    body = "block = bytearray(x[0] << 20)\n    time.sleep(3)\n    return len(block)"
    answer = f"import time\ndef double(x):\n    {body}"
    frozen = doubling(cases=lambda rng: [Case([400])])
    watched = Sandbox(bubblewrap=False, limits=Limits(memory_mb=200))
    assert run.run_answer(frozen, answer, watched)[0]["error"]["types"] == ["Died"]
    assert "value" in run.run_answer(frozen, answer.replace("(3)", "(0.5)"))[0]


PAGES = """
import ctypes, time
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_size_t] * 6
libc.madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
def double(x):
    size = x[0] << 30
    start = libc.mmap(0, size, 1, 0x4022, 2**64 - 1, 0)  # read only, private, of no file
    libc.madvise(start, size, 15)  # no huge pages
    for place in range(start, start + size, 2 << 20):
        ctypes.c_char.from_address(place).value
    time.sleep(2)
    return 1
"""


@pytest.mark.parametrize(("n_gb", "outcome"), [(10, "value"), (160, "error")])
def test_page_tables_count_as_memory(n_gb, outcome):
    """Whoever reads a byte of each two megabytes that were mapped makes the kernel use 4 kB."""
    frozen = doubling(cases=lambda rng: [Case([n_gb])])
    watched = Sandbox(bubblewrap=False, limits=Limits(memory_mb=200))
    assert outcome in run.run_answer(frozen, PAGES, watched)[0]


def test_open_files_count_as_memory():
    """What is written into a socket and not read is the kernel's memory, and in no process's."""
    body = """kept = [socket.socketpair() for _ in range(100)]
    for _ in range(x[0] - 1): os.fork()
    time.sleep(2)
    return len(kept)"""
    answer, watched = f"import os, socket, time\n{DEF}{body}", Limits(memory_mb=250)
    for forks, outcome in ((1, "value"), (3, "error")):
        frozen = doubling(cases=lambda rng, forks=forks: [Case([forks])])
        assert outcome in run.run_answer(frozen, answer, Sandbox(False, watched))[0]


def test_signals_that_wait_are_few(sandbox):
    """They are counted for the user, whose other processes need some too."""
    wait = (
        "n = 0\n    while n < 1000 and libc.sigqueue(os.getpid(), 40, 0) == 0: n += 1\n    return n"
    )
    block = "signal.pthread_sigmask(signal.SIG_BLOCK, [40])\n    libc = ctypes.CDLL(None)"
    answer = f"import ctypes, os, signal\n{DEF}{block}\n    {wait}"
    assert run.run_answer(doubling(), answer, sandbox)[0]["value"] < 300


MAPPED = """
import mmap
def double(x):
    mmap.mmap(-1, 6 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0).close()
    with open("/tmp/library", "wb+") as file:
        file.truncate(48 << 20)
        kept = [mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) for _ in range(128)]
    return sum(map(len, kept)) >> 30
"""
TOUCHED = """
import mmap
def double(x):
    block = mmap.mmap(-1, 1 << 30, mmap.{} | mmap.MAP_ANONYMOUS)
    for i in range(0, len(block), 4096): block[i] = 1
    return len(block)
"""


@pytest.mark.usefixtures("sandbox")
def test_memory_is_what_a_process_touches_and_not_what_it_maps():
    """A torch for CUDA maps gigabytes of libraries that are never read."""
    with run.Worker(Sandbox(limits=Limits(memory_mb=512))) as worker:
        assert worker.run(doubling(), MAPPED)[0]["value"] == 6
        private = worker.run(doubling(), TOUCHED.format("MAP_PRIVATE"))[0]
        assert private["error"]["types"][0] in ("OSError", "MemoryError", "Died")
        shared = worker.run(doubling(), TOUCHED.format("MAP_SHARED"))[0]
        assert shared["error"]["types"][0] == "PermissionError"
