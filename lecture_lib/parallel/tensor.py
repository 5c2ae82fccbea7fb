"""Tensor parallelism, written out: the engine's Llama with its matrices split over the ranks.

Megatron-LM (arXiv 1909.08053), section 3: W^Q, W^K, W^V and W^1 are split by columns, W^O and W^2
by rows. A rank computes its own heads and its own part of the MLP's inner width, and what comes
out of the row-split matrix is a partial sum of the right shape: an AllReduce makes it the sum.

``f``, ``g`` and ``hidden`` are those of lecture 07, line by line.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ..engine.kv_cache import KVCache, Pattern
from .shards import RankLlama, Shards
from .traffic import label


def f(x: Tensor) -> Tensor:
    """Into the split part: every rank has x already, so forward there is nothing to do.

    (Backward it is an AllReduce: each rank's columns give a part of x's gradient.)
    """
    return x


def g(partial: Tensor) -> Tensor:
    """Out of the split part: the sum of all ranks' partial results, on every rank, in place.

    (Backward it is the identity: every rank has the sum's gradient already.)
    """
    if dist.get_world_size() > 1:  # one rank's part is the sum
        dist.all_reduce(partial, op=dist.ReduceOp.SUM)
    return partial


def hidden(model, input_ids: Tensor, pattern: Pattern, cache: KVCache) -> Tensor:
    """(B, L) tokens to (B, L, D), on every rank; two AllReduces of (B·L, D) per layer."""
    batch_size, seq_len = input_ids.shape
    x = F.embedding(input_ids.reshape(-1), model.embeddings)  # (B * L, D)
    rope = model.rope_tables(pattern.positions, model.inv_freq, x.dtype)
    for i, layer in enumerate(model.layers):
        h = f(layer.attention_norm(x))
        x = x + g(model.attention(h, i, batch_size, rope, pattern, cache))  # my n_H / n heads
        h = f(layer.mlp_norm(x))
        x = x + g(model.mlp(h, layer))  # my F / n of the inner width
    return x.view(batch_size, seq_len, -1)


class TensorParallelLlama(RankLlama):
    """One rank's share of the forward pass: its heads, its part of the MLP, its heads' cache.

    Embeddings, norms and W_lm are whole on every rank, as in the lecture; so is the residual
    stream x, which is the same everywhere after each AllReduce.
    """

    hidden = hidden

    def __init__(self, shards: Shards, max_seq_len: int):
        super().__init__(shards, range(shards.spec.n_layers))
        self.cache = self.new_cache(max_seq_len)

    def attention(self, x: Tensor, i: int, *rest) -> Tensor:
        label(layer=i, part="attention")
        return super().attention(x, i, *rest)

    def mlp(self, x: Tensor, layer) -> Tensor:
        label(part="mlp")
        return super().mlp(x, layer)

    @torch.no_grad()
    def step(self, input_ids: Tensor) -> Tensor:
        """(1, L) new tokens to the next token's logits (1, V)."""
        seq_len = input_ids.shape[1]
        x = self.hidden(input_ids, self.cache.pattern(seq_len), self.cache)
        self.cache.advance(seq_len)
        label(layer=None, part="")
        return self.logits(x[:, -1])
