"""What a run sends: every collective and message with its payload."""

from dataclasses import dataclass

import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode  # there is no public name
from torch.utils._pytree import tree_leaves  # there is no public name

# Kinds of communication. torch's operators are called after them, with more or fewer underscores
# and with an ending: allreduce_, _allgather_base_, all_gather_into_tensor.
_KINDS = (
    "all_reduce", "all_gather", "all_to_all", "reduce_scatter", "reduce", "broadcast", "gather",
    "scatter", "send", "recv",
)  # fmt: skip
# Of c10d's, these take the tensors that they write first, and then what this rank puts in.
_OUTPUT_FIRST = ("all_gather", "reduce_scatter", "gather", "scatter", "all_to_all")

# What the process is doing. The code that communicates sets it, and a recorder copies it.
_labels = {"phase": "", "step": 0, "layer": None, "part": ""}


def label(**labels) -> None:
    """Set what is being done: ``phase``, ``step``, ``layer``, ``part`` of the records to come."""
    _labels.update(labels)


@dataclass(frozen=True)
class CommRecord:
    """One collective or message, as one rank saw it."""

    kind: str  # "all_reduce", "send", "recv", "broadcast", "all_gather" ...
    shape: tuple[int, ...]  # of the tensor that the rank put in (for "recv": that it got)
    dtype: str
    payload_bytes: int  # what a link carries is more: wire_bytes
    phase: str = ""  # "prefill" or "decode"
    step: int = 0  # 0 in prefill, then the number of the decode step
    layer: int | None = None  # the layer that asked for it, None outside of one
    # What it belongs to: "attention", "mlp", "hidden" (from stage to stage), "token" (back to the
    # first stage).
    part: str = ""
    rank: int = 0  # who recorded it
    peer: int | None = None  # the other end of a "send" or "recv", None in a collective


class TrafficRecorder(TorchDispatchMode):
    """Records each collective and message of this process in ``records``, and changes nothing.

    torch calls it for every operator that it dispatches, so it sees what ``torch.distributed``
    calls and also what DTensor does by itself. (torch's CommDebugMode does the same, but counts
    calls, not bytes.) A barrier has no payload and is not recorded.

        with TrafficRecorder() as traffic:
            dist.all_reduce(x)
        traffic.records   # [CommRecord(kind="all_reduce", shape=..., payload_bytes=...)]
    """

    def __init__(self):
        super().__init__()
        self.records: list[CommRecord] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # let DTensor turn it into plain operators, which come by again
        # "c10d::allreduce_.default"; operators of other kinds may have no such name
        namespace, _, name = str(func.name()).partition("::")
        if namespace in ("c10d", "_c10d_functional") and (kind := _kind_of(name)):
            self._record(kind, args, output_first=namespace == "c10d" and kind in _OUTPUT_FIRST)
        return func(*args, **(kwargs or {}))

    def _record(self, kind: str, args, output_first: bool) -> None:
        peer = None
        if kind in ("send", "recv"):  # the operator knows the peer by its number in the group
            peer = dist.get_global_rank(dist.ProcessGroup.unbox(args[1]), int(args[2]))
        for tensor in tree_leaves(args[output_first]):
            record = CommRecord(
                kind=kind,
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                payload_bytes=tensor.nbytes,
                rank=dist.get_rank(),
                peer=peer,
                **_labels,
            )
            self.records.append(record)


def _kind_of(name: str) -> str | None:
    """The kind of an operator of that name; None where it moves nothing (barrier, wait_tensor)."""
    plain = name.replace("_", "")
    return next((kind for kind in _KINDS if plain.startswith(kind.replace("_", ""))), None)


def traffic_table(records: list[CommRecord]):
    """A DataFrame: one row for each phase, kind, part, shape and dtype, in order of appearance.

    Columns: phase, kind, part, shape, dtype, count, payload_bytes (of one), total_bytes.
    """
    import pandas as pd

    columns = ["phase", "kind", "part", "shape", "dtype", "payload_bytes"]
    rows = [vars(record) | {"shape": "×".join(map(str, record.shape))} for record in records]
    table = pd.DataFrame(rows, columns=columns)
    table = table.groupby(columns, sort=False).size().reset_index(name="count")
    table["total_bytes"] = table["count"] * table["payload_bytes"]
    return table[[*columns[:5], "count", "payload_bytes", "total_bytes"]]
