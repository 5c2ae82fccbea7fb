"""Links between devices: published bandwidths and latencies, and the time a transfer takes."""

from __future__ import annotations

import types
from dataclasses import dataclass

from lecture_lib.checks import UnknownNameError, check_count, check_number, suggest

from .transfers import Transfer, Volume
from .wire import all_reduce_steps, check_algorithm, ring_wire_bytes, tree_wire_bytes


@dataclass(frozen=True)
class Link:
    """What one device sends to another.

    Args:
        name: what to call it.
        bandwidth: bytes/s in ONE direction (vendors like to print both directions together).
        latency_s: seconds that a message takes beside its bytes.
        source: where the numbers come from.

    Raises:
        ValueError: an empty name, a bandwidth that is not above 0, a negative latency.
    """

    name: str
    bandwidth: float
    latency_s: float
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: must be a non-empty string, got {self.name!r}")
        check_number("bandwidth", self.bandwidth, above=0)
        check_number("latency_s", self.latency_s, least=0)


class UnknownLinkError(UnknownNameError):
    """No preset has this name; the message suggests near ones."""


class _LinkTable(dict[str, Link]):
    """A dictionary whose unknown key says which names are near."""

    def __missing__(self, name: str) -> Link:
        key = str(name).lower()
        near = [known for known in self if key and (key in known or known in key)]
        hint = suggest(name, self, cutoff=0.4, near=near)
        raise UnknownLinkError(f"link: none is called {name!r}; {hint}")


# Time of a hop as NVIDIA's NCCL assumes it when it chooses an algorithm: src/graph/tuning.cc at
# commit 01afd20a, table hwLat, ring with the protocol for small messages (LL). Starting a
# collective costs 3.6 µs more there (baseLat), which is not counted here.
_NCCL = "latency of a hop: NCCL, src/graph/tuning.cc (01afd20a), hwLat, ring, LL"
_NVLINK_HOP, _PCIE_HOP, _NETWORK_HOP = 0.47e-6, 1.0e-6, 2.7e-6
# A PCIe lane carries 128 bits in 130; 16 lanes; transfers a second by generation.
_PCIE = {generation: rate * 16 * 128 / 130 / 8 for generation, rate in ((4, 16e9), (5, 32e9))}

_PRESETS = {
    "nvlink3": (300e9, _NVLINK_HOP, "NVIDIA A100 datasheet: 600 GB/s, both directions"),
    "nvlink4": (450e9, _NVLINK_HOP, "NVIDIA H100 datasheet: 900 GB/s, both directions"),
    "pcie4-x16": (_PCIE[4], _PCIE_HOP, "PCI Express 4.0: 16 GT/s × 16 lanes × 128/130"),
    "pcie5-x16": (_PCIE[5], _PCIE_HOP, "PCI Express 5.0: 32 GT/s × 16 lanes × 128/130"),
    "infiniband-ndr": (400e9 / 8, _NETWORK_HOP, "InfiniBand NDR, 4 lanes: 400 Gb/s"),
    "100gbe": (100e9 / 8, _NETWORK_HOP, "IEEE 802.3, 100 Gb/s; with RDMA: TCP takes longer"),
}

#: Published links by name: read-only; an unknown name is a KeyError that suggests near ones.
LINKS = types.MappingProxyType(
    _LinkTable(
        {
            name: Link(name, bandwidth, latency_s, f"{source}; {_NCCL}")
            for name, (bandwidth, latency_s, source) in _PRESETS.items()
        }
    )
)


def as_link(link: Link | str) -> Link:
    """A Link itself, or the preset of this name.

    Raises:
        ValueError: an unknown name (UnknownLinkError), or something else altogether.
    """
    if isinstance(link, str):
        return LINKS[link]
    if not isinstance(link, Link):
        raise ValueError(f"link: must be a Link or the name of a preset, got {type(link).__name__}")
    return link


def transfer_time_s(payload_bytes: float, link: Link | str, *, n_messages: int = 1) -> float:
    """Seconds for bytes in ``n_messages`` after one another: n·latency + bytes / bandwidth.

    The model of Hockney, "The communication challenge for MPP", Parallel Computing 20(3), 1994.

    Raises:
        ValueError: a negative payload, ``n_messages`` below 0, an unknown link.
    """
    link = as_link(link)
    check_number("payload_bytes", payload_bytes, least=0)
    check_count("n_messages", n_messages, least=0)
    return n_messages * link.latency_s + payload_bytes / link.bandwidth


def all_reduce_time_s(
    payload_bytes: float, n_ranks: int, link: Link | str, *, algorithm: str = "ring"
) -> float:
    """Seconds of one AllReduce: its steps' latencies, and the busiest rank's bytes.

    ring: 2(n-1) · (latency + S/n / bandwidth). tree: 2·⌊log2 n⌋ · latency + busiest rank's bytes /
    bandwidth, for a tree that works in small pieces, so that its levels are busy at once.

    Raises:
        ValueError: as ``ring_wire_bytes``; an unknown link or algorithm.
    """
    check_algorithm(algorithm)
    count = ring_wire_bytes if algorithm == "ring" else tree_wire_bytes
    steps = all_reduce_steps(n_ranks, algorithm)
    return transfer_time_s(count(payload_bytes, n_ranks), link, n_messages=steps)


@dataclass(frozen=True)
class LinkTime:
    """Seconds on the link, nothing hidden behind computing: of the prefill, of ONE decode pass,
    and of the whole request."""

    prefill_s: float
    decode_step_s: float
    request_s: float


def communication_time_s(volume: Volume, link: Link | str, *, algorithm: str = "ring") -> LinkTime:
    """Seconds that one request's communication takes, each transfer after the one before.

    Args:
        volume: of ``pipeline_volume`` or ``tensor_parallel_volume``.

    Raises:
        ValueError: an unknown link or algorithm.
    """
    link = as_link(link)
    check_algorithm(algorithm)
    times = {"prefill": 0.0, "decode": 0.0}
    for t in volume.transfers:
        times[t.phase] += t.per_pass * _time_of_one(t, volume.n_ranks, link, algorithm)
    request_s = times["prefill"] + volume.n_decode_passes * times["decode"]
    return LinkTime(times["prefill"], times["decode"], request_s)


def _time_of_one(transfer: Transfer, n_ranks: int, link: Link, algorithm: str) -> float:
    if transfer.kind == "all_reduce":
        return all_reduce_time_s(transfer.payload_bytes, n_ranks, link, algorithm=algorithm)
    busiest = transfer.wire_bytes(n_ranks, all_ranks=False)
    hops = n_ranks - 1 if transfer.kind == "all_gather" else 1
    return transfer_time_s(busiest, link, n_messages=hops)
