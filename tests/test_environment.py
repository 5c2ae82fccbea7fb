"""check_environment: what it says of this machine, and of one that lacks something."""

import importlib.metadata

import pytest

from lecture_lib import environment

pytestmark = pytest.mark.real_model


def test_a_machine_that_runs_the_tests_is_ready():
    report = environment.check_environment()
    assert report.ok, repr(report)
    assert report.verdict() == "Everything the course needs is here."
    assert {"Python", "torch", "device", "memory", "disk", "model"} <= {
        c.name for c in report.checks
    }
    assert importlib.metadata.version("transformers") in repr(report)


def test_what_is_missing_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr(environment, "_pinned_versions", lambda: {"numpy": "0.0.1"})
    monkeypatch.setattr(environment, "MEMORY_NEEDED_GB", 10**9)
    report = environment.check_environment()
    assert [check.name for check in report.checks if not check.ok] == ["numpy", "memory"]
    assert "outputs were made with 0.0.1; run `make lab`" in report.verdict()
    assert "close other programs" in report._repr_html_()
