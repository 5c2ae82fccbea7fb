"""GraphedDecode: the decode step of a GPU recorded once and replayed as one launch.

At batch 1 a decode step is hundreds of kernels of a few microseconds each, and the CPU cannot
launch them as fast as the GPU runs them. A CUDA graph replays them all by one call. In
return every address and shape is fixed: the cache is read in its full length behind a mask, and
the position is a number in GPU memory.

With the shapes fixed, ``torch.compile`` can also write the kernels of a block: it joins norm, RoPE,
SwiGLU and the additions into few of them, and writes products with one row that read faster than a
library's. ``CompiledStep`` does that; recorded as a graph, it is what a GPU decodes with fastest.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernels import FastLlama
from .kv_cache import KVCache, Pattern, forward


class FixedShapeCache(KVCache):
    """A KVCache whose decode step has the same shapes and addresses at every position.

    Made from a filled cache, whose memory it takes over.
    """

    def __init__(self, filled: KVCache):
        self.__dict__.update(filled.__dict__)
        self.kv[:, :, :, self.length :] = 0  # masked, but 0 · NaN would be NaN
        device = self.keys.device
        self.position = torch.tensor([self.length], device=device)  # (1,) slot of the new token
        self._slots = torch.arange(self.max_seq_len, device=device)  # (S_max,)

    def append(self, layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
        cached = self.kv[layer]  # (B, 2 n_KV, S_max, H)
        cached.index_copy_(2, self.position, kv)
        return cached.chunk(2, 1)

    def advance(self, seq_len: int) -> None:
        self.position.add_(seq_len)
        self.length += seq_len

    def pattern(self, seq_len: int) -> Pattern:
        mask = (self._slots <= self.position)[None, None, None]  # (1, 1, 1, S_max)
        positions = self.position[None]  # (1, 1)
        if self.padding is not None:
            mask = mask & (self._slots >= self.padding[:, None])[:, None, None]
            positions = positions - self.padding[:, None]  # (B, 1)
        return Pattern(positions, mask)


def block(
    model: FastLlama, x: Tensor, layer, cached: Tensor, rope, position: Tensor, mask: Tensor
) -> Tensor:
    """One layer of ``Llama.hidden`` for a new token in each row, (B, D); ``cached`` is the layer's
    part of a FixedShapeCache, (B, 2 n_KV, S_max, H)."""
    q, kv = model.project(layer.attention_norm(x), layer, len(x), rope)
    k, v = cached.index_copy_(2, position, kv).chunk(2, 1)  # (B, n_KV, S_max, H)
    z = model.attend(q, k, v, mask)  # (B, 1, n_H * H)
    x = x + model.out(z.view(len(x), -1), layer)
    return x + model.mlp(layer.mlp_norm(x), layer)


class CompiledStep:
    """``kv_cache.forward`` for the Llama family's decode step, with ``block`` compiled once for all
    layers. On a CPU it needs a C++ compiler, and nothing in the course asks for it there."""

    def __init__(self, model: FastLlama):
        if not isinstance(model, FastLlama):
            raise ValueError(f"engine: no compiled step for {type(model).__name__}")
        # On a GPU this option writes a special kernel for a product with one row, and tunes it.
        options = {"coordinate_descent_tuning": True}
        compiled = partial(torch.compile, fullgraph=True, dynamic=False, options=options)
        self.model, self.block, self.logits = model, compiled(block), compiled(model.logits)

    @torch.inference_mode()
    def __call__(self, input_ids: Tensor, cache: FixedShapeCache) -> Tensor:
        """(B, 1) tokens to (B, V) logits."""
        model, pattern = self.model, cache.pattern(1)
        x = F.embedding(input_ids.view(-1), model.embeddings)  # (B, D)
        rope = model.rope_tables(pattern.positions, model.inv_freq, x.dtype)
        for layer, cached in zip(model.layers, cache.kv.unbind(), strict=True):
            x = self.block(model, x, layer, cached, rope, cache.position, pattern.mask)
        cache.advance(1)
        return self.logits(x)


class GraphedDecode:
    """``Engine.decode`` as a CUDA graph, behind a cache that ``prefill`` filled on a CUDA device
    and that has room for the tokens to come. ``step``: the CompiledStep to record instead."""

    def __init__(self, engine, cache: KVCache, step: CompiledStep | None = None):
        if engine.device.type != "cuda":
            raise ValueError(f"engine: CUDA graphs need a CUDA device, this is {engine.device}")
        cache.check_room(1)
        self.forward = step or partial(forward, engine.model)
        self.cache = FixedShapeCache(cache)
        self.token_ids = torch.zeros(cache.batch_size, 1, dtype=torch.long, device=engine.device)
        self._record()

    @torch.inference_mode()
    def _record(self) -> None:
        length = self.cache.length
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # warm-up: libraries choose kernels and take memory
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits = self._step()
        self.cache.length = length
        self.cache.position.fill_(length)

    def _step(self) -> Tensor:
        self.cache.position.clamp_(max=self.cache.max_seq_len - 1)
        return self.forward(self.token_ids, self.cache)  # (B, V)

    def __call__(self, token_ids: Tensor) -> Tensor:
        """(B,) tokens to (B, V) logits, which the next call overwrites."""
        self.cache.check_room(1)
        self.token_ids.copy_(token_ids.view(-1, 1))
        self.graph.replay()
        self.cache.length += 1  # the position itself advances within the graph
        return self.logits
