"""Matrices that are multiplied with the same input, joined into one: less to launch, same bytes."""

import torch
from torch import Tensor, nn


def join_linears(*linears: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """The weights of several linear layers below one another, as one matrix.

    ``x W_q, x W_k, x W_v`` reads x three times and starts three products; ``x [W_q W_k W_v]`` one.
    The layers' own parameters become views of the joined matrix, so the weights exist once in
    memory and the Transformers model goes on working (and sees the very same numbers).

    Returns:
        weight (sum of outputs, inputs) and bias (sum of outputs,), or None without biases.

    Raises:
        ValueError: a layer that is not a plain floating-point ``nn.Linear`` (quantized, adapted).
    """
    for linear in linears:
        if type(linear) is not nn.Linear or not linear.weight.is_floating_point():
            raise ValueError(
                f"model: the engine reads plain floating-point nn.Linear layers, this model has "
                f"{type(linear).__name__} (quantized or adapted models are not supported)"
            )
    biases = [linear.bias for linear in linears if linear.bias is not None]
    if biases and len(biases) != len(linears):
        raise ValueError("model: either all of the query, key and value projections have a bias")
    return _join([linear.weight for linear in linears]), _join(biases) if biases else None


def _join(parameters: list[nn.Parameter]) -> Tensor:
    rows = [len(parameter) for parameter in parameters]
    first = parameters[0]
    if _lie_in_a_row(parameters):  # a second Engine on this model: nothing to copy
        shape = (sum(rows), *first.shape[1:])
        return first.detach().as_strided(shape, first.stride(), first.storage_offset())
    with torch.no_grad():
        joined = torch.cat([parameter.detach() for parameter in parameters])
        for parameter, part in zip(parameters, joined.split(rows), strict=True):
            parameter.data = part  # frees the parameter's old memory: one copy stays alive
    return joined


def _lie_in_a_row(parameters: list[nn.Parameter]) -> bool:
    storage = parameters[0].untyped_storage().data_ptr()
    offset = parameters[0].storage_offset()
    for parameter in parameters:
        same = parameter.untyped_storage().data_ptr() == storage and parameter.is_contiguous()
        if not same or parameter.storage_offset() != offset:
            return False
        offset += parameter.numel()
    return True
