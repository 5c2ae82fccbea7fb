"""Devices as the roofline sees them: peak FLOP/s, bandwidth, memory, link.

presets   published numbers with their sources, dense peaks
specs     Hardware, and HARDWARE by name
rounds    timing a call: warmed up, synchronised, the median of rounds
measure   measure_hardware(): what this machine really reaches
"""

from .measure import measure_hardware
from .rounds import UnstableTimingError
from .specs import HARDWARE, Hardware, as_hardware

__all__ = [
    "HARDWARE",
    "Hardware",
    "UnstableTimingError",
    "as_hardware",
    "measure_hardware",
]
