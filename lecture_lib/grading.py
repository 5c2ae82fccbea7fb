"""The grader is a package of its own now: ``python -m grader``. The old command leads there."""

import runpy
import sys

if __name__ == "__main__":
    print("lecture_lib.grading has moved: use python -m grader", file=sys.stderr)
    runpy.run_module("grader", run_name="__main__", alter_sys=True)
