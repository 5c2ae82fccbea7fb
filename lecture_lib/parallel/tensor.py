"""Tensor parallelism, written out: the engine's Llama with its matrices split over the ranks.

Megatron-LM (arXiv 1909.08053), section 3: W^Q, W^K, W^V and W^1 are split by columns, W^O and W^2
by rows. A rank computes its own heads and its own part of the MLP's inner width, and what comes
out of the row-split matrix is a partial sum of the right shape: an AllReduce makes it the sum.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ..engine.kernels import attend, linear, rope_tables
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


class TensorParallelLlama(RankLlama):
    """One rank's share of the forward pass: its heads, its part of the MLP, its heads' cache.

    Embeddings, norms and W_lm are whole on every rank, as in the lecture; so is the residual
    stream x, which is the same everywhere after each AllReduce.
    """

    def __init__(self, shards: Shards, max_seq_len: int):
        super().__init__(shards, range(shards.spec.n_layers))
        self.cache = self.new_cache(max_seq_len)

    def hidden(self, input_ids: Tensor, pattern: Pattern, cache: KVCache) -> Tensor:
        """(B, L) tokens to (B, L, D), on every rank; two AllReduces of (B·L, D) a layer."""
        batch_size, seq_len = input_ids.shape
        x = F.embedding(input_ids.reshape(-1), self.embeddings)  # (B * L, D)
        rope = rope_tables(pattern.positions, self.inv_freq, x.dtype)
        for i, layer in enumerate(self.layers):
            label(layer=i, part="attention")
            h = f(layer.attention_norm(x))
            q, kv = self.project(h, layer, batch_size, rope)  # (B, n_H / n, L, H) of my heads
            k, v = cache.append(i, kv)  # (B, n_KV / n, S, H)
            z = attend(q, k, v, pattern.mask)  # (B, L, n_H / n * H)
            x = x + g(linear(z.view(len(x), -1), layer.out, layer.out_bias))

            label(part="mlp")
            h = f(layer.mlp_norm(x))
            x = x + g(self.mlp(h, layer))  # my F / n of the inner width
        label(layer=None, part="")
        return x.view(batch_size, seq_len, -1)

    @torch.no_grad()
    def step(self, input_ids: Tensor) -> Tensor:
        """(1, L) new tokens to the next token's logits (1, V)."""
        seq_len = input_ids.shape[1]
        hidden = self.hidden(input_ids, self.cache.pattern(seq_len), self.cache)
        self.cache.advance(seq_len)
        return self.logits(hidden[:, -1])
