"""Values as plain JSON and back: what crosses the border between grader and worker, never pickle.

| value | JSON |
|---|---|
| None, bool, str, int, finite float, list | themselves |
| nan, inf | ``{"$float": "nan"}`` |
| bytes | ``{"$bytes": base64}`` |
| tuple, set | ``{"$tuple": [...]}``, ``{"$set": [...]}`` (sorted) |
| dict, in its order, keys of any kind | ``{"$dict": [[key, value], ...]}`` |
| numpy array, torch tensor | ``{"$array": base64, "dtype": ..., "shape": ..., "lib": ...}`` |

An argument may also be a probe or a toy model, which freeze.py and session.py know.
"""

import base64
import itertools
import json
import math
import sys
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 32
MAX_BYTES = 16_000_000
MAX_SIZE = MAX_BYTES // 4  # of an array, in entries: as Python's lists they cost much more
MAX_INT_BITS = 4096
MAX_SAME_HASH = 100
DTYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
)


class EncodingError(ValueError):
    """A value that is not plain data, or JSON that does not describe one."""


def dumps(data: Any) -> str:
    """One line of canonical JSON: the same data gives the same bytes."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


# What a built-in type with a size costs, in bytes for each of its parts.
COSTS = {str: 6, bytes: 1, dict: 320, **dict.fromkeys((list, tuple, range, set, frozenset), 160)}
TAGS = {bytes: "$bytes", dict: "$dict", tuple: "$tuple", set: "$set", frozenset: "$set"}
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _with_own_hashes(items: list) -> list:
    """The items, for a table. EncodingError if many share a hash, as numbers can be chosen to do:
    then each is compared with all the others, which takes hours for 100,000."""
    if len(items) - len(set(map(hash, items))) > MAX_SAME_HASH:
        raise EncodingError(f"more than {MAX_SAME_HASH} values that share a hash")
    return items


FROM_LIST = {
    "$tuple": tuple,
    "$set": lambda items: set(_with_own_hashes(items)),
    "$dict": lambda pairs: dict(_with_own_hashes([k for k, _ in pairs]) and pairs),
}


def encode(value: Any, *, in_order: bool = True) -> Any:
    """Plain JSON data for a value; EncodingError if it is no plain data, too deep or too large.

    It asks the built-in types, never a value's own methods: those may be a student's.
    Without ``in_order`` equal dicts give the same JSON, whatever their order.
    """
    bytes_left = MAX_BYTES

    def spend(n_bytes: int) -> None:
        nonlocal bytes_left
        bytes_left -= n_bytes
        if bytes_left < 0:
            raise EncodingError(f"a value of more than {MAX_BYTES // 10**6} MB")

    def encoded(value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise EncodingError(f"a value nested more than {MAX_DEPTH} deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            value = int.__index__(value)
            if value.bit_length() > MAX_INT_BITS:
                raise EncodingError(f"an int of more than {MAX_INT_BITS} bits")
            spend(value.bit_length() // 3)
            return value
        if isinstance(value, float):
            value = float.__float__(value)
            return value if math.isfinite(value) else {"$float": repr(value)}
        kind = next((kind for kind in COSTS if isinstance(value, kind)), None)
        if kind is None:
            return _encode_array(value, spend)
        spend(COSTS[kind] * kind.__len__(value))  # before walking it: ten million zeros end here
        if kind is str:
            return str.__str__(value)
        if kind is bytes:
            data = base64.b64encode(value).decode()
        elif kind is dict:
            data = [[encoded(k, depth + 1), encoded(v, depth + 1)] for k, v in dict.items(value)]
        else:
            data = [encoded(item, depth + 1) for item in kind.__iter__(value)]
        tag = TAGS.get(kind)
        if tag == "$set" or (tag == "$dict" and not in_order):
            data.sort(key=dumps)
        return data if tag is None else {tag: data}

    return encoded(value, 0)


def _encode_array(value: Any, spend: Callable[[int], None]) -> Any:
    # A value can only be an array of a library that has been imported already.
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.generic):
        return encode(value.item())
    if numpy is not None and isinstance(value, numpy.ndarray):
        lib, dtype, array = "numpy", str(value.dtype), numpy.ascontiguousarray(value)
    elif torch is not None and isinstance(value, torch.Tensor):
        lib, dtype = "torch", str(value.dtype).removeprefix("torch.")
        array = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        array = (array.view(torch.int16) if dtype == "bfloat16" else array).numpy()
    else:
        raise EncodingError(f"a value of type {type(value).__name__}")
    if dtype not in DTYPES:
        raise EncodingError(f"an array of dtype {dtype}")
    spend(4 * max(array.nbytes // 3, array.size))
    data = base64.b64encode(array.tobytes()).decode()
    return {"$array": data, "dtype": dtype, "shape": list(value.shape), "lib": lib}


def decode(data: Any, *, native: bool = True) -> Any:
    """The value that ``encode`` was given; EncodingError if the JSON does not describe one.

    ``native`` gives torch tensors where there were some; else they are numpy arrays (bfloat16 as
    float32), so that a grader compares without importing torch.
    """

    def decoded(data: Any, depth: int) -> Any:
        if depth > 2 * MAX_DEPTH:
            raise EncodingError(f"data nested more than {MAX_DEPTH} deep")

        def each(items: Any) -> list:
            if not isinstance(items, list):
                raise EncodingError("JSON that does not describe a value: a list is missing")
            return [decoded(item, depth + 1) for item in items]

        if data is None or isinstance(data, bool | int | float | str):
            return data
        if isinstance(data, list):
            return each(data)
        tag = next((key for key in data if key.startswith("$")), None)
        if tag in FROM_LIST:
            return FROM_LIST[tag](each(data[tag]))
        if tag == "$float":
            return NOT_FINITE[data[tag]]
        if tag == "$bytes":
            return base64.b64decode(data[tag], validate=True)
        if tag == "$array":
            return _decode_array(data, native)
        raise EncodingError(f"JSON that does not describe plain data: {tag}")

    try:
        return decoded(data, 0)
    except EncodingError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise EncodingError(f"JSON that does not describe a value: {error}") from error


def _decode_array(data: dict, native: bool) -> Any:
    import numpy as np

    dtype, shape = data["dtype"], data["shape"]
    raw = base64.b64decode(data["$array"], validate=True)
    if dtype not in DTYPES or not isinstance(shape, list) or len(shape) > 32:
        raise EncodingError(f"an array of dtype {dtype!r}")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise EncodingError("an array whose shape is not a list of sizes")
    if math.prod(itertools.takewhile(bool, shape)) > MAX_SIZE:  # (10**9, 0): a billion lists
        raise EncodingError(f"an array of more than {MAX_SIZE} entries")
    stored = np.dtype("int16" if dtype == "bfloat16" else dtype)
    array = np.frombuffer(raw, dtype=stored).reshape(shape).copy()  # ValueError if they differ
    if native and data["lib"] == "torch":
        import torch

        tensor = torch.from_numpy(array)
        return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor
    if dtype == "bfloat16":  # the upper half of a float32
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array
