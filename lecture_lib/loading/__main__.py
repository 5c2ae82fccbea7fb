"""``python -m lecture_lib.loading`` makes the bundled model ready (once) and says where it is."""

import argparse
import sys

from .bundled_model import NAME, ensure_bundled_model
from .errors import ModelLoadError


def main(arguments: list[str] | None = None) -> int:
    """Makes the bundled model ready; quick when it is. Returns the exit status."""
    argparse.ArgumentParser(
        prog="python -m lecture_lib.loading",
        description="Makes the bundled model ready and says where it lies. Fetches nothing.",
    ).parse_args(arguments)
    try:
        folder = ensure_bundled_model()
    except ModelLoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"The bundled model {NAME} is ready in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
