"""Pictures of sampling: what a filter keeps, a text's nuclei, how likely texts are and repeat."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.colors import to_hex

from .picture import Picture, add_bars, as_array, blank_axes, new_figure
from .style import CHOSEN, CUT_LOOK, INK, KEPT, LINES, OTHER, SURPRISE, in_course_style, visible
from .tokens import Tile, draw_tiles

_MOST_ROWS = 10  # the other tokens share one more


@in_course_style
def filter_view(
    before,
    after,
    token: Callable[[int], str],
    *,
    title: str,
    top_p: float | None = None,
    seen_by_top_p=None,
    longest: float = 0.0,
) -> Picture:
    """A distribution (V,), what a filter keeps of it, and the result renormalised, row by row.

    One pair of axes without ticks, all bars of a kind as one collection: it is redrawn while a
    reader moves a slider.

    Args:
        before, after: without the filters (but after the temperature), and what is drawn from.
        token: the text of an id.
        top_p: where to draw the line, if top-p acts.
        seen_by_top_p: (V,) what top-p looked at, where that is not ``before`` (after top-k).
        longest: bars have room for this probability, so that pictures can be compared.
    """
    before, after = as_array("before", before), as_array("after", after)
    seen = before if seen_by_top_p is None else as_array("seen_by_top_p", seen_by_top_p)
    order = np.argsort(-before, kind="stable")[:_MOST_ROWS]
    names = [visible(token(int(i)), 14) for i in order]
    kept, n_others = after > 0, len(before) - len(order)
    n_rows = len(order) + (n_others > 0)
    height = 1.1 + 0.25 * n_rows  # a row is a quarter of an inch
    figure, axes = blank_axes(9.0, height, (0, 9.0), (n_rows + 1.2, n_rows + 1.2 - 4 * height))
    figure.text(0.01, 1 - 0.25 / height, title, fontsize=11, fontweight="bold")

    def panel(x0, width, limit, heading, note):
        """A part of the axes; returns the place of a probability in it, in inches."""
        axes.plot([x0, x0], [-0.6, n_rows - 0.4], color=INK, linewidth=0.8)
        axes.text(x0, -0.75, heading, fontweight="bold", va="bottom")
        axes.text(x0, n_rows - 0.25, note, va="top", fontsize=9)
        return lambda value: x0 + width * np.asarray(value) / limit

    def bars(x, values, shown, **look):
        add_bars(axes, x(0), x(values)[shown], np.flatnonzero(shown), 0.76, **look)

    values, n_kept = _with_others(before, order), _with_others(kept.astype(int), order)
    x = panel(1.35, 2.0, max(longest, values.max()), "before", "probability")
    bars(x, values, n_kept > 0, facecolor=KEPT)
    bars(x, values, n_kept == 0, **CUT_LOOK)
    shown_names = [*names, f"{n_others:,} others"] if n_others else names
    for row, (value, n, name) in enumerate(zip(values, n_kept, shown_names, strict=True)):
        more = f", {n:,} kept" if row == len(order) and 0 < n < n_others else "" if n else " cut"
        axes.text(x(value) + 0.06, row, f"{value:.3f}{more}", va="center", fontsize=9)
        axes.text(1.27, row, name, ha="right", va="center")

    x = panel(4.4, 1.6, 1.0, "cumulative", "● kept  ○ cut")
    sums, rows, stays = x(seen[order].cumsum()), np.arange(len(order)), kept[order]
    axes.plot(sums, rows, color=OTHER, linewidth=1)
    axes.plot(sums[stays], rows[stays], "o", color=KEPT, markersize=5)
    axes.plot(sums[~stays], rows[~stays], "o", color=OTHER, markerfacecolor="white", markersize=5)
    axes.plot([x(1), x(1)], [-0.6, n_rows - 0.4], color=OTHER, linewidth=0.8)
    axes.text(x(1), n_rows - 0.25, "1", ha="center", va="top", fontsize=9)
    if top_p is not None:
        axes.plot([x(top_p)] * 2, [-0.6, n_rows - 0.4], "--", color=CHOSEN, linewidth=1.2)
        look = {"color": CHOSEN, "fontsize": 9, "ha": "right"}
        axes.text(x(top_p) - 0.05, -0.3, f"p = {top_p:g}", **look)

    values = _with_others(after, order)
    x = panel(6.4, 2.0, max(longest, values.max()), "drawn from (renormalised)", "probability")
    bars(x, values, values > 0, facecolor=KEPT)
    for row in np.flatnonzero(values > 0):
        axes.text(x(values[row]) + 0.06, row, f"{values[row]:.3f}", va="center", fontsize=9)

    told = "; ".join(
        f"{name} {before[i]:.3f} " + (f"becomes {after[i]:.3f}" if kept[i] else "is cut")
        for name, i in zip(names, order, strict=True)
    )
    line = "" if top_p is None else f" The line of top-p stands at {top_p:g}."
    alt = (
        f"{title}. {int(kept.sum()):,} of {len(before):,} tokens are kept, with "
        f"{before[kept].sum():.3f} of the probability.{line} The likeliest: {told}."
    )
    return Picture(figure, alt)


def _with_others(values, order) -> np.ndarray:
    """The values of the rows, and the sum of all others where there are any."""
    shown = values[order]
    return shown if len(order) == len(values) else np.append(shown, values.sum() - shown.sum())


@in_course_style
def nucleus_strip(tokens: Sequence[str], sizes: Sequence[int]) -> Picture:
    """A text; each token's colour and number say how many tokens were possible there."""
    tiles = []
    for token, size in zip(tokens, sizes, strict=True):
        shade = min(1.0, np.log10(max(size, 1)) / 3.5)  # the darkest means 3,000 or more
        ink = "#FFFFFF" if shade > 0.72 else INK
        tiles.append(Tile(token, to_hex(SURPRISE(shade)), ink, (f"{size:,}",)))
    figure = draw_tiles(
        [tiles], line_width=64, narrowest=6.0, line_inches=0.55, box=(0.09, 0.74),
        text_at=(0.32, 0.65), edge="#BBBBBB",
    )  # fmt: skip
    told = ", ".join(f"{visible(tile.text)} {tile.notes[0]}" for tile in tiles)
    return Picture(figure, f"A text, darker where more tokens were in the nucleus: {told}.")


@in_course_style
def likely_and_repeated(texts: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Picture:
    """Texts by how likely they are and how much they repeat: a dot each, and each group's mean.

    Args:
        texts: for each group its texts' mean log p, in nats, and their shares repeated, 0 to 1.
    """
    figure = new_figure(7.0, 3.6)
    axes, told = figure.add_subplot(), []
    for (name, numbers), (colour, marker, _) in zip(texts.items(), LINES, strict=False):
        log_p, repeated = (as_array("texts", values) for values in numbers)
        mean = log_p.mean(), 100 * repeated.mean()
        spread = log_p.std(ddof=1), 100 * repeated.std(ddof=1)
        axes.plot(log_p, 100 * repeated, marker, color=colour, alpha=0.3, markersize=4)
        axes.errorbar(*mean, xerr=spread[0], color=colour, marker=marker, markersize=9, label=name)
        told.append(
            f"{name}: mean log p {mean[0]:.1f} ± {spread[0]:.1f}, "
            f"{mean[1]:.0f} ± {spread[1]:.0f} % repeated"
        )
    axes.set(xlabel="mean log p of a text's tokens, nats", ylabel="pairs seen before, %")
    axes.legend(frameon=False, fontsize=9)
    alt = "Texts by how likely they are and how much they repeat, mean ± standard deviation. "
    return Picture(figure, f"{alt}{'; '.join(told)}.")
