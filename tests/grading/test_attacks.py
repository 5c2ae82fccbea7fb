"""Attacks on the grading from a red team: most of them got through once."""

import json
import os
import re
import socket
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from small_course import hand_in, notebook, points
from small_tasks import DEF, LIST, doubling, grade_answer

from grader import pool, run, seccomp, self_test
from grader.sandbox import Limits, Sandbox

HEAD = """import builtins, copyreg, ctypes, fcntl, gc, json, os, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
"""
LIMITS = Limits(memory_mb=2048, processes=48, disk_mb=32, file_mb=32, answer_s=4.0)
SECRET = "hush-hush-4711"
BARE = Sandbox(bubblewrap=False)
FRAME = """
frame = sys._getframe()
while "replies" not in frame.f_locals: frame = frame.f_back
def reply(text):
    frame.f_locals["replies"].write(text + "\\n")
    frame.f_locals["replies"].flush()
def forge(value, mutated="[]"):
    reply(f'{{"value": {value}, "mutated": {mutated}, "n_calls": 0}}')
"""


@pytest.fixture(scope="module")
def value(sandbox):
    """What an answer's first case gave in a worker that serves all of them: a value or an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_TOKEN_OF_THE_INSTRUCTOR", SECRET)
        with run.Worker(replace(sandbox, limits=LIMITS)) as worker:

            def value_of(body: str):
                record = worker.run(doubling(timeout_s=5.0), f"{HEAD}{DEF}{body}")[0]
                return record["value"] if "value" in record else record["error"]["types"][0]

            yield value_of


def number(name: str) -> int:
    column, _ = seccomp.MACHINES[os.uname().machine]
    return {k: v for kind in seccomp.CALLS.values() for k, v in kind.items()}[name][column]


def test_no_setting_of_the_kernel_can_be_changed(value):
    """Core dumps go to a program that /proc/sys/kernel/core_pattern names: run outside, as root."""
    found = value("""found = []
    for folder, _, names in os.walk('/proc/sys'):
        for name in names:
            try: os.close(os.open(os.path.join(folder, name), os.O_WRONLY))
            except OSError: continue
            found.append(os.path.join(folder, name))
    return found""")
    assert found == []


def test_the_machines_own_devices_stay_as_they_are(value):
    """Where root grades, student code is their owner: mode 000 would hurt the whole machine."""
    before = os.stat("/dev/full")
    when = f"(ctypes.c_long * 4)({int(time.time()) - 7}, 0, {int(time.time()) - 7}, 0)"
    value(f"libc.syscall({number('utimensat')}, -100, b'/dev/full', {when}, 0)")
    value(f"os.utime('/dev/full', ({time.time() - 9}, {time.time() - 9}))")
    after = os.stat("/dev/full")
    assert (after.st_mtime_ns, after.st_mode) == (before.st_mtime_ns, before.st_mode)


def test_no_environment_of_the_grader_can_be_read(value):
    found = value("""found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try: found.append(open(f'/proc/{pid}/environ', 'rb').read().decode())
        except OSError: pass
    return [x == [1, 2], ' '.join(found)]""")
    assert found[0]
    assert "PATH=" in found[1]
    assert SECRET not in found[1]


def test_a_key_in_a_keyring_does_not_reach_the_next_task(value):
    """Keyrings belong to a user and its namespace, which the tasks of a worker share."""
    mark = "ctypes.c_int(-4), b'user', b'mark'"
    value(f"libc.syscall({number('add_key')}, b'user', b'mark', b'hello', 5, ctypes.c_int(-4))")
    assert value(f"return libc.syscall({number('keyctl')}, 10, {mark}, 0)") == -1
    assert value(f"return libc.syscall({number('keyctl')}, 0, ctypes.c_int(-3), 1)") == -1


def test_only_ordinary_kinds_of_sockets_can_be_made(value):
    """AF_VSOCK (40) leads from a virtual machine to its host, whatever the network namespace."""
    found = value("""found = set()
    for family in range(50):
        for kind in (1, 2, 3, 5):
            try: socket.socket(family, kind).close()
            except OSError: continue
            found.add(family)
    return sorted(found)""")
    assert set(found) <= {int(family) for family in seccomp.FAMILIES}
    assert int(socket.AF_UNIX) in found


REFUSED = [
    "memfd_create",
    "shmget",
    "semget",
    "mq_open",
    "setpriority",
    "io_uring_setup",
    "bpf",
    "userfaultfd",
    "perf_event_open",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "inotify_init1",
    "fanotify_init",
]


def test_calls_that_no_namespace_holds_back_are_refused(value):
    numbers = [number(name) for name in REFUSED]
    numbers += [each | seccomp.X32 for each in numbers]  # the other way to name them
    code = f"""errors = []
    for number in {numbers}:
        errors.append([libc.syscall(number, 0, 0, 0, 0, 0), ctypes.get_errno()])
    return errors"""
    half = len(REFUSED)
    assert value(code) == [[-1, 1]] * half + [[-1, 38]] * half


def test_the_filter_holds_for_every_process_of_the_sandbox(sandbox):
    """Process 1 too, bubblewrap's own: whoever rules it would have all system calls."""

    def below(pid):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from (child, *below(child))

    with run.Worker(sandbox) as worker:
        worker.run(doubling(), DEF + "return x")
        inside = list(below(worker.process.pid))
        filters = [Path(f"/proc/{pid}/status").read_text() for pid in inside]
    assert len(inside) == 2
    assert all("Seccomp:\t2" in text for text in filters)


def test_a_process_that_names_the_worker_as_its_parent_is_cleaned_up_after(sandbox):
    """It was never waited for, and so seemed to be there for twenty seconds."""
    clone = "libc.syscall(56, 0x8000 | 17, 0, 0, 0, 0)"  # CLONE_PARENT, on x86-64
    answer = f"{HEAD}{DEF}if {clone} == 0: time.sleep(99)\n    return {LIST}"
    with run.Worker(sandbox) as worker:
        worker.run(doubling(), answer)
        assert worker.process is not None


def test_memory_cannot_be_shared_without_a_file(value):
    """Once the process that made it has ended, it would be in nobody's count."""
    assert value("import mmap; mmap.mmap(-1, 4096)") == "PermissionError"
    assert (
        value("import mmap; mmap.mmap(os.open('/dev/zero', os.O_RDWR), 4096)") == "PermissionError"
    )
    private = "mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)"
    assert value(f"import mmap; return {private}[0]") == 0


def test_no_handle_of_another_process_and_no_other_namespace(value):
    """pidfd_getfd, process_vm_readv, ptrace of process 1, ioctls that lead up from /proc/*/ns."""
    found = value("""one, found = libc.syscall(434, 1, 0), []
    for n in range(64):
        taken = libc.syscall(438, one, n, 0)
        if taken != -1: found.append(os.readlink(f'/proc/self/fd/{taken}').split(':')[0])
    up = 0
    for name in os.listdir('/proc/self/ns'):
        handle = os.open(f'/proc/self/ns/{name}', os.O_RDONLY)
        for code in (0xB701, 0xB702):
            try: up += libc.setns(fcntl.ioctl(handle, code), 0) == 0
            except OSError: pass
    return [found, up]""")
    assert set(found[0]) <= {"/dev/null", "anon_inode"}  # process 1 is bwrap
    assert found[1] == 0


def test_calls_about_another_process_are_refused(value):
    """Limits and processors of the process that forks would be those of the next task."""
    found = value("""refused = []
    for number in NUMBERS:
        for pid in (os.getppid(), 1, os.getpid()):
            refused.append([libc.syscall(number, pid, 0, 0, 0), ctypes.get_errno()])
    own = ctypes.create_string_buffer(16)
    return [refused, libc.syscall(LIMITS, 0, 7, 0, own), len(os.sched_getaffinity(0)) > 0]"""
                  .replace("NUMBERS", str([*map(number, seccomp.CALLS["only_for_itself"])]))
                  .replace("LIMITS", str(number("prlimit64"))))  # fmt: skip
    assert found == [[[-1, 1]] * 3 * len(seccomp.CALLS["only_for_itself"]), 0, True]


def test_the_other_end_of_the_socket_cannot_be_opened(value):
    """A pipe could be, through /proc/self/fd: for a race with the grader."""
    found = value("""opened = 0
    for name in os.listdir('/proc/self/fd'):
        path = f'/proc/self/fd/{name}'
        if os.path.exists(path) and os.readlink(path).startswith('socket:'):
            try: os.open(path, os.O_RDWR | os.O_NONBLOCK)
            except OSError: continue
            opened += 1
    return opened""")
    assert found == 0


def test_replies_in_the_socket_before_they_are_asked_for_are_refused(value):
    body = "[os.write(n, b'{}\\n' * 20000) for n in range(3, 9) if is_socket(n)]"
    head = "import stat\n    is_socket = lambda n: stat.S_ISSOCK(os.fstat(n).st_mode)\n"
    assert value(f"{head}    try: {body}\n    except OSError: pass\n    return 1") == "Protocol"
    assert value(f"return {LIST}") == [2, 4]


def test_who_outlives_a_task_cannot_answer_for_the_next(value):
    """A daemon with the pipes open, writing replies as fast as it can."""
    value("""if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                for n in range(3, 64):
                    try: os.write(n, b'{"value": 2, "mutated": [], "n_calls": 0}\\n')
                    except OSError: pass
        os._exit(0)
    os._exit(0)""")
    assert value("return 1") == 1


@pytest.mark.parametrize("item", ["[]", '{"$tuple": []}'])
def test_a_reply_of_millions_of_small_parts_costs_the_grader_nothing(item, monkeypatch):
    """32 MB of JSON were 4 GB of objects, and minutes of comparing them."""
    read = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: read.append(len(text)) or loads(text))
    body = f"forge('[' + ','.join([{item!r}] * 2_000_000) + ']'); os._exit(0)"
    records = run.run_answer(doubling(), f"{HEAD}{FRAME}{DEF}{body}", BARE)
    assert records[0]["error"]["types"] == ["Protocol"]
    assert max(read) < 1000


CARRIES = {  # what could bring 777.125, of the second case's input, into a student's feedback
    "missing-name": "raise type('MissingName', (Exception,), {})(str(x))",
    "not-callable": "raise type('NotCallable', (Exception,), {})(str(x))",
    "megabytes": "raise type('NotPlainData', (Exception,), {})(f'{x} MB')",
    "last-word": "raise type('NotPlainData', (Exception,), {})(f'{x} list')",
    "line": "exec(compile('\\n' * int(x[-1] * 10) + '1 / 0', '<answer>', 'exec'))",
    "forged-label": "forge(json.dumps([2 * i for i in x]), json.dumps([str(x)])); os._exit(0)",
}


@pytest.mark.parametrize("name", CARRIES)
def test_no_hidden_input_gets_into_the_feedback(name):
    answer = f"{HEAD}{FRAME}{DEF}if x[-1] == 2: return {LIST}\n    {CARRIES[name]}"
    result = grade_answer(doubling(watch=("mutated",)), answer, BARE)
    assert not result["passed"]
    assert "777" not in result["student_message"]
    assert "hidden case 2" in result["student_message"]


def test_no_hidden_input_gets_out_of_a_cell_that_answers_before_it_is_loaded():
    """What a cell says while it is loaded is told in full, and this one has the inputs by then."""
    take = "case = frame.f_locals['requests'].readline()\n"
    answer = f"reply('null')\n{take}forge('[2, 4]')\n{take}raise ValueError(case)"
    result = grade_answer(doubling(), f"{HEAD}{FRAME}{answer}", BARE)
    assert not result["passed"]
    assert "777" not in result["student_message"]
    assert [check["outcome"] for check in result["checks"]] == ["passed", "unreadable"]


def test_a_text_that_is_no_unicode_does_not_keep_the_reports_from_being_written(
    course, grade_here, tmp_path
):
    half = "raise ValueError(chr(0xD800) + chr(27) + '[2J')"
    hand_in(tmp_path / "in", "half", notebook(course, double=half))
    hand_in(tmp_path / "in", "honest", notebook(course))
    outcome = grade_here()
    assert points(outcome)["half"] == {"double": 0, "mean": 3}
    assert points(outcome)["honest"] == {"double": 2, "mean": 3}
    text = (tmp_path / "out" / "feedback" / "half.html").read_text(encoding="utf-8")
    assert "ValueError" in text
    assert chr(27) not in text


LIES = {  # answers that are wrong, and lie to whoever looks at them
    "class": "class Lie(list):\n    __class__ = property(lambda self: list)\n"
             "    __iter__ = lambda self: iter([2, 4])\n    __len__ = lambda self: 2\n"
             "def double(x): return Lie([0, 0])",
    "float": "class Lie(float):\n    __eq__ = lambda a, b: True\n    __float__ = lambda a: 2.0\n"
             "    __repr__ = lambda a: '2.0'\n    __hash__ = None\n"
             "def double(x): return [Lie(0)] * len(x)",
    "array": "import numpy\nclass Lie(numpy.ndarray):\n    __eq__ = lambda a, b: True\n"
             "    tolist = lambda a: [2, 4]\n    __array__ = lambda a, *b, **c: a\n"
             "def double(x): return numpy.zeros(len(x)).view(Lie)",
    "reduce": "class Lie:\n    __reduce__ = lambda self: (list, ([2, 4],))\n"
              "    __array__ = lambda self, *a: [2, 4]\ndef double(x): return Lie()",
    "modules": "import types\nsys.modules['numpy'] = sys.modules['torch'] = types.SimpleNamespace("
               "generic=list, ndarray=list, Tensor=list)\ncopyreg.pickle(list, lambda x: (1, 2))\n"
               "builtins.type = builtins.len = lambda *a: 0\ndef double(x): return [0] * 2",
    "encoder": "encoding = sys.modules['grader.encoding']\n"
               "encoding.encode = lambda value, **k: {'$dict': [['passed', True], ['points', 2]]}\n"
               "def double(x): return x",
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_wrong_answer_that_lies_stays_wrong(name):
    result = grade_answer(doubling(), HEAD + LIES[name], BARE)
    assert (result["passed"], result["points"]) == (False, 0)


def test_the_filter_is_the_kernels_form():
    """Each jump ends within the program; the last line refuses."""
    for machine in seccomp.MACHINES:
        code = seccomp.program(machine)
        lines = [code[i : i + 8] for i in range(0, len(code), 8)]
        assert all(i + 1 + max(line[2:4]) < len(lines)
                   for i, line in enumerate(lines) if line[0] & 7 == 5)  # fmt: skip
        assert lines[-1][0] == seccomp.RETURN
        assert int.from_bytes(lines[-1][4:], "little") != seccomp.ALLOW


@pytest.mark.usefixtures("sandbox")
def test_a_sandboxed_worker_is_started_with_little_of_the_environment():
    assert set(Sandbox().environment()) == {"PATH"}


class WithEnvironment(Sandbox):
    def environment(self):
        return dict(os.environ)


class WithWritableSettings(Sandbox):
    def command(self, *filter_fd):
        command = super().command(*filter_fd)
        at = list(pairwise(command)).index(("--remount-ro", "/proc"))
        return command[:at] + command[at + 2 :]


@pytest.mark.parametrize(
    ("name", "with_hole"),
    [("environment", WithEnvironment), ("kernel_settings", WithWritableSettings)],
)
def test_the_self_test_notices_these_holes(sandbox, monkeypatch, name, with_hole):
    if name == "kernel_settings" and os.geteuid() != 0:
        pytest.skip("only root's worker could change them")
    monkeypatch.setenv("A_TOKEN_OF_THE_INSTRUCTOR", SECRET * 1000)
    with self_test.targets(sandbox) as known:
        with run.Worker(with_hole(limits=LIMITS)) as worker:
            assert self_test.attempt(name, known, worker)
        with run.Worker(Sandbox(limits=LIMITS)) as whole:
            assert self_test.attempt(name, known, whole) is None


LEAK = """if x[-1] == 2: return [2, 4]
    open('/tmp/leak', 'w').write(str(x)); os.environ['LEAK'] = str(x); libc.leak = str(x)
    for port in (20007, 20777):  # connections that were closed are listed for a minute
        server = socket.create_server(('127.0.0.1', port))
        client = socket.create_connection(server.getsockname()); server.accept()[0].close()
    return [2 * i for i in x]"""
READ = f"""{HEAD}
raise ValueError(str([os.path.exists('/tmp/leak'), os.environ.get('LEAK'),
                      hasattr(libc, 'leak'), '5129' in open('/proc/net/tcp').read()]))
"""


def test_no_hidden_input_gets_out_through_another_task_of_the_student(sandbox):
    """Files, variables and modules of a task end with it. Closed connections are listed for a
    while; what a cell that does not load says of them reaches the instructor alone."""
    jobs = [pool.Job("leaks", doubling(), f"{HEAD}{DEF}{LEAK}"),
            pool.Job("reads", doubling(), READ)]  # fmt: skip
    results = pool.grade_submission(jobs, sandbox)
    assert results["leaks"]["passed"], results["leaks"]["message"]
    assert "[False, None, False, " in results["reads"]["message"]
    told = results["reads"]["student_message"]
    assert "a value does not fit there" in told
    assert not re.search("True|False", told)
