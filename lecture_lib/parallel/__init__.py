"""Pipeline and tensor parallelism: calculated, and run by real processes whose bytes are counted.

Calculated, from a ModelSpec alone:
    volumes     pipeline_volume, tensor_parallel_volume: what a request sends
    degrees     which numbers of ranks a model allows
    ring        an AllReduce in a ring, step by step, and what it sends
    links       LINKS, transfer_time_s: bandwidths, latencies, times
    schedule    pipeline_schedule: stage by time, from stated or measured times
    compare     lay_out: both ways at once; compare_parallelism: the two on one page

Run, by processes under torch.distributed (torch is imported when they are called):
    run         run_tensor_parallel, run_pipeline_parallel, and what they return
    job         from what a caller asks for to what a rank does
    tensor, pipeline    the two ways, written out; torch_backend: PyTorch's own
    shards      a rank's part of the weights
    traffic     what was sent; meters: what the system counts of the wire and the memory
    ranks       starts the ranks, and ends all of them when one fails
"""
# ruff: noqa: F401  # all that is imported here is for others

from .compare import ParallelComparison, compare_parallelism, lay_out
from .degrees import (
    ParallelDegreeError,
    check_pipeline_degree,
    check_tensor_parallel_degree,
    pipeline_degrees,
    tensor_parallel_degrees,
)
from .links import LINKS, Link, all_reduce_time_s, communication_time_s, transfer_time_s
from .ranks import RankError, RankTimeoutError
from .ring import ring_steps, ring_wire_bytes
from .run import run_pipeline_parallel, run_tensor_parallel
from .schedule import Schedule, StageBlock, pipeline_schedule, schedule_from_timestamps
from .volumes import pipeline_volume, tensor_parallel_volume

__all__ = [name for name in dir() if name[0] != "_"]  # so that help() shows them
