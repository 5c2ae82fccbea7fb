"""Makes the bundled model ready (once) and says where it lies."""

import sys

from .load import main

sys.exit(main())
