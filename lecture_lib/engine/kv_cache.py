"""KVCache: the keys and values of every position so far, in memory reserved once."""

import torch
from torch import Tensor

from lecture_lib.checks import check_count

from .attention import Pattern


class KVCache:
    """Keys and values of all layers, with room for ``max_seq_len`` positions a row.

    The lecture's table writes ``K = concat(K_cache, K_d)``. A concat allocates (L+1) rows and
    copies L of them, in every layer at every step: O(n²) bytes moved for n tokens. Reserved once,
    a step writes one row and reads the rest where it lies; nothing is moved.

    Rows of a batch may start with padding (prompts of different lengths, padded on the left):
    ``padding[b]`` slots of row b are never looked at, and its positions count from the first
    real token.

    Attributes:
        keys, values: (N, B, n_KV, S_max, H), two halves of one tensor; what lies beyond ``length``
            is not initialised. Keys are kept after RoPE, so a slot and its position belong
            together for good.
        length: slots filled so far, the same in every row (padding included).
        padding: (B,) left-padding slots of each row, or None where no row has any.
    """

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
        check_count("n_layers", n_layers)
        check_count("batch_size", batch_size)
        check_count("n_kv_heads", n_kv_heads)
        check_count("max_seq_len", max_seq_len)
        check_count("head_dim", head_dim)
        # Keys and values side by side, as if they were 2 n_KV heads: one copy writes both.
        shape = (n_layers, batch_size, 2 * n_kv_heads, max_seq_len, head_dim)
        with torch.inference_mode(False):  # ordinary tensors, that a reader may also change
            self._kv = torch.empty(shape, dtype=dtype, device=device)
            self.keys, self.values = self._kv.chunk(2, 2)  # (N, B, n_KV, S_max, H) each
            self._layers = self._kv.unbind(0)  # made once: indexing in each step's layers costs
        self.length = 0
        self.padding: Tensor | None = None
        self.owner = owner  # the model whose keys these are: another model's mean nothing

    def append(self, layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values of one layer; return those of all positions.

        Args:
            layer: index of the layer.
            kv: (B, 2 n_KV, L, H), the L new positions: the heads' keys, then their values.

        Returns:
            Keys and values, views (not copies) of the cache, each (B, n_KV, S, H) with
            S = length + L. ``length`` itself grows once for all layers, by ``advance``.
        """
        cached = self._layers[layer]  # (B, 2 n_KV, S_max, H)
        seq_len = kv.shape[2]
        cached.narrow(2, self.length, seq_len).copy_(kv)
        return cached.narrow(2, 0, self.length + seq_len).chunk(2, 1)

    def advance(self, seq_len: int) -> None:
        """All layers have written their ``seq_len`` new positions: they belong to the past now."""
        self.length += seq_len

    def pattern(self, seq_len: int) -> Pattern:
        """Positions and mask of ``seq_len`` new tokens behind what is cached."""
        return Pattern.of(self.length, seq_len, self.padding, self.keys.device)

    def check_room(self, seq_len: int) -> None:
        """Raise ValueError unless ``seq_len`` more positions fit."""
        if self.length + seq_len > self.max_seq_len:
            raise ValueError(
                f"cache: {self.length} of its {self.max_seq_len} positions are filled, "
                f"{seq_len} more do not fit; make a longer one (max_seq_len)"
            )

    def reset(self) -> None:
        """Forget the past and keep the memory, for the next prompt."""
        self.length = 0
        self.padding = None

    @property
    def batch_size(self) -> int:
        return self.keys.shape[1]

    @property
    def max_seq_len(self) -> int:
        return self.keys.shape[3]

    @property
    def nbytes(self) -> int:
        """Bytes reserved: 2 · N · B · n_KV · S_max · H · bytes of an element."""
        return self._kv.nbytes

    @property
    def filled_bytes(self) -> int:
        """Bytes of the ``length`` positions in use, what one decode step reads."""
        return self.nbytes * self.length // self.max_seq_len

    def __repr__(self) -> str:
        n, b, n_kv, s_max, h = self.keys.shape
        return (
            f"KVCache({self.length} of {s_max} positions, batch_size={b}, n_layers={n}, "
            f"n_kv_heads={n_kv}, head_dim={h}, {self.keys.dtype}, {self.nbytes / 1e6:.1f} MB)"
        )
