"""The roofline: attainable FLOP/s against arithmetic intensity, with operations placed on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from matplotlib.ticker import FuncFormatter

from ..checks import check_number
from ..costs.units import format_count
from .picture import Backdrop, Picture, new_figure
from .style import CHOSEN, DECODE, GOOD, INK, KEPT, OTHER, PREFILL, in_course_style

_KINDS = ((PREFILL, "o"), (DECODE, "s"), (GOOD, "^"), (CHOSEN, "D"))


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


@in_course_style
def roofline(
    peak_flops: float, memory_bandwidth: float, points: Sequence[RooflinePoint], *, title: str = ""
) -> Picture:
    """The roof, min(peak, intensity × bandwidth), and operations below it or on it.

    Args:
        peak_flops: FLOP/s. memory_bandwidth: bytes/s.
        points: what to place; a predicted point sits on the roof, a measured one where it ran. The
            list beside the picture has the intensity of each, and a measured one's share of the
            roof.

    Raises:
        ValueError: a peak, bandwidth or intensity that is not above 0; more than four kinds.
    """
    check_number("peak_flops", peak_flops, above=0)
    check_number("memory_bandwidth", memory_bandwidth, above=0)
    kinds = list(dict.fromkeys(point.kind for point in points))
    if len(kinds) > len(_KINDS):
        raise ValueError(f"points: at most {len(_KINDS)} kinds can be told apart, got {len(kinds)}")
    ridge = peak_flops / memory_bandwidth
    xs, ys, told, listed = [], [], [], []
    for point in points:
        x = check_number(f"intensity of {point.label}", point.intensity, above=0)
        y = roof_here = min(peak_flops, x * memory_bandwidth)
        bound = "memory" if x < ridge else "compute"
        told.append(f"{point.label} ({point.kind}): {_plain(x)}, {bound} bound")
        listed.append(f"{point.label}: {_plain(x)}")
        if point.flops_per_s is not None:
            y = check_number(f"flops_per_s of {point.label}", point.flops_per_s, above=0)
            told[-1] += f", {y / roof_here:.0%} of the roof"
            listed[-1] += f", {y / roof_here:.0%}"
        xs.append(x)
        ys.append(y)
    low, high = min([0.3, *xs]) / 2, max([ridge * 8, *xs]) * 2
    bottom = min([low * memory_bandwidth, *ys]) / 2
    height = max(3.8, 1.1 + 0.19 * (len(points) + len(kinds)))
    roof = _roof(peak_flops, memory_bandwidth, (low, high), bottom, height, title)
    axes = roof.figure.axes[0]
    image = roof.image(lambda: _mark_points(axes, xs, ys, points, listed, _looks(kinds)))
    alt = (
        f"Roofline: the roof rises with {format_count(memory_bandwidth, 'B/s')} up to "
        f"{format_count(peak_flops, 'FLOP/s')}; ridge at {ridge:.3g} FLOPs per byte. "
    )
    return Picture(image, alt + "; ".join(told))


@lru_cache(maxsize=4)
def _roof(peak_flops, memory_bandwidth, xlim, bottom, height, title) -> Backdrop:
    """The roof, its ridge, and the axes around it."""
    # Margins by hand: a layout engine would take most of the time of a widget's redraw.
    figure = new_figure(7.8, height, layout=None)
    axes = figure.add_axes((0.095, 0.5 / height, 0.66, 1 - 0.85 / height))
    x, ridge = np.geomspace(*xlim, 200), peak_flops / memory_bandwidth
    axes.loglog(x, np.minimum(peak_flops, x * memory_bandwidth), color=INK, linewidth=1.8)
    axes.axvline(ridge, color=OTHER, linestyle=":", linewidth=1)
    axes.axvspan(xlim[0], ridge, color=KEPT, alpha=0.05, linewidth=0)
    axes.text(ridge, bottom * 1.2, f" ridge {ridge:.3g}", fontsize=9)
    axes.set(xlim=xlim, ylim=(bottom, peak_flops * 4), title=title)
    axes.set(xlabel="arithmetic intensity, FLOPs per byte", ylabel="FLOP/s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    return Backdrop(figure)


def _mark_points(axes, xs: list[float], ys: list[float], points, listed, looks: dict) -> None:
    """Numbered points, with the numbers' meaning in a list beside the picture.

    Names beside the points would cover one another: many points share an intensity.
    """
    for i, (kind, (colour, marker)) in enumerate(looks.items()):
        size = 6 + 3 * (len(looks) - 1 - i)  # so that points in the same place are all seen
        pairs = [(x, y) for x, y, p in zip(xs, ys, points, strict=True) if p.kind == kind]
        look = {"color": colour, "markersize": size, "markeredgecolor": "white"}
        axes.plot(*np.transpose(pairs), marker, **look)
    # Points that are too near one another for a number each, by the first of them.
    groups: dict[int, list[int]] = {}
    places = (axes.transData + axes.transAxes.inverted()).transform(np.transpose([xs, ys]))
    for i, at in enumerate(places):
        near = (g for g in groups if np.all(np.abs(at - places[g]) < (0.05, 0.055)))
        groups.setdefault(next(near, i), []).append(i)
    for first, group in groups.items():
        top = max(ys[i] for i in group)  # no label covers a point that it names
        axes.annotate(
            _ranges([i + 1 for i in group]), (xs[first], top), (0, 6),
            textcoords="offset points", fontsize=8, ha="center", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )  # fmt: skip
    y, step = 1.0, 0.19 / axes.figure.get_figheight() * 1.25
    beside = {"transform": axes.transAxes, "va": "center"}
    measured = any(point.flops_per_s is not None for point in points)
    heading = "FLOPs/byte" + ", share of roof" * measured
    axes.text(1.03, 1 + 1.3 * step, heading, fontsize=8, style="italic", **beside)
    for kind, (colour, marker) in looks.items():
        axes.plot([1.035], [y], marker, color=colour, transform=axes.transAxes, clip_on=False)
        axes.text(1.06, y, kind, fontsize=9, weight="bold", **beside)
        for number, point in enumerate(points, 1):
            if point.kind == kind:
                y -= step
                axes.text(1.03, y, f"{number}  {listed[number - 1]}", fontsize=8, **beside)
        y -= 1.4 * step


def _looks(kinds: list[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each kind: prefill and decode keep theirs in every picture."""
    phases = {"prefill": _KINDS[0], "decode": _KINDS[1]}
    looks = {kind: phases.pop(kind.split(",")[0], None) for kind in kinds}
    # Others take the phases' looks only where no phase is shown, or nothing else is left.
    free = list(phases.values())
    rest = iter([*free, *_KINDS[2:]] if len(free) == 2 else [*_KINDS[2:], *free])
    return {kind: look or next(rest) for kind, look in looks.items()}


def _ranges(numbers: list[int]) -> str:
    """1 2 3 5 as "1–3 5": in a run, a number minus its place stays the same."""
    runs = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(pairs) for _, pairs in runs)]
    return " ".join(f"{first}–{last}" if first < last else str(first) for first, last in ends)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
