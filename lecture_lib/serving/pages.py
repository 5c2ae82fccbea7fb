"""The KV cache in blocks: who has which block, and attention that reads through a table.

One long piece of memory per request would have to be as long as the request may become. Here the
memory is cut into blocks of 16 positions (vLLM, arXiv 2309.06180). A request owns a list of block
numbers, its page table, and takes another block when the last one is full.
"""

from collections import deque

import torch
from torch import Tensor

from lecture_lib.engine.kv_cache import Pattern, causal_mask


class BlockPool:
    """Which blocks are free, how many requests read each of the others, and what is in them.

    Attributes:
        readers: for each block, how many page tables have it.
        free: the blocks that no table has; the one that was given back first is taken first.
        block_of: a text from its beginning to the end of a full block, as a tuple of tokens, to
            the block that has its last positions. A free block is remembered until it is taken.
    """

    def __init__(self, n_blocks: int, block_size: int = 16):
        self.block_size, self.readers = block_size, [0] * n_blocks
        self.free = deque(range(n_blocks))
        self.block_of: dict[tuple[int, ...], int] = {}
        self.text_of: dict[int, tuple[int, ...]] = {}  # the other way round

    def take(self) -> int:
        """A free block for one reader; what was in it is forgotten."""
        block = self.free.popleft()
        self.readers[block] = 1
        self.block_of.pop(self.text_of.pop(block, None), None)
        return block

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

    def remember(self, tokens: list[int], block: int) -> None:
        """A full block has the last positions of a text that consists of these tokens."""
        if block not in self.text_of and tuple(tokens) not in self.block_of:
            self.block_of[tuple(tokens)], self.text_of[block] = block, tuple(tokens)

    def find_prefix(self, tokens: list[int]) -> list[int]:
        """The blocks that have the beginning of a text already. The text's last token is never
        among them: it has to be computed, since its logits give the next token."""
        found = []
        for end in range(self.block_size, len(tokens), self.block_size):
            block = self.block_of.get(tuple(tokens[:end]))
            if block is None:
                break
            found.append(block)
        return found


class PagedCache:
    """The memory of all blocks, and the page tables of one pass through the model.

    Attributes:
        kv: (N, 2 n_KV, blocks * block size, H), keys and values side by side. Position p of a
            request is in slot ``blocks[p // block_size] * block_size + p % block_size``.
    """

    def __init__(self, engine, n_blocks: int, block_size: int):
        spec, self.block_size = engine.spec, block_size
        shape = (spec.n_layers, 2 * spec.n_kv_heads, n_blocks * block_size, spec.head_dim)
        self.kv = torch.zeros(shape, dtype=engine.dtype, device=engine.device)
        self.written = torch.empty(0, dtype=torch.long)  # the slots of this pass's tokens, (T,)

    def slots(self, blocks: list[int], n_blocks: int) -> Tensor:
        """The slots behind a page table; a table shorter than ``n_blocks`` is filled up."""
        table = torch.tensor(blocks + [0] * (n_blocks - len(blocks)))
        return (table[:, None] * self.block_size + torch.arange(self.block_size)).flatten()

    def copy(self, source: int, target: int) -> None:
        """Copy on write: one block's keys and values, in all layers."""
        blocks = self.kv.unflatten(2, (-1, self.block_size))
        blocks[:, :, target] = blocks[:, :, source]

    def append(self, layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values of one layer, (1, 2 n_KV, T, H), through the tables;
        returns all keys and all values of that layer, (n_KV, slots, H) each."""
        self.kv[layer][:, self.written] = kv[0]
        return self.kv[layer].chunk(2)


def paged_attend(q: Tensor, keys: Tensor, values: Tensor, reads: list, attend) -> Tensor:
    """Attention of tokens of several requests, (1, n_H, T, H) to (1, T, n_H * H).

    Each of ``reads`` is (rows, slots, mask): b requests have these rows of T, equally many each;
    their keys are in the slots (b, S), and the mask (b, 1, L, S) says which of them they see.
    """
    z = torch.empty(q.shape[2], q.shape[1] * q.shape[3], dtype=q.dtype, device=q.device)
    for rows, slots, mask in reads:
        q_rows = q[0, :, rows].unflatten(1, (len(slots), -1)).transpose(0, 1)  # (b, n_H, L, H)
        k, v = (pool[:, slots].transpose(0, 1) for pool in (keys, values))  # (b, n_KV, S, H)
        z[rows] = attend(q_rows, k, v, mask).flatten(0, 1)
    return z[None]


def find_reads(cache: PagedCache, plan: list) -> list:
    """What ``paged_attend`` reads for a plan of (request, tokens to run), decoding ones first.

    All requests that run a single token are one batch, padded to the longest; every other one is
    computed alone, so that none is padded to the longest prompt.
    """
    n_decoding = sum(n == 1 for _, n in plan)
    groups = [plan[:n_decoding]] if n_decoding else []
    groups += [[pair] for pair in plan[n_decoding:]]
    reads, start = [], 0
    for group in groups:
        seq_len = group[0][1]
        n_blocks = max(-(-(request.n_cached + seq_len) // cache.block_size) for request, _ in group)
        slots = torch.stack(
            [cache.slots(request.blocks[:n_blocks], n_blocks) for request, _ in group]
        )
        mask = torch.zeros(len(group), 1, seq_len, slots.shape[1], dtype=torch.bool)
        for row, (request, _) in zip(mask, group, strict=True):
            row[0, :, : request.n_cached + seq_len] = causal_mask(request.n_cached, seq_len, "cpu")
        rows = slice(start, start + len(group) * seq_len)
        reads.append((rows, slots.to(cache.kv.device), mask.to(cache.kv.device)))
        start = rows.stop
    return reads


def paged_forward(model, cache: PagedCache, plan: list) -> Tensor:
    """One pass over the next tokens of several requests; the logits behind each one's last token,
    (requests, V). Their keys and values are in the blocks afterwards.

    Args:
        model: the engine's model, with ``paged_attend`` as its attention (see ``PagedEngine``).
        plan: (request, how many of its tokens), those with one token first.
    """
    ids, positions, written, ends = [], [], [], []
    for request, n in plan:
        places = range(request.n_cached, request.n_cached + n)
        ids += [request.tokens[i] for i in places]
        positions += places
        size = cache.block_size
        written += [request.blocks[i // size] * size + i % size for i in places]
        ends.append(len(ids) - 1)
    device = cache.kv.device
    cache.written = torch.tensor(written, device=device)
    pattern = Pattern(torch.tensor([positions], device=device), mask=find_reads(cache, plan))
    with torch.inference_mode():
        hidden = model.hidden(torch.tensor([ids], device=device), pattern, cache)  # (1, T, D)
        return model.logits(hidden[0, ends])
