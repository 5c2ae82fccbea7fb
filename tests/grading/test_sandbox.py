"""The sandbox, and the self-test that is to notice where it does not hold."""

import inspect
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_course import RIGHT
from small_tasks import doubling

from grader import attempts, exchange, freeze, judge, run, sandbox, self_test
from grader.checks import Case, Close, Misconception, Model, Task
from grader.limits import Limits
from grader.sandbox import Sandbox


def test_the_self_test_finds_nothing_in_a_whole_sandbox(tried):
    assert tried == dict.fromkeys(ATTEMPTS)


ATTEMPTS = [
    *("leave_traces", "find_traces", "forking_process", "inherited"),
    *("network", "other_files", "write_files", "other_processes", "user_namespace"),
    *("kernel_settings", "keyring", "environment"),
    *("memory", "memory_of_many", "processes", "disk"),
]


def without(launcher: run.Launcher, *options: str) -> run.Launcher:
    """The sandbox with options replaced (old, new, old, new, ...) and without cgroups."""
    line = list(launcher.prefix[launcher.prefix.index("bwrap") :])
    for old, new in zip(options[::2], options[1::2], strict=True):
        assert any(old in part for part in line), old
        line = [part.replace(old, new) for part in line]
    return replace(launcher, prefix=tuple(part for part in line if part))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("network", ("--unshare-all", "--unshare-pid")),
        ("other_processes", ("--unshare-all", "--unshare-net")),
        ("user_namespace", ("--disable-userns", "")),
        ("other_files", ("/etc/alternatives", "/etc")),
        ("disk", (str(16 << 20), str(256 << 20))),
        ("memory", ("--as=", "--rss=")),
        ("memory_of_many", ()),
        ("processes", ("--nproc=24", "--nproc=1000")),
    ],
)
def test_the_self_test_notices_a_hole(sandbox, monkeypatch, name, options):
    """The sandbox with one option taken away is told from a whole one."""
    whole = Sandbox.launcher
    monkeypatch.setattr(
        Sandbox, "launcher",
        lambda self, **kwargs: replace(without(whole(self), *options), memory_bytes=None, stop=()),
    )  # fmt: skip
    small = replace(sandbox, limits=replace(sandbox.limits, **self_test.SMALL))
    with self_test.targets(sandbox) as arguments, run.Worker(small.launcher()) as worker:
        assert self_test.attempt(name, arguments[name], worker)


def test_a_hole_stops_the_grading_and_is_named(monkeypatch):
    tried = [
        self_test.Attempt("network", "connected to 127.0.0.1"),
        self_test.Attempt("disk", None),
    ]
    monkeypatch.setattr(self_test, "try_to_escape", lambda sandbox: tried)
    with pytest.raises(self_test.EscapeError, match="network: connected to 127"):
        self_test.check_sandbox(Sandbox())


def test_a_sandbox_that_does_not_start_is_told_from_one_that_holds(monkeypatch):
    """If nothing runs in it, no attempt succeeds either."""
    broken = run.Launcher(prefix=("false",))
    monkeypatch.setattr(Sandbox, "launcher", lambda self, **kwargs: broken)
    with pytest.raises(self_test.SandboxError, match="does not work"):
        self_test.check_sandbox(Sandbox())


def test_a_missing_bubblewrap_is_named(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox._launcher.cache_clear()
    with pytest.raises(exchange.GradingError, match="apt install bubblewrap"):
        Sandbox(limits=Limits(memory_mb=1234)).launcher()


def test_private_folders_below_a_visible_one_are_refused():
    private = str(sandbox.PACKAGES[0] / "templates")
    with pytest.raises(exchange.GradingError, match="which students' code can read"):
        Sandbox(private=(private,)).launcher()


def test_every_attempt_is_tried(sandbox):
    functions = [name for name, each in vars(attempts).items() if inspect.isfunction(each)]
    with self_test.targets(sandbox) as arguments:
        assert list(arguments) == functions == ATTEMPTS


def test_workers_are_cleaned_up_after(sandbox):
    """A group of counters for each worker would pile up."""
    folders = [Path("/sys/fs/cgroup", tree, "lecture-grading") for tree in ("", "pids", "memory")]

    def groups() -> set[Path]:
        return {group for folder in folders if folder.is_dir() for group in folder.iterdir()}

    before = groups()
    launcher = sandbox.launcher()
    assert judge.judge(doubling(), run.run_answer(doubling(), RIGHT["double"], launcher)).passed
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


MODEL_TASK = Task(
    grade_id="n-layers", entry="n_layers", points=1, cases=lambda rng: [Case(Model())],
    reference=lambda loaded: 30, compare=Close(),
    misconceptions=[Misconception("none", lambda loaded: 0, "count them")], timeout_s=60.0,
)  # fmt: skip
MODEL_ANSWER = """
import os
def n_layers(loaded):
    try:
        open(os.path.join(os.environ["LECTURE_LIB_CACHE"], "smollm2-135m-instruct", "x"), "w")
    except OSError:
        return loaded.model.config.num_hidden_layers
"""


def test_where_nothing_counts_memory_the_grader_watches_it():
    body = "block = bytearray(x[0] << 20)\n    time.sleep(3)\n    return len(block)"
    answer = f"import time\ndef double(x):\n    {body}"
    frozen = doubling(cases=lambda rng: [Case([400])])
    watched = run.Launcher(memory_bytes=200 << 20)
    assert run.run_answer(frozen, answer, watched)[0]["error"]["types"] == ["Died"]
    assert "value" in run.run_answer(frozen, answer.replace("(3)", "(0.5)"))[0]


@pytest.mark.real_model
def test_the_real_model_is_there_for_tasks_that_need_it_and_cannot_be_changed(sandbox):
    frozen = freeze.freeze(MODEL_TASK)
    verdict = judge.judge(
        frozen, run.run_answer(frozen, MODEL_ANSWER, sandbox.launcher(model=True))
    )
    assert verdict.passed, verdict.message
