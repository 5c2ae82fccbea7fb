"""A saved model's files: what each holds, and the index that says which tensor lies where."""

import json
from pathlib import Path

import pandas as pd

INDEX = "model.safetensors.index.json"


def file_table(folder: str | Path) -> pd.DataFrame:
    """The files of a model's folder: file, bytes, and the tensors in it (safetensors only).

    Raises:
        ValueError: no such folder.
    """
    rows = []
    for path in sorted(_folder(folder).rglob("*")):
        if path.is_file():
            tensors = len(tensor_names(path)) if path.suffix == ".safetensors" else 0
            name = path.relative_to(folder).as_posix()
            rows.append({"file": name, "bytes": path.stat().st_size, "tensors": tensors})
    return pd.DataFrame(rows, columns=["file", "bytes", "tensors"])


def tensor_names(path: str | Path) -> list[str]:
    """The tensors in a safetensors file, read from its header: the first 8 bytes are its length."""
    with Path(path).open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    return [name for name in header if name != "__metadata__"]


def read_index(folder: str | Path) -> dict[str, str]:
    """tensor -> file, from the index of a sharded model; for a single file the same, made up.

    Raises:
        ValueError: the folder holds neither.
    """
    folder = _folder(folder)
    if (folder / INDEX).is_file():
        return json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    single = folder / "model.safetensors"
    if not single.is_file():
        raise ValueError(f"folder: {folder} holds neither {INDEX} nor {single.name}")
    return dict.fromkeys(tensor_names(single), single.name)


def _folder(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise ValueError(f"folder: {folder} is not there")
    return Path(folder)
