"""What push_to_hub would send: its parameters explained, and its files without sending any."""

import tempfile
from dataclasses import dataclass

import pandas as pd

from .shards import file_table

# Hub repositories keep files of these endings in large-file storage, by their content's SHA-256
# (.gitattributes of a new model repository); the others are plain git files.
LARGE_SUFFIXES = (".safetensors", ".bin", ".model", ".msgpack", ".h5", ".onnx", ".pt", ".pth")
LARGE_BYTES = 10 * 1024**2  # and whatever is larger than this


@dataclass(frozen=True)
class PushParameter:
    """A parameter of the lecture's push_to_hub: is it there today, and what does it do?"""

    name: str
    exists: bool
    meaning: str


PUSH_PARAMETERS = (
    PushParameter("repo_id", True, "owner/name of the repository; it is made if it isn't there"),
    PushParameter("private", True, "whether a new repository is private; ignored for an old one"),
    PushParameter("token", True, "who you are; default: HF_TOKEN or what `hf auth login` saved"),
    PushParameter("max_shard_size", True, "the largest weight file; above it the model is sharded"),
    PushParameter("create_pr", True, "opens a pull request in place of a commit to the branch"),
    PushParameter("safe_serialization", False, "gone: weights are always safetensors now"),
    PushParameter("revision", True, "the branch to commit to; default: main"),
    PushParameter(
        "commit_message", True, "the commit's title; default: Upload and the name of the class"
    ),
)


def parameter_table(method=None) -> pd.DataFrame:
    """The lecture's parameters with today's defaults, read off the installed method.

    Args:
        method: default ``PreTrainedModel.push_to_hub``.
    """
    import inspect

    from transformers import PreTrainedModel

    signature = inspect.signature(method or PreTrainedModel.push_to_hub).parameters
    rows = []
    for parameter in PUSH_PARAMETERS:
        there = signature.get(parameter.name)
        default = (
            "" if there is None else "needed" if there.default is there.empty else there.default
        )
        rows.append({
            "parameter": parameter.name, "exists": "no" if there is None else "yes",
            "default": str(default), "what it does": parameter.meaning,
        })  # fmt: skip
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


def preview_push(model, tokenizer=None, *, max_shard_size: int | str = "50GB") -> pd.DataFrame:
    """The files that ``push_to_hub`` would send, found by saving into a folder that is thrown away.

    Each ``push_to_hub`` also sends a model card (README.md) made from the repository's name; it
    stands in the table without a size.

    Args:
        model: what would be pushed; ``max_shard_size`` as there.
        tokenizer: pushed by a second call, if given.

    Returns:
        file, bytes, and how it would be stored (git, or large-file storage).

    Raises:
        ValueError: a size that save_pretrained can't read.
    """
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        saved = file_table(folder)
    rows = [
        {"file": name, "bytes": size, "stored as": storage_of(name, size)}
        for name, size in zip(saved["file"], saved["bytes"], strict=True)
    ]
    rows.append({"file": "README.md", "bytes": None, "stored as": "git"})
    return pd.DataFrame(rows, index=range(1, len(rows) + 1)).astype({"bytes": "Int64"})


def storage_of(name: str, size: int) -> str:
    """git for small text, large-file storage for weights and whatever is big."""
    large = name.endswith(LARGE_SUFFIXES) or size > LARGE_BYTES
    return "large-file storage" if large else "git"
