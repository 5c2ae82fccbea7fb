"""Transfer and Volume: what a request sends, pass by pass; payload and wire kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .wire import all_gather_wire_bytes, check_algorithm, ring_wire_bytes, tree_wire_bytes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Transfer:
    """One kind of communication in ONE forward pass.

    Attributes:
        phase: "prefill" or "decode". what: in words. kind: "send", "all_reduce", "all_gather".
        per_pass: how often it happens in one forward pass.
        payload_bytes: of one: the tensor sent, summed or gathered, counted once.
    """

    phase: str
    what: str
    kind: str
    per_pass: int
    payload_bytes: float

    def wire_bytes(self, n_ranks: int, *, algorithm: str = "ring", all_ranks: bool = True) -> float:
        """Bytes on the links for ONE of these: over all ranks, or from the busiest rank."""
        check_algorithm(algorithm)
        if self.kind == "send":  # point to point: what goes out is the payload, no more
            return self.payload_bytes
        if self.kind == "all_gather":
            return all_gather_wire_bytes(self.payload_bytes, n_ranks, all_ranks=all_ranks)
        count = ring_wire_bytes if algorithm == "ring" else tree_wire_bytes
        return count(self.payload_bytes, n_ranks, all_ranks=all_ranks)


@dataclass(frozen=True)
class Volume:
    """What a request sends: B prompts of L tokens, ``max_new_tokens`` new tokens each.

    The number of decode passes is ``max_new_tokens - 1``: the prefill already yields the first
    new token.

    Attributes:
        model: name of the model. n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes: as
            given. transfers: what happens in one prefill pass and in one decode pass.
    """

    model: str
    n_ranks: int
    seq_len: int
    max_new_tokens: int
    batch_size: int
    dtype_bytes: float
    transfers: tuple[Transfer, ...]

    @property
    def n_decode_passes(self) -> int:
        """max_new_tokens - 1."""
        return self.max_new_tokens - 1

    @property
    def prefill_bytes(self) -> float:
        """Payload of the prefill."""
        return self._payload("prefill")

    @property
    def decode_step_bytes(self) -> float:
        """Payload of ONE decode pass: one more token for each of the B sequences."""
        return self._payload("decode")

    @property
    def decode_bytes(self) -> float:
        """Payload of all ``max_new_tokens - 1`` decode passes."""
        return self.n_decode_passes * self.decode_step_bytes

    @property
    def payload_bytes(self) -> float:
        """Payload of the whole request, each tensor counted once."""
        return self.prefill_bytes + self.decode_bytes

    @property
    def wire_bytes(self) -> float:
        """Bytes that all ranks together send in the request (ring collectives)."""
        return self.wire()

    def passes(self, phase: str) -> int:
        """Forward passes of a phase in the request."""
        return 1 if phase == "prefill" else self.n_decode_passes

    def wire(self, *, algorithm: str = "ring", all_ranks: bool = True) -> float:
        """Wire bytes of the request, over all ranks or from the busiest one."""
        return sum(
            self.passes(t.phase)
            * t.per_pass
            * t.wire_bytes(self.n_ranks, algorithm=algorithm, all_ranks=all_ranks)
            for t in self.transfers
        )

    def table(self) -> pd.DataFrame:
        """One row for each kind of communication of each phase, in bytes.

        Returns:
            Columns phase, what, kind, count (in the request), payload_bytes (of one),
            total_payload_bytes, ring_rank_bytes and tree_rank_bytes (of one, from the busiest
            rank), wire_bytes (of all of them, from all ranks).
        """
        import pandas as pd

        rows = []
        for t in self.transfers:
            count = t.per_pass * self.passes(t.phase)
            rows.append(
                {
                    "phase": t.phase,
                    "what": t.what,
                    "kind": t.kind,
                    "count": count,
                    "payload_bytes": t.payload_bytes,
                    "total_payload_bytes": count * t.payload_bytes,
                    "ring_rank_bytes": t.wire_bytes(self.n_ranks, all_ranks=False),
                    "tree_rank_bytes": t.wire_bytes(
                        self.n_ranks, algorithm="tree", all_ranks=False
                    ),
                    "wire_bytes": count * t.wire_bytes(self.n_ranks),
                }
            )
        columns = list(rows[0]) if rows else ["phase", "what", "kind", "count"]
        return pd.DataFrame(rows, columns=columns)

    def _payload(self, phase: str) -> float:
        return sum(t.per_pass * t.payload_bytes for t in self.transfers if t.phase == phase)
