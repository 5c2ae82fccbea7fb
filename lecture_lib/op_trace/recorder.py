"""OpTrace: makes rows of the operations that run; row() and name_tensors() give the names."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from itertools import groupby

import pandas as pd
import torch

from lecture_lib.checks import check_count, check_flag, check_text, check_type

from .listeners import FunctionListener, OperationListener, listen_to_modules
from .symbols import Symbols
from .table import TraceTable
from .traced_row import OpenRow, Operand, TracedRow, element_bytes, storage_of, tensors_in, view_of

_active: ContextVar["OpTrace | None"] = ContextVar("active_trace", default=None)


@contextmanager
def row(no: str, label: str, names: str = "", *, head: int | None = None) -> Iterator[None]:
    """Marks what runs in here as one row of the slide. Does nothing when no trace is running.

    Args:
        no: the slide's number, "7" or "4-6".
        label: the computation, "Score_i = softmax(Q_i K_i^T / √D)".
        names: what the results are called, in the order they are made, "Q_i, K_i, V_i".
        head: the number i of the head, from 0, in a loop over heads; its rows become one.

    Rows inside a row belong to the outer one.

    Raises:
        ValueError: names for more or fewer results than the row left.
    """
    trace = _active.get()
    if trace is None:
        yield
        return
    check_text("names", names, "")
    if head is not None:
        check_count("head", head, least=0)
    with trace.recording(no, label, labelled=True, names=names, head=head):
        yield


def name_tensors(names: Mapping[str, torch.Tensor]) -> None:
    """Gives tensors their names on the slide, if a trace is running: {"X": x, "W^Q": w_q}."""
    trace = _active.get()
    check_type("names", names, Mapping, "name -> tensor")
    for name, tensor in names.items() if trace is not None else ():
        trace.name(name, [check_type(name, tensor, torch.Tensor, "a tensor")])


class OpTrace:
    """Records what runs inside ``with OpTrace(...) as trace:``.

    Autograd may be on or off. Under torch.inference_mode PyTorch reports a copy for a dropout that
    does nothing; torch.no_grad shows what really runs. Tensors stay in memory until the end.

    Args:
        symbols: the sizes of this run by letter; see Symbols. Without any, shapes are numbers.
        dtype_bytes: bytes to count for an element of a floating-point tensor, whatever its dtype:
            2 accounts any run as FP16, as the lecture does. None: the bytes it really has.
        strict: refuse a shape that the symbols do not explain (see Symbols).
        keep_values: keep the named results of labelled rows in ``values``.
        module: a torch.nn.Module; the modules inside it that have no children become rows
            ("mlp.up_proj: Linear"), and other rows say in which module they ran.

    Attributes:
        rows: the TracedRows so far.
        values: name -> tensor, of the last row with that name; the heads of ``K_i`` stacked to
            (n_H, L, H).

    Raises:
        ValueError: a bad argument. ``table()`` raises ShapeError, a ValueError, for a shape that
            contradicts the symbols.
    """

    def __init__(
        self,
        symbols: Mapping[str, int] | None = None,
        *,
        dtype_bytes: int | None = 2,
        strict: bool = True,
        keep_values: bool = False,
        module: torch.nn.Module | None = None,
    ):
        if dtype_bytes is not None:
            check_count("dtype_bytes", dtype_bytes)
        check_flag("keep_values", keep_values)
        check_type("module", module, torch.nn.Module | None, "a torch.nn.Module")
        self.symbols = Symbols(symbols, strict=strict)
        self.dtype_bytes = dtype_bytes
        self.rows: list[TracedRow] = []
        self._keep_values = keep_values
        self.module = module
        self.module_path: list[str] = []  # of the modules running now
        self.silent = False
        self._names: dict[tuple, str] = {}
        self._alive: list[torch.Tensor] = []  # memory freed while we record could be reused
        self._made_by: dict[int, TracedRow] = {}
        self._current: OpenRow | None = None
        self._values: dict[str, list[torch.Tensor]] = {}

    def table(self) -> pd.DataFrame:
        """The rows as a pandas.DataFrame: no., computation, input, output, flops, bytes, intensity.

        ``flops`` are those of matrix products, ``bytes`` count each operand read once and each
        result written once, ``intensity`` is their quotient (NaN where nothing moves); rows with
        "i = 1..n_H" give the total of all heads. Unlabelled rows that only look at memory
        differently (transpose) are left out. ``attrs`` has the symbols and what was assumed.

        Raises:
            ShapeError: a shape that contradicts the symbols (unless strict=False).
        """
        return self.show().frame

    def show(self) -> TraceTable:
        """The table, to look at: typeset in a notebook, plain with print()."""
        return TraceTable.from_rows(self.rows, self.symbols, self.dtype_bytes)

    @property
    def values(self) -> dict[str, torch.Tensor]:
        """The kept results by name; those of heads stacked, (n_H, ...)."""
        return {
            name: torch.stack(tensors) if name.endswith("_i") else tensors[0]
            for name, tensors in self._values.items()
        }

    def __repr__(self) -> str:
        return f"OpTrace({len(self.rows)} rows)"

    def __enter__(self) -> "OpTrace":
        if _active.get() is not None:
            raise ValueError("an OpTrace is recording already: leave it before entering another")
        with ExitStack() as stack:  # where one of them fails, the others are left again
            stack.callback(_active.reset, _active.set(self))
            for kind in (OperationListener, FunctionListener, listen_to_modules):
                stack.enter_context(kind(self))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exc_info) -> None:
        self._exit.close()
        self._alive, self._names, self._made_by = [], {}, {}

    def name(self, name: str, tensors: list[torch.Tensor]) -> None:
        """From here on, the table calls these tensors by this name."""
        self._alive += tensors
        self._names.update({view_of(tensor): name for tensor in tensors})

    @contextmanager
    def recording(self, no, label, *, labelled=False, names="", head=None) -> Iterator[OpenRow]:
        """For the listeners: all that runs in here is one row."""
        if self._current is not None:  # the outer row has it
            yield self._current
            return
        self._current = current = OpenRow(self.dtype_bytes)
        try:
            yield current
        finally:
            self._current = None
        if current.results:
            where = self.module_path[-1] if self.module_path and not labelled else ""
            done = TracedRow(no, f"{where}: {label}" if where else label, labelled)
            self._finish(current, done, [n.strip() for n in names.split(",") if n.strip()], head)

    def record(self, func, args: tuple, kwargs: dict, out) -> None:
        """For the listeners: an aten operation ran."""
        if self.silent:
            return
        self._alive += tensors_in((args, kwargs, out))
        with self.recording("", func.overloadpacket.__name__) as current:
            current.record(func, args, kwargs, out)

    def _finish(self, ran: OpenRow, done: TracedRow, names: list[str], head: int | None) -> None:
        """Fill in the row from what ran, and put it into the table."""
        entering, leaving = ran.entering(), ran.leaving()
        if names and len(names) != len(leaving):
            raise ValueError(
                f"row {done.no} ({done.label}): names {len(names)} results, {', '.join(names)}, "
                f"but leaves {len(leaving)}, of shapes {[tuple(t[0].shape) for t in leaving]}"
            )
        done.inputs = self._operands(entering)
        for tensor in entering:
            # A tensor from inside an earlier row is read now: it was a result of that row too.
            if maker := self._made_by.pop(storage_of(tensor), None):
                maker.outputs += self._operands([tensor])
                maker.bytes += tensor.numel() * element_bytes(tensor, self.dtype_bytes)
        for outs, name in zip(leaving, names or [None] * len(leaving), strict=True):
            if name:
                self.name(name, outs)
                if self._keep_values:
                    self.silent = True  # the copies are ours, not a row
                    copies = [t.clone() for t in outs]  # a preallocated cache is written again
                    self._values[name] = (self._values[name] if head else []) + copies
                    self.silent = False
            done.outputs += self._operands(outs)
            ran.write(outs)
        done.bytes, done.flops, done.computes = ran.bytes, ran.flops, ran.computes
        if head:  # 1, 2, ...: the row of head 0 is there
            same = [r for r in self.rows if (r.no, r.label) == (done.no, done.label)]
            if not same:
                raise ValueError(f"row {done.no} ({done.label}): head numbers start at 0")
            same[-1].absorb(done)
            done = same[-1]
        else:
            self.rows.append(done)
        inner = ran.made - {storage_of(t) for outs in leaving for t in outs}
        self._made_by.update(dict.fromkeys(inner, done))

    def _operands(self, tensors: list[torch.Tensor]) -> list[Operand]:
        """Tensors as the table lists them: those of one name (the heads) are one operand."""
        operands = []
        known = [(self._names.get(view_of(tensor)), tuple(tensor.shape)) for tensor in tensors]
        for (name, shape), group in groupby(known):
            n = len(list(group))
            operands += [Operand(name, shape, n)] if name else [Operand(None, shape)] * n
        return operands
