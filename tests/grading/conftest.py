"""A small course, submissions to it, and the sandbox where there is one."""

import os
from pathlib import Path

import nbformat
import needs
import pytest
import small_course

from grader import GradingError, self_test
from grader.sandbox import Sandbox


@pytest.fixture(scope="session")
def course(tmp_path_factory):
    return small_course.make_course(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="session")
def tried():
    """The attempts to get out of bubblewrap, if it holds on this machine; by name."""
    try:
        return self_test.check_sandbox(Sandbox())
    except GradingError as error:
        needs.missing(
            f"the grader's sandbox does not hold here ({error})", "sudo apt install bubblewrap"
        )


@pytest.fixture(scope="session")
def sandbox(tried):
    """Bubblewrap, if it holds on this machine."""
    return Sandbox()


@pytest.fixture
def put(course, tmp_path):
    """Hands a notebook in as ``tmp_path/path``."""

    def write(path: str, when: int = 1_000_000_000, exercise: str = "01_lists", **answers) -> Path:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(small_course.notebook(course, exercise, **answers), target)
        os.utime(target, (when, when))
        return target

    return write


@pytest.fixture
def grade_here(course, tmp_path):
    """Grades ``tmp_path/in`` into ``tmp_path/out``, in threads and without a sandbox."""

    return lambda **settings: small_course.grade_in(course, tmp_path, **settings)
