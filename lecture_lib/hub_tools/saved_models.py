"""A saved model: its files, what a reloaded one has, and what push_to_hub would send of it."""

import inspect
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ..checks import checked
from ..loading.weight_files import tensor_shapes
from .changes import written_table

INDEX = "model.safetensors.index.json"
# Hub repositories keep files of these endings in large-file storage, by their content's SHA-256
# (.gitattributes of a new model repository); the others are plain git files.
LARGE_SUFFIXES = (".safetensors", ".bin", ".model", ".msgpack", ".h5", ".onnx", ".pt", ".pth")
LARGE_BYTES = 10 * 1024**2  # and every file that is larger than this


@checked
def file_table(folder: str | Path) -> pd.DataFrame:
    """The files of a model's folder: file, bytes, and the tensors in it (safetensors only).

    Raises:
        ValueError: no such folder.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"folder: {folder} is not there")
    rows = []
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            tensors = len(tensor_shapes([path])) if path.suffix == ".safetensors" else 0
            name = path.relative_to(folder).as_posix()
            rows.append({"file": name, "bytes": path.stat().st_size, "tensors": tensors})
    return pd.DataFrame(rows, columns=["file", "bytes", "tensors"])


@checked
def read_index(folder: str | Path) -> dict[str, str]:
    """tensor -> file, from the index of a sharded model; for a single file the same, made up.

    Raises:
        ValueError: the folder holds neither.
    """
    index, single = Path(folder, INDEX), Path(folder, "model.safetensors")
    if index.is_file():
        return json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    if not single.is_file():
        raise ValueError(f"folder: {folder} holds neither {INDEX} nor {single.name}")
    return dict.fromkeys(tensor_shapes([single]), single.name)


@dataclass(frozen=True)
class ModelDifference:
    """How two models differ.

    Attributes:
        n_tensors: tensors that both have.
        largest_difference: largest absolute difference of two numbers in the same place (0.0 for
            equal models).
        missing: names of tensors that only one of them has.
        differing: names of tensors that differ, in shape, dtype or any number.
    """

    n_tensors: int
    largest_difference: float
    missing: tuple[str, ...]
    differing: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all tensors are there in both and equal, bit for bit."""
        return not self.missing and not self.differing


@checked
@torch.inference_mode()
def compare_models(one: torch.nn.Module, other: torch.nn.Module) -> ModelDifference:
    """Compares all parameters and saved buffers of two models.

    Tied weights (the embedding and the output layer of SmolLM2) count under both of their names.
    """
    first, second = one.state_dict(), other.state_dict()
    shared = [name for name in first if name in second]
    largest, differing = 0.0, []
    for name in shared:
        a, b = first[name].cpu(), second[name].cpu()
        if a.shape != b.shape or a.dtype != b.dtype:
            differing.append(name)
        elif not torch.equal(a, b):
            differing.append(name)
            largest = max(largest, (a.double() - b.double()).abs().max().item())
    missing = sorted(set(first) ^ set(second))
    return ModelDifference(len(shared), largest, tuple(missing), tuple(differing))


def parameter_table() -> pd.DataFrame:
    """The lecture's parameters with today's defaults, read off the installed ``push_to_hub``."""
    from transformers import PreTrainedModel

    signature = inspect.signature(PreTrainedModel.push_to_hub).parameters
    table = written_table("push_parameters")
    defaults = [signature[name].default if name in signature else "" for name in table.parameter]
    defaults = ["needed" if x is inspect.Parameter.empty else str(x) for x in defaults]
    table.insert(1, "exists", ["yes" if name in signature else "no" for name in table.parameter])
    table.insert(2, "default", defaults)
    return table


@checked
def preview_push(model, tokenizer=None, *, max_shard_size: int | str = "50GB") -> pd.DataFrame:
    """The files that ``push_to_hub`` would send, found by saving into a folder that is thrown away.

    Each ``push_to_hub`` also sends a model card (README.md) made from the repository's name; the
    table lists it without a size.

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
        table = file_table(folder)[["file", "bytes"]]
    is_large = table["file"].str.endswith(LARGE_SUFFIXES) | (table["bytes"] > LARGE_BYTES)
    table["stored as"] = is_large.map({True: "large-file storage", False: "git"})
    table.loc[len(table)] = ["README.md", pd.NA, "git"]
    return table.set_index(pd.RangeIndex(1, len(table) + 1)).astype({"bytes": "Int64"})
