"""The command as an instructor runs it: killed at any moment and run again."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_course import hand_in, notebook

from grader import __main__ as command
from grader import self_test

# An answer that takes its time, and waits for as long as its file is there.
SLOW = """import os, time
def double(x):
    time.sleep(0.1)
    while os.path.exists({!r}):
        time.sleep(0.02)
    return [2 * item for item in x]"""
ROOT = Path(__file__).resolve().parents[2]
N = 9  # of which a stop lets seven finish: the first two, two that run, three that are queued
PATIENCE_S = 300  # nothing takes so long, but on a machine that is busy with other things


@pytest.fixture
def slow(course, tmp_path):
    for i in range(N):
        answer = SLOW.format(str(tmp_path / f"hold-{i}"))
        hand_in(tmp_path / "in", f"student-{i}", notebook(course, double=answer))
    return tmp_path


def hold(folder, first):
    """Let the answers from this student on wait."""
    for i in range(N):
        path = folder / f"hold-{i}"
        path.touch() if i >= first else path.unlink(missing_ok=True)


def start(course, folder):
    line = [sys.executable, "-m", "grader", "--root", course, "grade", folder / "in"]
    line += ["--out", folder / "out", "--seed", 3, "--jobs", 2, "--unsafe", "--exercise", "01"]
    # Without bwrap on the path the run goes on unsafely, whatever this machine has.
    environment = {**os.environ, "PATH": "/nonexistent"}
    pipe = subprocess.PIPE
    line = list(map(str, line))
    return subprocess.Popen(line, stderr=pipe, stdout=pipe, text=True, env=environment)


def wait_for_results(folder, at_least):
    deadline = time.monotonic() + PATIENCE_S
    while results_in(folder) < at_least:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def results_in(folder) -> int:
    if not (folder / "out" / "grading.sqlite").exists():
        return 0
    try:
        with sqlite3.connect(folder / "out" / "grading.sqlite") as database:
            return database.execute("SELECT count(*) FROM results").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet, or being written
        return 0


@pytest.mark.slow
def test_interrupted_killed_and_run_again_it_goes_on(course, slow):
    # Some answers wait, so that however slow this process is, it is never too late to interrupt.
    hold(slow, first=2)
    run = start(course, slow)
    wait_for_results(slow, 2)
    os.kill(run.pid, signal.SIGINT)
    hold(slow, first=N)
    _, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    after_ctrl_c = results_in(slow)
    assert 2 <= after_ctrl_c < N

    hold(slow, first=N - 1)
    run = start(course, slow)
    wait_for_results(slow, after_ctrl_c + 1)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=PATIENCE_S)  # also waits for its processes, which hold the pipe
    kept = results_in(slow)
    assert after_ctrl_c < kept < N + 1

    hold(slow, first=N)
    run = start(course, slow)
    printed, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, errors
    assert f"{N} students, {N + 1 - kept} answers graded now" in printed
    lines = (slow / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["points"] for line in lines] == [2, 3] * N


def test_the_command_in_the_sandbox(course, sandbox, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(self_test, "check_sandbox", lambda sandbox: [])  # the fixture has done it
    hand_in(tmp_path / "in", "alice", notebook(course))
    arguments = ["--root", str(course), "grade", str(tmp_path / "in")]
    arguments += ["--out", str(tmp_path / "out"), "--exercise", "01_lists"]
    assert command.main([*arguments, "--limit", "memory_mb=1000"]) == 0
    assert "1 student, 2 answers graded now" in capsys.readouterr().out
    assert command.main([*arguments, "--limit", "colour=3"]) == 2
    assert "limit: 'colour' is not one of memory_mb" in capsys.readouterr().err


def test_the_old_command_says_where_the_grader_is_and_goes_on():
    line = [sys.executable, "-m", "lecture_lib.grading", "build", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == "lecture_lib.grading has moved: use python -m grader\n"
    assert done.stdout.startswith("usage: python -m grader build")


def test_a_command_that_is_gone_says_what_to_use_now():
    line = [sys.executable, "-m", "lecture_lib.grading.lms", "moodle"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lecture_lib.grading.lms has moved: use python tools")


def test_the_library_does_not_know_the_grader():
    sources = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("lecture_lib/**/*.py")}
    knowing = [path.name for path, text in sources.items() if re.search(r"\bgrader\b", text)]
    assert knowing == ["grading.py"], "the old command's notice alone"
