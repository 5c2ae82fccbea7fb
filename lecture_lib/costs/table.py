"""op_costs(): FLOPs, bytes, intensity of every operation of a prefill or a decode step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lecture_lib.checks import check_choice, check_flag, check_type, shown
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .conventions import Conventions, format_of
from .dimensions import PHASES, LectureBlock, as_spec, check_size, is_symbolic
from .ops import Op, Step, all_ops
from .units import format_bytes, format_count, format_seconds

_BYTES = ("bytes", "weight_bytes", "kv_bytes")


def op_costs(
    spec: ModelSpec | LectureBlock | str,
    phase: str,
    batch_size: Any = 1,
    seq_len: Any = 1024,
    dtype_bytes: float = 2,
    fused_attention: bool = False,
    *,
    weight_format: str | None = None,
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
        weight_format: of the layers' matrices, such as "int8" or "int4" (see FORMATS);
            embeddings, norms, biases and the lm_head keep ``dtype_bytes``.
        kv_format: of cached keys and values.
        conventions: what is counted, see Conventions.
        hardware: adds the columns ``bound`` and ``seconds``, by the roofline.
        compute_dtype: the dtype whose peak counts there. Default: by ``dtype_bytes``.

    Returns:
        A DataFrame; its column sums are the step's. Columns: op, part, count (times in the step),
        flops, bytes, weight_bytes and kv_bytes (of these bytes, weights and cache), intensity
        (FLOPs per byte), and with hardware bound and seconds. ``attrs``: model, phase, sizes,
        conventions in words.

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
        kv=format_of("kv_format", kv_format, dtype_bytes),
        fused=check_flag("fused_attention", fused_attention),
        conventions=conventions,
    )
    if isinstance(step.spec, ModelSpec) and not is_symbolic(seq_len):
        step.spec.check_full_attention(seq_len)
    frame = pd.DataFrame([_row(op, count) for op, count in all_ops(step)])
    frame.attrs = {
        "model": step.spec.name,
        "phase": phase,
        "sizes": f"B = {batch_size}, L = {seq_len}",
        "formats": f"activations {dtype_bytes:g} bytes, weights {step.weight.name}, "
        f"KV cache {step.kv.name}",
        "conventions": conventions.describe(phase, fused_attention),
    }
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
    frame.attrs |= {"hardware": hardware.name, "compute_dtype": dtype}


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


def cost_table(*args: Any, **options: Any) -> "CostTable":
    """``op_costs``, same arguments, to look at: rounded, with its conventions below it."""
    return CostTable(op_costs(*args, **options))


@dataclass(frozen=True)
class CostTable:
    """A table of ``op_costs`` to look at; ``frame`` is the DataFrame, unrounded."""

    frame: pd.DataFrame

    def caption(self) -> str:
        """Which model and step this is, and how it was counted."""
        a = self.frame.attrs
        where = f" on {a['hardware']}, {a['compute_dtype']}" if "hardware" in a else ""
        return (
            f"{a['model']}, {a['phase']}, one step, {a['sizes']}{where}. {a['formats']}. "
            f"Counted: {a['conventions']}. GB = 10⁹ bytes."
        )

    def printable(self) -> pd.DataFrame:
        """Rows and their total with rounded numbers and units, as text."""
        shown = self.frame.drop(columns="part")
        total = {c: shown[c].sum() for c in ("flops", *_BYTES, "seconds") if c in shown}
        total |= {"op": "total", "count": "", "bound": ""}
        total["intensity"] = arithmetic_intensity(total["flops"], total["bytes"])
        forms = dict.fromkeys(_BYTES, format_bytes)
        forms |= {"flops": format_count, "seconds": format_seconds, "intensity": "{:.3g}".format}
        rows = [*shown.to_dict("records"), total]
        return pd.DataFrame([{c: forms.get(c, str)(row[c]) for c in shown} for row in rows])

    def __str__(self) -> str:
        return f"{self.printable().to_string(index=False)}\n{self.caption()}"

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        """The only rich form: JupyterLab would prefer HTML, if there were any, over this."""
        cells = self.printable()
        lines = ["| " + " | ".join(cells) + " |", "|:--" + "|--:" * (cells.shape[1] - 1) + "|"]
        for op, *values in cells.itertuples(index=False):
            lines.append(f"| {' | '.join([f'`{op}`', *values])} |")
        return "\n".join(lines) + f"\n\n{self.caption()}\n"
