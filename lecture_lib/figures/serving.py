"""The picture of a load: how long each request waited under each policy, and who kept the level."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..checks import check_number
from .picture import Backdrop, Picture, new_figure
from .style import GOOD, INK, OTHER, in_course_style

_PANELS = ("first token after (s)", "longest wait for a further token (s)")


@in_course_style
def load_chart(
    waits: Mapping[str, tuple[Sequence, Sequence]], limits: tuple[float, float],
    span: tuple[float, float],
) -> Picture:  # fmt: skip
    """Two panels with a row per policy and a dot per request.

    Args:
        waits: policy -> of each request the seconds to its first token, and its longest wait for a
            further one.
        limits: of both, in seconds; a request that keeps both is green and filled.
        span: the seconds at both ends of the axes; what is outside lies at the edge.
    """
    limits = tuple(check_number("limits", limit, above=0) for limit in limits)
    low, high = (check_number("span", end, above=0) for end in span)
    frame = _frame(tuple(waits), limits, (low, high))
    told, kept = [], {}
    for name, pair in waits.items():
        first, further = (np.asarray(each, float) for each in pair)
        kept[name] = (first <= limits[0]) & (further <= limits[1])
        middle = f"{np.median(first):.2g} s and {np.median(further):.2g} s"
        told.append(f"{name}: {kept[name].sum()} of {len(first)} kept both, medians {middle}")

    def draw() -> None:
        for i, axes in enumerate(frame.figure.axes):
            for y, (name, pair) in enumerate(waits.items()):
                x, good = np.clip(pair[i], low, high), kept[name]
                ys = y + 0.6 * (np.arange(len(x)) * 0.618 % 1 - 0.5)  # so that few dots meet
                dots = {"marker": "o", "linestyle": "none", "markersize": 5}
                axes.plot(x[good], ys[good], color=GOOD, **dots)
                axes.plot(x[~good], ys[~good], color=OTHER, markerfacecolor="white", **dots)

    words = " and ".join(f"{limit:.2g} s" for limit in limits)
    return Picture(frame.image(draw), f"Limits {words}. {'; '.join(told)}.")


@lru_cache(maxsize=4)
def _frame(names: tuple, limits: tuple, span: tuple) -> Backdrop:
    """All but the dots."""
    figure = new_figure(8.2, 0.9 + 0.55 * len(names), layout=None)
    for i, (title, limit) in enumerate(zip(_PANELS, limits, strict=True)):
        axes = figure.add_axes((0.16 + 0.43 * i, 0.2, 0.39, 0.68))
        axes.set(xscale="log", xlim=span, ylim=(len(names) - 0.5, -0.5), xlabel=title)
        axes.set_yticks(range(len(names)), names if i == 0 else [])
        axes.xaxis.set_major_locator(LogLocator(subs=(1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.axvline(limit, color=INK, linestyle="--", linewidth=1.2)
        axes.text(limit, -0.55, "limit", ha="center", va="bottom", fontsize=9)
    return Backdrop(figure)
