"""The KV cache in blocks: who has which block, and attention that reads through a table.

A request has a list of block numbers, its page table, and takes another block when the last one is
full (vLLM, arXiv 2309.06180). Lectures 14a (``forward_many``) and 14b (the rest) write this code.
"""

from collections import deque
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lecture_lib.engine.kv_cache import Pattern, causal_mask


class BlockPool:
    """Which blocks are free, and how many requests read each of the others."""

    def __init__(self, n_blocks: int, block_size: int = 16):
        self.block_size, self.readers = block_size, [0] * n_blocks
        self.free = deque(range(n_blocks))  # the one that was given back first is taken first
        self.copies = []  # (from, to): to be copied before the next pass

    def take(self) -> int:
        """A free block for one reader."""
        return self.share(self.free[0])

    def share(self, block: int) -> int:
        """One more request reads this block."""
        if self.readers[block] == 0:
            self.free.remove(block)
        self.readers[block] += 1
        return block

    def release(self, block: int) -> None:
        """One request less reads this block; after the last one it is free."""
        self.readers[block] -= 1
        if self.readers[block] == 0:
            self.free.append(block)


class PrefixPool(BlockPool):
    """A pool that remembers, until a block is taken again, which text it has: a tuple of all tokens
    from the text's beginning to the end of the block."""

    def __init__(self, *sizes: int):
        super().__init__(*sizes)
        self.block_of, self.text_of = {}, {}

    def take(self) -> int:
        """A free block for one reader; what was in it is forgotten."""
        block = super().take()
        self.block_of.pop(self.text_of.pop(block, None), None)
        return block

    def remember(self, tokens: list[int], block: int) -> None:
        """A full block has the last positions of these tokens."""
        if block not in self.text_of and tuple(tokens) not in self.block_of:
            self.block_of[tuple(tokens)], self.text_of[block] = block, tuple(tokens)

    def find_prefix(self, tokens: list[int]) -> list[int]:
        """The blocks that have the beginning of a text already, without its last token: that is
        always computed, since its logits give the next one."""
        found = []
        for end in range(self.block_size, len(tokens), self.block_size):
            block = self.block_of.get(tuple(tokens[:end]))
            if block is None:
                break
            found.append(block)
        return found


class PagedCache:
    """The memory of all blocks.

    Attributes:
        kv: (N, 2 n_KV, blocks * block size, H), keys and values side by side.
        written: the slots of the tokens of the current pass, (T,).
    """

    def __init__(self, engine, n_blocks: int, block_size: int):
        spec, self.block_size = engine.spec, block_size
        shape = (spec.n_layers, 2 * spec.n_kv_heads, n_blocks * block_size, spec.head_dim)
        self.kv = torch.zeros(shape, dtype=engine.dtype, device=engine.device)

    def slots(self, blocks: list[int], n: int) -> Tensor:
        """Where the first n positions of a request are, through its page table."""
        places, table = torch.arange(n), torch.tensor(blocks)
        return table[places // self.block_size] * self.block_size + places % self.block_size

    def append(self, layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values, (1, 2 n_KV, T, H), through the tables; returns all
        its keys and all its values, (n_KV, slots, H) each."""
        self.kv[layer][:, self.written] = kv[0]
        return self.kv[layer].chunk(2)

    def copy(self, source: int, target: int) -> None:
        """Copy on write: one block's keys and values, in all layers."""
        blocks = self.kv.unflatten(2, (-1, self.block_size))
        blocks[:, :, target] = blocks[:, :, source]


def paged_attend(q: Tensor, keys: Tensor, values: Tensor, reads: list, attend) -> Tensor:
    """Attention of tokens of several requests, (1, n_H, T, H) to (1, T, n_H * H).

    Each of ``reads`` is (slots, mask): b requests run L tokens each; their keys are in the slots
    (b, S), and the mask (b, 1, L, S) says which of them they see.
    """
    z, start = [], 0
    for slots, mask in reads:
        end = start + len(slots) * mask.shape[2]
        rows = q[0, :, start:end].unflatten(1, (len(slots), -1)).transpose(0, 1)  # (b, n_H, L, H)
        k, v = (pool[:, slots].transpose(0, 1) for pool in (keys, values))  # (b, n_KV, S, H)
        z.append(attend(rows, k, v, mask).flatten(0, 1))
        start = end
    return torch.cat(z)[None]


def find_reads(cache: PagedCache, plan: list) -> list:
    """What ``paged_attend`` reads for a plan: the requests that run a single token, which come
    first, are one batch, padded to the longest; every other one is computed alone."""
    n_decoding = sum(n == 1 for _, n in plan)
    groups = [plan[:n_decoding]] * (n_decoding > 0) + [[pair] for pair in plan[n_decoding:]]
    reads = []
    for group in groups:
        slots = [cache.slots(request.blocks, request.n_cached + n) for request, n in group]
        masks = [causal_mask(request.n_cached, n, "cpu").mT for request, n in group]  # (S, L) each
        slots, masks = (pad_sequence(each, batch_first=True) for each in (slots, masks))
        device = cache.kv.device
        reads.append((slots.to(device), masks.mT[:, None].to(device)))  # (b, S), (b, 1, L, S)
    return reads


def forward_many(model, plan: list, cache, mask) -> Tensor:
    """One pass over the next tokens of several requests, side by side in one row; the logits
    behind each one's last token, (requests, V). ``cache`` and ``mask`` keep the requests apart."""
    ids, positions = [], []
    for request, n in plan:
        ids += request.tokens[request.n_cached : request.n_cached + n]
        positions += range(request.n_cached, request.n_cached + n)
    ends = [end - 1 for end in accumulate(n for _, n in plan)]
    rows = torch.tensor([ids, positions], device=model.embeddings.device)  # (2, T)
    with torch.inference_mode():
        hidden = model.hidden(rows[:1], Pattern(rows[1:], mask), cache)  # (1, T, D)
        return model.logits(hidden[0, ends])


def paged_forward(model, plan: list, cache: PagedCache) -> Tensor:
    """``forward_many`` through page tables, by a model whose attention is ``paged_attend``."""
    slots = [cache.slots(request.blocks, request.n_cached + n)[-n:] for request, n in plan]
    cache.written = torch.cat(slots).to(cache.kv.device)
    return forward_many(model, plan, cache, find_reads(cache, plan))
