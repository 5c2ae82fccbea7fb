"""Pictures of compute and memory: budgets, where a step's time goes, what batching does."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator

from ..costs.units import format_count
from .picture import Backdrop, Picture, add_bars, add_ticks, bar_axes, new_figure
from .style import CHOSEN, GOOD, INK, KEPT, LINES, MARK, OTHER, bar_look, in_course_style

_COLOURS, _HATCHES = (KEPT, CHOSEN, GOOD, MARK, OTHER), ("", "///", "...", "xxx", "---")
_PARTS = list(map(bar_look, _COLOURS, _HATCHES))
_BOUNDS = dict(zip(("memory", "compute"), _PARTS, strict=False))  # what an operation waits for


def stacked_bars(axes, bars: Mapping[str, Mapping[str, float]], looks=_PARTS, **options):
    """Draw bars (name -> part -> size), the parts side by side; returns the bars' totals."""
    end = np.zeros(len(bars))
    parts = dict.fromkeys(part for bar in bars.values() for part in bar)
    for part, look in zip(parts, looks, strict=False):
        start, end = end, end + [bar.get(part, 0) for bar in bars.values()]
        add_bars(axes, start, end, range(len(bars)), label=part, **look, **options)
    return end


@in_course_style
def memory_bars(bars: Mapping[str, Mapping[str, float]], capacity_bytes: float) -> Picture:
    """Stacked bars of bytes, in GB (10⁹), against a memory's size.

    Args:
        bars: label of a bar -> part -> bytes; parts keep their colour and hatch over all bars.
        capacity_bytes: where the memory ends.
    """
    parts = dict.fromkeys(part for bar in bars.values() for part in bar)
    frame, capacity = _memory_frame(tuple(bars), tuple(parts)), capacity_bytes / 1e9
    gigabytes = {name: {p: n / 1e9 for p, n in bar.items()} for name, bar in bars.items()}
    axes = frame.figure.axes[0]

    def draw() -> None:
        totals = stacked_bars(axes, gigabytes, height=0.62, linewidth=0.5)
        room = max(totals.max(), capacity)
        add_ticks(axes, 0, room * 1.15)
        for y, total in enumerate(totals):
            axes.text(
                total + 0.008 * room, y, format_count(1e9 * total, "B"), va="center", fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=3,
            )  # fmt: skip
        axes.axvline(capacity, color=INK, linestyle="--", linewidth=1.4)
        words = f"memory {capacity:.3g} GB "
        axes.text(capacity, -0.62, words, ha="right", fontsize=9, va="bottom")

    told = []
    for label, bar in bars.items():
        listed = ", ".join(f"{part} {n / 1e9:.3g} GB" for part, n in bar.items())
        fits = "fits" if sum(bar.values()) <= capacity_bytes else "does not fit"
        told.append(f"{label}: {listed}; {fits} into {capacity:.3g} GB")
    return Picture(frame.image(draw), "Memory: " + "; ".join(told))


@lru_cache(maxsize=4)
def _memory_frame(names: tuple[str, ...], parts: tuple[str, ...]) -> Backdrop:
    """The axes around the bars, with the names and the legend."""
    height = 1.35 + 0.4 * len(names)
    figure = new_figure(7.4, height, layout=None)
    box = (0.22, 0.85 / height, 0.76, 1 - 0.9 / height)
    bar_axes(figure, box, (len(names) - 0.5, -0.95), names, "GB (10⁹ bytes)")
    tall, wide, column = 0.11 / height, 0.28 / 7.4, 0.16
    for i, (part, look) in enumerate(zip(parts, _PARTS, strict=False)):  # a legend
        x, y = 0.98 - column * (len(parts) - i), 0.09 / height
        place = {"transform": figure.transFigure, "linewidth": 0.5}
        figure.add_artist(Rectangle((x, y), wide, tall, **place, **look))
        figure.text(x + 1.25 * wide, y + tall / 2, part, va="center_baseline", fontsize=9)
    return Backdrop(figure)


@in_course_style
def time_breakdown(parts: Sequence[tuple[str, float, str]], *, title: str = "") -> Picture:
    """Where a step's time goes: bars of (operation, seconds, waiting for "memory" or "compute")."""
    total = sum(seconds for _, seconds, _ in parts)
    frame = _time_frame(tuple(name for name, _, _ in parts), title)
    axes = frame.figure.axes[0]

    def draw() -> None:
        add_ticks(axes, 0, 1.13e3 * max(seconds for _, seconds, _ in parts))
        for y, (_, seconds, _) in enumerate(parts):
            axes.text(1e3 * seconds, y, f" {seconds / total:.1%}", va="center", fontsize=8)
        for bound, look in _BOUNDS.items():
            widths = [1e3 * seconds if waits_for == bound else 0 for _, seconds, waits_for in parts]
            add_bars(axes, 0, widths, range(len(parts)), 0.7, **look)

    told = [f"{name} {seconds / total:.1%} ({bound} bound)" for name, seconds, bound in parts]
    alt = f"A step of {1e3 * total:.3g} ms by operation: " + "; ".join(told)
    return Picture(frame.image(draw), alt)


@lru_cache(maxsize=4)
def _time_frame(names: tuple[str, ...], title: str) -> Backdrop:
    """The axes around the bars, with the names and the legend."""
    height = 1.15 + 0.27 * len(names)
    figure = new_figure(7.4, height, layout=None)
    box = (0.2, 0.5 / height, 0.77, 1 - 0.9 / height)
    axes = bar_axes(figure, box, (len(names) - 0.4, -0.6), names, "milliseconds")
    axes.tick_params(axis="y", labelsize=9)
    axes.set_title(title)
    for bound, look in _BOUNDS.items():
        axes.barh(0, 0, label=f"{bound} bound", **look)
    figure.legend(frameon=False, fontsize=9, ncols=2, loc="upper right")
    return Backdrop(figure)


@in_course_style
def latency_and_throughput(
    steps_s: Mapping[str, Mapping[int, float]], *, critical: int | None = None, caption: str = ""
) -> Picture:
    """Seconds of a decode step and tokens per second, both against batch size.

    Args:
        steps_s: name of a curve -> batch size -> seconds of a step. A curve ends at the largest
            batch that it is given, such as the last one that fits into the memory.
        critical: the batch from which on the products with weights are compute bound: a line.
    """
    if not all(steps_s.values()) or not steps_s:
        raise ValueError("steps_s: every curve needs at least one batch size")
    figure = new_figure(7.4, 3.2)
    left, right = figure.subplots(1, 2)
    told = []
    for (name, steps), (colour, marker, _) in zip(steps_s.items(), LINES, strict=False):
        batches, ms = list(steps), [1e3 * s for s in steps.values()]
        rates = [b / s for b, s in steps.items()]
        look = {"marker": marker, "color": colour, "label": name}
        left.loglog(batches, ms, **look)
        right.loglog(batches, rates, **look)
        told.append(
            f"{name}: batch {batches[0]} to {batches[-1]}, {ms[0]:.3g} to {ms[-1]:.3g} ms per "
            f"step, {rates[0]:,.0f} to {rates[-1]:,.0f} tokens per second"
        )
    most = max(batch for steps in steps_s.values() for batch in steps)
    ticks = [2**n for n in range(most.bit_length())]
    left.set_ylabel("milliseconds per step")
    right.set_ylabel("tokens per second, all sequences")
    for axes in (left, right):
        axes.set_xlabel("batch size")
        axes.grid(alpha=0.25)
        axes.set_xticks(ticks, [str(b) for b in ticks], fontsize=8)
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
        if critical is not None:
            axes.axvline(critical, color=OTHER, linestyle=":", linewidth=1.2)
    if critical is not None:
        place = {"transform": right.get_xaxis_transform(), "ha": "right", "fontsize": 9}
        right.text(critical, 0.03, f"critical batch {critical} ", **place)
        told.append(f"critical batch {critical}")
    left.legend(frameon=False, fontsize=9)
    return Picture(figure, ". ".join(told), caption)
