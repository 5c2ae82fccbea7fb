"""Rows as a table: a DataFrame to compute with, Markdown with LaTeX to look at, plain text."""

import re
from dataclasses import dataclass

import pandas as pd

from .symbols import ShapeError, Symbols
from .traced_row import Operand, TracedRow

_COLUMNS = ["no.", "computation", "input", "output", "flops", "bytes", "intensity"]


@dataclass(frozen=True)
class TraceTable:
    """A table to look at. ``frame`` is its DataFrame; ``frame.attrs`` the conventions."""

    frame: pd.DataFrame
    formulas: list[bool]  # for each row, whether its computation is a formula (or code)

    @classmethod
    def from_rows(
        cls,
        rows: list[TracedRow],
        symbols: Symbols,
        dtype_bytes: int | None,
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
        frame.attrs = {
            "symbols": dict(symbols.values),
            "dtype_bytes": dtype_bytes or "as stored",
            "conventions": _conventions(dtype_bytes),
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
        printable = self._printable().itertuples(index=False)
        for (no, label, *sides, flops, moved, intensity), formula in zip(
            printable, self.formulas, strict=True
        ):
            label = _wrapping(label, " = ") if formula else f"`{label}`"
            sides = [_wrapping(side) for side in sides]
            lines.append(f"| {' | '.join([no, label, *sides, flops, moved, intensity])} |")
        return "\n".join(lines) + f"\n\n{self.caption(latex=True)}\n"

    def _printable(self) -> pd.DataFrame:
        frame = self.frame.copy()
        for column in ("flops", "bytes"):
            frame[column] = [f"{n:,}" for n in frame[column]]
        frame["intensity"] = ["–" if x != x else f"{x:.3g}" for x in frame["intensity"]]
        return frame


def _wrapping(text: str, at: str = ": ") -> str:
    """LaTeX in several formulas: a browser breaks a line between formulas, never inside one."""
    parts = []
    for piece in text.split(", "):
        head, found, tail = piece.partition(at)
        formulas = [head + found.rstrip(), tail] if found else [piece]
        parts.append(" ".join(f"${to_latex(formula)}$" for formula in formulas))
    return ", ".join(parts) if text else ""


def _conventions(dtype_bytes: int | None) -> str:
    size = f"{dtype_bytes} bytes an element" if dtype_bytes else "elements as wide as stored"
    return (
        "FLOPs: matrix products only, 2·m·n·k, masked scores included. Bytes: each operand of a "
        f"row read once, each result written once, {size}; what a row passes on inside stays on "
        "chip, a view moves nothing. Rows with i = 1.. are totals over all i"
    )


def _side(operands: list[Operand], repeats: int, symbols: Symbols) -> str:
    """``Q_i, K_i: L×H, i = 1..n_H``: named neighbours of one shape share it."""
    groups: list[tuple[list[str], str]] = []
    for operand in operands:
        shape = symbols.shape(operand.shape)
        if operand.name and groups and groups[-1][0] and groups[-1][1] == shape:
            groups[-1][0].append(operand.name)
        else:
            groups.append(([operand.name] if operand.name else [], shape))
    text = ", ".join(f"{', '.join(names)}: {s}" if names else s for names, s in groups)
    heads = max([repeats, *(operand.count for operand in operands)])
    return f"{text}, i = 1..{symbols.size(heads)}" if heads > 1 and text else text


def to_latex(text: str) -> str:
    """The plain notation of labels and shapes as LaTeX: ``Q_i K_i^T / √D`` and (L+1)×H."""
    text = re.sub(r"_(-?\w+)", r"_{\1}", text).replace("nH}", "n_H}")
    text = re.sub(r"√(\w)", r"\\sqrt{\1}", text)
    text = re.sub(r"(?:[A-Za-z]{3,} ?)+", r"\\text{\g<0>}", text.replace("\\sqrt", "√"))
    for plain, latex in {
        "√": r"\sqrt",
        "×": r" \times ",
        "·": r" \cdot ",
        "..": r" \dots ",
    }.items():
        text = text.replace(plain, latex)
    return text
