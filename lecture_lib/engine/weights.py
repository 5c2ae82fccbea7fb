"""What a forward pass reads out of a loaded model: joined matrices, and RoPE's frequencies."""

import math

import torch
from torch import Tensor, nn

from lecture_lib.model_spec import UnsupportedArchitectureError

from .packed import PackedWeight

SUPPORTED_ROPE_TYPES = ("default", "linear", "llama3")


def join_linears(*linears: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """The weights of several linear layers below one another, as one matrix.

    ``x W_q, x W_k, x W_v`` are three products, each of which reads x; ``x [W_q W_k W_v]`` is one.
    The layers' own parameters become views of the joined matrix. So the weights exist once in
    memory, and the Transformers model still works, with the same numbers.

    Returns:
        weight (sum of outputs, inputs) and bias (sum of outputs,), or None without biases.
    """
    for linear in linears:
        if type(linear) is not nn.Linear or not linear.weight.dtype.is_floating_point:
            raise ValueError(
                f"model: the engine reads plain floating-point nn.Linear layers, this model has "
                f"{type(linear).__name__} (quantized or adapted models are not supported)"
            )
    biases = [linear.bias for linear in linears if linear.bias is not None]
    if biases and len(biases) != len(linears):
        raise ValueError("model: either all of the query, key and value projections have a bias")
    join = _join if isinstance(linears[0].weight, Tensor) else _join_packed
    return join([linear.weight for linear in linears]), _join(biases) if biases else None


def _join(parameters: list[nn.Parameter]) -> Tensor:
    rows = [len(parameter) for parameter in parameters]
    first = parameters[0]
    if _are_adjacent(parameters):  # a second Engine on this model: nothing to copy
        shape = (sum(rows), *first.shape[1:])
        return first.detach().as_strided(shape, first.stride(), first.storage_offset())
    with torch.no_grad():
        joined = torch.cat([parameter.detach() for parameter in parameters])
        for parameter, part in zip(parameters, joined.split(rows), strict=True):
            parameter.data = part  # frees the parameter's old memory: one copy stays alive
    return joined


def _join_packed(weights: list[PackedWeight]) -> PackedWeight:
    """The same for packed weights, which become parts of the joined one."""
    first = weights[0]
    if len(weights) == 1 or first.whole:
        return first.whole or first
    whole, start = type(first).join(weights), 0
    for weight in weights:
        weight.become_part(whole, start)
        start += len(weight)
    return whole


def _are_adjacent(parameters: list[nn.Parameter]) -> bool:
    """Whether they are parts of one tensor, each directly behind the other."""
    one_storage = len({parameter.untyped_storage().data_ptr() for parameter in parameters}) == 1
    contiguous = all(parameter.is_contiguous() for parameter in parameters)
    ends = [parameter.data_ptr() + parameter.nbytes for parameter in parameters[:-1]]
    starts = [parameter.data_ptr() for parameter in parameters[1:]]
    return one_storage and contiguous and ends == starts


def inverse_frequencies(rope: dict, head_dim: int) -> Tensor:
    """θ_i = base^(-2i / H): how far one position turns pair i, in radians.

    Args:
        rope: the model's ``rope_parameters`` (rope_type, rope_theta and the scaling's numbers).

    Returns:
        float32 tensor (H / 2,)
    """
    rope_type, share = rope.get("rope_type", "default"), rope.get("partial_rotary_factor", 1.0)
    if rope_type not in SUPPORTED_ROPE_TYPES or share != 1.0:
        raise UnsupportedArchitectureError(
            f"loaded.model: RoPE of kind {rope_type!r} (partial_rotary_factor {share}) is not "
            f"supported, only {', '.join(SUPPORTED_ROPE_TYPES)} over the whole head"
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
