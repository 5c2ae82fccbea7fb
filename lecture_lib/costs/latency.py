"""Step time by the roofline, over the batch size, and where it turns; tokens per pass."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lecture_lib.checks import check_choice, check_count, check_number
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .dimensions import LectureBlock
from .table import op_costs

_BATCHES = range(1, 2**20 + 1)  # those that critical_batch_size looks at


@dataclass(frozen=True)
class StepLatency:
    """A step's predicted time.

    Attributes:
        seconds: of the step. tokens_per_s: tokens of the whole batch a second (prompt tokens in
            prefill, new tokens in decode). flops, bytes: of the step.
        bound: "compute" or "memory", whichever takes longer over the whole step.
        table: the DataFrame of ``op_costs`` that it sums, with bound and seconds of every row.
    """

    seconds: float
    tokens_per_s: float
    flops: float
    bytes: float
    bound: str
    table: pd.DataFrame = field(repr=False, compare=False)


def step_latency(
    spec: ModelSpec | LectureBlock | str,
    hardware: Hardware | str,
    phase: str = "decode",
    batch_size: int = 1,
    seq_len: int = 1024,
    dtype_bytes: float = 2,
    fused_attention: bool = True,
    **options: Any,
) -> StepLatency:
    """Predicted time of one prefill or one decode step on one device.

    Operations run one after another, and within each computing and moving overlap: the time is
    the sum over operations of max(FLOPs / peak, bytes / bandwidth).

    Args:
        spec, phase, batch_size, seq_len, dtype_bytes, fused_attention: as in ``op_costs``.
        hardware: a Hardware or the name of one.
        options: weight_format, table_format, kv_format, conventions, compute_dtype of ``op_costs``.

    Raises:
        ValueError: as ``op_costs``.
    """
    hardware = as_hardware(hardware)
    size = (batch_size, seq_len, dtype_bytes, fused_attention)
    table = op_costs(spec, phase, *size, hardware=hardware, **options)
    flops, n_bytes, seconds = table.flops.sum(), table.bytes.sum(), float(table.seconds.sum())
    n_tokens = int(batch_size) * (int(seq_len) if phase == "prefill" else 1)
    bound = hardware.bound(flops, n_bytes, table.attrs["compute_dtype"])
    return StepLatency(seconds, n_tokens / seconds, flops, n_bytes, bound, table)


def critical_batch_size(
    spec: ModelSpec | LectureBlock | str,
    hardware: Hardware | str,
    op: str = "up_proj",
    **options: Any,
) -> int | None:
    """The smallest batch at which an operation of the decode step is compute bound.

    With operands much wider than the batch, a linear row has an intensity of about B, so the answer
    is about the ridge. Attention rows never get there: each sequence brings its own cache.

    Args:
        op: a row of ``op_costs``, such as "up_proj", "q_proj", "qk_matmul".
        options: of ``op_costs``.

    Returns:
        The batch size, or None where no batch up to 2²⁰ is compute bound.

    Raises:
        ValueError: an operation that this model's step does not have; as ``op_costs``.
    """

    def is_compute_bound(batch_size: int) -> bool:
        table = op_costs(spec, "decode", batch_size, hardware=hardware, **options).set_index("op")
        return table.bound[check_choice("op", op, tuple(table.index))] == "compute"

    # An operation's intensity grows with the batch, or stays.
    n_below = bisect_left(_BATCHES, True, key=is_compute_bound)
    return _BATCHES[n_below] if n_below < len(_BATCHES) else None


def expected_tokens(acceptance: float, k: int) -> float:
    """Tokens per pass of speculative decoding with k drafted tokens, each accepted with this
    probability: 1 + α + ... + α^k = (1 - α^(k+1)) / (1 - α) (arXiv 2211.17192)."""
    check_number("acceptance", acceptance, least=0, most=1)
    return float(sum(acceptance**i for i in range(check_count("k", k, least=0, most=10**4) + 1)))
