"""The decode step of one text on a CPU, by fewer kernels.

At batch 1 each kernel between two products works on a few hundred numbers and takes microseconds,
most of them to start it. So the number of kernels decides. A layer of ``FastLlama`` runs 29 of them
in float32 on an AMD processor, where its products need copies, and 21 elsewhere; here it is 19 or
fewer, most of them cheaper. Everything is the formula of ``model.py`` for one row,
and the same numbers up to rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import kernels
from .kv_cache import KVCache, Pattern


class OneRowLlama(kernels.FastLlama):
    """``FastLlama`` with this step, for one new token of one text behind a KVCache on a CPU."""

    def hidden(self, input_ids: Tensor, pattern: Pattern, cache: KVCache | None) -> Tensor:
        plain = type(cache) is KVCache and pattern.mask is None
        if plain and input_ids.is_cpu and input_ids.numel() == 1:
            return hidden_of_one(self, input_ids, cache)
        return super().hidden(input_ids, pattern, cache)


def hidden_of_one(model: OneRowLlama, input_ids: Tensor, cache: KVCache) -> Tensor:
    """``Llama.hidden`` of a token (1, 1): the last block's embedding, (1, 1, D)."""
    n_q, n_kv, head_dim = model.n_heads, model.n_kv_heads, model.head_dim
    x = F.embedding(input_ids.view(-1), model.embeddings)[0]  # (D,), changed in place from here on
    copies = copies_of(x)
    zero = x.new_zeros(*copies, 1)  # what a norm adds to, so that its result has this shape
    cos, sin, swapped = rope_of_one(cache.length, model.inv_freq, x.dtype)  # (H,) each
    # Taking a part of a tensor takes as long as computing with it, so all parts are taken here:
    # those of the cache for all layers, and those of two results that every layer writes again.
    end = cache.length + 1
    slots = cache.kv[:, 0, :, cache.length].unbind()  # (2 n_KV, H) each
    keys, values = (y[:, :, :, :end].unbind() for y in (cache.keys, cache.values))
    qkv = x.new_empty((n_q + 2 * n_kv) * head_dim)
    heads = qkv.view(-1, head_dim)
    q, qk, kv = heads[:n_q].view(1, n_kv, -1, head_dim), heads[: n_q + n_kv], heads[n_q:]
    gate_up = x.new_empty(model.layers[0].gate_up.shape[0])
    gate, up = gate_up.chunk(2)  # (F,) each
    up = up.expand(*copies, -1)
    for slot, k, v, layer in zip(slots, keys, values, model.layers, strict=False):
        h = norm_of_one(x, layer.attention_norm, zero)
        product(h, layer.qkv, layer.qkv_bias, out=qkv)
        torch.addcmul(qk * cos, qk.index_select(1, swapped), sin, out=qk)  # RoPE, in place
        slot.copy_(kv)
        z = F.scaled_dot_product_attention(q, k, v)
        z = z.reshape(-1).expand(*copies, -1).contiguous()  # (*copies, n_H * H)
        x.add_(product(z, layer.out, layer.out_bias))
        h = norm_of_one(x, layer.mlp_norm, zero)
        product(h, layer.gate_up, layer.gate_up_bias, out=gate_up)
        h = F.silu(gate, inplace=True) * up  # (*copies, F)
        x.add_(product(h, layer.down, layer.down_bias))
    return x.view(1, 1, -1)


def copies_of(x: Tensor) -> tuple[int, ...]:
    """How a product wants its input: as a vector (), as a row (1,), or as two equal rows (2,); the
    choice is that of ``kernels.linear``."""
    if x.element_size() == 2:
        return ()
    return (2,) if kernels.TURN_FEW_ROWS and x.dtype == torch.float32 else (1,)


def norm_of_one(x: Tensor, norm, zero: Tensor) -> Tensor:
    """RMSNorm of x, (D,): (*copies, D) for a zero of shape (*copies, 1)."""
    x32 = x.float()
    mean = torch.dot(x32, x32).item() / len(x)
    return torch.addcmul(zero, x, norm.weight, value=(mean + norm.eps) ** -0.5)


def rope_of_one(position: int, inv_freq: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """cos and sin of ``kernels.rope_tables`` for one position, and the order that swaps halves."""
    angles = position * inv_freq  # (H / 2,)
    cos, sin = angles.cos(), angles.sin()
    swapped = torch.arange(2 * len(angles)).roll(len(angles))
    return torch.cat((cos, cos)).to(dtype), torch.cat((-sin, sin)).to(dtype), swapped


def product(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    """``kernels.linear`` for x of ``copies_of`` rows, (*copies, inputs): (outputs,)."""
    plain = isinstance(weight, Tensor)  # else it is packed
    if plain and x.dim() == 1:
        y = torch.mv(weight, x, out=out)
    elif plain and len(x) == 2:
        y = torch.mm(weight, x.mT).select(1, 0)
    elif plain and bias is None and out is not None:
        return torch.mm(x, weight.mT, out=out.unsqueeze(0))
    else:
        y, bias = kernels.linear(x.view(-1, x.shape[-1]), weight, bias).select(0, 0), None
    y = y if bias is None else y + bias
    return y if out is None or y is out else out.copy_(y)
