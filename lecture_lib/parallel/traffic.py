"""What a run sends: every collective and message with its payload, and the bytes on the wire."""

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from .results import CommRecord

# torch's communication operators -> (what it is called here, which argument holds what this rank
# puts in). dist.all_reduce & Co. end in "c10d", DTensor and functional collectives in the other.
_OPERATORS = {
    "c10d": {
        "allreduce_": ("all_reduce", 0),
        "allreduce_coalesced_": ("all_reduce", 0),
        "broadcast_": ("broadcast", 0),
        "reduce_": ("reduce", 0),
        "allgather_": ("all_gather", 1),
        "_allgather_base_": ("all_gather", 1),
        "allgather_coalesced_": ("all_gather", 1),
        "allgather_into_tensor_coalesced_": ("all_gather", 1),
        "reduce_scatter_": ("reduce_scatter", 1),
        "_reduce_scatter_base_": ("reduce_scatter", 1),
        "reduce_scatter_tensor_coalesced_": ("reduce_scatter", 1),
        "gather_": ("gather", 1),
        "scatter_": ("scatter", 1),
        "alltoall_": ("all_to_all", 1),
        "alltoall_base_": ("all_to_all", 1),
        "send": ("send", 0),
        "recv_": ("recv", 0),
    },
    "_c10d_functional": {
        "all_reduce": ("all_reduce", 0),
        "all_reduce_": ("all_reduce", 0),
        "all_reduce_coalesced": ("all_reduce", 0),
        "all_reduce_coalesced_": ("all_reduce", 0),
        "broadcast": ("broadcast", 0),
        "broadcast_": ("broadcast", 0),
        "all_gather_into_tensor": ("all_gather", 0),
        "all_gather_into_tensor_out": ("all_gather", 0),
        "all_gather_into_tensor_coalesced": ("all_gather", 0),
        "reduce_scatter_tensor": ("reduce_scatter", 0),
        "reduce_scatter_tensor_coalesced": ("reduce_scatter", 0),
        "all_to_all_single": ("all_to_all", 0),
    },
}

# What the process is doing, said by the code that communicates; a recorder copies it.
_labels = {"phase": "", "step": 0, "layer": None, "part": ""}


def label(**labels) -> None:
    """Say what is being done: ``phase``, ``step``, ``layer``, ``part`` of the records to come."""
    _labels.update(labels)


class TrafficRecorder(TorchDispatchMode):
    """Records each collective and message of this process, and changes nothing.

    It stands where torch dispatches its operators, so it sees what ``torch.distributed`` calls
    and also what DTensor does by itself (CommDebugMode stands there too, and counts calls, not
    bytes). A barrier has no payload and is not recorded.

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
        packet = getattr(func, "overloadpacket", None)
        namespace, _, name = getattr(packet, "_qualified_op_name", "").partition("::")
        found = _OPERATORS.get(namespace, {}).get(name)
        if found is not None:
            self._record(*found, args)
        return func(*args, **(kwargs or {}))

    def _record(self, kind: str, position: int, args) -> None:
        tensors = _flatten(args[position])
        peer = None
        if kind in ("send", "recv"):  # the operator knows the peer by its number in the group
            peer = dist.get_global_rank(dist.ProcessGroup.unbox(args[1]), int(args[2]))
        for tensor in tensors:
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


class WireMeter:
    """Counts the bytes that leave over a network interface (Linux), phase by phase.

    All ranks call its methods together: between two barriers nobody sends anything, and there one
    rank a machine reads the system's counter. The barriers' own bytes (about a hundred a rank)
    are counted with the phase.

    Attributes:
        by_phase: bytes sent from this machine, by phase; empty on ranks that don't read.
        packets_by_phase: packets sent likewise. Each has its headers: Ethernet 14 bytes, IPv4 20,
            TCP 32 with its usual options, 66 in all.
    """

    def __init__(self, device: torch.device):
        self._name = _interface()
        reads = int(os.environ.get("LOCAL_RANK", dist.get_rank())) == 0 and device.type == "cpu"
        self._reads = reads and interface_counters(self._name) is not None
        self.by_phase: dict[str, int] = {}
        self.packets_by_phase: dict[str, int] = {}
        self._last = self._read()

    def lap(self, phase: str) -> None:
        """A phase is over: what was sent since the last lap belongs to it."""
        now = self._read()
        if self._reads:
            self.by_phase[phase] = now[0] - self._last[0]
            self.packets_by_phase[phase] = now[1] - self._last[1]
        self._last = now

    def _read(self) -> tuple[int, int] | None:
        dist.barrier()
        count = interface_counters(self._name) if self._reads else None
        dist.barrier()
        return count


def _interface() -> str:
    """The interface that gloo was told to use; else the loopback, if all ranks are here."""
    here = os.environ.get("LOCAL_WORLD_SIZE", str(dist.get_world_size()))
    default = "lo" if int(here) == dist.get_world_size() else ""
    return os.environ.get("GLOO_SOCKET_IFNAME", default)


def interface_counters(name: str) -> tuple[int, int] | None:
    """Bytes and packets that an interface of this process's network has sent; None if unknown.

    On the loopback interface ("lo") what is sent is received, so this counts each byte once.
    """
    try:
        lines = Path("/proc/self/net/dev").read_text().splitlines()
    except OSError:
        return None
    for line in lines[2:]:
        interface, _, counters = line.partition(":")
        if interface.strip() == name:
            numbers = counters.split()
            return int(numbers[8]), int(numbers[9])
    return None
