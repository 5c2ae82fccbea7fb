"""Rows as a table: a DataFrame to compute with, Markdown with LaTeX to look at, plain text."""

import re
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
import torch.nn.functional as F

from .symbols import ShapeError, Symbols
from .traced_row import Operand, TracedRow

_TOLERANCE = 1e-5
_COLUMNS = ["no.", "computation", "input", "output", "flops", "bytes", "intensity"]


@dataclass(frozen=True)
class TraceTable:
    """A table to look at. ``frame`` is its DataFrame; ``frame.attrs`` the conventions."""

    frame: pd.DataFrame
    formulas: list[bool]  # for each row, whether its computation is a formula (or code)

    @classmethod
    def from_rows(
        cls, rows: list[TracedRow], symbols: Symbols, dtype_bytes: int | None
    ) -> "TraceTable":
        """See OpTrace.table, whose errors these are."""
        rows = [r for r in rows if r.labelled or r.computes]
        has_numbers = any(r.labelled for r in rows)
        cells = []
        for count, r in enumerate(rows, start=1):
            no = r.no if has_numbers else str(count)
            try:
                sides = [_side(side, r.repeats, symbols) for side in (r.inputs, r.outputs)]
            except ShapeError as error:
                shapes = [operand.shape for operand in r.inputs + r.outputs]
                raise ShapeError(f"row {no} ({r.label}), shapes {shapes}: {error}") from None
            intensity = r.flops / r.bytes if r.bytes else float("nan")
            cells.append([no, r.label, *sides, r.flops, r.bytes, intensity])
        frame = pd.DataFrame(cells, columns=_COLUMNS)
        size = f"{dtype_bytes} bytes per element" if dtype_bytes else "elements as wide as stored"
        frame.attrs = {
            "symbols": dict(symbols.values),
            "conventions": (
                "FLOPs: matrix products only, 2·m·n·k, masked scores included. Bytes: each row "
                f"reads its operands once and writes its results once, {size}; what it needs in "
                "between stays on the chip, and a view moves nothing. Rows with i = 1.. are "
                "totals over all i"
            ),
            "notes": list(symbols.notes),
        }
        return cls(frame, [r.labelled for r in rows])

    def caption(self, *, latex: bool = False) -> str:
        """The sizes, what was counted and how, and what could not be named."""
        sizes = ", ".join(f"{name} = {size}" for name, size in self.frame.attrs["symbols"].items())
        sizes = f"${to_latex(sizes)}$" if latex and sizes else sizes
        parts = [sizes, self.frame.attrs["conventions"], *self.frame.attrs["notes"]]
        return ". ".join(part for part in parts if part) + "."

    def __str__(self) -> str:
        return f"{self._printable().to_string(index=False)}\n{self.caption()}"

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        """The only rich form: JupyterLab would prefer HTML, if there were any, over this."""
        lines = ["| " + " | ".join(_COLUMNS) + " |", "|:--|:--|:--|:--|--:|--:|--:|"]
        rows = self._printable().itertuples(index=False)
        for (no, label, *sides, flops, n_bytes, intensity), formula in zip(
            rows, self.formulas, strict=True
        ):
            label = _wrapping(label, " = ") if formula else f"`{label}`"
            cells = [no, label, *map(_wrapping, sides), flops, n_bytes, intensity]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + f"\n\n{self.caption(latex=True)}\n"

    def _printable(self) -> pd.DataFrame:
        frame = self.frame
        intensity = ["–" if x != x else f"{x:.3g}" for x in frame["intensity"]]
        counts = {column: frame[column].map("{:,}".format) for column in ("flops", "bytes")}
        return frame.assign(**counts, intensity=intensity)


def _wrapping(text: str, at: str = ": ") -> str:
    """LaTeX in several formulas: a browser breaks a line between formulas, never inside one."""
    parts = []
    for piece in text.split(", ") if text else []:
        head, found, tail = piece.partition(at)
        formulas = [head + found.rstrip(), tail] if found else [piece]
        parts.append(" ".join(f"${to_latex(formula)}$" for formula in formulas))
    return ", ".join(parts)


def _side(operands: list[Operand], repeats: int, symbols: Symbols) -> str:
    """``Q_i, K_i: L×H, i = 1..n_H``: named neighbours of one shape share it."""
    parts = []
    shapes = [(symbols.shape(operand.shape), operand.name) for operand in operands]
    for (shape, named), group in groupby(shapes, lambda pair: (pair[0], bool(pair[1]))):
        if named:
            parts.append(f"{', '.join(name for _, name in group)}: {shape}")
        else:
            parts += [shape for _ in group]
    heads = max([repeats, *(operand.count for operand in operands)])
    if heads > 1 and parts:
        parts.append(f"i = 1..{symbols.size(heads)}")
    return ", ".join(parts)


def to_latex(text: str) -> str:
    """The plain notation of labels and shapes as LaTeX: ``Q_i K_i^T / √D`` and (L+1)×H."""
    text = re.sub(r"_(-?\w+)", r"_{\1}", text).replace("nH}", "n_H}")
    text = re.sub(r"(?:[A-Za-z]{3,} ?)+", r"\\text{\g<0>}", text)
    text = re.sub(r"√(\w)", r"\\sqrt{\1}", text)
    symbols = {"√": r"\sqrt", "×": r" \times ", "·": r" \cdot ", "..": r" \dots "}
    return re.sub(r"√|×|·|\.\.", lambda found: symbols[found[0]], text)


def changed_rows(first, second) -> pd.DataFrame:
    """Compares the intermediate tensors of two passes, position by position.

    A row is the next-to-last axis, one position: K is (L, D), Score_i is (n_H, L, L). A row of
    the first pass is unchanged if no element moved by more than 1e-5. A score row that grew by
    a column is compared with 0 there: unchanged means that nothing attends to the new position.

    Args:
        first, second: OpTraces of two passes that kept their values (keep_values=True); the second
            pass has at least as many rows.

    Returns:
        a DataFrame with a line for each tensor that both have: tensor, rows_first, rows_second,
        unchanged, changed, new (numbers of rows), max_difference (over the rows of the first).

    Raises:
        ValueError: nothing to compare, or tensors of one name that do not fit.
    """
    for argument, trace in (("first", first), ("second", second)):
        if not isinstance(getattr(trace, "values", None), dict) or not trace.values:
            raise ValueError(f"{argument}: needs an OpTrace that ran with keep_values=True")
    first, second = first.values, second.values
    lines = []
    for name in (name for name in first if name in second):
        a, b = first[name], second[name]
        if a.ndim < 2 or a.ndim != b.ndim or a.shape[:-2] != b.shape[:-2] or a.numel() == 0:
            raise ValueError(f"{name}: cannot compare {tuple(a.shape)} with {tuple(b.shape)}")
        new, grown = b.shape[-2] - a.shape[-2], b.shape[-1] - a.shape[-1]
        if grown not in (0, new) or new < 0:
            raise ValueError(f"{name}: {tuple(b.shape)} is not {tuple(a.shape)} with rows added")
        old = a.shape[-2]
        difference = (F.pad(a, (0, grown)) - b[..., :old, :]).abs()
        per_row = difference.transpose(-1, -2).flatten(0, -2).amax(dim=0)  # (L,)
        unchanged = int((per_row <= _TOLERANCE).sum())  # NaN counts as changed
        line = (name, old, old + new, unchanged, old - unchanged, new, float(per_row.max()))
        lines.append(line)
    if not lines:
        raise ValueError(f"no tensor is in both passes: {list(first)} and {list(second)}")
    counts = ["rows_first", "rows_second", "unchanged", "changed", "new"]
    return pd.DataFrame(lines, columns=["tensor", *counts, "max_difference"])
