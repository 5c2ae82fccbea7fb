"""Links between devices: published bandwidths and latencies, and the time a transfer takes."""

from __future__ import annotations

import types
from dataclasses import dataclass

from lecture_lib.checks import UnknownNameError, check_count, check_number, suggest

from .ring import ring_wire_bytes
from .volumes import Transfer, Volume


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


class _LinkTable(dict[str, Link]):
    """A dictionary whose error for an unknown key suggests near names."""

    def __missing__(self, name: str) -> Link:
        key = str(name).lower()
        near = [known for known in self if key and (key in known or known in key)]
        hint = suggest(name, self, cutoff=0.4, near=near)
        raise UnknownNameError(f"link: none is called {name!r}; {hint}")


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
        ValueError: an unknown name (UnknownNameError), or something else altogether.
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


def all_reduce_time_s(payload_bytes: float, n_ranks: int, link: Link | str) -> float:
    """Seconds of one AllReduce in a ring: 2(n-1) · (latency + S/n / bandwidth).

    Raises:
        ValueError: as ``ring_wire_bytes``; an unknown link.
    """
    sent = ring_wire_bytes(payload_bytes, n_ranks)
    return transfer_time_s(sent, link, n_messages=2 * (n_ranks - 1))


@dataclass(frozen=True)
class LinkTime:
    """Seconds on the link, nothing hidden behind computing: of the prefill, of ONE decode pass,
    and of the whole request."""

    prefill_s: float
    decode_step_s: float
    request_s: float


def communication_time_s(volume: Volume, link: Link | str) -> LinkTime:
    """Seconds that one request's communication takes, each transfer after the one before.

    Args:
        volume: of ``pipeline_volume`` or ``tensor_parallel_volume``.

    Raises:
        ValueError: an unknown link.
    """
    link = as_link(link)
    times = {"prefill": 0.0, "decode": 0.0}
    for transfer in volume.transfers:
        one_s = _transfer_time_s(transfer, volume.n_ranks, link)
        times[transfer.phase] += transfer.per_pass * one_s
    request_s = times["prefill"] + volume.n_decode_passes * times["decode"]
    return LinkTime(times["prefill"], times["decode"], request_s)


def _transfer_time_s(transfer: Transfer, n_ranks: int, link: Link) -> float:
    """Seconds of ONE transfer; of an AllGather (in a ring) every rank sends (n-1)/n."""
    if transfer.kind == "all_reduce":
        return all_reduce_time_s(transfer.payload_bytes, n_ranks, link)
    if transfer.kind == "all_gather":
        sent = transfer.payload_bytes * (n_ranks - 1) / n_ranks
        return transfer_time_s(sent, link, n_messages=n_ranks - 1)
    return transfer_time_s(transfer.payload_bytes, link)
