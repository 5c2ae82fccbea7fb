"""The weight files of a model's folder: which they are, whether whole, how many parameters."""

import json
import math
from pathlib import Path

from .errors import CorruptModelError, UnsupportedModelError

# In the order of preference: safetensors can't run code and say their size.
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


def find_weights(folder: Path) -> list[Path]:
    """The files with the weights, one or several shards.

    Raises:
        CorruptModelError: a shard that the index names is missing, or the index can't be read.
        UnsupportedModelError: there are no weights that Transformers reads.
    """
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            except (ValueError, KeyError, AttributeError):
                raise CorruptModelError(f"{index} is damaged; fetch it again") from None
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise CorruptModelError(f"{folder} lacks {', '.join(missing)}; fetch it again")
            return [folder / name for name in names]
    raise UnsupportedModelError(f"name: {folder} holds no weights as {' or '.join(WEIGHTS)}")


def count_params(files: list[Path]) -> int | None:
    """Parameters in safetensors files, from their headers alone; None for other files.

    Raises:
        CorruptModelError: a file is cut short or no safetensors file.
    """
    if any(path.suffix != ".safetensors" for path in files):
        return None
    return sum(map(math.prod, tensor_shapes(files).values()))


def tensor_shapes(files: list[Path]) -> dict[str, list[int]]:
    """The shape of each tensor in safetensors files; raises as ``count_params``."""
    from safetensors import SafetensorError, safe_open

    shapes = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as weights:
                shapes |= {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CorruptModelError(
                f"{path} is damaged ({error}); delete it and fetch it again"
            ) from error
    return shapes
