"""Pictures of sampling: top-k beside the nucleus, frequencies of draws, texts, strategies."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter

from .picture import Picture
from .style import CHOSEN, CUT_LOOK, INK, KEPT, MARK, in_course_style, new_figure, visible

_MEASURES = {
    "distinct_2": "distinct-2",
    "repeated_4grams": "repeated 4-grams",
    "mean_log_prob": "mean log p (nats)",
}


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
            bar.set(**CUT_LOOK)
        for row, value in enumerate(values):
            axes.text(value, row, f" {value:.3f}", va="center", fontsize=9)
        axes.set_yticks(range(len(words)), [visible(word) for word in words])
        axes.set_ylim(len(words) - 0.4, -0.6)
        axes.set_xlim(0, min(2.3 * values.max(), 1.15))  # no probability above 1 on the axis
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


@in_course_style
def draws_view(tokens: Sequence[str], probs, counts, *, caption: str = "") -> Picture:
    """Observed frequencies over expected ones, with the spread that honest draws have.

    Args:
        tokens: their texts. probs, counts: (n,) the probability of each and how often it was
            drawn. The bars show twice the standard deviation √(p (1 - p) / n) on each side: about
            95 of 100 honest frequencies lie within.

    Raises:
        ValueError: lengths that differ, no draws.
    """
    probs, counts = np.asarray(probs, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if not len(tokens) == len(probs) == len(counts) or counts.sum() < 1:
        raise ValueError("tokens, probs, counts: need one length and at least one draw")
    n, rows = counts.sum(), range(len(tokens))
    observed, spread = counts / n, 2 * np.sqrt(probs * (1 - probs) / n)
    figure = new_figure(7.0, 1.2 + 0.27 * len(tokens))
    axes = figure.add_subplot()
    axes.barh(rows, probs, color=KEPT, alpha=0.45, label="expected")
    low = np.minimum(spread, probs)  # a frequency is never below 0
    axes.errorbar(
        probs, rows, xerr=(low, spread), fmt="none", ecolor=INK, capsize=3, label="± 2 sd"
    )
    axes.plot(observed, rows, "D", color=MARK, markeredgecolor=INK, markersize=6, label="observed")
    axes.set_yticks(rows, [visible(token) for token in tokens])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"share of {int(n):,} draws")
    axes.legend(loc="lower right", frameon=False)
    listed = ", ".join(
        f"{visible(t)} {o:.3f} (expected {p:.3f})"
        for t, o, p in zip(tokens, observed, probs, strict=True)
    )
    return Picture(figure, f"Frequencies in {int(n):,} draws: {listed}.", caption)


@in_course_style
def entropy_along_text(
    tokens: Sequence[str], entropies: Sequence[float], n_kept: Sequence[int], *, caption: str = ""
) -> Picture:
    """How unsure the model was before each token of a text, and how many it could draw from.

    Args:
        tokens: the text, token by token. entropies: in nats, before each. n_kept: tokens kept.

    Raises:
        ValueError: lengths that differ, or no tokens.
    """
    if not len(tokens) == len(entropies) == len(n_kept) or len(tokens) == 0:
        raise ValueError("tokens, entropies, n_kept: need one length of 1 or more")
    figure = new_figure(max(5.0, 1.2 + 0.26 * len(tokens)), 4.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    columns = np.arange(len(tokens))
    upper.bar(columns, entropies, color=KEPT)
    upper.set_ylabel("entropy (nats)")
    lower.plot(columns, n_kept, "o-", color=CHOSEN, markersize=4, linewidth=1)
    lower.set_yscale("log")
    lower.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    lower.set_ylim(bottom=0.8)
    lower.set_ylabel("tokens kept")
    lower.set_xticks(columns, [visible(token, 12) for token in tokens], rotation=90, fontsize=9)
    lower.set_xlim(-0.6, len(tokens) - 0.4)
    most, least = int(np.argmax(entropies)), int(np.argmin(entropies))
    alt = (
        f"Entropy before each of {len(tokens)} tokens, from {entropies[least]:.2f} nats before "
        f"{visible(tokens[least])} to {entropies[most]:.2f} before {visible(tokens[most])}; the "
        f"filter keeps from {min(n_kept):,} to {max(n_kept):,} tokens. "
        + ", ".join(f"{visible(t)} {n}" for t, n in zip(tokens, n_kept, strict=True))
    )
    return Picture(figure, alt, caption)


@in_course_style
def strategies_view(table: pd.DataFrame, *, caption: str = "") -> Picture:
    """Strategies side by side: how varied, how repetitive, how likely their texts are.

    Args:
        table: what ``compare_strategies`` returns; the index has the labels.

    Raises:
        ValueError: a table without rows or without these columns.
    """
    missing = [name for name in _MEASURES if name not in table]
    if missing or len(table) == 0:
        raise ValueError(f"table: needs rows, and the columns {list(_MEASURES)}; lacks {missing}")
    figure = new_figure(8.2, 1.1 + 0.3 * len(table))
    all_axes = figure.subplots(1, len(_MEASURES), sharey=True)
    rows = range(len(table))
    for axes, (name, title) in zip(all_axes, _MEASURES.items(), strict=True):
        values = table[name].to_numpy(dtype=np.float64)
        axes.barh(rows, np.nan_to_num(values), color=KEPT)
        for row, value in zip(rows, values, strict=True):
            side = "right" if value < 0 else "left"
            text = "too short" if np.isnan(value) else f" {value:.2f} "
            axes.text(np.nan_to_num(value), row, text, va="center", ha=side, fontsize=9)
        low, high = min(0.0, np.nanmin(values)), max(0.0, np.nanmax(values))
        high = high if low < 0 else max(high, 0.05)  # a row of zeros still needs an axis
        room = 0.35 * (high - low)
        axes.set_xlim(low - room * (low < 0), high + room * (high > 0))
        axes.set_title(title, fontsize=10)
    all_axes[0].set_yticks(rows, [str(label) for label in table.index])
    all_axes[0].invert_yaxis()
    told = "; ".join(
        f"{label}: " + ", ".join(f"{_MEASURES[name]} {row[name]:.2f}" for name in _MEASURES)
        for label, row in table.iterrows()
    )
    return Picture(figure, f"Texts of {len(table)} strategies. {told}.", caption)
