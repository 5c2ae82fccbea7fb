"""What inference costs: FLOPs, bytes, time and memory of any model, counted by named conventions.

table        op_costs(): every operation of a prefill or a decode step; lecture_table(): formulas
ops          the operations themselves, for numbers and for symbols
conventions  Conventions: what is counted, and how; LECTURE and ENGINE; Format: how it is stored
dimensions   the lecture's block beside ModelSpec, with numbers or symbols for its sizes
memory       weights, KV cache, activations; where the cache overtakes the weights
latency      step time and tokens/s by the roofline; where a batch becomes compute bound;
             tokens per pass of speculation
measured     measure_ops(): each operation of the real model, timed; timed_ops has the calls
units        numbers as people read them
"""
# ruff: noqa: F401  # all that is imported here is for others

from .conventions import FORMATS, LECTURE, Conventions
from .dimensions import LectureBlock, with_kv_heads
from .latency import critical_batch_size, expected_tokens, step_latency
from .measured import measure_ops
from .memory import (
    activation_bytes,
    kv_cache_bytes,
    kv_overtakes_weights,
    memory_budget,
    weight_bytes,
)
from .table import arithmetic_intensity, lecture_table, op_costs

__all__ = [name for name in dir() if name[0] != "_"]  # so that help() shows them
