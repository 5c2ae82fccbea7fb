"""Pictures of compute and memory: budgets, where a step's time goes, what batching does."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator

from ..checks import check_number
from ..costs.units import format_count
from .picture import Picture
from .style import CHOSEN, GOOD, INK, KEPT, MARK, OTHER, in_course_style, new_figure

_KINDS = ((KEPT, "o"), (CHOSEN, "s"), (GOOD, "^"), (MARK, "D"))
_PARTS = ((KEPT, ""), (CHOSEN, "///"), (GOOD, "..."), (MARK, "xxx"), (OTHER, "---"))


@in_course_style
def memory_bars(
    bars: Mapping[str, Mapping[str, float]],
    capacity_bytes: float | None = None,
    *,
    caption: str = "",
) -> Picture:
    """Stacked bars of bytes, in GB (10⁹), against a memory's size.

    Args:
        bars: label of a bar -> part -> bytes; parts keep their colour and hatch over all bars.
        capacity_bytes: where the memory ends, or None.
    """
    if not bars:
        raise ValueError("bars: is empty; needs at least one bar")
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    if len(parts) > len(_PARTS):
        raise ValueError(f"bars: at most {len(_PARTS)} parts can be told apart, got {len(parts)}")
    height = 1.35 + 0.4 * len(bars)
    figure = new_figure(7.4, height, layout=None)
    axes = figure.add_axes((0.22, 0.85 / height, 0.76, 1 - 0.9 / height))
    left = np.zeros(len(bars))
    for part, (colour, hatch) in zip(parts, _PARTS, strict=False):
        width = np.array([bar.get(part, 0) for bar in bars.values()]) / 1e9
        look = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}
        axes.barh(range(len(bars)), width, left=left, height=0.62, **look)
        left += width
    room = max(left.max(), (capacity_bytes or 0) / 1e9)
    for y, total in enumerate(left):
        axes.text(
            total + 0.008 * room, y, f"{total:.3g} GB", va="center", fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=3,
        )  # fmt: skip
    if capacity_bytes:
        capacity = capacity_bytes / 1e9
        axes.axvline(capacity, color=INK, linestyle="--", linewidth=1.4)
        words = f"memory {capacity:.3g} GB "
        axes.text(capacity, -0.62, words, ha="right", fontsize=9, va="bottom")
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set(ylim=(len(bars) - 0.5, -0.95), xlim=(0, room * 1.15), xlabel="GB (10⁹ bytes)")
    _name_parts(figure, parts)
    told = [_told_bar(label, bar, capacity_bytes) for label, bar in bars.items()]
    return Picture(figure, "Memory: " + "; ".join(told), caption)


def _name_parts(figure, parts: list[str]) -> None:
    """A legend below the bars, by hand: matplotlib's own takes a fifth of a widget's redraw."""
    inches = figure.get_size_inches()
    tall, wide, column = 0.11 / inches[1], 0.28 / inches[0], 0.16
    for i, (part, (colour, hatch)) in enumerate(zip(parts, _PARTS, strict=False)):
        x, y = 0.98 - column * (len(parts) - i), 0.09 / inches[1]
        look = {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}
        figure.add_artist(Rectangle((x, y), wide, tall, transform=figure.transFigure, **look))
        figure.text(x + 1.25 * wide, y + tall / 2, part, va="center_baseline", fontsize=9)


def _told_bar(label: str, bar: Mapping[str, float], capacity_bytes: float | None) -> str:
    parts = ", ".join(f"{part} {value / 1e9:.3g} GB" for part, value in bar.items())
    if capacity_bytes is None:
        return f"{label}: {parts}"
    fits = "fits" if sum(bar.values()) <= capacity_bytes else "does not fit"
    return f"{label}: {parts}; {fits} into {capacity_bytes / 1e9:.3g} GB"


@in_course_style
def time_breakdown(
    parts: Sequence[tuple[str, float, str]], *, title: str = "", caption: str = ""
) -> Picture:
    """Where the time of one step goes: a bar for each operation.

    Args:
        parts: (operation, seconds, what it waits for: "memory" or "compute").
    """
    if not parts:
        raise ValueError("parts: is empty; needs at least one operation")
    total = sum(seconds for _, seconds, _ in parts)
    check_number("the sum of parts", total, above=0)
    height = 1.15 + 0.27 * len(parts)
    figure = new_figure(7.4, height, layout=None)
    axes = figure.add_axes((0.2, 0.5 / height, 0.77, 1 - 0.9 / height))
    looks = {"memory": (KEPT, ""), "compute": (CHOSEN, "///")}
    for y, (_, seconds, _) in enumerate(parts):
        axes.text(1e3 * seconds, y, f" {seconds / total:.1%}", va="center", fontsize=8)
    for bound, (colour, hatch) in looks.items():
        widths = [1e3 * seconds if waits_for == bound else 0 for _, seconds, waits_for in parts]
        look = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        axes.barh(range(len(parts)), widths, height=0.7, label=f"{bound} bound", **look)
    axes.set_yticks(range(len(parts)), [name for name, _, _ in parts], fontsize=9)
    longest = max(seconds for _, seconds, _ in parts)
    axes.set(ylim=(len(parts) - 0.4, -0.6), xlim=(0, 1.13e3 * longest))
    axes.set(xlabel="milliseconds", title=title)
    figure.legend(frameon=False, fontsize=9, ncols=2, loc="upper right")
    told = [f"{name} {seconds / total:.1%} ({bound} bound)" for name, seconds, bound in parts]
    alt = f"A step of {1e3 * total:.3g} ms by operation: " + "; ".join(told)
    return Picture(figure, alt, caption)


@in_course_style
def latency_and_throughput(
    batch_sizes: Sequence[int],
    steps_s: Mapping[str, Sequence[float]],
    *,
    caption: str = "",
) -> Picture:
    """Seconds of a decode step and tokens per second, both against batch size.

    Args:
        steps_s: name -> seconds of a step at each batch size (predicted, measured, ...).
    """
    figure = new_figure(7.4, 3.2)
    left, right = figure.subplots(1, 2)
    told = []
    for (name, steps), (colour, marker) in zip(steps_s.items(), _KINDS, strict=False):
        if len(steps) != len(batch_sizes):
            raise ValueError(
                f"steps_s[{name!r}]: needs {len(batch_sizes)} values, got {len(steps)}"
            )
        rates = [b / s for b, s in zip(batch_sizes, steps, strict=True)]
        left.loglog(batch_sizes, [1e3 * s for s in steps], marker=marker, color=colour, label=name)
        right.loglog(batch_sizes, rates, marker=marker, color=colour, label=name)
        told.append(
            f"{name}: {1e3 * steps[0]:.3g} to {1e3 * steps[-1]:.3g} ms a step, "
            f"{rates[0]:.3g} to {rates[-1]:.3g} tokens per second"
        )
    left.set_ylabel("milliseconds a step")
    right.set_ylabel("tokens per second, all sequences")
    for axes in (left, right):
        axes.set_xlabel("batch size")
        axes.grid(alpha=0.25)
        axes.set_xticks(batch_sizes, [str(b) for b in batch_sizes], fontsize=8)
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    left.legend(frameon=False, fontsize=9)
    alt = f"Batch size {batch_sizes[0]} to {batch_sizes[-1]}. " + "; ".join(told)
    return Picture(figure, alt, caption)
