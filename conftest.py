"""Lets tests import tools/, and makes `pytest --nbval` compare all that a notebook shows."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "tools"))
# Set before torch is imported. Several test processes with several threads each wait for one
# another (measured on 2 cores: forward passes 30 times as slow).
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where somebody asks for more, a thread that waits must not spin on the core of another process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ["nbval_checks"]
