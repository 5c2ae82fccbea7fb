"""Devices as the roofline sees them: peak FLOP/s, bandwidth, memory, link.

specs     Hardware, and HARDWARE by name: published numbers with their sources; H100_DECODE_MS
          and H100_ROOFLINE, decode steps and operations that were measured on one
measure   measure_hardware(): what this machine really reaches; calls timed in turns
"""

from .measure import UnstableTimingError, measure_hardware
from .specs import H100_DECODE_MS, H100_ROOFLINE, HARDWARE, Hardware, as_hardware

__all__ = [
    "H100_DECODE_MS",
    "H100_ROOFLINE",
    "HARDWARE",
    "Hardware",
    "UnstableTimingError",
    "as_hardware",
    "measure_hardware",
]
