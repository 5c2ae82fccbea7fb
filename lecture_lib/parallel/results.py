"""What a parallel run returns: the tokens, and everything that was counted on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ..engine.generation import Timings
    from .schedule import StageBlock


@dataclass(frozen=True)
class CommRecord:
    """One collective or message, as one rank saw it.

    Attributes:
        kind: "all_reduce", "send", "recv", "broadcast", "all_gather" ...
        shape, dtype: of the tensor that the rank put in (for "recv": that it got).
        payload_bytes: its elements times their bytes. What a link carries is more: ``wire_bytes``.
        phase: "prefill" or "decode". step: 0 in prefill, then the number of the decode step.
        layer: the layer that asked for it, None outside of one.
        part: what it belongs to: "attention", "mlp", "hidden" (from stage to stage),
            "token" (back to the first stage), "agreement" (of torch.distributed.pipelining).
        rank: who recorded it. peer: the other end of a "send" or "recv", None in a collective.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    payload_bytes: int
    phase: str = ""
    step: int = 0
    layer: int | None = None
    part: str = ""
    rank: int = 0
    peer: int | None = None

    @classmethod
    def from_json(cls, values: dict) -> CommRecord:
        return cls(**values | {"shape": tuple(values["shape"])})


@dataclass(frozen=True)
class RankMemory:
    """What one rank keeps.

    Attributes:
        rank: the process.
        weight_bytes: all weights that it uses.
        split_weight_bytes: those among them that only this rank has; the rest is replicated
            (tensor parallelism: embeddings and norms), and on a CPU mapped from the file, so
            that all ranks share one copy of it.
        cache_bytes: its KV cache(s), reserved for the whole run.
        start_bytes: private memory before any weight was read (Python, torch).
        peak_bytes: the highest private memory that was seen (sampled every 5 ms). On a GPU the
            most that its allocator gave out, and start_bytes is 0.
    """

    rank: int
    weight_bytes: int
    split_weight_bytes: int
    cache_bytes: int
    start_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class ParallelRun:
    """What both kinds of run have.

    Attributes:
        n_ranks: processes that ran. backend: "own" or "torch". device: "cpu" or "cuda".
        memory: one RankMemory a rank.
        records: everything that every rank sent, received or took part in.
        wire_by_phase: bytes that crossed the network interface, by phase; None where they can't
            be counted (no Linux, GPUs that talk over NVLink).
        packets_by_phase: packets that did, each with 66 bytes of headers (Ethernet, IPv4, TCP).
        wire_is_private: whether the ranks had a network of their own, where nothing else counts.
        ranks_wall_s: from the start of the first process to the end of the last.
    """

    n_ranks: int
    backend: str
    device: str
    memory: list[RankMemory]
    records: list[CommRecord] = field(repr=False)
    wire_by_phase: dict[str, int] | None
    packets_by_phase: dict[str, int] | None
    wire_is_private: bool
    ranks_wall_s: float

    @property
    def wire_bytes(self) -> int | None:
        """Bytes over the interface in the whole run, sent by all ranks together, or None."""
        return None if self.wire_by_phase is None else sum(self.wire_by_phase.values())

    def memory_table(self) -> pd.DataFrame:
        """The memory of each rank in MB (10⁶ bytes), one row a rank."""
        import pandas as pd

        columns = ("weight_bytes", "split_weight_bytes", "cache_bytes", "start_bytes", "peak_bytes")
        rows = [[getattr(m, name) / 1e6 for name in columns] for m in self.memory]
        names = [name.replace("_bytes", "").replace("_", " ") + " (MB)" for name in columns]
        index = pd.Index([m.rank for m in self.memory], name="rank")
        return pd.DataFrame(rows, columns=names, index=index)


@dataclass(frozen=True)
class TensorParallelRun(ParallelRun):
    """What ``run_tensor_parallel`` returns.

    Attributes:
        token_ids: the new tokens, the EOS that ended them included. text: their text.
        logits: float32 (T, V), row i those that token i was chosen from.
        timings: of rank 0: time to first token, seconds of each decode step.
    """

    token_ids: list[int]
    text: str
    logits: Tensor = field(repr=False)
    timings: Timings

    @property
    def collectives(self) -> list[CommRecord]:
        """Each collective once, as rank 0 recorded it."""
        return [record for record in self.records if record.rank == 0]

    @property
    def payload_bytes(self) -> int:
        """Sum of the collectives' payloads, each counted once (not once a rank)."""
        return sum(record.payload_bytes for record in self.collectives)

    def traffic_table(self) -> pd.DataFrame:
        """The collectives, equal ones counted together."""
        return traffic_table(self.collectives)


@dataclass(frozen=True)
class PipelineRun(ParallelRun):
    """What ``run_pipeline_parallel`` returns.

    Attributes:
        token_ids: for each request its new tokens, up to and including EOS. texts: their texts.
        logits: for each request float32 (T, V), row i those that token i was chosen from.
        blocks: when which stage computed what, for the chart of the schedule.
    """

    token_ids: list[list[int]]
    texts: list[str]
    logits: list[Tensor] = field(repr=False)
    blocks: list[StageBlock] = field(repr=False)

    @property
    def n_stages(self) -> int:
        return self.n_ranks

    @property
    def sends(self) -> list[CommRecord]:
        """Every message once, as its sender recorded it."""
        return [record for record in self.records if record.kind == "send"]

    @property
    def payload_bytes(self) -> int:
        """Sum of the messages' payloads, each counted once."""
        return sum(record.payload_bytes for record in self.sends)

    @property
    def total_s(self) -> float:
        """Seconds from the first block's start to the last block's end."""
        return max(b.end_s for b in self.blocks) - min(b.start_s for b in self.blocks)

    def traffic_table(self) -> pd.DataFrame:
        """The messages, equal ones counted together."""
        return traffic_table(self.sends)


def traffic_table(records: list[CommRecord]) -> pd.DataFrame:
    """Records counted: one row for each phase, kind, part, shape and dtype, in order of appearance.

    Returns:
        Columns phase, kind, part, shape, dtype, count, payload_bytes (of one), total_bytes.
    """
    import pandas as pd

    columns = ["phase", "kind", "part", "shape", "dtype", "payload_bytes"]
    rows = [
        (r.phase, r.kind, r.part, "×".join(map(str, r.shape)), r.dtype, r.payload_bytes)
        for r in records
    ]
    table = pd.DataFrame(rows, columns=columns)
    table = table.groupby(columns, sort=False).size().reset_index(name="count")
    table["total_bytes"] = table["count"] * table["payload_bytes"]
    return table[[*columns[:5], "count", "payload_bytes", "total_bytes"]]
