"""How much memory a rank takes: its own, without what it shares with the others."""

import threading
from pathlib import Path

import psutil
import torch

from .results import RankMemory

SAMPLE_EVERY_S = 0.005


class MemoryMeter:
    """Watches this process's private memory from its making to ``report``.

    Private is what this process would need on a machine of its own (Linux: RssAnon): Python and
    torch too, though ranks that were forked share their pages until one writes to them. Pages of
    a mapped file don't count: they can be dropped and read again. Elsewhere than on Linux it is
    the resident memory, mapped files included.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.start_bytes = self.peak_bytes = private_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, private_bytes())

    def report(self, rank: int, shards, cache_bytes: int) -> RankMemory:
        """What was seen; stops watching."""
        self._stop.set()
        self._thread.join()
        start, peak = self.start_bytes, max(self.peak_bytes, private_bytes())
        if self.device.type == "cuda":
            start, peak = 0, torch.cuda.max_memory_allocated(self.device)
        return RankMemory(
            rank=rank,
            weight_bytes=shards.split_bytes + shards.whole_bytes,
            split_weight_bytes=shards.split_bytes,
            cache_bytes=cache_bytes,
            start_bytes=start,
            peak_bytes=peak,
        )


def private_bytes() -> int:
    """Bytes of memory that are this process's alone."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return psutil.Process().memory_info().rss
