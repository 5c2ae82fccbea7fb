"""An old command: what it did is done by ``python tools/lms.py``."""

import sys

if __name__ == "__main__":
    print("grader.lms has moved: use python tools/lms.py", file=sys.stderr)
    sys.exit(2)
