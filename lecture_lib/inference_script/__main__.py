"""python -m lecture_lib.inference_script --help"""

import sys

from .command import main

sys.exit(main())
