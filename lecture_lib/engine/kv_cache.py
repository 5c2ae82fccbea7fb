"""KVCache: the keys and values of every position so far, in memory reserved once.

Lecture 04 writes this cache and ``forward``, a pass through the model behind it, for one prompt.
Here padding and checks of arguments are added.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lecture_lib.checks import check_count, checked


def causal_mask(past_len: int, seq_len: int, device) -> Tensor:
    """Who may look at whom, (L, S): True where one of L new tokens behind ``past_len`` cached ones
    may look at a position. Each sees the whole past, itself, and no later one."""
    queries = torch.arange(past_len, past_len + seq_len, device=device)  # (L,)
    keys = torch.arange(past_len + seq_len, device=device)  # (S,)
    return keys <= queries[:, None]  # (L, S)


@dataclass(frozen=True)
class Pattern:
    """Which positions the new tokens have and which keys they may look at, in every layer.

    ``mask`` is True where a query may look at a key. It is None where the causal rule is enough:
    a single token sees every key, and L tokens without a past see no later one.
    """

    positions: Tensor  # (1, L) or, with padding, (B, L): each token's place in its own text
    mask: Tensor | None  # (1 or B, 1, L, S)

    @classmethod
    def of(cls, past_len: int, seq_len: int, padding: Tensor | None, device) -> "Pattern":
        """The pattern of ``seq_len`` tokens behind ``past_len`` cached ones, of which the first
        ``padding[b]`` in row b hold padding."""
        slots = torch.arange(past_len, past_len + seq_len, device=device)  # (L,)
        if padding is None and (past_len == 0 or seq_len == 1):
            return cls(slots[None], mask=None)
        # A chunk behind a cache needs its mask too: its first token must not see its last.
        mask = causal_mask(past_len, seq_len, device)  # (L, S)
        if padding is None:
            return cls(slots[None], mask[None, None])
        keys = torch.arange(past_len + seq_len, device=device)  # (S,)
        real = (keys >= padding[:, None])[:, None, None]  # (B, 1, 1, S)
        # A padding token looks at itself, so that its softmax is not over nothing (NaN).
        mask = (mask & real) | (keys == slots[:, None])  # (B, 1, L, S)
        return cls((slots - padding[:, None]).clamp_min(0), mask)


class KVCache:
    """Keys and values of all layers, with room for ``max_seq_len`` positions per row.

    The lecture's table writes ``K = concat(K_cache, K_d)``. A concat allocates L + 1 rows and
    copies L of them, in every layer at every step. In memory that is reserved once, a step writes
    one row. Attention reads all rows either way, so about a third of the bytes still has to move.

    Attributes:
        kv: (N, B, 2 n_KV, S_max, H), keys and values side by side as if they were 2 n_KV heads, so
            that one copy writes both. Slots beyond ``length`` are not initialised.
        keys, values: (N, B, n_KV, S_max, H), the two halves of ``kv``. Keys are kept after RoPE, so
            a slot keeps its position.
        length: slots filled so far, the same in every row (padding included).
        padding: (B,) how many slots at the start of each row hold padding. Nothing looks at them,
            and positions count from the first real token. None where no row has padding.
        owner: the model whose keys these are; another model cannot use them.
    """

    @checked
    def __init__(
        self,
        *,
        n_layers: int,
        batch_size: int,
        n_kv_heads: int,
        max_seq_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        owner: object = None,
    ):
        sizes = {"n_layers": n_layers, "batch_size": batch_size, "n_kv_heads": n_kv_heads}
        for name, size in (sizes | {"max_seq_len": max_seq_len, "head_dim": head_dim}).items():
            check_count(name, size, most=10**6)
        shape = (n_layers, batch_size, 2 * n_kv_heads, max_seq_len, head_dim)
        with torch.inference_mode(False):  # ordinary tensors, which a reader may change
            self.kv = torch.empty(shape, dtype=dtype, device=device)
            self.keys, self.values = self.kv.chunk(2, 2)  # (N, B, n_KV, S_max, H) each
        self.length = 0
        self.padding, self.owner = None, owner
        self.batch_size, self.max_seq_len = batch_size, max_seq_len

    def append(self, layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Write the L new keys and values of one layer, (B, 2 n_KV, L, H); return all of its keys
        and values, (B, n_KV, length + L, H) each: views of the cache, not copies. ``length`` itself
        grows once for all layers, by ``advance``."""
        end = self.length + kv.shape[2]
        self.kv[layer, :, :, self.length : end] = kv
        return self.kv[layer, :, :, :end].chunk(2, 1)

    def advance(self, seq_len: int) -> None:
        """All layers have written their ``seq_len`` new positions: they belong to the past now."""
        self.length += seq_len

    def pattern(self, seq_len: int) -> Pattern:
        """Positions and mask of ``seq_len`` new tokens behind what is cached."""
        return Pattern.of(self.length, seq_len, self.padding, self.keys.device)

    def check_room(self, seq_len: int) -> None:
        """Raise ValueError unless ``seq_len`` more positions fit."""
        n, most = self.length, self.max_seq_len
        if n + seq_len > most:
            raise ValueError(
                f"cache: {n} of its {most} positions are filled, {seq_len} more do not "
                "fit; make a longer one (max_seq_len)"
            )

    def reset(self) -> None:
        """Forget the past and keep the memory, for the next prompt."""
        self.length, self.padding = 0, None

    @property
    def nbytes(self) -> int:
        """Bytes reserved: 2 · N · B · n_KV · S_max · H · bytes per element."""
        return self.kv.nbytes


def forward(model, input_ids: Tensor, cache: KVCache) -> Tensor:
    """Run L new tokens of each row, (B, L), behind all that is cached; returns the logits of the
    next token, (B, V). Their keys and values are in the cache afterwards."""
    seq_len = input_ids.shape[1]
    with torch.inference_mode():
        hidden = model.hidden(input_ids, cache.pattern(seq_len), cache)  # (B, L, D)
    cache.advance(seq_len)
    return model.logits(hidden[:, -1])  # the last embedding alone gives the next token


def check_cache(cache: KVCache, model, batch_size: int, seq_len: int) -> None:
    """Raise ValueError unless ``seq_len`` tokens in each row of this model's input fit a cache."""
    if not isinstance(cache, KVCache):
        raise ValueError(f"cache: needs a KVCache, got {type(cache).__name__}")
    if cache.owner is not model:
        raise ValueError("cache: made for another model; make it with this engine's new_cache")
    if cache.batch_size != batch_size:
        raise ValueError(f"cache: has {cache.batch_size} rows, the input {batch_size}")
    cache.check_room(seq_len)
