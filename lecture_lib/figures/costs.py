"""Pictures of compute and memory: the roofline, memory budgets, where a step's time goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator

from .picture import Picture
from .style import CHOSEN, GOOD, INK, KEPT, MARK, OTHER, in_course_style, new_figure

_KINDS = ((KEPT, "o"), (CHOSEN, "s"), (GOOD, "^"), (MARK, "D"))
_PARTS = ((KEPT, ""), (CHOSEN, "///"), (GOOD, "..."), (MARK, "xxx"), (OTHER, "---"))
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class RooflinePoint:
    """One operation on the roofline.

    Args:
        label: what it is, short.
        intensity: FLOPs per byte, above 0.
        flops_per_s: what was attained, measured. None: the point is put on the roof (predicted).
        kind: points of one kind share colour and marker, and a line in the legend.
    """

    label: str
    intensity: float
    flops_per_s: float | None = None
    kind: str = "predicted"


def si(value: float, unit: str = "") -> str:
    """A number with an SI prefix and three significant digits: 312 TFLOP/s."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


@in_course_style
def roofline(
    peak_flops: float,
    memory_bandwidth: float,
    points: Sequence[RooflinePoint],
    *,
    title: str = "",
    caption: str = "",
) -> Picture:
    """Attainable FLOP/s against arithmetic intensity, min(peak, intensity × bandwidth), with points.

    Args:
        peak_flops: FLOP/s. memory_bandwidth: bytes/s.
        points: what to place; a predicted point sits on the roof, a measured one where it ran.

    Raises:
        ValueError: a peak, bandwidth or intensity that is not above 0; more than four kinds.
    """
    _need_positive(peak_flops=peak_flops, memory_bandwidth=memory_bandwidth)
    kinds = list(dict.fromkeys(point.kind for point in points))
    if len(kinds) > len(_KINDS):
        raise ValueError(f"points: at most {len(_KINDS)} kinds can be told apart, got {len(kinds)}")
    ridge = peak_flops / memory_bandwidth
    xs = [point.intensity for point in points]
    for point in points:
        _need_positive(**{f"intensity of {point.label}": point.intensity})
    low, high = min([0.3, *xs]) / 2, max([ridge * 8, *xs]) * 2
    height = max(3.8, 1.1 + 0.19 * (len(points) + len(kinds)))
    # Margins by hand: a layout engine would take most of the time of a widget's redraw.
    figure = new_figure(7.8, height, layout=None)
    axes = figure.add_axes((0.095, 0.5 / height, 0.66, 1 - 0.85 / height))
    x = np.geomspace(low, high, 200)
    axes.loglog(x, np.minimum(peak_flops, x * memory_bandwidth), color=INK, linewidth=1.8)
    axes.axvline(ridge, color=OTHER, linestyle=":", linewidth=1)
    axes.axvspan(low, ridge, color=KEPT, alpha=0.05, linewidth=0)
    ys = [
        point.flops_per_s or min(peak_flops, point.intensity * memory_bandwidth) for point in points
    ]
    bottom = min([low * memory_bandwidth, *ys]) / 2
    axes.text(ridge, bottom * 1.2, f" ridge {ridge:.3g}", fontsize=9)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, peak_flops * 4)
    axes.set_xlabel("arithmetic intensity, FLOPs per byte")
    axes.set_ylabel("FLOP/s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: si(value)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.set_title(title)
    _mark_points(axes, points, ys, kinds)
    alt = (
        f"Roofline: the roof rises with {si(memory_bandwidth, 'B/s')} up to "
        f"{si(peak_flops, 'FLOP/s')}; ridge at {ridge:.3g} FLOPs per byte. "
    )
    told = [_told_point(point, peak_flops, memory_bandwidth) for point in points]
    return Picture(figure, alt + "; ".join(told), caption)


def _mark_points(axes, points: Sequence[RooflinePoint], ys: list[float], kinds: list[str]) -> None:
    """Numbered points, with the numbers' meaning in a list beside the picture.

    Names beside the points would lie on top of one another: many points share an intensity.
    """
    near: dict[tuple[int, int], list[str]] = {}  # place on a coarse grid -> numbers there
    for number, (point, y) in enumerate(zip(points, ys, strict=True), 1):
        colour, marker = _KINDS[kinds.index(point.kind)]
        axes.plot(point.intensity, y, marker, color=colour, markersize=6, markeredgecolor="white")
        place = round(5 * np.log10(point.intensity)), round(8 * np.log10(y))
        near.setdefault(place, []).append(str(number))
        if len(near[place]) == 1:
            near[place].append((point.intensity, y))
    for first, where, *rest in near.values():
        axes.annotate(
            " ".join([first, *rest]), where, (0, 6), textcoords="offset points", fontsize=8,
            ha="center",
        )  # fmt: skip
    y, step = 1.0, 0.19 / axes.figure.get_figheight() * 1.25
    for kind, (colour, marker) in zip(kinds, _KINDS, strict=False):
        axes.plot([1.035], [y], marker, color=colour, transform=axes.transAxes, clip_on=False)
        axes.text(1.06, y, kind, transform=axes.transAxes, va="center", fontsize=9, weight="bold")
        for number, point in enumerate(points, 1):
            if point.kind == kind:
                y -= step
                text = f"{number}  {point.label}: {_plain(point.intensity)}"
                axes.text(1.03, y, text, transform=axes.transAxes, va="center", fontsize=8)
        y -= 1.4 * step


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _told_point(point: RooflinePoint, peak: float, bandwidth: float) -> str:
    roof = min(peak, point.intensity * bandwidth)
    bound = "memory" if point.intensity < peak / bandwidth else "compute"
    share = "" if point.flops_per_s is None else f", {point.flops_per_s / roof:.0%} of the roof"
    return f"{point.label} ({point.kind}): {_plain(point.intensity)}, {bound} bound{share}"


@in_course_style
def memory_budget(
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
    axes = figure.add_axes((0.2, 0.85 / height, 0.78, 1 - 0.9 / height))
    left = np.zeros(len(bars))
    for part, (colour, hatch) in zip(parts, _PARTS, strict=False):
        width = np.array([bar.get(part, 0) for bar in bars.values()]) / 1e9
        axes.barh(
            range(len(bars)), width, left=left, color=colour, hatch=hatch, edgecolor="white",
            linewidth=0.5, label=part, height=0.62,
        )  # fmt: skip
        left += width
    room = max(left.max(), (capacity_bytes or 0) / 1e9)
    for y, total in enumerate(left):
        axes.text(
            total + 0.008 * room, y, f"{total:.3g} GB", va="center", fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=3,
        )  # fmt: skip
    if capacity_bytes:
        axes.axvline(capacity_bytes / 1e9, color=INK, linestyle="--", linewidth=1.4)
        axes.text(
            capacity_bytes / 1e9, -0.62, f"memory {capacity_bytes / 1e9:.3g} GB ", ha="right",
            fontsize=9, va="bottom",
        )  # fmt: skip
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set_ylim(len(bars) - 0.5, -0.95)
    axes.set_xlim(0, room * 1.15)
    axes.set_xlabel("GB (10⁹ bytes)")
    figure.legend(frameon=False, fontsize=9, ncols=len(parts), loc="lower right")
    told = [_told_bar(label, bar, capacity_bytes) for label, bar in bars.items()]
    return Picture(figure, "Memory: " + "; ".join(told), caption)


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
    _need_positive(**{"the sum of parts": total})
    height = 1.15 + 0.27 * len(parts)
    figure = new_figure(7.4, height, layout=None)
    axes = figure.add_axes((0.2, 0.5 / height, 0.77, 1 - 0.9 / height))
    looks = {"memory": (KEPT, ""), "compute": (CHOSEN, "///")}
    for y, (_, seconds, bound) in enumerate(parts):
        colour, hatch = looks[bound]
        axes.barh(y, 1e3 * seconds, color=colour, hatch=hatch, edgecolor="white", height=0.7)
        axes.text(1e3 * seconds, y, f" {seconds / total:.1%}", va="center", fontsize=8)
    for bound, (colour, hatch) in looks.items():
        axes.barh(0, 0, color=colour, hatch=hatch, edgecolor="white", label=f"{bound} bound")
    axes.set_yticks(range(len(parts)), [name for name, _, _ in parts], fontsize=9)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_xlim(0, 1.13e3 * max(seconds for _, seconds, _ in parts))
    axes.set_xlabel("milliseconds")
    axes.set_title(title)
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
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: si(value)))
    left.legend(frameon=False, fontsize=9)
    alt = f"Batch size {batch_sizes[0]} to {batch_sizes[-1]}. " + "; ".join(told)
    return Picture(figure, alt, caption)


def _need_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name}: must be a number above 0, got {value!r}")
