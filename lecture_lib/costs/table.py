"""op_costs(): FLOPs, bytes, intensity of every operation of a prefill or a decode step.

With symbols for sizes the same code gives the closed formulas of the lecture: lecture_table().
"""

from typing import Any

import numpy as np
import pandas as pd

from lecture_lib.checks import check_choice, check_flag, check_type, shown
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .conventions import LECTURE, Conventions, format_of
from .dimensions import PHASES, LectureBlock, as_spec, check_size, is_symbolic
from .ops import Op, Step, all_ops


def op_costs(
    spec: ModelSpec | LectureBlock | str,
    phase: str,
    batch_size: Any = 1,
    seq_len: Any = 1024,
    dtype_bytes: float = 2,
    fused_attention: bool = False,
    *,
    weight_format: str | None = None,
    table_format: str | None = None,
    kv_format: str | None = None,
    conventions: Conventions | None = None,
    hardware: Hardware | str | None = None,
    compute_dtype: str | None = None,
) -> pd.DataFrame:
    """A row for every operation of a whole step, summed over all layers.

    Args:
        spec: a ModelSpec, the name of a published model, or a ``LectureBlock()``.
        phase: "prefill": ``seq_len`` prompt tokens at once; "decode": one new token for each
            sequence, after ``seq_len`` cached ones.
        batch_size, seq_len: B and L; like the block's sizes, they may be sympy symbols.
        dtype_bytes: bytes of an activation, and of whatever the formats leave open.
        fused_attention: QK^T, softmax and score·V are one row, and scores never go to memory.
        weight_format: of the layers' matrices, such as "int8" or "int4" (see FORMATS); norms and
            biases keep ``dtype_bytes``. table_format: of embeddings and lm_head.
        kv_format: of cached keys and values.
        conventions: what is counted, see Conventions.
        hardware: adds the columns ``bound`` and ``seconds``, by the roofline.
        compute_dtype: the dtype whose peak counts there. Default: by ``dtype_bytes``.

    Returns:
        A DataFrame; its column sums are the step's. Columns: op, part, count (times in the step),
        flops, bytes, weight_bytes and kv_bytes (of these bytes, weights and cache), intensity
        (FLOPs per byte), and with hardware bound and seconds; then ``attrs["compute_dtype"]`` is
        the dtype whose peak counted.

    Raises:
        ValueError: a size below 1, a sequence longer than a sliding window, an unknown phase,
            format, model or hardware, a bad convention.
    """
    conventions = Conventions() if conventions is None else conventions
    check_type("conventions", conventions, Conventions, "a Conventions")
    step = Step(
        spec=spec if isinstance(spec, LectureBlock) else as_spec(spec),
        phase=check_choice("phase", phase, PHASES),
        batch_size=check_size("batch_size", batch_size),
        seq_len=check_size("seq_len", seq_len),
        dtype_bytes=dtype_bytes,
        weight=format_of("weight_format", weight_format, dtype_bytes),
        table=format_of("table_format", table_format, dtype_bytes),
        kv=format_of("kv_format", kv_format, dtype_bytes),
        fused=check_flag("fused_attention", fused_attention),
        conventions=conventions,
    )
    if isinstance(step.spec, ModelSpec) and not is_symbolic(seq_len):
        step.spec.check_full_attention(seq_len)
    frame = pd.DataFrame([_row(op, count) for op, count in all_ops(step)])
    if hardware is not None:
        hardware = as_hardware(hardware)
        _add_times(frame, hardware, compute_dtype or hardware.dtype_of(dtype_bytes))
    return frame


def _row(op: Op, count: int) -> dict[str, Any]:
    flops, n_bytes = count * op.flops, count * (op.weights + op.activations + op.kv)
    return {
        "op": op.name, "part": op.part, "count": count, "flops": flops, "bytes": n_bytes,
        "weight_bytes": count * op.weights, "kv_bytes": count * op.kv,
        "intensity": arithmetic_intensity(flops, n_bytes),
    }  # fmt: skip


def _add_times(frame: pd.DataFrame, hardware: Hardware, dtype: str) -> None:
    if any(is_symbolic(flops) for flops in frame.flops):
        raise ValueError("hardware: a time needs numbers, and some sizes are symbols")
    work = list(zip(frame.flops, frame.bytes, strict=True))
    frame["bound"] = [hardware.bound(flops, n_bytes, dtype) for flops, n_bytes in work]
    frame["seconds"] = [hardware.seconds(flops, n_bytes, dtype) for flops, n_bytes in work]
    frame.attrs["compute_dtype"] = dtype


def lecture_table(phase: str, batch_size: Any = 1) -> pd.DataFrame:
    """The lecture's table of part 5 as formulas: ``op_costs`` of its block, with symbols for sizes.

    Args:
        phase: "prefill" or "decode" (L is the cached length then).
        batch_size: an integer, or a sympy symbol, which shows what batching changes.

    Returns:
        DataFrame: op, flops, bytes (FP16, all heads together), intensity. Attention rows are in L,
        H and n_H, the others in L and D.

    Raises:
        ValueError: an unknown phase, a batch size below 1.
    """
    import sympy

    L, D, n_H, H = sympy.symbols("L D n_H H", positive=True)
    rows = []
    costs = op_costs(LectureBlock(D, n_H), phase, batch_size, L, conventions=LECTURE)
    for cost in costs.itertuples():
        flops, moved = cost.flops, cost.bytes
        if cost.op in ("qk_matmul", "sv_matmul"):
            flops, moved = (sympy.expand(x.subs(D, n_H * H)) for x in (flops, moved))
        rows.append([cost.op, flops, moved, arithmetic_intensity(flops, moved)])
    return pd.DataFrame(rows, columns=["op", "flops", "bytes", "intensity"])


def arithmetic_intensity(flops: Any, n_bytes: Any) -> Any:
    """FLOPs per byte: numbers or arrays to numbers, sympy expressions to simplified ones.

    Raises:
        ValueError: no bytes, or negative ones; negative FLOPs; numbers that are not finite.
    """
    if is_symbolic(flops) or is_symbolic(n_bytes):
        import sympy

        flops, n_bytes = sympy.sympify(flops), sympy.sympify(n_bytes)
        if n_bytes.is_positive is False:
            raise ValueError(f"n_bytes: must be positive, got {n_bytes}")
        return sympy.factor(sympy.cancel(flops / n_bytes))
    try:
        is_work = np.all((np.asarray(flops) >= 0) & (np.asarray(flops) < np.inf))
        is_moved = np.all((np.asarray(n_bytes) > 0) & (np.asarray(n_bytes) < np.inf))
        result = flops / n_bytes if is_work and is_moved else None
    except (TypeError, OverflowError) as error:
        raise ValueError(f"flops, n_bytes: need numbers or arrays of them: {error}") from None
    if not is_work:
        raise ValueError(f"flops: must be finite and 0 or more, got {shown(flops)}")
    if not is_moved:
        raise ValueError(f"n_bytes: must be positive and finite, got {shown(n_bytes)}")
    return result
