"""Pictures of sampling: what a filter keeps, what draws look like, what a text does to it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .picture import Picture
from .style import CHOSEN, INK, KEPT, MARK, OTHER, in_course_style, new_figure, visible

_CUT = {"facecolor": "white", "edgecolor": OTHER, "hatch": "////", "linewidth": 0.8}


@in_course_style
def filter_view(
    before,
    after,
    token: Callable[[int], str] | Sequence[str],
    *,
    top_p: float | None = None,
    seen_by_top_p=None,
    counts=None,
    n_shown: int = 12,
    title: str = "",
    caption: str = "",
) -> Picture:
    """A distribution, what a filter keeps of it, and the result renormalised, row by row.

    Left the likeliest tokens, kept (solid) or cut (hatched, "cut"); in the middle their cumulative
    probability with the line of top-p; right what is drawn from, with the observed frequencies.

    Args:
        before: (V,) probabilities, before the filters and after the temperature.
        after: (V,) probabilities that are drawn from, such as ``sampling_distribution`` gives.
        token: the text of an id, as a function or as a sequence.
        top_p: where to draw the line, if top-p acts.
        seen_by_top_p: (V,) the distribution that top-p looked at, where that is not ``before``
            (after top-k).
        counts: (V,) how often each token was drawn.
        n_shown: rows; the others share one.

    Raises:
        ValueError: shapes that differ, or no distribution.
    """
    before, after, seen, counts = _check_view(before, after, seen_by_top_p, counts)
    order = np.argsort(-before, kind="stable")[: max(1, n_shown)]
    names = [visible(token(int(i)) if callable(token) else token[i], 14) for i in order]
    kept = after > 0
    n_rest = len(before) - len(order)
    height = 1.15 + 0.25 * (len(order) + (n_rest > 0))
    figure = new_figure(9.0, height, layout=None)
    # Margins by hand: a layout engine draws everything twice, and this is redrawn while one slides.
    bottom, top = 0.5 / height, 1 - (0.65 if title else 0.35) / height
    left, middle, right = (
        figure.add_axes((x, bottom, width, top - bottom))
        for x, width in ((0.13, 0.28), (0.44, 0.22), (0.69, 0.30))
    )
    rest_kept = int(kept.sum() - kept[order].sum())
    _draw_before(left, before[order], kept[order], names, n_rest, rest_kept)
    _draw_cumulative(middle, seen, order, kept, top_p)
    _draw_after(right, after, order, n_rest, counts)
    for axes in (left, middle, right):
        axes.set_ylim(len(order) - 0.4 + (n_rest > 0), -0.6)
    if title:
        figure.text(0.01, 1 - 0.22 / height, title, fontsize=11, fontweight="bold")
    alt = _tell_view(before, after, order, names, kept, top_p, counts)
    return Picture(figure, f"{title}. {alt}" if title else alt, caption)


def _draw_before(axes, probs, kept, names, n_rest, rest_kept) -> None:
    rows, values, keep, labels = list(range(len(probs))), list(probs), list(kept), list(names)
    if n_rest:
        rows.append(len(probs))
        values.append(max(0.0, 1 - float(probs.sum())))
        keep.append(rest_kept > 0)
        labels.append(f"{n_rest:,} others")
    bars = axes.barh(rows, values, color=KEPT)
    for bar, value, stays in zip(bars, values, keep, strict=True):
        if not stays:
            bar.set(**_CUT)
        y = bar.get_y() + bar.get_height() / 2
        cut = "" if stays else " cut"
        axes.text(value, y, f" {value:.3f}{cut}", va="center", fontsize=9)
    if n_rest and 0 < rest_kept < n_rest:
        axes.texts[-1].set_text(f" {values[-1]:.3f}, {rest_kept:,} kept")
    axes.set_yticks(rows, labels)
    axes.set_xlim(0, 1.5 * max(values))
    axes.set_title("before", fontsize=10)
    axes.set_xlabel("probability")


def _draw_cumulative(axes, seen, order, kept, top_p) -> None:
    mass, rows = seen[order].cumsum(), np.arange(len(order))
    axes.plot(mass, rows, color=OTHER, linewidth=1)
    stays = kept[order]
    axes.plot(mass[stays], rows[stays], "o", color=KEPT, markersize=5)
    axes.plot(mass[~stays], rows[~stays], "o", color=OTHER, markerfacecolor="white", markersize=5)
    if top_p is not None:
        axes.axvline(top_p, color=CHOSEN, linestyle="--", linewidth=1.2)
        axes.text(top_p - 0.02, -0.25, f"p = {top_p:g}", color=CHOSEN, fontsize=9, ha="right")
    axes.set_xlim(0, 1.05)
    axes.set_yticks([])
    axes.set_title("cumulative", fontsize=10)
    axes.set_xlabel("● kept   ○ cut")


def _draw_after(axes, after, order, n_rest, counts) -> None:
    rows, values = list(range(len(order))), list(after[order])
    drawn = None if counts is None else list(counts[order] / counts.sum())
    if n_rest:
        rows.append(len(order))
        values.append(max(0.0, 1 - float(sum(values))))
        if drawn is not None:
            drawn.append(1 - sum(drawn))
    axes.barh(rows, values, color=KEPT)
    furthest = [max(pair) for pair in zip(values, drawn or values, strict=True)]
    if drawn is not None:
        axes.plot(drawn, rows, "D", color=MARK, markersize=5, markeredgecolor=INK, clip_on=False)
    for row, value, x in zip(rows, values, furthest, strict=True):
        if value > 0:
            gap = "   " if drawn is not None else " "
            axes.text(x, row, f"{gap}{value:.3f}", va="center", fontsize=9)
    axes.set_yticks([])
    axes.set_xlim(0, 1.3 * max(furthest))
    axes.set_title("drawn from (renormalised)", fontsize=10)
    axes.set_xlabel("probability" if drawn is None else f"◆ share of {int(counts.sum()):,} draws")


def _tell_view(before, after, order, names, kept, top_p, counts) -> str:
    rows = [
        f"{name} {before[i]:.3f} " + (f"becomes {after[i]:.3f}" if kept[i] else "is cut")
        + (f", drawn {int(counts[i])} times" if counts is not None else "")
        for name, i in zip(names, order, strict=True)
    ]  # fmt: skip
    line = "" if top_p is None else f" The line of top-p stands at {top_p:g}."
    return (
        f"{int(kept.sum()):,} of {len(before):,} tokens are kept, with "
        f"{before[kept].sum():.3f} of the probability.{line} The likeliest: {'; '.join(rows)}."
    )


@in_course_style
def top_k_and_nucleus(
    distributions: Mapping[str, Mapping[str, float]], *, k: int, p: float, caption: str = ""
) -> Picture:
    """Distributions side by side: how far the k likeliest reach, and how far the nucleus.

    Args:
        distributions: a title and ``{word: probability}`` for each.
        k: of top-k. p: of top-p.

    Raises:
        ValueError: no distribution, k below 1, p outside (0, 1].
    """
    if not distributions or k < 1 or not 0 < p <= 1:
        raise ValueError(f"needs distributions, k of 1 or more and p in (0, 1], got {k=}, {p=}")
    n_rows = max(map(len, distributions.values()))
    figure = new_figure(8.2, 1.0 + 0.27 * n_rows)
    figure.get_layout_engine().set(w_pad=0.12)
    told = []
    for i, (title, distribution) in enumerate(distributions.items()):
        words = sorted(distribution, key=distribution.get, reverse=True)
        values = np.array([distribution[word] for word in words])
        cumulative = values.cumsum()
        n = min(int((cumulative < p - 1e-9).sum()) + 1, len(words))
        k_here = min(k, len(words))
        axes = figure.add_subplot(1, len(distributions), i + 1)
        bars = axes.barh(range(len(words)), values, color=KEPT)
        for bar in bars[n:]:
            bar.set(**_CUT)
        for row, value in enumerate(values):
            axes.text(value, row, f" {value:.3f}", va="center", fontsize=9)
        axes.set_yticks(range(len(words)), [visible(word) for word in words])
        axes.set_ylim(len(words) - 0.4, -0.6)
        axes.set_xlim(0, 1.9 * values.max())
        axes.set_xlabel("probability (hatched: outside the nucleus)")
        axes.set_title(title)
        mass_k, mass_n = cumulative[k_here - 1], cumulative[n - 1]
        _mark(axes, k_here - 0.5, f"top {k_here}: {mass_k:.2f}", MARK, "-")
        _mark(axes, n - 0.5, f"nucleus at {p:g}: {n} words, {mass_n:.2f}", CHOSEN, "--")
        told.append(
            f"{title}: the {k_here} likeliest words hold {mass_k:.2f}, the nucleus at {p:g} is "
            f"{n} words with {mass_n:.2f}"
        )
    return Picture(figure, "Word probabilities. " + "; ".join(told) + ".", caption)


def _mark(axes, y: float, text: str, colour: str, dash: str) -> None:
    axes.axhline(y, color=colour, linestyle=dash, linewidth=1.4)
    axes.text(
        0.99, y - 0.08, text, color=INK, fontsize=9, ha="right", va="bottom",
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip


def _check_view(before, after, seen, counts):
    before, after = (np.asarray(x, dtype=np.float64) for x in (before, after))
    seen = before if seen is None else np.asarray(seen, dtype=np.float64)
    counts = None if counts is None else np.asarray(counts, dtype=np.float64)
    shapes = {x.shape for x in (before, after, seen, counts) if x is not None}
    if len(shapes) != 1 or before.ndim != 1 or len(before) == 0:
        raise ValueError(f"before, after, counts: need one shape (V,), got {sorted(shapes)}")
    if counts is not None and counts.sum() < 1:
        raise ValueError("counts: no draws")
    return before, after, seen, counts
