"""The same grading on a Dask cluster of two workers, each with its own sandbox."""

import sys

import distributed
import pytest
from small_course import WRONG, hand_in, notebook, points

from grader import GradingError, pool
from grader import grade as grading

KILL = "import os\ndef double(x):\n    os.kill(os.getppid(), 9)\n    os._exit(1)"


def test_a_cluster_gives_the_same_grades(course, sandbox, tmp_path):
    hand_in(tmp_path / "in", "alice", notebook(course))
    hand_in(tmp_path / "in", "bob", notebook(course, double=WRONG["double"]))
    hand_in(tmp_path / "in", "eve", notebook(course, double=KILL))
    wanted = {
        "alice": {"double": 2, "mean": 3},
        "bob": {"double": 0, "mean": 3},
        "eve": {"double": 0, "mean": 3},
    }
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        settings = grading.Settings(seed=1, scheduler=cluster.scheduler_address)
        outcome = grading.grade(course, tmp_path / "in", tmp_path / "out", settings)
    assert points(outcome) == wanted
    assert outcome.n_graded == 4
    assert outcome.book.totals.notna().all()


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(pool, "CONNECT_S", 1)
    with pytest.raises(GradingError, match="no answer from tcp"):
        pool.open_executor(1, "tcp://127.0.0.1:1").__enter__()


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(GradingError, match="pip install distributed"):
        pool.open_executor(1, "tcp://127.0.0.1:1").__enter__()
