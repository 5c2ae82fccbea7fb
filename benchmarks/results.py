"""What the benchmarks share: a section of RESULTS.md for each, the machine, peak memory."""

import os
import platform
import threading
import time
from pathlib import Path

import psutil
import torch
import transformers

RESULTS = Path(__file__).with_name("RESULTS.md")


def write_section(name: str, text: str, path: Path = RESULTS) -> None:
    """Replace the section between this benchmark's markers, or append it; the rest stays."""
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    old = path.read_text(encoding="utf-8") if path.exists() else "# Benchmark results\n"
    section = f"{start}\n{text.strip()}\n{end}"
    if start in old and end in old:
        before, after = old.split(start)[0], old.split(end)[1]
        new = before + section + after
    else:
        new = f"{old.rstrip()}\n\n{section}\n"
    path.write_text(new, encoding="utf-8")


def describe_machine() -> str:
    """One line: CPU or GPU, cores, threads, memory, versions."""
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return (
        f"{gpu}{_cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}"
    )


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table; numbers to three significant digits."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


class PeakMemory:
    """``with PeakMemory() as peak: ...``: the most resident memory in between, ``peak.mb``."""

    def __enter__(self):
        self.mb, self._running = 0.0, True
        self._look()  # a block may be over before the thread has looked once
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._running:
            self._look()
            time.sleep(0.002)

    def _look(self) -> None:
        self.mb = max(self.mb, psutil.Process().memory_info().rss / 1e6)

    def __exit__(self, *exc) -> None:
        self._running = False
        self._thread.join()
        self._look()
