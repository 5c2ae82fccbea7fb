"""GraphedDecode: the decode step of a GPU recorded once and replayed as one launch.

At batch 1 a decode step is hundreds of kernels of a few microseconds each, and the CPU cannot
launch them as fast as the GPU runs them. A CUDA graph replays them all by one call. In
return every address and shape is fixed: the cache is read in its full length behind a mask, and
the position is a number in GPU memory.
"""

import torch
from torch import Tensor

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


class GraphedDecode:
    """``Engine.decode`` as a CUDA graph, behind a cache that ``prefill`` filled on a CUDA device
    and that has room for the tokens to come."""

    def __init__(self, engine, cache: KVCache):
        if engine.device.type != "cuda":
            raise ValueError(f"engine: CUDA graphs need a CUDA device, this is {engine.device}")
        cache.check_room(1)
        self.model, self.cache = engine.model, FixedShapeCache(cache)
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
        return forward(self.model, self.token_ids, self.cache)  # (B, V)

    def __call__(self, token_ids: Tensor) -> Tensor:
        """(B,) tokens to (B, V) logits, which the next call overwrites."""
        self.cache.check_room(1)
        self.token_ids.copy_(token_ids.view(-1, 1))
        self.graph.replay()
        self.cache.length += 1  # the position itself advances within the graph
        return self.logits
