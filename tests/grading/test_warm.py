"""Workers forked with their imports done: as fresh as others, and out of reach of each other."""

import contextlib
import itertools
import json
import os
import select
import signal
from dataclasses import replace
from pathlib import Path

import needs
import pytest
from small_course import RIGHT, WRONG
from small_tasks import DEF, LIST, doubling

from grader import course_checks, jobs, judge, run, self_test, warm
from grader import launcher as launching
from grader.checks import Case
from grader.limits import Limits
from grader.sandbox import Sandbox

HEAD = "import ctypes, gc, json, os, resource, signal, socket, subprocess, sys, threading, time\n"
LIBC = "libc = ctypes.CDLL(None)\n"
GOOD = f"return {LIST}"
LIMITS = Limits(memory_mb=2048, processes=48, disk_mb=32, file_mb=32, answer_s=4.0)


@pytest.fixture(scope="module")
def launcher(sandbox):
    found = Sandbox(limits=LIMITS).launcher()
    if warm.run_forked(doubling(), RIGHT["double"], found) is None:
        needs.missing("no namespaces inside a sandbox here", "allow user namespaces")
    yield found
    warm.close_all()


def zygotes() -> list[int]:
    return [zygote.process.pid for zygote in warm._idle]


def value(launcher, answer, frozen=None):
    """What the answer's first case gave: a value, or the name of an error."""
    record = warm.run_forked(frozen or doubling(timeout_s=3.0), HEAD + answer, launcher)[0]
    return record["value"] if "value" in record else record["error"]["types"][0]


@pytest.mark.parametrize("answer", [*RIGHT.values(), *WRONG.values(), "1 / 0", "def double(:"])
def test_records_are_those_of_a_sandbox_of_its_own(launcher, answer):
    frozen = doubling()
    assert warm.run_forked(frozen, answer, launcher) == run.run_answer(frozen, answer, launcher)


def test_workers_are_forked_from_one_process_that_has_the_imports(launcher):
    frozen = doubling()
    frozen["ask"]["setup"] = ["if False:\n    import fractions"]  # only the zygote imports it
    answer = "def double(x):\n    import sys\n    return ['fractions' in sys.modules, hash('x')]"
    first, second = (warm.run_forked(frozen, answer, launcher)[0]["value"] for _ in range(2))
    fresh = run.run_answer(frozen, answer, launcher)[0]["value"]
    assert first[0]
    assert not fresh[0]
    assert first[1] == second[1] != fresh[1], "strings hash alike only in forks of one process"


def test_the_grader_uses_them_unless_told_otherwise(launcher, monkeypatch):
    frozen, answer = doubling(), RIGHT["double"]
    calls = []
    cold = run.run_answer
    monkeypatch.setattr(run, "run_answer", lambda *args: calls.append(args) or cold(*args))
    assert jobs.grade_answer(frozen, answer, Sandbox(limits=LIMITS))["passed"]
    assert not calls
    assert jobs.grade_answer(frozen, answer, Sandbox(limits=LIMITS, warm=False))["passed"]
    assert len(calls) == 1


def test_the_command_has_an_option_for_it(monkeypatch, tmp_path):
    from grader import __main__ as command
    from grader import grade as grading

    given = []
    monkeypatch.setattr(grading, "grade", lambda *args: given.append(args[3]) or 1 / 0)
    for options in ([], ["--cold"]):
        with pytest.raises(ZeroDivisionError):
            command.main(["grade", str(tmp_path), "--out", str(tmp_path), *options])
    assert [settings.sandbox.warm for settings in given] == [True, False]


PLACES = "('/tmp/mark', '/dev/shm/mark')"
TRACES = {  # what one task does, and what the next would see of it
    "files": (
        f"[open(path, 'w').close() for path in {PLACES}]",
        f"[os.path.exists(path) for path in {PLACES}]",
        [False, False],
    ),
    "system-v": (
        "ctypes.CDLL(None).semget(77, 1, 0o1666)",
        "ctypes.CDLL(None).semget(77, 1, 0)",
        -1,
    ),
    "modules": (
        "json.mark = os.mark = True; __builtins__['len'] = lambda x: 0",
        "[hasattr(json, 'mark'), hasattr(os, 'mark'), len([1, 2])]",
        [False, False, 2],
    ),
    "environment": ("os.environ.update(MARK='1')", "os.environ.get('MARK')", None),
    "background": (
        "os.fork() or (os.setsid(), os.fork() or time.sleep(600))",
        "sum(name.isdigit() for name in os.listdir('/proc')) < 7 and len(os.sched_getaffinity(0))",
        len(os.sched_getaffinity(0)),
    ),
    "affinity": (
        "[os.sched_setaffinity(pid, {0}) for pid in (0, 1)]",
        "len(os.sched_getaffinity(0))",
        len(os.sched_getaffinity(0)),
    ),
    "limits": (
        "[resource.prlimit(pid, resource.RLIMIT_NOFILE, (9, 9)) for pid in (0, 1)]",
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0]",
        LIMITS.open_files,
    ),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_task_leaves_nothing_for_the_next(launcher, name):
    leave, look, wanted = TRACES[name]
    value(launcher, f"{DEF}{leave}\n    {GOOD}")
    before = zygotes()
    assert value(launcher, f"{DEF}return {look}") == wanted
    assert zygotes() == before, "this was another zygote, so it proves nothing"


FRAMES = """frames, frame = [], sys._getframe()
while frame: frames.append(frame); frame = frame.f_back
"""
ATTACKS = {  # answer, and the value or error that it ends with
    "kills-its-parents": ("os.kill(os.getppid(), 9); os.kill(1, 9)", None),
    "kills-its-group": ("signal.signal(15, signal.SIG_IGN); os.kill(0, 15)", None),
    "kills-every-process": ("os.system('kill -9 -1')", ...),
    "kills-all-numbers": (
        "[libc.kill(pid, 9) for pid in range(3, 40000) if pid != os.getpid()]",
        None,
    ),
    "traces": ("assert all(libc.ptrace(16, pid, 0, 0) == -1 for pid in range(3, 40000))", None),
    "slows": ("assert all(libc.setpriority(0, p, 19) for p in range(3, 40000))", None),
    "reads-memory": (
        "for pid in set(os.listdir('/proc')) - {os.readlink('/proc/self')}:\n"
        "        if pid.isdigit():\n"
        "            try: open(f'/proc/{pid}/mem', 'rb'); raise SystemExit\n"
        "            except OSError: pass",
        None,
    ),
    "writes-to-the-control": (
        "for frame in frames:\n"
        "        if 'control' in frame.f_locals:\n"
        "            try: frame.f_locals['control'].send(b'{\"ended\": true}'); return 0\n"
        "            except OSError: pass",
        None,
    ),
    "writes-to-every-handle": ("[libc.write(n, b'{}\\n', 3) for n in range(99)]", "Protocol"),
    "closes-everything": ("os.closerange(0, 256)", "Died"),
    "exits": ("os._exit(0)", "Died"),
    "sys-exit": ("sys.exit(3)", "SystemExit"),
    "kills-itself": ("os.kill(os.getpid(), 9)", "Died"),
    "stops-itself": ("os.kill(os.getpid(), 19)", "TimeLimit"),
    "stops-its-init": ("os.kill(1, 19)", None),
    "returns-into-the-zygote": ("raise KeyboardInterrupt", "Died"),
    "memory": ("x = []\n    while True: x.append(bytearray(1 << 27))", ...),
    "fork-bomb": ("while True: os.fork()", ...),
    "threads": ("while True: threading.Thread(target=signal.pause).start()", "RuntimeError"),
    "disk": (
        "f = open('/tmp/f', 'wb')\n    while True: f.write(bytes(1 << 20)); f.flush()",
        "OSError",
    ),
    "many-files": (
        "try:\n        for i in range(20000): open(f'/tmp/{i}', 'w').close()\n"
        "    except OSError: pass",
        None,
    ),
    "unmounts": ("assert all(libc.umount2(p, 2) for p in (b'/tmp', b'/dev/shm', b'/proc'))", None),
    "new-namespaces": ("assert all(libc.unshare(1 << n) for n in (17, 26, 27, 28, 29, 30))", None),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_its_own_task_only(launcher, name):
    body, wanted = ATTACKS[name]
    value(launcher, DEF + GOOD)
    before = zygotes()
    found = value(launcher, f"{LIBC}{FRAMES}{DEF}{body}\n    {'return None'}")
    if wanted is not ...:
        assert found == wanted
    assert zygotes() == before != [], "the zygote was hurt"
    assert value(launcher, DEF + GOOD) == [2, 4]
    assert zygotes() == before


def test_a_task_holds_its_two_pipes_and_nothing_of_the_zygote(launcher):
    look = "[os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]"
    paths = value(launcher, f"{DEF}return {look}")
    found = [os.path.basename(path).split(":")[0] for path in paths]
    handles = [name for name in found if not name.isdigit()]  # the folder itself is closed again
    assert sorted(set(handles)) == ["null", "pipe"]
    assert handles.count("pipe") == 2


SEARCH = """
import re
def search():
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
        for line in maps:
            where, rights = line.split()[:2]
            start, end = (int(part, 16) for part in where.split("-"))
            if rights.startswith("rw"):
                memory.seek(start)
                found += len(re.findall(rb"mark[0-9]{30}", memory.read(end - start)))
    return found
def double(x):
    before = search()
    own = "mark" + len(x) * 15 * "7"
    return [before, search() > 0]
"""


def test_no_answer_is_in_the_memory_of_a_later_task(launcher):
    value(launcher, f"{DEF}return 'mark{'3' * 30}'")
    assert value(launcher, SEARCH, doubling(timeout_s=20.0)) == [0, True]


def test_a_zygote_that_was_killed_is_replaced(launcher):
    value(launcher, DEF + GOOD)
    (before,) = zygotes()
    os.killpg(before, signal.SIGKILL)
    assert value(launcher, DEF + GOOD) == [2, 4]
    assert zygotes() != [before]


def test_a_zygote_that_dies_with_a_task_costs_that_task_only(launcher):
    frozen = doubling()
    worker = warm._start_worker(launcher, warm.modules_of(frozen))
    with worker:
        run.set_up(worker, frozen)
        os.killpg(worker.zygote.process.pid, signal.SIGKILL)
        # The kernel ends the processes inside after that; the worker's end of the pipe closes.
        assert select.select([worker.replies], [], [], 20)[0]
        records = run.records_of(worker, frozen, RIGHT["double"])
    assert [record["error"]["types"] for record in records] == [["Died"], ["Died"]]
    assert value(launcher, DEF + GOOD) == [2, 4]


@pytest.mark.parametrize("breaks", ["prefix", "namespaces"])
def test_where_there_is_no_zygote_each_task_gets_a_sandbox(launcher, monkeypatch, breaks):
    prefix = (*launcher.warm.prefix, "false")
    if breaks == "namespaces":
        prefix = tuple("CAP_CHOWN" if p == "CAP_SYS_ADMIN" else p for p in launcher.warm.prefix)
    broken = replace(launcher, warm=replace(launcher.warm, prefix=prefix))
    started = []
    start = run.start_process
    monkeypatch.setattr(
        run, "start_process",
        lambda launcher, command, **files: started.append(command) or start(
            launcher, command, **files
        ),
    )  # fmt: skip
    frozen = doubling()
    for _ in range(2):
        records = warm.run_answer(frozen, RIGHT["double"], broken)
        assert judge.judge(frozen, records).passed
    kinds = [os.path.basename(command[-1]) for command in started]
    assert kinds == ["warm_zygote.py", "worker.py", "worker.py"], "it is tried once only"


def test_the_authors_mistakes_are_told_as_without(launcher):
    frozen = doubling()
    frozen["ask"]["setup"] = ["import no_such_module"]
    with pytest.raises(run.GradingError, match=r"setup of task 'double' failed.*no_such_module"):
        warm.run_answer(frozen, RIGHT["double"], launcher)


TORCH = """
def double(x):
    a = torch.arange(512 * 512, dtype=torch.float64).reshape(512, 512).requires_grad_()
    torch.set_num_threads(2)
    (a @ a.T).trace().backward()
    return [torch.get_num_threads(), float(a.grad.sum()), float(torch.nn.functional.silu(a).sum())]
"""


@pytest.mark.slow
def test_torch_works_in_a_fork_with_threads_and_gradients(launcher):
    frozen = doubling(timeout_s=30.0)
    frozen["ask"]["setup"] = ["import torch"]
    threads, grad, silu = value(launcher, TORCH, frozen)
    n = 512 * 512
    assert threads == 2
    assert grad == n * (n - 1)  # the gradient of trace(a a^T) is 2 a
    assert silu == pytest.approx(n * (n - 1) / 2, abs=3)  # x sigmoid(x) is x but for the first few


def test_which_modules_a_task_imports():
    frozen = doubling(cases=lambda rng: [Case([1])])
    source = "import math, torch.nn as nn\nfrom a.b import c\nfrom . import d\n"
    frozen["ask"]["setup"] = [source, "def f():\n    import e", "not python:"]
    frozen["ask"]["drive"] = {"source": "import g\ndef drive(answer): pass", "name": "drive"}
    frozen["cases"][0]["args"] = [{"$toy_lm": {}}, {"$array": "", "lib": "torch"}]
    assert warm.modules_of(frozen) == ("a.b", "e", "g", "math", "torch.nn")
    frozen["ask"]["setup"] = ["import math"]
    assert warm.modules_of(frozen) == ("g", "lecture_lib.decoding.toy_lm", "math", "torch")


def test_the_tasks_of_an_exercise_share_a_warm_process():
    root = Path(__file__).resolve().parents[2]
    frozen = course_checks.freeze_exercises(root, ["01_language_models"], 1)
    kinds = {warm.modules_of(data) for data in frozen.values()}
    assert kinds == {("lecture_lib.decoding", "math", "torch")}


def test_the_self_test_tries_to_escape_from_a_warm_worker_too(launcher, tried):
    assert set(tried) > {"network, warm", "capabilities, warm"}
    assert not any(tried.values())


HOLES = {
    "capabilities": ("drop_capabilities", "check_harmless"),
    "find_traces": ("new_namespaces", "fresh_folders", "check_harmless", "loopback_up"),
    "zygote": ("new_namespaces", "fresh_folders", "check_harmless", "loopback_up"),
}


@pytest.mark.parametrize("name", HOLES)
def test_the_self_test_notices_a_hole_in_the_forking(
    launcher, sandbox, monkeypatch, tmp_path, name
):
    """The same zygote with some of its steps left out."""
    script = tmp_path / "warm_zygote.py"
    lines = [f"import sys; sys.path.insert(0, {str(launching.WORKER.parents[1])!r})",
             "from grader import warm_isolation, warm_zygote"]  # fmt: skip
    lines += [f"warm_isolation.{step} = lambda *args: None" for step in HOLES[name]]
    script.write_text("\n".join([*lines, "warm_zygote.main()"]))
    monkeypatch.setattr(launching, "ZYGOTE", script)
    whole = Sandbox.launcher

    def with_script(self, **options):
        found = whole(self, **options)
        prefix = list(found.warm.prefix)
        for folder in ("/tmp", "/dev/shm"):  # what fresh_folders would have hidden
            pairs = list(itertools.pairwise(prefix))
            at = pairs.index(("--remount-ro", folder))
            del prefix[at : at + 2]
        at = prefix.index("--setenv")
        prefix[at:at] = ["--ro-bind", str(tmp_path), str(tmp_path)]
        return replace(found, warm=replace(found.warm, prefix=tuple(prefix)))

    monkeypatch.setattr(Sandbox, "launcher", with_script)
    # Only what a forked worker could do: the rest takes longer, and is no matter of the forking.
    monkeypatch.setattr(self_test, "_targets", lambda sandbox: contextlib.nullcontext({}))
    tried = self_test.try_from_a_warm_worker(sandbox)
    escaped = {attempt.name: attempt.escaped for attempt in tried}
    assert escaped[f"{name}, warm"], json.dumps(escaped)
