"""The grader is a package of its own now: ``python -m grader``. The old commands lead there."""

import runpy
import sys

if __name__ == "__main__":
    print("lecture_lib.grading has moved: use python -m grader", file=sys.stderr)
    runpy.run_module("grader", run_name="__main__", alter_sys=True)
elif sys.argv[0] == "-m":  # python -m lecture_lib.grading.lms, of which this would be the package
    print("lecture_lib.grading.lms has moved: use python tools/lms.py", file=sys.stderr)
    sys.exit(2)
