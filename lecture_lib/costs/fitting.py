"""What fits: the largest batch, the longest context, and where the cache overtakes the weights."""

from lecture_lib.hardware import Hardware
from lecture_lib.model_spec import ModelSpec

from .dimensions import as_dimensions
from .formats import Format
from .memory import as_memory, kv_cache_bytes, weight_bytes
from .units import both_units


class DoesNotFitError(ValueError):
    """The model, or one sequence of it, is larger than the memory."""


def largest_batch(
    spec: ModelSpec | str,
    memory: Hardware | str | float,
    seq_len: int,
    dtype_bytes: float = 2,
    *,
    weight_format: Format | str | None = None,
    kv_format: Format | str | None = None,
    reserve: float = 0.0,
) -> int:
    """The most sequences of ``seq_len`` positions whose KV cache fits beside the weights.

    Args:
        memory: a Hardware, the name of one, or bytes.
        reserve: the part of the memory kept free for activations and the rest, such as 0.1.

    Raises:
        DoesNotFitError (a ValueError): the weights, or one sequence beside them, do not fit.
        ValueError: an argument other than described.
    """
    free = _free(spec, memory, dtype_bytes, weight_format, reserve)
    one = kv_cache_bytes(spec, 1, seq_len, dtype_bytes, kv_format=kv_format)
    return _at_least_one(free // one, f"a sequence of {seq_len} positions", one, free)


def longest_context(
    spec: ModelSpec | str,
    memory: Hardware | str | float,
    batch_size: int = 1,
    dtype_bytes: float = 2,
    *,
    weight_format: Format | str | None = None,
    kv_format: Format | str | None = None,
    reserve: float = 0.0,
) -> int:
    """The most positions of each of ``batch_size`` sequences that fit beside the weights.

    What the memory allows, not what the model was trained for (``spec.max_seq_len``). Arguments
    and errors as in ``largest_batch``.
    """
    free = _free(spec, memory, dtype_bytes, weight_format, reserve)
    one = kv_cache_bytes(spec, batch_size, 1, dtype_bytes, kv_format=kv_format)
    return _at_least_one(free // one, f"one position of {batch_size} sequences", one, free)


def kv_overtakes_weights(
    spec: ModelSpec | str,
    batch_size: int = 1,
    dtype_bytes: float = 2,
    *,
    weight_format: Format | str | None = None,
    kv_format: Format | str | None = None,
) -> int:
    """The first context length at which the KV cache takes more bytes than the weights."""
    weights = weight_bytes(spec, dtype_bytes, weight_format=weight_format)
    return int(weights // kv_cache_bytes(spec, batch_size, 1, dtype_bytes, kv_format=kv_format)) + 1


def _free(spec, memory, dtype_bytes, weight_format, reserve) -> float:
    if isinstance(reserve, bool) or not isinstance(reserve, int | float) or not 0 <= reserve < 1:
        raise ValueError(f"reserve: must be a part of the memory, 0 to below 1, got {reserve!r}")
    usable = as_memory(memory) * (1 - reserve)
    weights = weight_bytes(spec, dtype_bytes, weight_format=weight_format)
    if weights > usable:
        name = as_dimensions(spec).name
        raise DoesNotFitError(
            f"memory: the weights of {name} alone take {both_units(weights)}, more than the "
            f"{both_units(usable)} there are; use several devices, a smaller model or fewer bits"
        )
    return usable - weights


def _at_least_one(count: float, what: str, need: float, free: float) -> int:
    if count < 1:
        raise DoesNotFitError(
            f"memory: beside the weights {both_units(free)} are free, but {what} needs "
            f"{both_units(need)}"
        )
    return int(count)
