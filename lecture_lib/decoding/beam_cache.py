"""BeamCache: keys and values that follow the beams, and are copied only where a beam moves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_lib.engine import KVCache


class BeamCache(KVCache):
    """A KV cache of B · k rows, of which each beam owns one.

    A beam of the next step needs the keys and values of its parent. Transformers gathers the whole
    cache anew every step (``reorder_cache``): all rows, prompt included. Here a beam stays in its
    parent's row. Only where a parent has several children do the others move, into the rows of
    beams that have no child; and as all rows of a prompt begin with the same prompt, only what was
    generated since is copied.

    Args:
        empty: a cache of B · k rows with room for the prompt and the new tokens; its memory is
            taken over.
        prefilled: the cache of the B prompts. Each of its rows is copied to k rows.

    Attributes:
        rows: for each prompt, the row (0 to k - 1, within its own) of each beam in rank order.
        prompt_len: positions that all rows of a prompt share.
    """

    def __init__(self, empty: KVCache, prefilled: KVCache):
        self.__dict__.update(empty.__dict__)
        batch_size = prefilled.batch_size
        self.num_beams = self.batch_size // batch_size
        self.length = self.prompt_len = prefilled.length
        # (N, B, k, 2 n_KV, S_max, H): a view, through which one copy fills all rows.
        by_prompt = self.kv.unflatten(1, (batch_size, self.num_beams))
        by_prompt[:, :, :, :, : self.prompt_len] = prefilled.kv[:, :, None]
        if prefilled.padding is not None:
            self.padding = prefilled.padding.repeat_interleave(self.num_beams)  # (B * k,)
        # After the prefill all rows of a prompt are alike: the first beams may take any of them.
        self.rows: list[list[int]] = [list(range(self.num_beams)) for _ in range(batch_size)]

    def follow(self, parents: Sequence[Sequence[int]]) -> list[int]:
        """Give each new beam its parent's past; returns how many rows each prompt had to copy.

        Args:
            parents: for each prompt the place of each new beam's parent among the old beams; none
                where its search has ended.
        """
        if self.length == self.prompt_len:
            return [0] * len(parents)
        generated = self.kv[:, :, :, self.prompt_len : self.length]  # (N, B * k, 2 n_KV, L, H)
        n_copied = []
        for b, places in enumerate(parents):
            sources = [self.rows[b][place] for place in places]
            self.rows[b], moves = assign_rows(sources, self.num_beams)
            for source, target in moves:
                first = b * self.num_beams  # of this prompt's rows
                generated[:, first + target].copy_(generated[:, first + source])
            n_copied.append(len(moves))
        return n_copied

    def place(self, tokens: Sequence[Sequence[int]]) -> list[int]:
        """Each prompt's tokens, in beam order, in the order of the rows; 0 where a row has none."""
        placed = [0] * self.batch_size
        for b, beam_tokens in enumerate(tokens):
            for row, token in zip(self.rows[b], beam_tokens, strict=False):
                placed[b * self.num_beams + row] = token
        return placed  # B * k

    def in_beam_order(self, by_row: Tensor) -> Tensor:
        """(B * k, V) in the order of the rows to (B, k, V) in that of the beams."""
        k = self.num_beams
        by_row = by_row.unflatten(0, (-1, k))  # (B, k, V)
        in_order = list(range(k))
        orders = [rows + [r for r in in_order if r not in rows] for rows in self.rows]
        if all(order == in_order for order in orders):
            return by_row
        return torch.stack([by_row[b, order] for b, order in enumerate(orders)])


def assign_rows(sources: Sequence[int], n_rows: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Rows for new beams, of which beam i needs what is in row ``sources[i]``.

    Returns:
        The row of each beam, and the copies to make, (source, target), as few as possible: a
        source's first child stays in it, the others take rows that no beam needs.
    """
    free = iter(sorted(set(range(n_rows)) - set(sources)))
    rows, moves, stayed = [], [], set()
    for source in sources:
        row = next(free) if source in stayed else source
        if row != source:
            moves.append((source, row))
        stayed.add(source)
        rows.append(row)
    return rows, moves
