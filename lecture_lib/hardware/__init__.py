"""Devices as the roofline sees them: peak FLOP/s, bandwidth, memory, link.

specs     Hardware, and HARDWARE by name: published numbers with their sources
measure   measure_hardware(): what this machine really reaches; timing a call, the median of rounds
"""

from .measure import UnstableTimingError, measure_hardware
from .specs import HARDWARE, Hardware, as_hardware

__all__ = ["HARDWARE", "Hardware", "UnstableTimingError", "as_hardware", "measure_hardware"]
