"""Links between devices: published bandwidths and latencies, and the time a transfer takes."""

from dataclasses import dataclass
from typing import NamedTuple

from lecture_lib.checks import check_count, check_number, check_text, checked, presets

from .ring import ring_wire_bytes
from .volumes import Volume


@dataclass(frozen=True)
class Link:
    """A connection over which one device sends to another."""

    name: str
    bandwidth: float  # bytes/s in ONE direction (vendors like to print both together)
    latency_s: float  # seconds that a message takes before its bytes
    start_s: float = 0.0  # seconds to start a collective, before its first message

    def __post_init__(self) -> None:
        check_text("name", self.name)
        check_number("bandwidth", self.bandwidth, above=0)
        check_number("latency_s", self.latency_s, least=0)
        check_number("start_s", self.start_s, least=0)


# Times as NVIDIA's NCCL assumes them when it chooses an algorithm: src/graph/tuning.cc at commit
# 01afd20a, ring with the protocol for small messages (LL). A hop: table hwLat. Starting a
# collective: 3.6 µs in baseLat there, 6.6 µs in newer versions.
_NVLINK_HOP, _PCIE_HOP, _NETWORK_HOP = 0.47e-6, 1.0e-6, 2.7e-6
_START = 3.6e-6
_PCIE_LANES = 16 * 128 / 130 / 8  # 16 lanes, of which each carries 128 bits in 130, as bytes
_PRESETS = (
    ("nvlink3", 300e9, _NVLINK_HOP),  # NVIDIA A100 datasheet: 600 GB/s, both directions
    ("nvlink4", 450e9, _NVLINK_HOP),  # NVIDIA H100 datasheet: 900 GB/s, both directions
    ("pcie4-x16", 16e9 * _PCIE_LANES, _PCIE_HOP),  # PCI Express 4.0: 16 GT/s a lane
    ("pcie5-x16", 32e9 * _PCIE_LANES, _PCIE_HOP),  # PCI Express 5.0: 32 GT/s a lane
    ("infiniband-ndr", 400e9 / 8, _NETWORK_HOP),  # InfiniBand NDR, 4 lanes: 400 Gb/s
    ("100gbe", 100e9 / 8, _NETWORK_HOP),  # IEEE 802.3, 100 Gb/s; with RDMA: TCP takes longer
)


#: Published links by name: read-only; an unknown name is an error that suggests near ones.
LINKS = presets("link", {name: Link(name, *rest, _START) for name, *rest in _PRESETS})


@checked
def as_link(link: Link | str) -> Link:
    """A Link itself, or the preset of this name; a ValueError for anything else."""
    return link if isinstance(link, Link) else LINKS[link]


@checked
def transfer_time_s(payload_bytes: float, link: Link | str, *, n_messages: int = 1) -> float:
    """Seconds for bytes in ``n_messages`` after one another: n·latency + bytes / bandwidth.

    The model of Hockney, "The communication challenge for MPP", Parallel Computing 20(3), 1994.
    """
    link = as_link(link)
    check_number("payload_bytes", payload_bytes, least=0)
    check_count("n_messages", n_messages, least=0)
    return n_messages * link.latency_s + payload_bytes / link.bandwidth


@checked
def all_reduce_time_s(payload_bytes: float, n_ranks: int, link: Link | str) -> float:
    """Seconds of one AllReduce in a ring: start + 2(n-1) · (latency + S/n / bandwidth)."""
    link, sent = as_link(link), ring_wire_bytes(payload_bytes, n_ranks)
    start_s = link.start_s if n_ranks > 1 else 0.0
    return start_s + transfer_time_s(sent, link, n_messages=2 * (n_ranks - 1))


class LinkTime(NamedTuple):
    """Seconds on the link, nothing hidden behind computing."""

    prefill_s: float
    decode_step_s: float  # of ONE decode pass
    request_s: float


@checked
def communication_time_s(volume: Volume, link: Link | str) -> LinkTime:
    """Seconds that one request's communication takes, each transfer after the one before."""
    link, n = as_link(link), volume.n_ranks
    times = {"prefill": 0.0, "decode": 0.0}
    for transfer in volume.transfers:
        n_bytes = transfer.payload_bytes
        if transfer.kind == "all_reduce":
            one_s = all_reduce_time_s(n_bytes, n, link)
        elif transfer.kind == "all_gather":  # in a ring: every rank sends (n-1)/n of it
            sent = n_bytes * (n - 1) / n
            one_s = link.start_s + transfer_time_s(sent, link, n_messages=n - 1)
        else:
            one_s = transfer_time_s(n_bytes, link)
        times[transfer.phase] += transfer.per_pass * one_s
    request_s = times["prefill"] + volume.n_decode_passes * times["decode"]
    return LinkTime(times["prefill"], times["decode"], request_s)
