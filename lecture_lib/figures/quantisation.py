"""The picture of quantised weights: bits against perplexity, and the tokens per second."""

from collections.abc import Mapping
from functools import lru_cache

from matplotlib.ticker import FuncFormatter, LogLocator

from .picture import Backdrop, Picture, add_bars, new_figure
from .style import CHOSEN, INK, KEPT, LINES, OTHER, bar_look, in_course_style

_YOURS = "your choice"


@in_course_style
def quantisation_view(
    curves: Mapping[str, list],
    plain: float,
    rates: Mapping[str, float],
    chosen: tuple,
    measured: Mapping[str, float] | None = None,
) -> Picture:
    """Perplexity against bits per weight, and tokens per second of some formats.

    Args:
        curves: who shares a scale -> points (bits per weight, perplexity).
        plain: perplexity of the weights as they are.
        rates: format -> predicted tokens per second. measured: the same, of those measured.
        chosen: the chosen point's bits per weight, its perplexity, and its predicted tokens per
            second, for which there is room up to one and a half times the fastest of ``rates``.
    """
    bits, perplexity, rate = chosen
    measured = measured or {}
    points = tuple((name, tuple(map(tuple, pairs))) for name, pairs in curves.items())
    frame = _frame(points, plain, tuple(rates.items()), tuple(measured.items()))
    left, right = frame.figure.axes

    def draw() -> None:
        ring = {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 2.5}
        left.plot([bits], [perplexity], "o", color=CHOSEN, zorder=5, **ring)
        add_bars(right, 0, [rate], [len(rates)], 0.6, **bar_look(CHOSEN, "///"))
        right.text(rate, len(rates), f" {rate:.0f}", va="center", fontsize=9)

    told = [f"chosen: {bits:.2f} bits per weight, perplexity {perplexity:.3g}, plain {plain:.3g}"]
    listed = [*rates.items(), (_YOURS, rate)]
    told.append("tokens per second by the law: " + ", ".join(f"{n} {r:.0f}" for n, r in listed))
    if measured:
        told.append("measured: " + ", ".join(f"{n} {r:.0f}" for n, r in measured.items()))
    return Picture(frame.image(draw), "; ".join(told))


@lru_cache(maxsize=4)
def _frame(points: tuple, plain: float, rates: tuple, measured: tuple) -> Backdrop:
    """All but the chosen setting."""
    figure = new_figure(8.2, 3.4, layout=None)
    left = figure.add_axes((0.085, 0.16, 0.41, 0.72))
    for (name, pairs), (colour, marker, line) in zip(points, LINES, strict=False):
        left.semilogy(*zip(*pairs, strict=True), line, marker=marker, color=colour, label=name)
    left.axhline(plain, color=INK, linestyle=":", linewidth=1)
    left.set(xlabel="bits per weight, scales included", title="perplexity of the story")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    left.minorticks_off()
    left.grid(alpha=0.25)
    left.legend(frameon=False, fontsize=9, title="a scale for", title_fontsize=9)
    right = figure.add_axes((0.62, 0.16, 0.36, 0.72))
    names, speeds = zip(*rates, strict=True)
    add_bars(right, 0, speeds, range(len(names)), 0.6, **bar_look(KEPT))
    found = [(speed, names.index(name)) for name, speed in measured if name in names]
    if found:
        right.plot(*zip(*found, strict=True), "D", color=OTHER, markeredgecolor=INK, markersize=8)
    most = 1.5 * max([*speeds, *(speed for speed, _ in found)])
    right.set(xlim=(0, most), ylim=(len(names) + 0.6, -0.6), xlabel="tokens per second")
    right.set_title("bars: by the law" + (", ◆ measured" if found else ""))
    right.set_yticks(range(len(names) + 1), [*names, _YOURS])
    return Backdrop(figure)
