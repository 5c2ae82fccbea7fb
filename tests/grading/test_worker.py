"""One worker for the answers of a submission: each task as fresh as in a worker of its own."""

import os
import select
import signal
import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest
from small_course import RIGHT, WRONG
from small_tasks import DEF, LIST, doubling, untimed

from grader import GradingError, exchange, judge, pool, run
from grader.checks import Case
from grader.sandbox import Limits, Sandbox

HEAD = "import ctypes, gc, json, os, resource, signal, socket, subprocess, sys, threading, time\n"
LIBC = "libc = ctypes.CDLL(None)\n"
GOOD = f"return {LIST}"
LIMITS = Limits(memory_mb=2048, processes=48, disk_mb=32, file_mb=32, answer_s=4.0)


@pytest.fixture(scope="module")
def limited(sandbox):
    return replace(sandbox, limits=LIMITS)


@pytest.fixture(scope="module")
def worker(limited):
    with run.Worker(limited) as started:
        yield started


def value(worker, answer, frozen=None):
    """What the answer's first case gave: a value, or the name of an error."""
    record = worker.run(frozen or doubling(timeout_s=3.0), HEAD + answer)[0]
    return record["value"] if "value" in record else record["error"]["types"][0]


def process(worker) -> int | None:
    return worker.process and worker.process.pid


@pytest.mark.parametrize("answer", [*RIGHT.values(), *WRONG.values(), "1 / 0", "def double(:"])
def test_records_are_those_of_a_worker_of_its_own(worker, limited, answer):
    frozen = doubling()
    alone = run.run_answer(frozen, answer, limited)
    assert untimed(worker.run(frozen, answer)) == untimed(alone)


def test_tasks_are_forked_from_one_process_that_has_the_imports(limited):
    frozen = doubling()
    answer = "def double(x):\n    import sys\n    return ['fractions' in sys.modules, hash('x')]"
    with run.Worker(limited, ["fractions"]) as worker:
        first, second = (worker.run(frozen, answer)[0]["value"] for _ in range(2))
    fresh = run.run_answer(frozen, answer, limited)[0]["value"]
    assert first[0]
    assert not fresh[0]
    assert first[1] == second[1] != fresh[1], "strings hash alike only in forks of one process"


PLACES = "('/tmp/mark', '/dev/shm/folder/mark')"
TRACES = {  # what one task does, and what the next would see of it
    "files": (
        f"[[os.makedirs(os.path.dirname(p), exist_ok=True), open(p, 'w')] for p in {PLACES}]",
        f"[os.path.exists(path) for path in {PLACES}]",
        [False, False],
    ),
    "folders-without-rights": (
        "os.makedirs('a/b/c'); os.mkdir('/dev/shm/x', mode=0); os.symlink('/', 'a/d')",
        "[os.listdir('/dev/shm'), os.path.exists('/tmp/a')]",
        [[], False],
    ),
    "system-v": (
        "ctypes.CDLL(None).semget(77, 1, 0o1666)",
        "ctypes.CDLL(None).semget(77, 1, 0)",
        -1,
    ),
    "posix-queue": (
        "ctypes.CDLL(None).mq_open(b'/mark', os.O_CREAT | os.O_RDWR, 0o666, None)",
        "ctypes.CDLL(None).mq_open(b'/mark', os.O_RDWR)",
        -1,
    ),
    "modules": (
        "json.mark = os.mark = True; __builtins__['round'] = lambda x: 0",
        "[hasattr(json, 'mark'), hasattr(os, 'mark'), round(2.1)]",
        [False, False, 2],
    ),
    "environment": ("os.environ.update(MARK='1')", "os.environ.get('MARK')", None),
    "background": (
        "os.fork() or (os.setsid(), os.fork() and os._exit(0), time.sleep(600))",
        "sum(name.isdigit() for name in os.listdir('/proc'))",
        3,
    ),
    "affinity": (
        "[ctypes.CDLL(None).sched_setaffinity(pid, 8, b'1' * 8) for pid in (0, os.getppid())]",
        "len(os.sched_getaffinity(0))",
        len(os.sched_getaffinity(0)),
    ),
    "limits": (
        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (9, 9))",
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0]",
        LIMITS.open_files,
    ),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_task_leaves_nothing_for_the_next(worker, name):
    leave, look, wanted = TRACES[name]
    value(worker, DEF + GOOD)
    before = process(worker)
    value(worker, f"{DEF}{leave}\n    {GOOD}")
    assert value(worker, f"{DEF}return {look}") == wanted
    assert process(worker) == before, "this was another worker, so it proves nothing"


FRAMES = """frames, frame = [], sys._getframe()
while frame: frames.append(frame); frame = frame.f_back
"""
ATTACKS = {  # answer, and the value or error that it ends with
    "kills-its-parents": ("os.kill(1, 9); os.kill(os.getppid(), 9); time.sleep(1)", ...),
    "stops-its-parents": ("os.kill(1, 19); os.kill(os.getppid(), 19)", None),
    "kills-its-group": ("signal.signal(15, signal.SIG_IGN); os.kill(0, 15)", ...),
    "kills-every-process": ("os.system('kill -9 -1')", ...),
    "kills-all-numbers": (
        "[libc.kill(pid, 9) for pid in range(3, 40000) if pid != os.getpid()]",
        None,
    ),
    "traces": ("assert all(libc.ptrace(16, pid, 0, 0) == -1 for pid in range(2, 40000))", None),
    "slows": ("assert all(libc.setpriority(0, p, 19) for p in range(2, 40000))", None),
    "reads-memory": (
        "for pid in {str(os.getppid()), '2'}:\n"
        "        if pid.isdigit():\n"
        "            try: open(f'/proc/{pid}/mem', 'rb'); raise SystemExit\n"
        "            except OSError: pass",
        None,
    ),
    "writes-to-the-control": (
        "for frame in frames:\n"
        "        if 'control' in frame.f_locals:\n"
        "            try: frame.f_locals['control'].send(b'e'); return 0\n"
        "            except OSError: pass",
        None,
    ),
    "writes-to-every-handle": ("[libc.write(n, b'{}\\n', 3) for n in range(99)]", "Protocol"),
    "closes-everything": ("os.closerange(0, 256)", "Died"),
    "exits": ("os._exit(0)", "Died"),
    "sys-exit": ("sys.exit(3)", "SystemExit"),
    "kills-itself": ("os.kill(os.getpid(), 9)", "Died"),
    "stops-itself": ("os.kill(os.getpid(), 19)", "TimeLimit"),
    "returns-into-the-worker": ("raise KeyboardInterrupt", "Died"),
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
    "deep-folders": (  # deeper than Python recurses, and a path longer than the system allows
        "for i in range(1050): os.mkdir('ddd'); os.chdir('ddd')",
        None,
    ),
    "unmounts": ("assert all(libc.umount2(p, 2) for p in (b'/tmp', b'/dev/shm', b'/proc'))", None),
    "new-namespaces": ("assert all(libc.unshare(1 << n) for n in (17, 26, 27, 28, 29, 30))", None),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_its_own_task_only(worker, name, monkeypatch):
    if name == "stops-its-parents":  # who then don't say that nothing is left of the task
        monkeypatch.setattr(run, "END_S", 0.5)
    body, wanted = ATTACKS[name]
    value(worker, DEF + GOOD)
    never_ends = wanted == "TimeLimit"
    frozen = doubling(timeout_s=0.5) if never_ends else None
    found = value(worker, f"{LIBC}{FRAMES}{DEF}{body}\n    return None", frozen)
    if wanted is not ...:
        assert found == wanted
    assert value(worker, DEF + GOOD) == [2, 4]


def test_a_task_holds_its_socket_and_nothing_of_the_process_that_forks(worker):
    look = "[os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]"
    paths = value(worker, f"{DEF}return {look}")
    found = [os.path.basename(path).split(":")[0] for path in paths]
    handles = [name for name in found if not name.isdigit()]  # the folder itself is closed again
    assert sorted(set(handles)) == ["null", "socket"]
    assert handles.count("socket") == 1


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


def test_no_answer_is_in_the_memory_of_a_later_task(worker):
    value(worker, f"{DEF}return 'mark{'3' * 30}'")
    assert value(worker, SEARCH, doubling(timeout_s=20.0)) == [0, True]


def test_a_worker_that_was_killed_is_replaced(worker):
    value(worker, DEF + GOOD)
    before = process(worker)
    os.killpg(before, signal.SIGKILL)
    gone = select.poll()  # bubblewrap's child ends a moment after it: until then it could answer
    gone.register(worker.control, select.POLLHUP)
    assert gone.poll(60_000)
    assert value(worker, DEF + GOOD) == [2, 4]
    assert process(worker) != before


def test_only_a_fault_costs_a_worker(worker):
    for answer in (DEF + GOOD, DEF + "return 1 / 0", "1 / 0", f"{DEF}{GOOD}\n1 / 0", "def double("):
        value(worker, DEF + GOOD)
        before = process(worker)
        value(worker, answer)
        assert process(worker) == before, answer
    value(worker, DEF + "os._exit(0)")
    assert process(worker) is None


def test_who_dies_after_others_is_graded_again_alone(sandbox, monkeypatch):
    """Another answer of the submission could be to blame."""
    seen, grade = [], pool.grade_submission

    def noted(jobs, *rest):
        seen.append([job.key for job in jobs])
        return grade(jobs, *rest)

    monkeypatch.setattr(pool, "grade_submission", noted)
    bodies = {"good": GOOD, "dies": "os._exit(0)", "wrong": "return x"}
    jobs = [pool.Job(key, doubling(), f"import os\n{DEF}{body}") for key, body in bodies.items()]
    done = pool.grade_all([jobs], sandbox, lambda: pool.open_executor(1), threading.Event())
    found = {key: each["checks"][0]["outcome"] for _, part in done for key, each in part.items()}
    assert found == {"good": "passed", "wrong": "wrong", "dies": "died"}
    assert seen == [["good", "dies", "wrong"], ["dies"]]


def test_memory_is_watched_until_nothing_is_left_of_a_task(sandbox, monkeypatch):
    """What a task leaves may go on, as long as it keeps the worker from cleaning up."""
    monkeypatch.setattr(run, "END_S", 60.0)
    # Where the kernel counts, it may end the hogs before the worker is looked at.
    monkeypatch.setattr(run, "counted", lambda limits: nullcontext([]))
    faults, watch = [], run.Worker.cpu_s

    def noted(worker):
        try:
            return watch(worker)
        except exchange.Fault as fault:
            faults.append(str(fault))
            raise

    monkeypatch.setattr(run.Worker, "cpu_s", noted)
    # Each takes 200 MB in one piece, once all cases have been answered.
    hog = "time.sleep(4); b = b'x' * (200 << 20); time.sleep(600)"
    stop = "os.kill(os.getppid(), 19)"
    with run.Worker(replace(sandbox, limits=replace(LIMITS, memory_mb=400))) as worker:
        body = f"for _ in range(3):\n        if os.fork() == 0: {hog}\n    {stop}\n    {GOOD}"
        assert value(worker, DEF + body) == [2, 4]
        assert faults == ["Died"]
        assert process(worker) is None
        assert value(worker, DEF + GOOD) == [2, 4]


def test_without_a_sandbox_each_task_gets_a_worker_of_its_own():
    with run.Worker(run.BARE) as worker:
        assert value(worker, DEF + GOOD) == [2, 4]
        assert worker.process is None


def test_the_authors_mistakes_are_told_and_cost_no_other_task(worker):
    frozen = doubling()
    frozen["ask"]["setup"] = ["import no_such_module"]
    with pytest.raises(GradingError, match=r"setup of task 'double' failed.*no_such_module"):
        worker.run(frozen, RIGHT["double"])
    assert value(worker, DEF + GOOD) == [2, 4]


def test_the_answers_of_a_submission_are_graded_in_one_worker(sandbox):
    broken = doubling()
    broken["ask"]["setup"] = ["import no_such_module"]
    who = "import os\ndef double(x):\n    return [os.getpid(), hash('x')]"
    jobs = [pool.Job("right", doubling(), RIGHT["double"]), pool.Job("broken", broken, ""),
            pool.Job("dies", doubling(), DEF + "import os; os._exit(1)"),
            pool.Job("again", doubling(), who)]  # fmt: skip
    results = pool.grade_submission(jobs, sandbox)
    assert list(results) == ["right", "broken", "dies", "again"]
    assert results["right"]["passed"]
    assert "no_such_module" in results["broken"]
    assert results["dies"]["checks"][0]["outcome"] == "died"
    assert results["again"]["checks"][0]["outcome"] == "wrong"


TORCH = """
def double(x):
    a = torch.arange(512 * 512, dtype=torch.float64).reshape(512, 512).requires_grad_()
    torch.set_num_threads(2)
    (a @ a.T).trace().backward()
    return [torch.get_num_threads(), float(a.grad.sum()), float(torch.nn.functional.silu(a).sum())]
"""


@pytest.mark.slow
def test_torch_works_in_a_fork_with_threads_and_gradients(limited):
    frozen = doubling(timeout_s=30.0)
    frozen["ask"]["setup"] = ["import torch"]
    with run.Worker(limited, ["torch"]) as worker:
        threads, grad, silu = value(worker, TORCH, frozen)
    n = 512 * 512
    assert threads == 2
    assert grad == n * (n - 1)  # the gradient of trace(a a^T) is 2 a
    assert silu == pytest.approx(n * (n - 1) / 2, abs=3)  # x sigmoid(x) is x but for the first few


def test_modules_that_start_threads_are_not_imported_ahead(monkeypatch):
    """A lock that another thread holds would stay locked in a fork. OpenBLAS starts threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    look = "import sys\ndef double(x):\n    return 'numpy' in sys.modules"
    with run.Worker(run.BARE, ["numpy"]) as worker:
        assert value(worker, look) is True
    monkeypatch.setattr(Sandbox, "environment", lambda self: environment)
    with run.Worker(run.BARE, ["numpy"]) as worker:
        assert value(worker, look) is False


def test_which_modules_tasks_import():
    frozen = doubling(cases=lambda rng: [Case([1])])
    source = "import math\nimport torch.nn as nn\nfrom a.b import c\nfrom . import d\n"
    frozen["ask"]["setup"] = [source, "def f():\n    import e", "not python:"]
    frozen["ask"]["drive"] = {"source": "import g\ndef drive(answer): pass", "name": "drive"}
    frozen["cases"][0]["args"] = [{"$toy_lm": {}}, {"$array": "", "lib": "torch"}]
    toy = "lecture_lib.decoding.toy_lm"
    found = pool.modules_of([frozen, doubling()])
    assert found == ["a.b", "e", "g", toy, "math", "torch", "torch.nn"]
    assert judge.judge(doubling(), run.run_answer(doubling(), RIGHT["double"])).passed
