"""Rotary position embedding (RoPE, arXiv 2104.09864): a position turns each pair of numbers."""

import math

import torch
from torch import Tensor

from lecture_lib.model_spec import UnsupportedArchitectureError

SUPPORTED_ROPE_TYPES = ("default", "linear", "llama3")


def inverse_frequencies(rope: dict, head_dim: int) -> Tensor:
    """θ_i = base^(-2i / H): how far one position turns pair i, in radians.

    Args:
        rope: the model's ``rope_parameters`` (rope_type, rope_theta and the scaling's numbers).

    Returns:
        float32 tensor (H / 2,)

    Raises:
        ValueError: an odd head_dim; UnsupportedArchitectureError: a kind of scaling that the
            engine does not compute.
    """
    rope_type = rope.get("rope_type", "default")
    if rope_type not in SUPPORTED_ROPE_TYPES or rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedArchitectureError(
            f"loaded.model: RoPE of kind {rope_type!r} (partial_rotary_factor "
            f"{rope.get('partial_rotary_factor', 1.0)}) is not supported, only "
            f"{', '.join(SUPPORTED_ROPE_TYPES)} over the whole head"
        )
    if head_dim % 2:
        raise ValueError(f"head_dim: RoPE turns pairs, it needs an even width, got {head_dim}")
    pairs = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    inv_freq = 1.0 / rope["rope_theta"] ** pairs  # (H / 2,)
    if rope_type == "linear":
        return inv_freq / rope["factor"]
    return _llama3(inv_freq, rope) if rope_type == "llama3" else inv_freq


def _llama3(inv_freq: Tensor, rope: dict) -> Tensor:
    """Llama 3.1's stretch: slow pairs turn ``factor`` times slower, fast ones as before."""
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    wavelength = 2 * math.pi / inv_freq  # in positions
    turns = rope["original_max_position_embeddings"] / wavelength  # within the old context
    keep = ((turns - low) / (high - low)).clamp(0, 1)  # 1: fast pair, 0: slow pair
    return keep * inv_freq + (1 - keep) * inv_freq / rope["factor"]


def rope_tables(positions: Tensor, inv_freq: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of each position's angles, for ``apply_rope_``.

    Args:
        positions: (B, L) integers. inv_freq: (H / 2,)

    Returns:
        Two tensors (B, 1, L, H). The sine carries the minus of the rotation's first half.
    """
    angles = positions[:, None, :, None] * inv_freq  # (B, 1, L, H / 2), float32
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)


def apply_rope_(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn the pairs (x_i, x_{i + H/2}) of every head by its position's angles, in place.

    The rotation (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), written for the whole head as
    x · cos + roll(x) · (-sin, sin): three kernels, queries and keys together.

    Args:
        x: (B, heads, L, H).  cos, sin: (B, 1, L, H) from ``rope_tables``.
    """
    torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin, out=x)
