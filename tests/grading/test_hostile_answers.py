"""Answers that attack the grader: each costs its own points and nobody else's."""

import os
import socket
import time

import psutil
import pytest
from small_course import hand_in, notebook, points

from grader import grade as grading
from grader.sandbox import Limits, Sandbox

HEAD = "import builtins, ctypes, gc, json, os, pickle, signal, socket, subprocess, sys, threading\n"
DEF = f"{HEAD}def double(x):\n    "
GOOD = "return [2 * item for item in x]"
ZERO, FULL = 0, 2
SPIN = "while True:\n        try:\n            while True: pass\n        except BaseException: pass"
FRAME = "frame = sys._getframe()\nwhile 'replies' not in frame.f_locals: frame = frame.f_back\n"
FORGED = """record = {"value": [1.0], "mutated": [], "n_calls": 0, "passed": True, "points": 2}
for reply in None, record:
    frame.f_locals["replies"].write(json.dumps(reply) + "\\n")
    READ
frame.f_locals["replies"].flush()
def double(x): return x
"""
IN_TURN = 'frame.f_locals["replies"].flush(); frame.f_locals["requests"].readline()'
EQUAL = """class Yes(list):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    __hash__ = None
def double(x): return Yes([0.0] * len(x))
"""
PICKLE = """class Boom:
    def __reduce__(self): return (os.system, ('touch /tmp/boom',))
def double(x): return pickle.dumps(Boom())
"""
PATCH = """builtins.sum = builtins.len = lambda *a, **k: 0
builtins.isinstance = lambda *a: True
json.dumps = lambda *a, **k: '{}'
json.loads = lambda *a, **k: {"id": 0}
def double(x): return x
"""
PATCH_TORCH = """import torch
torch.equal = torch.allclose = torch.Tensor.__eq__ = lambda *a, **k: True
def double(x): return torch.zeros(len(x))
"""
SEARCH = """def double(x):
    for found in gc.get_objects():
        if isinstance(found, dict) and isinstance(found.get("expected"), list):
            return str(found["expected"])
    for where, folders, names in os.walk("/"):
        folders[:] = set(folders) - {"proc", "usr", "lib", "lib64"}  # large, and not secret
        for name in names:
            if name.startswith("01_lists"):
                return open(os.path.join(where, name)).read()
"""
LOOK = """def double(x):
    for path in PATHS:
        try: return str(os.listdir(path))
        except OSError: pass
"""
NETWORK = """def double(x):
    try: socket.create_connection(("127.0.0.1", PORT), timeout=2)
    except OSError: return None
    return [2 * item for item in x]
"""
DISK = """def double(x):
    try:
        with open("/tmp/fill", "wb") as file:
            while True: file.write(bytes(1 << 20))
    except OSError: pass
    return [2 * item for item in x]
"""
OUTLIVES = """def double(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: pass
        os._exit(0)
    return [2 * item for item in x]
"""
ANSWERS = {
    "endless": (DEF + "while True: pass", ZERO),
    "endless-cell": (HEAD + "while True: pass", ZERO),
    "swallows-interrupts": (DEF + SPIN, ZERO),
    "stops-itself": (DEF + "os.kill(os.getpid(), signal.SIGSTOP)", ZERO),
    "sys-exit": (HEAD + "sys.exit(0)", ZERO),
    "os-exit": (DEF + "os._exit(0)", ZERO),
    "kills-itself": (DEF + "os.kill(os.getpid(), 9)", ZERO),
    "kills-the-parent": (DEF + f"os.kill(os.getppid(), 9); os.kill(1, 9)\n    {GOOD}", None),
    "kills-all": (DEF + f"os.system('kill -9 -1')\n    {GOOD}", None),
    "fork-bomb": (DEF + "while True: os.fork()", ZERO),
    "shell-bomb": (DEF + "os.system(':(){ :|:& };:')\n    return 0", ZERO),
    "thread-bomb": (DEF + "while True: threading.Thread(target=signal.pause).start()", ZERO),
    "memory-30-gb": (DEF + "return len(bytearray(30 << 30))", ZERO),
    "memory-in-parts": (DEF + "y = []\n    while True: y.append(bytearray(1 << 28))", ZERO),
    "prints-ten-million-lines": (DEF + f"print('x\\n' * 10_000_000)\n    {GOOD}", FULL),
    "writes-to-every-handle": (
        DEF + f"[os.write(1, b'x' * 9999) for _ in range(999)]\n    {GOOD}",
        FULL,
    ),
    "fills-the-disk": (HEAD + DISK, FULL),
    "patches-builtins": (HEAD + PATCH, ZERO),
    "patches-torch": (HEAD + PATCH_TORCH, ZERO),
    "equals-everything": (HEAD + EQUAL, ZERO),
    "forges-the-protocol": (HEAD + FRAME + FORGED.replace("READ", "pass"), ZERO),
    "forges-reply-by-reply": (HEAD + FRAME + FORGED.replace("READ", IN_TURN), ZERO),
    "returns-pickles": (HEAD + PICKLE, ZERO),
    "nan": (DEF + "return [float('nan')] * len(x)", ZERO),
    "infinity": (DEF + "return [float('inf')] * len(x)", ZERO),
    "deep": (DEF + "y = []\n    for _ in range(10**5): y = [y]\n    return y", ZERO),
    "huge": (DEF + "return [0.5] * 50_000_000", ZERO),
    "searches-for-the-key": (HEAD + SEARCH, ZERO),
    "reads-solutions-and-others": (HEAD + LOOK, ZERO),
    "uses-the-network": (HEAD + NETWORK, ZERO),
    "outlives-the-cell": (HEAD + OUTLIVES, FULL),
    "null-bytes": ("def double(x): return x\x00", ZERO),
    "namespace": (DEF + "return ctypes.CDLL(None).unshare(0x10000000)", ZERO),
}
LIMITS = Limits(memory_mb=2048, processes=48, disk_mb=32, file_mb=32, answer_s=4.0)


@pytest.fixture(scope="module")
def port():
    """A door on this machine that a worker must not find."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@pytest.fixture(scope="module")
def graded(course, sandbox, tmp_path_factory, port):
    """All of them in one run, with an honest student's work among theirs."""
    folder = tmp_path_factory.mktemp("hostile")
    private = [str(course / "solutions"), str(folder / "in"), str(folder / "out")]
    for name, (answer, _) in ANSWERS.items():
        answer = answer.replace("PATHS", repr(private)).replace("PORT", port)
        hand_in(folder / "in", name, notebook(course, double=answer))
    hand_in(folder / "in", "an-honest-student", notebook(course))
    settings = grading.Settings(seed=5, jobs=2, sandbox=Sandbox(limits=LIMITS))
    outcome = grading.grade(course, folder / "in", folder / "out", settings)
    return points(outcome), outcome, folder


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_scored_as_intended(graded, name):
    found, _, _ = graded
    wanted = ANSWERS[name][1]
    if wanted is None:  # it may have killed itself in trying
        assert found[name]["double"] in (ZERO, FULL)
    else:
        assert found[name]["double"] == wanted
    assert found[name]["mean"] == 3, "another task of the same student was affected"


def test_an_honest_student_is_not_affected(graded):
    assert graded[0]["an-honest-student"] == {"double": 2, "mean": 3}


def test_what_each_was_held_back_by(graded):
    _, outcome, _ = graded
    messages = {row["student"]: row["message"] for row in outcome.book.rows
                if row["task"] == "double"}  # fmt: skip
    assert "did not finish in time" in messages["endless"]
    assert "did not finish in time" in messages["endless-cell"]
    assert "did not finish in time" in messages["swallows-interrupts"]
    assert "MemoryError" in messages["memory-30-gb"]
    assert "the process that ran it ended" in messages["kills-itself"]
    assert "is None" in messages["reads-solutions-and-others"], "it found a private folder"
    assert "is None" in messages["searches-for-the-key"], "it found checks or a notebook"
    assert "could not be read" in messages["forges-the-protocol"]
    assert "is None" in messages["uses-the-network"]


def test_what_a_person_should_see_is_listed(graded):
    listed = {student for student, _, _ in graded[1].book.to_look_at()}
    assert {"endless", "kills-itself", "forges-the-protocol"} <= listed
    assert "an-honest-student" not in listed


def test_nothing_is_left_behind(graded):
    """No process of a worker, and no file where the pickle would have put one."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [p for p in psutil.process_iter(["cmdline"]) if _is_a_worker(p)]
        if not left:
            break
        time.sleep(0.1)
    assert not left
    assert not os.path.exists("/tmp/boom")


def _is_a_worker(process) -> bool:
    """A sandboxed worker that is an orphan, or whose parent is a process of this test."""
    command = process.info["cmdline"] or []
    if not any(part.endswith("grader/worker.py") for part in command):
        return False
    try:
        return process.ppid() == 1 or os.getpid() in [p.pid for p in process.parents()]
    except psutil.NoSuchProcess:
        return False
