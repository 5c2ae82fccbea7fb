"""What a run sends: every collective and message with its payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode  # there is no public name

if TYPE_CHECKING:
    import pandas as pd

# torch's communication operators, by what they are called here. dist.all_reduce & Co. call those
# of "c10d", DTensor and the functional collectives those of "_c10d_functional".
_OPERATORS = {
    "all_reduce": "allreduce_ allreduce_coalesced_ all_reduce all_reduce_ all_reduce_coalesced",
    "broadcast": "broadcast_ broadcast",
    "reduce": "reduce_",
    "all_gather": "allgather_ _allgather_base_ allgather_coalesced_ all_gather_into_tensor "
    "allgather_into_tensor_coalesced_ all_gather_into_tensor_coalesced",
    "reduce_scatter": "reduce_scatter_ _reduce_scatter_base_ reduce_scatter_tensor "
    "reduce_scatter_tensor_coalesced_ reduce_scatter_tensor_coalesced",
    "gather": "gather_",
    "scatter": "scatter_",
    "all_to_all": "alltoall_ alltoall_base_ all_to_all_single",
    "send": "send",
    "recv": "recv_",
}
_KINDS = {name: kind for kind, names in _OPERATORS.items() for name in names.split()}
# Of c10d's, these take the tensors that they write first, and then what this rank puts in.
_OUTPUT_FIRST = ("all_gather", "reduce_scatter", "gather", "scatter", "all_to_all")

# What the process is doing. The code that communicates sets it, and a recorder copies it.
_labels = {"phase": "", "step": 0, "layer": None, "part": ""}


def label(**labels) -> None:
    """Set what is being done: ``phase``, ``step``, ``layer``, ``part`` of the records to come."""
    _labels.update(labels)


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


class TrafficRecorder(TorchDispatchMode):
    """Records each collective and message of this process, and changes nothing.

    torch calls it for every operator that it dispatches, so it sees what ``torch.distributed``
    calls and also what DTensor does by itself. (torch's CommDebugMode does the same, but counts
    calls, not bytes.) A barrier has no payload and is not recorded.

        with TrafficRecorder() as traffic:
            dist.all_reduce(x)
        traffic.records   # [CommRecord(kind="all_reduce", shape=..., payload_bytes=...)]

    Attributes:
        records: list of CommRecord, in the order of the calls.
    """

    def __init__(self):
        super().__init__()
        self.records: list[CommRecord] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # let DTensor turn it into plain operators, which come by again
        # "c10d::allreduce_.default"; operators of other kinds may have no such name
        namespace, _, name = str(func.name()).partition("::")
        kind = _KINDS.get(name.partition(".")[0])
        if namespace in ("c10d", "_c10d_functional") and kind is not None:
            self._record(kind, args, output_first=namespace == "c10d" and kind in _OUTPUT_FIRST)
        return func(*args, **(kwargs or {}))

    def _record(self, kind: str, args, output_first: bool) -> None:
        peer = None
        if kind in ("send", "recv"):  # the operator knows the peer by its number in the group
            peer = dist.get_global_rank(dist.ProcessGroup.unbox(args[1]), int(args[2]))
        for tensor in _flatten(args[output_first]):
            record = CommRecord(
                kind=kind,
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                payload_bytes=tensor.numel() * tensor.element_size(),
                rank=dist.get_rank(),
                peer=peer,
                **_labels,
            )
            self.records.append(record)


def _flatten(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for each in value for tensor in _flatten(each)]


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
