"""Grading one answer: the unit of work that an executor's process, here or elsewhere, runs."""

import functools
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import connection, parent_process
from typing import Any

from . import discretion, judge, self_test, warm
from .sandbox import Sandbox


def grade_answer(frozen: dict, answer: str, sandbox: Sandbox, check: bool = False) -> dict:
    """Grade one answer in a worker of its own.

    Args:
        frozen: what ``freeze`` gave.
        check: whether to try this machine's sandbox first (once in each process).

    Returns:
        Plain data: passed, points, max_points, message (for the instructor), student_message,
        misconception, seconds, checks: [{label, outcome, message, seconds}].

    Raises:
        GradingError: no student's fault: no sandbox that holds, or the task's setup fails.
    """
    if check:
        _checked(sandbox)
    launcher = sandbox.launcher(model=bool(models_of(frozen)))
    seconds: list[float] = []
    records = warm.run_answer(frozen, answer, launcher, seconds)
    verdict = judge.judge(frozen, records)
    told = judge.judge(frozen, discretion.without_inputs(records, answer, frozen["ask"]["entries"]))
    return {
        "passed": verdict.passed,
        "points": verdict.points,
        "max_points": verdict.max_points,
        "message": verdict.message,
        "student_message": discretion.discreet_message(told.message),
        "misconception": verdict.misconception,
        "seconds": round(sum(seconds), 3),
        "checks": _checks(frozen, records, seconds),
    }


def _checks(frozen: dict, records: list[dict], seconds: list[float]) -> list[dict]:
    reasons = judge.case_reasons(frozen, records)
    times = [*(round(s, 3) for s in seconds), *[None] * (len(reasons) - len(seconds))]
    outcomes = [_outcome(*each) for each in zip(reasons, records, strict=True)]
    rows = zip(judge.case_labels(frozen), outcomes, reasons, times, strict=True)
    return [dict(zip(("label", "outcome", "message", "seconds"), row, strict=True)) for row in rows]


def _outcome(reason: str | None, record: dict) -> str:
    """passed, wrong (a value), or what kind of error it ended with."""
    if reason is None:
        return "passed"
    if "error" not in record:
        return "wrong"
    return {"TimeLimit": "time limit", "Died": "died", "Protocol": "unreadable",
            "NotRun": "not run"}.get(record["error"]["types"][0], "error")  # fmt: skip


def models_of(frozen: dict) -> set[str]:
    """Names of the real models that a task's cases hold."""
    return set(_models_in([case["args"] for case in frozen["cases"]])) | set(
        _models_in([case["kwargs"] for case in frozen["cases"]])
    )


def _models_in(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        if isinstance(data.get("$model"), str):
            yield data["$model"]
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from _models_in(item)


@functools.cache
def _checked(sandbox: Sandbox) -> None:
    if sandbox.back_end != "none":
        self_test.check_sandbox(sandbox)


def prepare_process() -> None:
    """For a local executor's processes: let the parent handle Ctrl-C, and end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)  # its sandboxes end with it

    threading.Thread(target=follow, daemon=True).start()
