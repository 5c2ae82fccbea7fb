"""Pictures of the inference script: log-probabilities, and where a request's time goes."""

from collections.abc import Mapping, Sequence

import numpy as np

from .picture import Picture, blank_axes, new_figure
from .style import CHOSEN, DECODE, INK, KEPT, PREFILL, in_course_style, visible


@in_course_style
def logprobs_view(
    positions: Sequence[tuple[str, float, Sequence[tuple[str, float]]]], *, caption: str = ""
) -> Picture:
    """A text position by position: the likeliest tokens, and the one that was chosen.

    Args:
        positions: for each (chosen token, its log p, [(token, log p) of the likeliest]).

    Raises:
        ValueError: no position, or positions with different numbers of likeliest tokens.
    """
    if not positions or len({len(top) for _, _, top in positions}) != 1:
        raise ValueError("positions: needs at least one, all with the same number of tokens")
    n_top = len(positions[0][2])
    width, height = 0.3 + 1.1 * len(positions), 0.55 + 0.36 * (n_top + 1)
    figure, axes = blank_axes(width, height, (-0.55, len(positions) - 0.45), (n_top + 0.6, -1.0))
    told = []
    for column, (token, log_prob, top) in enumerate(positions):
        axes.text(column, -0.65, f"{column + 1}", ha="center", va="center", fontsize=9)
        below = [] if token in dict(top) else [(token, log_prob)]
        for row, (other, value) in enumerate([*top, *below]):
            _draw_cell(axes, column, row, other, float(np.exp(value)), chosen=other == token)
        rank = "not among them" if below else "among them"
        best = ", ".join(f"{visible(other)} {np.exp(value):.2f}" for other, value in top)
        told.append(
            f"{column + 1}: chosen {visible(token)} {np.exp(log_prob):.3f}, {rank}; likeliest: "
            f"{best}"
        )
    axes.axhline(n_top - 0.5, color=INK, linewidth=0.6, linestyle=":")
    return Picture(figure, "Tokens chosen and the likeliest, p each. " + ". ".join(told), caption)


def _draw_cell(axes, column: int, row: int, token: str, p: float, *, chosen: bool) -> None:
    place = {"left": column - 0.47, "height": 0.8}
    axes.barh(row, 0.94 * p, color=CHOSEN if chosen else KEPT, alpha=0.35, **place)
    frame = {"edgecolor": CHOSEN, "linewidth": 1.6} if chosen else {"edgecolor": "#DDDDDD"}
    axes.barh(row, 0.94, facecolor="none", **place, **frame)
    axes.text(column - 0.43, row, visible(token, 9), va="center", fontsize=8)
    shown = f"{p:.2f}".removeprefix("0") if p >= 0.005 else "<.01"
    axes.text(column + 0.44, row, shown, va="center", ha="right", fontsize=8)


@in_course_style
def request_timeline(requests: Mapping[str, Sequence[float]], *, caption: str = "") -> Picture:
    """Where a request's time goes: a block for the first token, and one for each further.

    Args:
        requests: label -> seconds to each token, as ``Timings.token_s``.

    Raises:
        ValueError: no request, or one without tokens.
    """
    if not requests or not all(len(times) for times in requests.values()):
        raise ValueError("requests: needs at least one, with the seconds of its tokens")
    figure = new_figure(7.4, 1.35 + 0.55 * len(requests))
    axes = figure.add_subplot()
    first = {"color": PREFILL, "edgecolor": "white"}
    rest = {"color": DECODE, "hatch": "///", "edgecolor": "white"}
    told = []
    for row, (label, times) in enumerate(requests.items()):
        ms = 1e3 * np.asarray(times, dtype=float)
        axes.barh(row, ms[0], height=0.6, **first)
        further = np.full(len(ms) - 1, row)
        axes.barh(further, ms[1:], left=ms.cumsum()[:-1], linewidth=0.6, height=0.6, **rest)
        axes.text(ms.sum(), row, f" {ms.sum():.0f} ms", va="center", fontsize=9)
        each = f", then {ms[1:].mean():.3g} ms each" if len(ms) > 1 else ""
        told.append(f"{label}: {len(ms)} tokens, the first after {ms[0]:.3g} ms{each}")
    axes.barh(0, 0, label="first token (prefill)", **first)
    axes.barh(0, 0, label="each further token (a decode step)", **rest)
    axes.set_yticks(range(len(requests)), list(requests))
    longest = max(sum(times) for times in requests.values())
    axes.set(ylim=(len(requests) - 0.5, -0.5), xlim=(0, 1.13e3 * longest), xlabel="milliseconds")
    figure.legend(frameon=False, fontsize=9, ncols=2, loc="outside upper left")
    return Picture(figure, "Time of a request. " + "; ".join(told), caption)
