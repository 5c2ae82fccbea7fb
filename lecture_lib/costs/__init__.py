"""What inference costs: FLOPs, bytes, time and memory of any model, counted by named conventions.

table        op_costs(): every operation of a prefill or a decode step; CostTable to look at it
ops          the operations themselves, for numbers and for symbols
conventions  Conventions: what is counted, and how; LECTURE and LLM_VIEWER
dimensions   sizes of a ModelSpec, or of the lecture's block
formats      Format: true bytes of float and quantised numbers
memory       weights, KV cache, activations
fitting      the largest batch, the longest context, where the cache overtakes the weights
latency      step time and tokens/s by the roofline, over the batch
symbolic     lecture_table(): the closed formulas
measured     measure_ops(): each operation of the real model, timed
prediction   predicted against measured: a step's time, the cache's and the process's bytes
units        GB and GiB
"""

from .conventions import LECTURE, LLM_VIEWER, Conventions
from .dimensions import Dimensions, lecture_block, with_kv_heads
from .fitting import DoesNotFitError, kv_overtakes_weights, largest_batch, longest_context
from .formats import FORMATS, Format
from .latency import StepLatency, critical_batch_size, latency_by_batch, step_latency
from .measured import engine_costs, measure_ops
from .memory import (
    MemoryBudget,
    activation_bytes,
    kv_cache_bytes,
    memory_budget,
    weight_bytes,
)
from .prediction import (
    Comparison,
    compare_kv_bytes,
    compare_process_memory,
    compare_weight_bytes,
    predict_step,
)
from .symbolic import lecture_table
from .table import CostTable, arithmetic_intensity, cost_table, op_costs
from .units import GB, GIB, format_bytes, format_count, format_seconds

__all__ = [
    "FORMATS",
    "GB",
    "GIB",
    "LECTURE",
    "LLM_VIEWER",
    "Comparison",
    "Conventions",
    "CostTable",
    "Dimensions",
    "DoesNotFitError",
    "Format",
    "MemoryBudget",
    "StepLatency",
    "activation_bytes",
    "arithmetic_intensity",
    "compare_kv_bytes",
    "compare_process_memory",
    "compare_weight_bytes",
    "cost_table",
    "critical_batch_size",
    "engine_costs",
    "format_bytes",
    "format_count",
    "format_seconds",
    "kv_cache_bytes",
    "kv_overtakes_weights",
    "largest_batch",
    "latency_by_batch",
    "lecture_block",
    "lecture_table",
    "longest_context",
    "measure_ops",
    "memory_budget",
    "op_costs",
    "predict_step",
    "step_latency",
    "weight_bytes",
    "with_kv_heads",
]
