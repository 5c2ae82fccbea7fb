"""Attention over new and cached positions: who may look at whom, and the products themselves."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Pattern:
    """Positions and mask of one call, computed once and used in every layer.

    Attributes:
        positions: (1, L) or, with padding, (B, L): each token's place in its own text.
        mask: (1 or B, 1, L, S), True where a query may look at a key. None where no key has to
            be hidden from a single token, or where L tokens are all there is (plainly causal).
    """

    positions: Tensor
    mask: Tensor | None

    @classmethod
    def of(cls, past_len: int, seq_len: int, padding: Tensor | None, device) -> "Pattern":
        """The causal pattern of ``seq_len`` tokens behind ``past_len`` cached ones.

        Args:
            padding: (B,) how many of each row's first slots hold padding, or None.
        """
        slots = torch.arange(past_len, past_len + seq_len, device=device)  # (L,)
        positions = slots[None]  # (1, L)
        if padding is not None:
            positions = (positions - padding[:, None]).clamp_min(0)  # (B, L)
        elif past_len == 0 or seq_len == 1:
            return cls(positions, mask=None)
        # A chunk behind a cache needs its mask too: its first token must not see its last.
        keys = torch.arange(past_len + seq_len, device=device)  # (S,)
        mask = (keys <= slots[:, None])[None, None]  # (1, 1, L, S)
        if padding is not None:
            real = (keys >= padding[:, None])[:, None, None]  # (B, 1, 1, S)
            # A padding token looks at itself, so that its softmax is not over nothing (NaN).
            mask = (mask & real) | (keys == slots[:, None])  # (B, 1, L, S)
        return cls(positions, mask)


def attend(q: Tensor, k: Tensor, v: Tensor, pattern: Pattern) -> Tensor:
    """softmax(Q K^T / √H) V for every head, heads merged (Vaswani et al. 2017, eq. 1).

    Args:
        q: (B, n_H, L, H). k, v: (B, n_KV, S, H), n_H a multiple of n_KV: query head i uses
            key/value head i // (n_H / n_KV) (grouped-query attention, arXiv 2305.13245).

    Returns:
        (B, L, n_H · H)
    """
    if q.shape[2] == 1:
        return attend_one(q, k, v, pattern.mask)
    causal = pattern.mask is None  # L = S: the kernel skips the upper triangle by itself
    grouped = q.shape[1] != k.shape[1]
    z = F.scaled_dot_product_attention(
        q, k, v, attn_mask=pattern.mask, is_causal=causal, enable_gqa=grouped
    )  # (B, n_H, L, H)
    return z.transpose(1, 2).flatten(2)  # (B, L, n_H * H)


def attend_one(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """``attend`` for a single new token a row.

    The query heads of a group stand below one another, as if they were n_H / n_KV tokens: so a
    group reads its keys once and where they lie. (The kernel's own ``enable_gqa`` first repeats
    the whole cache for every query head.)
    """
    batch_size, n_heads, _, head_dim = q.shape
    q = q.reshape(batch_size, k.shape[1], -1, head_dim)  # (B, n_KV, n_H / n_KV, H)
    z = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, n_KV, n_H / n_KV, H)
    return z.reshape(batch_size, 1, n_heads * head_dim)  # a view, but for some CUDA kernels
