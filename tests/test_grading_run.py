"""The worker process itself: time, size and form of what it says, and what it is told."""

import ast
import json
import socket
import sys
import time

import psutil
import pytest
from small_tasks import DEF, FAST, LIST, doubling, process_verdict

from grader import GradingError, judge, run
from grader.checks import Case
from grader.sandbox import Limits, Sandbox

HANG = "while True:\n        pass"
SWALLOW = (
    "while True:\n        try:\n            while True: pass\n        except BaseException: pass"
)
CLOSE = "import os\n    os.closerange(0, 64)\n    while True: pass"
FORK = "import os, time\n    os.setsid() if os.fork() == 0 else 0\n    time.sleep(3)"


ENDLESS = {"hang": HANG, "swallow": SWALLOW, "close": CLOSE, "fork": FORK}


@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
def test_a_call_that_never_ends_is_stopped(body):
    verdict = process_verdict(DEF + body, doubling(timeout_s=0.5))
    assert not verdict.passed
    assert "did not finish in time" in verdict.message or "ended" in verdict.message


def test_a_cell_that_never_ends_is_stopped():
    frozen = doubling()
    bare = Sandbox(bubblewrap=False, limits=Limits(answer_s=1.0))
    records = run.run_answer(frozen, "while True: pass", bare)
    assert [record["error"]["types"] for record in records] == [["TimeLimit"]] * 2
    assert judge.judge(frozen, records).message.startswith("it did not finish in time")


def test_large_inputs_do_not_fill_the_pipe():
    big = list(range(40_000))
    frozen = doubling(cases=lambda rng: [Case(big), Case(big)])
    assert process_verdict(f"{DEF}return {LIST}", frozen).passed


def test_an_answer_that_stops_reading_does_not_block_the_grader():
    big = list(range(40_000))
    frozen = doubling(cases=lambda rng: [Case([1]), Case(big)], timeout_s=1.0)
    close = "import os\n    os.closerange(0, 64) if len(x) == 1 else 0\n    return [2]"
    records = run.run_answer(frozen, DEF + close, FAST)
    assert records[0]["error"]["types"][0] in ("Died", "TimeLimit", "Protocol")


REPLY = """
import json, os, sys
frame = sys._getframe()
while 'replies' not in frame.f_locals: frame = frame.f_back
replies, requests = frame.f_locals["replies"], frame.f_locals["requests"]
replies.write("null\\n")
replies.flush()
case = json.loads(requests.readline())
"""
RECORD = '{"value": [2, 4], "mutated": [], "n_calls": 0}'


@pytest.mark.parametrize(
    "forged",
    [
        '"[" * 100000',
        '"x" * 50_000_000',
        '"{}"',
        """'{"value": 1}'""",
        """'{"error": 3, "mutated": [], "n_calls": 0}'""",
        """'{"mutated": [], "n_calls": 0}'""",
        """'{"value": [2, 4], "mutated": [], "n_calls": -1}'""",
        """'{"value": [2, 4], "mutated": ["x"], "n_calls": 0}'""",
        """'{"value": [2, 4], "mutated": [[]], "n_calls": 0}'""",
        """'{"error": {"types": [], "text": "", "line": 1}, "mutated": [], "n_calls": 0}'""",
        f"""'{RECORD}\\n{RECORD}'""",
        '"[[2, 4]]"',
        '"9" * 5000',
    ],
)
def test_replies_of_another_form_are_refused(forged):
    answer = f"{REPLY}replies.write({forged} + '\\n'); replies.flush(); os._exit(0)"
    records = run.run_answer(doubling(), answer, FAST)
    assert records[0]["error"]["types"] == ["Protocol"]


@pytest.mark.parametrize(
    "value",
    [
        '{"$model": "x"}',
        '{"$array": "AAAA", "dtype": "float64", "shape": [9], "lib": "numpy"}',
        '{"$pickle": "x"}',
    ],
)
def test_values_that_are_no_plain_data_are_refused_by_the_judge(value):
    record = f'{{"value": {value}, "mutated": [], "n_calls": 0}}'
    answer = f"{REPLY}replies.write({record!r} + '\\n'); replies.flush(); os._exit(0)"
    verdict = process_verdict(answer)
    assert not verdict.passed
    assert "could not be read" in verdict.message


def test_a_forged_setup_error_is_the_students_own():
    """Only what fails before the answer is in the process is the author's fault."""
    forged = REPLY.replace('"null', '\'{"types": ["E"], "text": "", "line": 1, "phase": "setup"}')
    forged = forged.replace('\\n")', "\\n')")
    verdict = process_verdict(forged)
    assert not verdict.passed


def test_setup_that_fails_is_the_authors_fault():
    frozen = doubling()
    frozen = {**frozen, "ask": {**frozen["ask"], "setup": ["import no_such_module"]}}
    with pytest.raises(GradingError, match="setup of task 'double' failed"):
        run.run_answer(frozen, "", FAST)


def test_a_command_that_is_not_there_is_a_grading_error(monkeypatch):
    monkeypatch.setattr(Sandbox, "command", lambda self, *_: ["/no/such/command"])
    with pytest.raises(GradingError, match="cannot start"):
        run.run_answer(doubling(), "")


def test_the_worker_is_sent_the_answer_and_inputs_and_nothing_else(monkeypatch):
    sent = []
    send = socket.socket.send
    monkeypatch.setattr(
        socket.socket, "send", lambda self, line: sent.append(bytes(line)) or send(self, line)
    )
    frozen = doubling()
    run.run_answer(frozen, DEF + "return x", FAST)
    ask, answer, again, *cases = [json.loads(line) for line in sent]
    assert ask == {"setup": [], "entries": ["double"], "drive": None}
    assert answer == again == DEF + "return x"
    assert cases == frozen["cases"]
    assert [sorted(case) for case in cases] == [["args", "entry", "kwargs", "read", "seed"]] * 2


def test_the_sandbox_is_a_command_in_front(tmp_path, monkeypatch):
    """The command is any command that runs the rest of the line, as bwrap does."""
    log = tmp_path / "log"
    code = (
        "import os, sys\n"
        f"open({str(log)!r}, 'w').write(repr(sys.argv[1:]))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    monkeypatch.setattr(Sandbox, "command", lambda self, *_: [sys.executable, "-c", code])
    frozen = doubling()
    assert judge.judge(frozen, run.run_answer(frozen, f"{DEF}return {LIST}")).passed
    line = ast.literal_eval(log.read_text())
    assert line[:4] == [sys.executable, "-I", "-B", str(run.WORKER)]
    assert line[5:] == ["[]"]


def test_a_worker_without_torch_does_not_import_it():
    answer = "import sys\ndef double(x):\n    return sorted({'torch', 'numpy'} & set(sys.modules))"
    records = run.run_answer(doubling(), answer, FAST)
    assert records[0]["value"] == []


def test_workers_leave_no_process_behind():
    answer = "import os\ndef double(x):\n    return os.getpid()"
    pid = run.run_answer(doubling(), answer, FAST)[0]["value"]
    for _ in range(100):  # the system removes what is left of a killed group
        if not psutil.pid_exists(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")
