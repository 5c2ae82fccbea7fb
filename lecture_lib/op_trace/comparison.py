"""changed_rows(): what a second, longer pass computed again without need."""

from collections.abc import Mapping

import pandas as pd
import torch
import torch.nn.functional as F

_TOLERANCE = 1e-5


def changed_rows(
    first: "Mapping[str, torch.Tensor] | object",
    second: "Mapping[str, torch.Tensor] | object",
) -> pd.DataFrame:
    """Compares the intermediate tensors of two passes, position by position.

    A row is the next-to-last axis, one position: K is (L, D), Score_i is (n_H, L, L). A row of
    the first pass is unchanged if no element moved by more than 1e-5. A score row that grew by
    a column is compared with 0 there: unchanged means that nothing attends to the new position.

    Args:
        first, second: the values of two passes by name, or the OpTraces (keep_values=True) that
            kept them; the second pass has at least as many rows.

    Returns:
        a DataFrame with a line for each tensor that both have: tensor, rows_first, rows_second,
        unchanged, changed, new (numbers of rows), max_difference (over the rows of the first).

    Raises:
        ValueError: nothing to compare, or tensors of one name that do not fit.
    """
    first, second = (_values(first, "first"), _values(second, "second"))
    names = [name for name in first if name in second]
    if not names:
        raise ValueError(f"no tensor is in both passes: {list(first)} and {list(second)}")
    lines = []
    for name in names:
        a, b = first[name], second[name]
        if a.ndim < 2 or a.ndim != b.ndim or a.shape[:-2] != b.shape[:-2]:
            raise ValueError(f"{name}: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit")
        if a.numel() == 0:
            raise ValueError(f"{name}: the first pass has no rows to compare, {tuple(a.shape)}")
        grown, new = b.shape[-1] - a.shape[-1], b.shape[-2] - a.shape[-2]
        if grown not in (0, new) or new < 0:
            raise ValueError(f"{name}: {tuple(b.shape)} is not {tuple(a.shape)} with rows added")
        difference = (F.pad(a, (0, grown)) - b[..., : a.shape[-2], :]).abs()
        per_row = difference.transpose(-1, -2).flatten(0, -2).amax(dim=0)  # (L,)
        changed = int((~(per_row <= _TOLERANCE)).sum())  # so that NaN counts as changed
        old = a.shape[-2]
        lines.append((name, old, old + new, old - changed, changed, new, float(per_row.max())))
    counts = ["rows_first", "rows_second", "unchanged", "changed", "new"]
    return pd.DataFrame(lines, columns=["tensor", *counts, "max_difference"])


def _values(source, argument: str) -> Mapping[str, torch.Tensor]:
    values = getattr(source, "values", None)
    values = source if isinstance(source, Mapping) else values
    if not isinstance(values, Mapping):
        raise ValueError(f"{argument}: needs an OpTrace or its values, got {type(source).__name__}")
    if not values:
        raise ValueError(f"{argument}: no values were kept; record with keep_values=True")
    return values
