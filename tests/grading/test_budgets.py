"""What one submission makes the grader do ends in time, and costs nobody else points."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
from small_course import hand_in, notebook
from small_tasks import DEF, FAST, LIST, doubling
from test_grade_command import PATIENCE_S, hold, results_in, slow, start, wait_for_results

from grader import GradingError, encoding, exchange, pool, reports, run, self_test
from grader import __main__ as command
from grader.compare import Close
from grader.exchange import Exchange, Fault
from grader.sandbox import Limits

__all__ = ["slow"]  # a fixture
SAME_HASH = [n * sys.hash_info.modulus for n in range(1, 3000)]


@pytest.mark.parametrize(
    "items",
    [
        SAME_HASH,
        [{"$tuple": [n, "x"]} for n in SAME_HASH],
    ],
    ids=["int", "tuple"],
)
def test_many_values_that_share_a_hash_are_refused(items):
    """In a table each of them is compared with all the others: hours for many."""
    for data in ({"$set": items}, [{"$dict": [[item, 1] for item in items]}]):
        with pytest.raises(encoding.EncodingError, match="share a hash"):
            encoding.decode(data, native=False)
    assert len(encoding.decode({"$set": items[:50]}, native=False)) > 1
    assert encoding.decode({"$dict": []}, native=False) == {}


def test_an_array_is_no_larger_than_its_data():
    """As lists, which it is compared as, (10**9, 0) would be a billion of them."""
    array = {"$array": "", "dtype": "int8", "shape": [10**9, 0], "lib": "numpy"}
    with pytest.raises(encoding.EncodingError, match="entries"):
        encoding.decode(array, native=False)
    assert Close().difference(np.zeros((2, 0, 10**9)), [[], "x"]) is not None


def endless(pair, line):
    """Answers every message with the line."""
    with pair.makefile("rb") as messages:
        for _ in messages:
            pair.sendall(line)


def test_all_replies_together_are_limited():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = json.dumps("x" * 400_000).encode() + b"\n"
        threading.Thread(target=endless, args=(theirs, line), daemon=True).start()
        talk = Exchange(ours, Limits(output_mb=1), lambda: 0.0)
        assert [len(talk.ask(None, PATIENCE_S)) for _ in range(2)] == [400_000] * 2
        with pytest.raises(Fault, match="Protocol"):
            talk.ask(None, PATIENCE_S)


def test_the_time_of_a_case_is_also_that_of_all_its_processes_on_cpus():
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Fault, match="TimeLimit"):
        Exchange(ours, Limits(), iter([3.0, 3.0 + PATIENCE_S, 4.0 + PATIENCE_S]).__next__).ask(
            None, PATIENCE_S
        )


def test_cpu_time_of_all_processes_is_counted():
    spin = "import os, time\nwhile time.process_time() < 0.3: pass\nprint(); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        n_bytes, ticks = run.used(process.pid)
        for child in psutil.Process(process.pid).children():
            child.kill()
    assert n_bytes > 1 << 20
    assert ticks >= 0.3 * os.sysconf("SC_CLK_TCK") - 1


def graded(outcome):
    return {"checks": [{"outcome": outcome}]}


@pytest.mark.parametrize("outcome", ["time limit", "died"])
def test_who_ran_out_of_time_beside_others_is_graded_again_alone(monkeypatch, outcome):
    both, seen = threading.Barrier(2), []

    def grade(jobs, sandbox, check):
        names = [job.key for job in jobs]
        seen.append(names)
        if names != ["honest"]:  # the first round, in which both run at the same time
            both.wait(PATIENCE_S)
            return {name: graded(outcome if name == "honest" else "passed") for name in names}
        return {"honest": graded("passed")}

    monkeypatch.setattr(pool, "grade_submission", grade)
    jobs = [[pool.Job("honest", {}, ""), pool.Job("other", {}, "")], [pool.Job("hostile", {}, "")]]
    found = pool.grade_all(jobs, None, lambda: pool.open_executor(2), threading.Event())
    found = [(job.key, results[job.key]) for jobs, results in found for job in jobs]
    assert sorted(name for name, _ in found) == ["honest", "hostile", "other"]
    assert all(result == graded("passed") for _, result in found)
    assert seen[2:] == [["honest"]]


def test_where_nothing_runs_beside_it_a_time_limit_counts_at_once(monkeypatch):
    monkeypatch.setattr(pool, "grade_submission", lambda *_: {"a": graded("time limit")})
    jobs = [[pool.Job("a", {}, "")]]
    found = pool.grade_all(jobs, None, lambda: pool.open_executor(1), threading.Event())
    assert [results for _, results in found] == [{"a": graded("time limit")}]


def test_spinning_children_take_no_points_of_another_student(sandbox):
    spin = (
        "for _ in range(40):\n        if os.fork() == 0: os.setsid(); break\n    while True: pass"
    )
    work = (
        f"start = process_time()\n    while process_time() < start + 0.2: pass\n    return {LIST}"
    )
    answers = {"spins": f"import os\n{DEF}{spin}",
               "works": f"from time import process_time\n{DEF}{work}"}  # fmt: skip
    jobs = [[pool.Job(name, doubling(timeout_s=4.0), answer)] for name, answer in answers.items()]
    results = {}
    for _, each in pool.grade_all(jobs, sandbox, lambda: pool.open_executor(2), threading.Event()):
        results |= each
    assert results["works"]["passed"], results["works"]["message"]
    assert results["spins"]["checks"][0]["outcome"] == "time limit"


@pytest.mark.slow
def test_a_second_ctrl_c_gives_up_what_is_being_graded(course, slow):
    hold(slow, first=2)
    grading = start(course, slow)
    wait_for_results(slow, 2)
    grading.send_signal(signal.SIGINT)
    while "interrupted: " not in (line := grading.stderr.readline()):
        assert line
    assert "Ctrl-C again" in line
    grading.send_signal(signal.SIGINT)  # the answers still wait for their files
    printed, errors = grading.communicate(timeout=PATIENCE_S)
    assert grading.returncode == 130, errors
    assert "Traceback" not in errors
    assert "not graded: grading was interrupted" in printed
    assert results_in(slow) >= 2


def test_whoever_waits_for_a_worker_gives_up(monkeypatch):
    monkeypatch.setattr(exchange, "GIVE_UP", threading.Event())
    exchange.GIVE_UP.set()
    with pytest.raises(GradingError, match="interrupted"):
        run.run_answer(doubling(), f"{DEF}return {LIST}", FAST)


@pytest.fixture
def command_line(course, tmp_path):
    hand_in(tmp_path / "in", "ann", notebook(course))
    return ["--root", str(course), "grade", str(tmp_path / "in"), "--unsafe", "--out"]


def test_ctrl_c_in_the_self_test(command_line, tmp_path, monkeypatch, capsys):
    def interrupted(sandbox):
        raise KeyboardInterrupt

    monkeypatch.setattr(self_test, "check_sandbox", interrupted)
    assert command.main([*command_line, str(tmp_path / "out")]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_results_that_cannot_be_written(command_line, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert command.main([*command_line, str(tmp_path / "file" / "out")]) == 2
    assert "file/out: Not a directory" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "grades.csv")

    monkeypatch.setattr(reports, "write_reports", full)
    monkeypatch.setattr(self_test, "check_sandbox", lambda sandbox: {})
    assert command.main([*command_line, str(tmp_path / "out")]) == 2
    assert "grades.csv: No space left on device" in capsys.readouterr().err
