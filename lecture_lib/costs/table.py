"""op_costs(): FLOPs, bytes, intensity of every operation of a prefill or a decode step."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from lecture_lib.checks import check_choice, check_flag
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .conventions import Conventions
from .dimensions import PHASES, Dimensions, as_dimensions, check_size, is_symbolic
from .formats import Format, as_format
from .ops import Op, Step, all_ops
from .units import format_bytes, format_count, format_seconds

SCOPES = ("step", "layer")
_BYTES = ("bytes", "weight_bytes", "kv_bytes")


def op_costs(
    spec: ModelSpec | Dimensions | str,
    phase: str,
    batch_size: Any = 1,
    seq_len: Any = 1024,
    dtype_bytes: float = 2,
    fused_attention: bool = False,
    *,
    weight_format: Format | str | None = None,
    kv_format: Format | str | None = None,
    conventions: Conventions | None = None,
    scope: str = "step",
    hardware: Hardware | str | None = None,
    compute_dtype: str | None = None,
) -> pd.DataFrame:
    """A row for every operation of a whole step (or of one layer).

    Args:
        spec: a ModelSpec, the name of a published model, or a ``lecture_block()``.
        phase: "prefill": ``seq_len`` prompt tokens at once; "decode": one new token for each
            sequence, after ``seq_len`` cached ones.
        batch_size, seq_len: B and L; like the dimensions, they may be sympy symbols.
        dtype_bytes: bytes of an activation, and of whatever the formats leave open.
        fused_attention: QK^T, softmax and score·V are one row, and scores never go to memory.
        weight_format: of the layers' matrices, such as "int8" or "int4" (see FORMATS);
            embeddings, norms, biases and the lm_head keep ``dtype_bytes``.
        kv_format: of cached keys and values.
        conventions: what is counted, see Conventions.
        scope: "step": a row sums over all layers; "layer": one layer, nothing before or after.
        hardware: adds the columns ``bound`` and ``seconds``, by the roofline.
        compute_dtype: the dtype whose peak counts there. Default: by ``dtype_bytes``.

    Returns:
        A DataFrame; its column sums are the step's. Columns: op, part, count (times in the step),
        flops, bytes, weight_bytes and kv_bytes (of these bytes, weights and cache), intensity
        (FLOPs per byte), and with hardware bound and seconds. ``attrs``: model, phase, sizes,
        conventions in words.

    Raises:
        ValueError: a size below 1, an unknown phase, format, model or hardware, a bad convention.
    """
    check_choice("scope", scope, SCOPES)
    size = (batch_size, seq_len, dtype_bytes, fused_attention)
    step = make_step(spec, phase, *size, weight_format, kv_format, conventions)
    ops = [op for op in all_ops(step) if op.per_layer or scope == "step"]
    n_layers = step.d.n_layers if scope == "step" else 1
    frame = pd.DataFrame([_row(op, n_layers if op.per_layer else 1) for op in ops])
    frame.attrs = _attrs(step, scope)
    if hardware is not None:
        _add_roof(frame, as_hardware(hardware), compute_dtype, dtype_bytes)
    return frame


def cost_table(*args: Any, **options: Any) -> "CostTable":
    """``op_costs``, same arguments, to look at: rounded, with its conventions below it."""
    return CostTable(op_costs(*args, **options))


def arithmetic_intensity(flops: Any, n_bytes: Any) -> Any:
    """FLOPs per byte: numbers or arrays to numbers, sympy expressions to simplified ones.

    Raises:
        ValueError: no bytes, or negative ones.
    """
    if is_symbolic(flops) or is_symbolic(n_bytes):
        import sympy

        return sympy.factor(sympy.cancel(sympy.sympify(flops) / n_bytes))
    if not pd.api.types.is_number(n_bytes):
        return flops / n_bytes
    if not n_bytes > 0:
        raise ValueError(f"n_bytes: must be positive, got {n_bytes!r}")
    return flops / n_bytes


def make_step(
    spec,
    phase,
    batch_size,
    seq_len,
    dtype_bytes=2,
    fused_attention=False,
    weight_format=None,
    kv_format=None,
    conventions=None,
) -> Step:
    """The checked arguments of ``op_costs``, which explains them and the errors."""
    if conventions is not None and not isinstance(conventions, Conventions):
        got = type(conventions).__name__
        raise ValueError(f"conventions: must be a Conventions, got {got}")
    return Step(
        d=as_dimensions(spec),
        conventions=conventions or Conventions(),
        phase=check_choice("phase", phase, PHASES),
        batch_size=check_size("batch_size", batch_size),
        seq_len=check_size("seq_len", seq_len),
        weight=as_format("weight_format", weight_format, dtype_bytes),
        kv=as_format("kv_format", kv_format, dtype_bytes),
        plain=as_format("dtype_bytes", None, dtype_bytes),
        fused=check_flag("fused_attention", fused_attention),
    )


def _attrs(step: Step, scope: str) -> dict[str, str]:
    formats = f"weights {step.weight.name}, KV cache {step.kv.name}"
    return {
        "model": step.d.name,
        "phase": step.phase,
        "scope": scope,
        "sizes": f"B = {step.batch_size}, L = {step.seq_len}",
        "formats": f"activations {step.plain.name}, {formats}",
        "conventions": step.conventions.describe(step.phase, step.fused),
    }


def _add_roof(frame: pd.DataFrame, hardware: Hardware, dtype: str | None, dtype_bytes) -> None:
    dtype = hardware.dtype_of(dtype_bytes) if dtype is None else dtype
    if any(is_symbolic(v) for v in frame.flops):
        raise ValueError("hardware: a time needs numbers, and some sizes are symbols")
    work = list(zip(frame.flops, frame.bytes, strict=True))
    frame["bound"] = [hardware.bound(flops, moved, dtype) for flops, moved in work]
    frame["seconds"] = [hardware.seconds(flops, moved, dtype) for flops, moved in work]
    frame.attrs["hardware"] = f"{hardware.name}, {dtype}"


def _row(op: Op, count: Any) -> dict[str, Any]:
    flops = count * 2 * op.macs
    n_bytes = count * (op.weights + op.reads + op.writes + op.kv_reads + op.kv_writes)
    return {
        "op": op.name,
        "part": op.part,
        "count": count,
        "flops": flops,
        "bytes": n_bytes,
        "weight_bytes": count * op.weights,
        "kv_bytes": count * (op.kv_reads + op.kv_writes),
        "intensity": arithmetic_intensity(flops, n_bytes),
    }


@dataclass(frozen=True)
class CostTable:
    """A table of ``op_costs`` to look at; ``frame`` is the DataFrame, unrounded."""

    frame: pd.DataFrame

    def caption(self) -> str:
        """Which model and step this is, and how it was counted."""
        a = self.frame.attrs
        where = f" on {a['hardware']}" if "hardware" in a else ""
        what = "one step" if a["scope"] == "step" else "one layer"
        return (
            f"{a['model']}, {a['phase']}, {what}, {a['sizes']}{where}. {a['formats']}. "
            f"Counted: {a['conventions']}. GB = 10⁹ bytes."
        )

    def printable(self) -> pd.DataFrame:
        """Rows and their total with rounded numbers and units, as text."""
        columns = ["op", "count", "flops", *_BYTES, "intensity"]
        columns += [c for c in ("bound", "seconds") if c in self.frame]
        total = {"op": "total", "count": "", "bound": ""}
        total |= {c: self.frame[c].sum() for c in ("flops", *_BYTES, "seconds") if c in columns}
        total["intensity"] = arithmetic_intensity(total["flops"], total["bytes"])
        rows = [*self.frame.to_dict("records"), total]
        return pd.DataFrame([{c: _cell(c, row[c]) for c in columns} for row in rows])

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


def _cell(column: str, value: Any) -> str:
    if column in _BYTES:
        return format_bytes(value)
    if column == "flops":
        return format_count(value)
    if column == "seconds":
        return format_seconds(value)
    return f"{value:.3g}" if column == "intensity" else str(value)
