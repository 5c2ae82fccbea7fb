"""Local processes that can talk to one another: started, watched, and ended together.

launch     run_ranks(): starts the ranks, waits for them, ends all of them when one fails
rank       what a rank's process does
failures   which rank failed first, or where each stands when the time is over
network    a network of their own, so that its loopback counts their bytes only (Linux)
progress   the line that says how far they are
"""

from .failures import RankError, RankTimeoutError
from .launch import run_ranks

__all__ = ["RankError", "RankTimeoutError", "run_ranks"]
