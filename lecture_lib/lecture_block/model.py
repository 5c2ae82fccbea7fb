"""ToyTransformer: a stack of the lecture's blocks and W_lm, to generate with, naive and cached.

p(x_{L+1} | x_{1:L}) = softmax(X_L W_lm), X_L the last row that the last block returns. There are no
positions: what the lecture's table does not have, this model does not have either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..checks import check_count, check_flag, check_type
from ..op_trace import row
from ..tokens import check_token_ids
from .block import decode_block, naive_block, prefill_block
from .cache import KVCache, PreallocatedKVCache
from .weights import BlockFlags, BlockWeights

Cache = KVCache | PreallocatedKVCache


@dataclass(frozen=True)
class ToyTransformer:
    """Embedding, N blocks, W_lm."""

    embedding: torch.Tensor  # (V, D)
    blocks: Sequence[BlockWeights]
    w_lm: torch.Tensor  # (D, V)
    n_heads: int
    flags: dict[str, bool]  # that every block runs with, {"causal": True, ...}

    @classmethod
    def random(
        cls,
        vocab_size: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        **flags: bool,
    ) -> "ToyTransformer":
        """Random weights. Raises ValueError for sizes that do not fit (see BlockWeights)."""
        vocab_size = check_count("vocab_size", vocab_size, most=10**6)
        d_model, n_heads = check_count("d_model", d_model), check_count("n_heads", n_heads)
        n_layers = check_count("n_layers", n_layers, most=1_000)
        seed = check_count("seed", seed, least=0)
        BlockFlags(**flags)  # an unknown flag shows here, not in the first forward pass
        blocks = [
            BlockWeights.random(d_model, n_heads, seed=seed + 1 + n, dtype=dtype)
            for n in range(n_layers)
        ]
        generator = torch.Generator().manual_seed(seed)
        embedding = torch.randn(vocab_size, d_model, generator=generator, dtype=dtype)
        w_lm = torch.randn(d_model, vocab_size, generator=generator, dtype=dtype) / d_model**0.5
        return cls(embedding, blocks, w_lm, n_heads, dict(flags))

    def naive(self, token_ids: Sequence[int]) -> torch.Tensor:
        """p of the next token, (V,): every block over all L tokens, nothing kept."""
        x = self._embed(token_ids)
        for weights in self.blocks:
            x = naive_block(x, weights, self.n_heads, **self.flags)
        return self._next_token(x)

    def prefill(self, token_ids: Sequence[int]) -> tuple[torch.Tensor, list[KVCache]]:
        """The same, and a cache for each block."""
        x, caches = self._embed(token_ids), []
        for weights in self.blocks:
            x, cache = prefill_block(x, weights, self.n_heads, **self.flags)
            caches.append(cache)
        return self._next_token(x), caches

    def decode(self, token_id: int, caches: Sequence[Cache]) -> tuple[torch.Tensor, list[Cache]]:
        """p of the next token after one new token, (V,), and the caches grown by it."""
        n_blocks = len(self.blocks)
        check_type("caches", caches, Sequence, "a cache for each block")
        if len(caches) != n_blocks:
            raise ValueError(f"caches: needs {n_blocks}, one for each block, got {len(caches)}")
        t, grown = self._embed([check_count("token_id", token_id, least=0)]), []
        for weights, cache in zip(self.blocks, caches, strict=True):
            t, cache = decode_block(t, cache, weights, self.n_heads, **self.flags)
            grown.append(cache)
        return self._next_token(t), grown

    def generate(
        self, token_ids: Sequence[int], max_new_tokens: int, *, use_cache: bool = True
    ) -> list[int]:
        """The most likely continuation token by token (greedy); the new tokens only.

        Raises:
            ValueError: use_cache in a stack of blocks without the causal flag: each new token then
                changes the past rows of every deeper block, so cached keys and values are not those
                of a naive run. (``prefill`` and ``decode`` run anyway, to show it.)
        """
        check_count("max_new_tokens", max_new_tokens, least=0, most=1_000)
        check_flag("use_cache", use_cache)
        if use_cache and len(self.blocks) > 1 and not self.flags.get("causal"):
            raise ValueError(
                "use_cache: without causal=True every new token changes the past of a stack"
            )
        prompt = check_token_ids("token_ids", token_ids, len(self.embedding)).tolist()
        tokens, caches = list(prompt), None
        for _ in range(max_new_tokens):
            if not use_cache:
                p = self.naive(tokens)
            elif caches is None:
                p, caches = self.prefill(tokens)
            else:
                p, caches = self.decode(tokens[-1], caches)
            tokens.append(int(p.argmax()))
        return tokens[len(prompt) :]

    def _embed(self, token_ids: Sequence[int]) -> torch.Tensor:
        ids = check_token_ids("token_ids", token_ids, len(self.embedding))
        return self.embedding[ids]  # (L, D)

    def _next_token(self, x: torch.Tensor) -> torch.Tensor:
        with row("", "p = softmax(X_L W_lm)", "p"):
            return torch.softmax(x[-1] @ self.w_lm, dim=-1)  # (V,)
