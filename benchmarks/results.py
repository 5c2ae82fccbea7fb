"""What the benchmarks share: where their results are stored, the machine, peak memory.

A benchmark ends with ``show(tables)``, and with ``save(name, settings, tables)`` unless it is a
quick look. What is saved are the raw numbers; ``ledger.py`` makes RESULTS.md out of them.
"""

import argparse
import json
import os
import platform
import re
import statistics
import sys
import threading
import time
from datetime import date
from pathlib import Path

import psutil
import torch
import transformers

RESULTS = Path(__file__).with_name("RESULTS.md")
STORE = Path(__file__).with_name("results")  # JSON, a file for each benchmark and machine


def save(
    name: str,
    settings: dict | argparse.Namespace,
    tables: dict[str, list[dict]],
    device: str = "cpu",
    store: Path = STORE,
) -> Path:
    """Write a benchmark's raw numbers, with the machine: ``results/NAME.MACHINE.json``.

    Args:
        settings: what the numbers hold for: rounds, lengths, the model.
        tables: a list of rows for each table, each row a dict whose keys name the unit. Numbers
            as measured: the ledger rounds them, and computes ratios.
        device: what was measured, "cpu" or "cuda". A run on another machine has its own file.
    """
    machine = describe_machine(device)
    path = store / f"{name}.{slug(machine)}.json"
    found = {
        "benchmark": name,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": machine,
        "settings": settings if isinstance(settings, dict) else vars(settings),
        **tables,
    }
    store.mkdir(exist_ok=True)
    path.write_text(as_text(found), encoding="utf-8")
    return path


def as_text(found: dict) -> str:
    """JSON with a line for each row of a table, so that a difference can be read."""
    parts = []
    for key, value in found.items():
        if isinstance(value, list):
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            text = f"[\n{rows}\n ]"
        else:
            text = json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\n ")
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def slug(machine: dict) -> str:
    """A machine as a part of a file name: a CPU with its instructions, amd-epyc-avx2, or a GPU."""
    name = machine["device"]
    if name == machine["cpu"]:
        name += f" {machine['instructions'] or ''}"
    plain = re.sub(r"\((?:R|TM)\)|\b(?:Processor|CPU)\b|@ [\d.]+GHz", "", name)
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def show(tables: dict[str, list[dict]]) -> None:
    """Print the tables of a run, numbers to three digits."""
    for name, rows in tables.items():
        print(f"\n{name}\n")
        if rows:
            print(table(list(rows[0]), [list(row.values()) for row in rows]), flush=True)


def middle(values: list[float]) -> tuple[float, float]:
    """The median of several rounds, and how wide their middle half is, relative to it."""
    if len(values) < 2:
        return values[0], 0.0
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return median, (third - first) / median


def describe_machine(device: str = "cpu") -> dict:
    """What was measured, and what it was measured with."""
    cpu = _cpu_name()
    return {
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else cpu,
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),  # AVX2, AVX512, ...
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


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
