"""Quantisation: numbers as small integers and a scale, and the blocks of a GGUF file.

Lectures 12a and 12b write these functions. ``engine/packed.py`` packs what they return for the
processor.
"""

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from .checks import check_count, check_type


def checked_tensors(function: Callable) -> Callable:
    """Decorator: tensors are tensors, and numbers within their limits."""
    signature = inspect.signature(function)
    first = next(iter(signature.parameters))

    @functools.wraps(function)
    def call(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments
        for name in given.keys() & {"x", "q", "scale", "blocks"}:
            check_type(name, given[name], Tensor, "a tensor")
        check_type("minimum", given.get("minimum", 0.0), Tensor | float | int, "numbers")
        n_dims = given[first].dim()
        limits = {"bits": (2, 8), "group_size": (1, 2**31), "dim": (-n_dims, n_dims - 1)}
        for name in given.keys() & limits:
            if given[name] is not None:
                check_count(name, given[name], *limits[name])
        return function(*args, **kwargs)

    return call


@checked_tensors
def in_groups(x: Tensor, group_size: int = 32) -> Tensor:
    """(..., K) to (..., K / group_size, group_size): each group gets a scale of its own."""
    if x.shape[-1] % group_size:
        raise ValueError(
            f"x: rows of {x.shape[-1]} numbers cannot be cut into groups of {group_size}; the "
            "group size must divide the row's length"
        )
    return x.unflatten(-1, (-1, group_size))


@checked_tensors
def quantise_absmax(x: Tensor, bits: int = 8, dim: int | None = None) -> tuple[Tensor, Tensor]:
    """Whole numbers q between -(2^(bits - 1) - 1) and 2^(bits - 1) - 1, and a scale: x ≈ scale · q.

    One scale for the whole tensor, or with ``dim`` one for each slice along that dimension.
    """
    levels = 2 ** (bits - 1) - 1  # 127 for 8 bits
    largest = x.abs().amax() if dim is None else x.abs().amax(dim, keepdim=True)
    scale = torch.where(largest > 0, largest / levels, 1.0)
    return (x / scale).round().clamp(-levels, levels).to(torch.int8), scale


@checked_tensors
def quantise_zero_point(
    x: Tensor, bits: int = 8, dim: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers q between 0 and 2^bits - 1, a scale and a minimum: x ≈ scale · q + minimum.

    Every level is used, also where x lies to one side of 0, which wastes half of absmax's.
    """
    levels = 2**bits - 1  # 15 for 4 bits
    lowest, highest = x.aminmax() if dim is None else x.aminmax(dim=dim, keepdim=True)
    scale = torch.where(highest > lowest, (highest - lowest) / levels, 1.0)
    return ((x - lowest) / scale).round().clamp(0, levels).to(torch.uint8), scale, lowest


@checked_tensors
def dequantise(q: Tensor, scale: Tensor, minimum: Tensor | float = 0.0) -> Tensor:
    """scale · q + minimum, in float32."""
    minimum = minimum.float() if isinstance(minimum, Tensor) else minimum
    return scale.float() * q + minimum


@checked_tensors
def read_q4_1(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A GGUF file's Q4_1 blocks, 20 bytes for 32 weights: weight = scale · q + minimum.

    A block is the scale and the minimum in float16, then 16 bytes: the lower halves of these are
    the weights 0 to 15, the upper ones 16 to 31.

    Args:
        blocks: (N, 20 · K / 32) bytes.

    Returns:
        q (N, K / 32, 32) between 0 and 15; scale and minimum, (N, K / 32, 1), float16.
    """
    blocks = in_groups(blocks, 20)
    scale, minimum = blocks[..., :4].contiguous().view(torch.float16).split(1, -1)
    pairs = blocks[..., 4:]
    return torch.cat((pairs & 15, pairs >> 4), -1), scale, minimum


@checked_tensors
def read_q8_0(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """A GGUF file's Q8_0 blocks, 34 bytes for 32 weights: the scale in float16, then 32 signed
    bytes; weight = scale · q. From (N, 34 · K / 32) to q (N, K / 32, 32) and scale (N, K / 32, 1).
    """
    blocks = in_groups(blocks, 34)
    return blocks[..., 2:].view(torch.int8), blocks[..., :2].contiguous().view(torch.float16)
