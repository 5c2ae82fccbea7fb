"""Pictures of sampling: top-k beside the nucleus, and what a filter keeps of a distribution."""

from collections.abc import Callable, Mapping

import numpy as np

from ..checks import check_count, check_number
from .picture import Picture, add_bars, as_array, blank_axes, new_figure
from .style import CHOSEN, CUT_LOOK, INK, KEPT, MARK, OTHER, in_course_style, visible

_MOST_ROWS = 10  # the other tokens share one more


@in_course_style
def top_k_and_nucleus(
    distributions: Mapping[str, Mapping[str, float]], *, k: int, p: float
) -> Picture:
    """Distributions side by side: how far the k likeliest reach, and how far the nucleus.

    Args:
        distributions: a title and ``{word: probability}`` for each.
        k: of top-k. p: of top-p.

    Raises:
        ValueError: no distribution, k below 1, p outside (0, 1].
    """
    k, p = check_count("k", k), check_number("p", p, above=0, most=1)
    n_rows = max(map(len, distributions.values()))
    figure = new_figure(8.2, 1.0 + 0.27 * n_rows)
    figure.get_layout_engine().set(w_pad=0.12)
    told = []
    for i, (title, distribution) in enumerate(distributions.items(), 1):
        words = sorted(distribution, key=distribution.get, reverse=True)
        values = np.array([distribution[word] for word in words])
        cumulative = values.cumsum()
        n = min(int((cumulative < p - 1e-9).sum()) + 1, len(words))
        k_here = min(k, len(words))
        axes = figure.add_subplot(1, len(distributions), i)
        bars = axes.barh(range(len(words)), values, color=KEPT)
        for bar in bars[n:]:
            bar.set(**CUT_LOOK)
        for row, value in enumerate(values):
            axes.text(value, row, f" {value:.3f}", va="center", fontsize=9)
        axes.set_yticks(range(len(words)), [visible(word) for word in words])
        # No probability above 1 on the axis.
        axes.set(ylim=(len(words) - 0.4, -0.6), xlim=(0, min(2.3 * values.max(), 1.15)))
        axes.set(xlabel="probability (hatched: outside the nucleus)", title=title)
        mass_k, mass_n = cumulative[k_here - 1], cumulative[n - 1]
        for count, text, colour, dash in (
            (k_here, f"top {k_here}: {mass_k:.2f}", MARK, "-"),
            (n, f"nucleus at {p:g}: {n} words, {mass_n:.2f}", CHOSEN, "--"),
        ):
            axes.axhline(count - 0.5, color=colour, linestyle=dash, linewidth=1.4)
            place = {"ha": "right", "va": "bottom", "transform": axes.get_yaxis_transform()}
            axes.text(0.99, count - 0.58, text, color=INK, fontsize=9, **place)
        told.append(
            f"{title}: the {k_here} likeliest words hold {mass_k:.2f}, the nucleus at {p:g} is "
            f"{n} words with {mass_n:.2f}"
        )
    return Picture(figure, "Word probabilities. " + "; ".join(told) + ".")


@in_course_style
def filter_view(
    before,
    after,
    token: Callable[[int], str],
    *,
    title: str,
    top_p: float | None = None,
    seen_by_top_p=None,
    counts=None,
) -> Picture:
    """A distribution (V,), what a filter keeps of it, and the result renormalised, row by row.

    One pair of axes, drawn without ticks, and all bars of a kind as one collection: three pairs
    with their ticks take twice as long, and this picture is redrawn while a reader moves a slider.

    Args:
        before, after: without the filters (but after the temperature), and what is drawn from.
        token: the text of an id. counts: (V,) how often each was drawn.
        top_p: where to draw the line, if top-p acts.
        seen_by_top_p: (V,) what top-p looked at, where that is not ``before`` (after top-k).
    """
    before, after = as_array("before", before), as_array("after", after)
    seen = before if seen_by_top_p is None else as_array("seen_by_top_p", seen_by_top_p)
    counts = None if counts is None else as_array("counts", counts)
    order = np.argsort(-before, kind="stable")[:_MOST_ROWS]
    names = [visible(token(int(i)), 14) for i in order]
    kept, n_rows = after > 0, len(order) + (len(order) < len(before))
    height = 1.1 + 0.25 * n_rows  # a row is a quarter of an inch
    figure, axes = blank_axes(9.0, height, (0, 9.0), (n_rows + 1.2, n_rows + 1.2 - 4 * height))
    figure.text(0.01, 1 - 0.25 / height, title, fontsize=11, fontweight="bold")
    _draw_before(axes, before, order, kept, names)
    _draw_cumulative(axes, seen, order, kept, top_p, n_rows)
    _draw_after(axes, after, order, counts)
    rows = [
        f"{name} {before[i]:.3f} " + (f"becomes {after[i]:.3f}" if kept[i] else "is cut")
        + (f", drawn {int(counts[i])} times" if counts is not None else "")
        for name, i in zip(names, order, strict=True)
    ]  # fmt: skip
    line = "" if top_p is None else f" The line of top-p stands at {top_p:g}."
    alt = (
        f"{title}. {int(kept.sum()):,} of {len(before):,} tokens are kept, with "
        f"{before[kept].sum():.3f} of the probability.{line} The likeliest: {'; '.join(rows)}."
    )
    return Picture(figure, alt)


class _Panel:
    """A part of the axes: probabilities from 0 to ``limit`` on ``width`` inches from ``x0`` on."""

    def __init__(self, axes, x0: float, width: float, limit: float, n_rows: int):
        self.axes, self.x0, self.width, self.limit, self.n_rows = axes, x0, width, limit, n_rows

    def x(self, value):
        """The place of a probability on the axis, in inches."""
        return self.x0 + self.width * np.asarray(value) / self.limit

    def frame(self, title: str, note: str) -> None:
        self.line(0, color=INK, linewidth=0.8)
        self.axes.text(self.x0, -0.75, title, fontweight="bold", va="bottom")
        self.axes.text(self.x0, self.n_rows - 0.25, note, va="top", fontsize=9)

    def line(self, value: float, style: str = "-", **look) -> None:
        self.axes.plot([self.x(value)] * 2, [-0.6, self.n_rows - 0.4], style, **look)

    def bars(self, values, shown, **look) -> None:
        """Bars for the rows that are ``shown``, (n_rows,) of bool."""
        add_bars(self.axes, self.x0, self.x(values)[shown], np.flatnonzero(shown), 0.76, **look)

    def label(self, value: float, row: float, text: str) -> None:
        self.axes.text(float(self.x(value)) + 0.06, row, text, va="center", fontsize=9)


def _with_others(values, order) -> np.ndarray:
    """The values of the rows, and the sum of all others where there are any."""
    shown = values[order]
    return shown if len(order) == len(values) else np.append(shown, values.sum() - shown.sum())


def _draw_before(axes, before, order, kept, names) -> None:
    values, n_kept = _with_others(before, order), _with_others(kept.astype(int), order)
    n_others = len(before) - len(order)
    panel = _Panel(axes, 1.35, 2.0, values.max(), len(values))
    panel.frame("before", "probability")
    panel.bars(values, n_kept > 0, facecolor=KEPT)
    panel.bars(values, n_kept == 0, **CUT_LOOK)
    if n_others:
        names = [*names, f"{n_others:,} others"]
    for row, (value, n, name) in enumerate(zip(values, n_kept, names, strict=True)):
        label = f"{value:.3f}" + ("" if n else " cut")
        if row == len(order) and 0 < n < n_others:
            label += f", {n:,} kept"
        panel.label(value, row, label)
        axes.text(1.27, row, name, ha="right", va="center")


def _draw_cumulative(axes, seen, order, kept, top_p, n_rows) -> None:
    panel, rows = _Panel(axes, 4.4, 1.6, 1.0, n_rows), np.arange(len(order))
    panel.frame("cumulative", "● kept  ○ cut")
    x, stays = panel.x(seen[order].cumsum()), kept[order]
    axes.plot(x, rows, color=OTHER, linewidth=1)
    axes.plot(x[stays], rows[stays], "o", color=KEPT, markersize=5)
    axes.plot(x[~stays], rows[~stays], "o", color=OTHER, markerfacecolor="white", markersize=5)
    panel.line(1.0, color=OTHER, linewidth=0.8)
    axes.text(panel.x(1.0), n_rows - 0.25, "1", ha="center", va="top", fontsize=9)
    if top_p is not None:
        panel.line(top_p, "--", color=CHOSEN, linewidth=1.2)
        look = {"color": CHOSEN, "fontsize": 9, "ha": "right"}
        axes.text(panel.x(top_p) - 0.05, -0.3, f"p = {top_p:g}", **look)


def _draw_after(axes, after, order, counts) -> None:
    values = furthest = _with_others(after, order)
    note, gap = "probability", ""
    if counts is not None:
        shares = _with_others(counts / counts.sum(), order)
        furthest = np.maximum(values, shares)
        note, gap = f"◆ share of {int(counts.sum()):,} draws", "  "
    panel = _Panel(axes, 6.4, 2.0, furthest.max(), len(values))
    panel.frame("drawn from (renormalised)", note)
    panel.bars(values, values > 0, facecolor=KEPT)
    if counts is not None:
        rows = range(len(values))
        axes.plot(panel.x(shares), rows, "D", color=MARK, markersize=5, markeredgecolor=INK)
    for row in np.flatnonzero(values > 0):
        panel.label(furthest[row], row, f"{gap}{values[row]:.3f}")
