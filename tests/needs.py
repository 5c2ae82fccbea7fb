"""What the machine itself may lack. (Python packages are no such thing: they are installed.)"""

import os
from typing import NoReturn

import pytest


def missing(what: str, remedy: str) -> NoReturn:
    """End a test that can't run on this machine, and say what would let it run.

    It is skipped where somebody tries the course, and fails in CI, which has to prove everything.
    """
    reason = f"{what}: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
