"""What the system counts beside a run: the bytes on the wire, and each rank's memory."""

import os
import threading
from dataclasses import dataclass

import psutil
import torch
import torch.distributed as dist

SAMPLE_EVERY_S = 0.005


class WireMeter:
    """Counts the bytes that leave over a network interface (Linux) in ``by_phase``, with headers.

    All ranks call its methods together: between two barriers nothing is sent, and there one rank
    per machine reads the system's counter (``by_phase`` of the others stays empty). The barriers'
    own bytes, about a hundred per rank, are counted with the phase.
    """

    def __init__(self, device: torch.device):
        # The interface that gloo is set to use; else the loopback, if all ranks are here.
        here = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
        default = "lo" if here == dist.get_world_size() else ""
        self._interface = os.environ.get("GLOO_SOCKET_IFNAME", default)
        reads = int(os.environ.get("LOCAL_RANK", dist.get_rank())) == 0 and device.type == "cpu"
        self._reads = reads and bytes_sent(self._interface) is not None
        self.by_phase: dict[str, int] = {}
        self._last = self._read()

    def lap(self, phase: str) -> None:
        """A phase is over: what was sent since the last lap belongs to it."""
        now = self._read()
        if self._reads:
            self.by_phase[phase] = now - self._last
        self._last = now

    def _read(self) -> int | None:
        dist.barrier()
        count = bytes_sent(self._interface) if self._reads else None
        dist.barrier()
        return count


def bytes_sent(interface: str) -> int | None:
    """Bytes that an interface of this process's network has sent; None if unknown.

    On the loopback interface ("lo") what is sent is received, so this counts each byte once.
    """
    try:
        return psutil.net_io_counters(pernic=True)[interface].bytes_sent
    except (OSError, KeyError):  # the system doesn't show them, or has no such interface
        return None


@dataclass(frozen=True)
class RankMemory:
    """What one rank keeps.

    Weights that are not split are replicated (tensor parallelism: embeddings and norms). On a CPU
    they are mapped from the file, and all ranks share one copy.
    """

    rank: int
    weight_bytes: int  # all weights that it uses
    split_weight_bytes: int  # those among them that only this rank has
    cache_bytes: int  # reserved for the whole run
    start_bytes: int  # private memory before any weight was read (Python, torch); on a GPU 0
    peak_bytes: int  # the most private memory that was seen; on a GPU, that the allocator gave out


class MemoryMeter:
    """Watches this process's private memory from the meter's creation to ``report``.

    Private is what this process would need if it were alone on its machine. Pages of a mapped file
    don't count: they can be dropped and read again. (Elsewhere than on Linux they do.)
    """

    def __init__(self, device: torch.device):
        self._device = device
        self.start_bytes = self.peak_bytes = _private_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, _private_bytes())

    def report(self, rank: int, shards, cache_bytes: int) -> RankMemory:
        """What was seen; stops watching."""
        self._stop.set()
        self._thread.join()
        start, peak = self.start_bytes, max(self.peak_bytes, _private_bytes())
        if self._device.type == "cuda":
            start, peak = 0, torch.cuda.max_memory_allocated(self._device)
        weight_bytes = shards.split_bytes + shards.whole_bytes
        return RankMemory(rank, weight_bytes, shards.split_bytes, cache_bytes, start, peak)


def _private_bytes() -> int:
    memory = psutil.Process().memory_info()
    return memory.rss - getattr(memory, "shared", 0)  # Linux alone knows what is shared
