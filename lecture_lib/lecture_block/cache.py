"""KV caches of one block: the slide's, which concatenates, and the one real engines use.

Both offer the same two lines to a decode step, ``k = cache.with_key(k_d)`` and the same for v, and
both count the bytes they copy. Over n steps from length L, concatenation copies every old row again
each time, O((L + n)²) in all; the preallocated cache writes only what is new, O(n).
"""

from dataclasses import dataclass

import torch

from ..checks import check_count, check_type


@dataclass(frozen=True)
class KVCache:
    """Keys and values of the L positions so far. Never changed in place: a step makes a new one.

    Attributes:
        keys, values: (L, D) each, heads not split yet, as in the lecture's decode table.
        bytes_copied: bytes written to memory by the steps up to here.
    """

    keys: torch.Tensor
    values: torch.Tensor
    bytes_copied: int = 0

    def __post_init__(self):
        k, v = self.keys, self.values
        kinds = [(tuple(y.shape), y.dtype) for y in (k, v) if isinstance(y, torch.Tensor)]
        if len(kinds) != 2 or kinds[0] != kinds[1] or k.ndim != 2 or len(k) == 0:
            raise ValueError(
                "keys, values: need two tensors of one shape (L, D), L at least 1, and one dtype "
                f"(prefill_block makes the first cache), got {kinds}"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def with_key(self, k_d: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.keys, k_d])  # (L, D), (1, D) -> (L+1, D), every old row copied

    def with_value(self, v_d: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.values, v_d])  # (L+1, D)

    def after(self, k: torch.Tensor, v: torch.Tensor) -> "KVCache":
        """The cache after the step that made k and v, (L+1, D) each."""
        return KVCache(k, v, self.bytes_copied + k.nbytes + v.nbytes)


class PreallocatedKVCache:
    """Room for max_seq_len positions from the start; a step writes one row into it, in place.

    Engines do this because a step then copies one row instead of all, needs no second copy of the
    cache meanwhile, and leaves every tensor at its address. The price is memory for positions that
    may never be used. And because a step changes this object, two continuations need two caches.

    Args:
        cache: what prefill_block returned; copied once.
        max_seq_len: positions to make room for, at least len(cache).
    """

    def __init__(self, cache: KVCache, max_seq_len: int):
        check_type("cache", cache, KVCache, "what prefill_block returned")
        max_seq_len = check_count("max_seq_len", max_seq_len, least=len(cache), most=10**6)
        self._length = len(cache)
        self._keys = cache.keys.new_zeros(max_seq_len, cache.keys.shape[1])  # (max_seq_len, D)
        self._values = torch.zeros_like(self._keys)
        self.keys[:] = cache.keys
        self.values[:] = cache.values
        self.bytes_copied = cache.keys.nbytes + cache.values.nbytes

    def __len__(self) -> int:
        return self._length

    @property
    def keys(self) -> torch.Tensor:
        return self._keys[: self._length]  # (L, D), a view

    @property
    def values(self) -> torch.Tensor:
        return self._values[: self._length]

    def with_key(self, k_d: torch.Tensor) -> torch.Tensor:
        return self._write(self._keys, k_d)

    def with_value(self, v_d: torch.Tensor) -> torch.Tensor:
        return self._write(self._values, v_d)

    def after(self, k: torch.Tensor, v: torch.Tensor) -> "PreallocatedKVCache":
        self._length = len(k)
        return self

    def _write(self, buffer: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        if self._length == len(buffer):
            raise ValueError(f"cache: all {len(buffer)} positions are taken (max_seq_len)")
        buffer[self._length : self._length + 1] = new  # (1, D), no old row moves
        self.bytes_copied += new.nbytes
        return buffer[: self._length + 1]  # (L+1, D), a view
