"""What inference costs: FLOPs, bytes, time and memory of any model, counted by named conventions.

table        op_costs(): every operation of a prefill or a decode step; cost_table() to look at
ops          the operations themselves, for numbers and for symbols
conventions  Conventions: what is counted, and how; LECTURE and ENGINE; Format: how it is stored
dimensions   the lecture's block beside ModelSpec, with numbers or symbols for its sizes
memory       weights, KV cache, activations; where the cache overtakes the weights
latency      step time and tokens/s by the roofline; where a batch becomes compute bound
symbolic     lecture_table(): the closed formulas
measured     measure_ops(): each operation of the real model, timed; predict_step(): a step's time,
             predicted against measured; what is timed is in timed_ops
units        numbers as people read them
"""
# ruff: noqa: F401  # all that is imported here is for others

from .conventions import FORMATS, LECTURE, Conventions
from .dimensions import LectureBlock, with_kv_heads
from .latency import critical_batch_size, step_latency
from .measured import measure_ops, predict_step
from .memory import (
    activation_bytes,
    kv_cache_bytes,
    kv_overtakes_weights,
    memory_budget,
    weight_bytes,
)
from .symbolic import lecture_table
from .table import arithmetic_intensity, cost_table, op_costs
from .units import format_count
