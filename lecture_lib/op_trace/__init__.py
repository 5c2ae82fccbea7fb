"""What a piece of PyTorch code computed, as the lecture's table: recorded, not written by hand.

with OpTrace(symbols={"L": 8, "D": 64, "n_H": 4, "H": 16}) as trace:
    naive_block(x, weights, n_heads=4)
trace.table()                     # pandas.DataFrame; trace.show() typesets it

recorder      OpTrace: makes rows of what ran; row() and name_tensors() give the slide's names
listeners     how functions, aten operations and modules reach it
traced_row    one row: which tensors went in and came out, FLOPs, bytes
symbols       Symbols: 9 is L+1, or it is an error
table         rows as a DataFrame, as Markdown with LaTeX, as text; changed_rows(): what a
              second pass needlessly computed again
"""

from .recorder import OpTrace, name_tensors, row
from .symbols import ShapeError, Symbols
from .table import changed_rows

__all__ = ["OpTrace", "ShapeError", "Symbols", "changed_rows", "name_tensors", "row"]
