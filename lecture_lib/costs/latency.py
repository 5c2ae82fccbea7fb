"""Step time by the roofline: latency and tokens/s, over the batch size, and where it turns."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lecture_lib.checks import check_choice, check_number
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .checks import check_size
from .dimensions import Dimensions
from .memory import memory_budget
from .table import CostTable, op_costs
from .units import format_bytes, format_count, format_seconds

OVERLAPS = ("ops", "step")


@dataclass(frozen=True)
class StepLatency:
    """A step's predicted time.

    Attributes:
        seconds: of the step. tokens_per_s: tokens of the whole batch a second (prompt tokens in
            prefill, new tokens in decode). flops, bytes: of the step.
        bound: "compute" or "memory", whichever takes longer over the whole step.
        table: the DataFrame of ``op_costs`` behind it, with bound and seconds of every row.
    """

    seconds: float
    tokens_per_s: float
    flops: float
    bytes: float
    bound: str
    table: pd.DataFrame = field(repr=False, compare=False)

    def __str__(self) -> str:
        return (
            f"{format_seconds(self.seconds)}, {self.tokens_per_s:,.0f} tokens/s, "
            f"{format_count(self.flops, 'FLOPs')}, {format_bytes(self.bytes)}, "
            f"{self.bound} bound\n{CostTable(self.table).caption()}"
        )


def step_latency(
    spec: ModelSpec | Dimensions | str,
    hardware: Hardware | str,
    phase: str = "decode",
    batch_size: int = 1,
    seq_len: int = 1024,
    dtype_bytes: float = 2,
    fused_attention: bool = True,
    *,
    overlap: str = "ops",
    overhead_s: float = 0.0,
    **options: Any,
) -> StepLatency:
    """Predicted time of one prefill or one decode step on one device.

    Args:
        spec, phase, batch_size, seq_len, dtype_bytes, fused_attention: as in ``op_costs``.
        hardware: a Hardware or the name of one.
        overlap: "ops": operations run one after another, within each computing and moving
            overlap; so the sum over operations of max(FLOPs / peak, bytes / bandwidth).
            "step": all computing overlaps all moving, the lower bound.
        overhead_s: seconds added for every operation in every layer (launching a kernel).
        options: weight_format, kv_format, conventions, compute_dtype of ``op_costs``.

    Raises:
        ValueError: as ``op_costs``; an unknown overlap; a negative overhead.
    """
    hardware = as_hardware(hardware)
    check_choice("overlap", overlap, OVERLAPS)
    if overhead_s != 0:
        check_number("overhead_s", overhead_s, above=0)
    dtype = options.get("compute_dtype") or hardware.dtype_of(dtype_bytes)
    size = (batch_size, seq_len, dtype_bytes, fused_attention)
    table = op_costs(spec, phase, *size, hardware=hardware, **options)
    flops, n_bytes = table.flops.sum(), table.bytes.sum()
    whole = hardware.seconds(flops, n_bytes, dtype)
    seconds = whole if overlap == "step" else table.seconds.sum()
    seconds += overhead_s * table["count"].sum()
    tokens = batch_size * (seq_len if phase == "prefill" else 1)
    bound = hardware.bound(flops, n_bytes, dtype)
    return StepLatency(float(seconds), float(tokens / seconds), flops, n_bytes, bound, table)


def latency_by_batch(
    spec: ModelSpec | str,
    hardware: Hardware | str,
    batch_sizes: Iterable[int],
    seq_len: int = 1024,
    dtype_bytes: float = 2,
    *,
    phase: str = "decode",
    **options: Any,
) -> pd.DataFrame:
    """A row for each batch size: what a larger batch buys, and what it takes.

    Returns:
        DataFrame: batch_size, seconds, tokens_per_s (all sequences), tokens_per_s_per_sequence,
        intensity, bound, memory_bytes (weights, cache, activations), fits.

    Raises:
        ValueError: as ``step_latency``; no batch size at all.
    """
    hardware = as_hardware(hardware)
    formats = {k: options[k] for k in ("weight_format", "kv_format") if k in options}
    rows = []
    for batch_size in batch_sizes:
        size = (batch_size, seq_len, dtype_bytes)
        step = step_latency(spec, hardware, phase, *size, **options)
        budget = memory_budget(spec, *size, memory=hardware, prefill=phase == "prefill", **formats)
        rows.append(
            {
                "batch_size": batch_size,
                "seconds": step.seconds,
                "tokens_per_s": step.tokens_per_s,
                "tokens_per_s_per_sequence": step.tokens_per_s / batch_size,
                "intensity": step.flops / step.bytes,
                "bound": step.bound,
                "memory_bytes": budget.total,
                "fits": budget.fits,
            }
        )
    if not rows:
        raise ValueError("batch_sizes: needs at least one")
    frame = pd.DataFrame(rows)
    frame.attrs = dict(step.table.attrs) | {"sizes": f"L = {seq_len}"}
    return frame


def critical_batch_size(
    spec: ModelSpec | Dimensions | str,
    hardware: Hardware | str,
    op: str = "up_proj",
    dtype_bytes: float = 2,
    *,
    seq_len: int = 1024,
    limit: int = 2**20,
    **options: Any,
) -> int | None:
    """The smallest batch at which an operation of the decode step is compute bound.

    With operands much wider than the batch a linear row has an intensity of about B, so it is
    about the ridge; the attention rows never get there: each sequence brings its own cache.

    Args:
        op: a row of ``op_costs``, such as "up_proj", "q_proj", "qk_matmul".
        limit: the largest batch to look at.
        options: of ``op_costs``.

    Returns:
        The batch size, or None where no batch up to ``limit`` is compute bound.

    Raises:
        ValueError: an operation that this model's step does not have; as ``op_costs``.
    """
    check_size("limit", limit)

    def compute_bound(batch_size: int) -> bool:
        table = op_costs(
            spec, "decode", batch_size, seq_len, dtype_bytes, hardware=hardware, **options
        ).set_index("op")
        check_choice("op", op, tuple(table.index))
        return table.bound[op] == "compute"

    if not compute_bound(limit):
        return None
    low, high = 0, limit  # an operation's intensity grows with the batch, or stays
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if compute_bound(middle) else (middle, high)
    return high
