"""Pipeline and tensor parallelism: calculated, and run by real processes whose bytes are counted.

Calculated, from a ModelSpec alone:
    volumes     pipeline_volume, tensor_parallel_volume: what a request sends (with transfers)
    degrees     which numbers of ranks a model allows
    wire        what a ring and a tree send for an AllReduce; ring: the ring, step by step
    links       LINKS, transfer_time_s: bandwidths, latencies, times
    schedule    pipeline_schedule: stage by time, from stated or measured times (with timeline)
    compare     compare_parallelism: tensor against pipeline on one page (with shares)

Run, by processes under torch.distributed (imported when they are asked for):
    run         run_tensor_parallel, run_pipeline_parallel; results: what they return
    launch      starts the ranks, and ends all of them when one fails (failures)
    tensor, pipeline, torch_tensor, torch_pipeline    the two ways, ours and PyTorch's
    shards      a rank's part of the weights; traffic: what was sent; memory: what a rank keeps
"""

from importlib import import_module

from .compare import Layout, ParallelComparison, compare_parallelism, times_by_ranks
from .degrees import (
    ParallelDegreeError,
    check_pipeline_degree,
    check_tensor_parallel_degree,
    pipeline_degrees,
    tensor_parallel_degrees,
)
from .links import LINKS, Link, all_reduce_time_s, communication_time_s, transfer_time_s
from .ring import ring_all_reduce, ring_steps, ring_wire_bytes, tree_wire_bytes
from .schedule import Schedule, StageBlock, pipeline_schedule, schedule_from_timestamps
from .volumes import PipelineVolume, TensorParallelVolume, pipeline_volume, tensor_parallel_volume

# Those that need torch, and the module that has them: the calculators start without it.
_RUNS = {
    "RankError": ".ranks",
    "RankTimeoutError": ".ranks",
    "PipelineRun": ".results",
    "TensorParallelRun": ".results",
    "run_pipeline_parallel": ".run",
    "run_tensor_parallel": ".run",
}

__all__ = [
    "LINKS",
    "Layout",
    "Link",
    "ParallelComparison",
    "ParallelDegreeError",
    "PipelineRun",
    "PipelineVolume",
    "RankError",
    "RankTimeoutError",
    "Schedule",
    "StageBlock",
    "TensorParallelRun",
    "TensorParallelVolume",
    "all_reduce_time_s",
    "check_pipeline_degree",
    "check_tensor_parallel_degree",
    "communication_time_s",
    "compare_parallelism",
    "pipeline_degrees",
    "pipeline_schedule",
    "pipeline_volume",
    "ring_all_reduce",
    "ring_steps",
    "ring_wire_bytes",
    "run_pipeline_parallel",
    "run_tensor_parallel",
    "schedule_from_timestamps",
    "tensor_parallel_degrees",
    "tensor_parallel_volume",
    "times_by_ranks",
    "transfer_time_s",
    "tree_wire_bytes",
]


def __getattr__(name: str):
    if name not in _RUNS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_RUNS[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
