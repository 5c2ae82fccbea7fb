"""Pictures of parallelism in numbers: bytes by phase, time against ranks, the comparison."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.transforms import offset_copy
from pandas import DataFrame

from ..costs.units import format_count
from ..parallel import ParallelComparison
from ..parallel.volumes import Volume
from .costs import stacked_bars
from .picture import Backdrop, Picture, add_ticks, bar_axes, new_figure
from .style import CHOSEN, GOOD, KEPT, MARK, bar_look, in_course_style

_CURVES = ((CHOSEN, "o", "-"), (MARK, "s", "--"), (GOOD, "^", "-."), (KEPT, "D", ":"))
# Each way of splitting keeps its colour and mark: stages send, ranks that split matrices sum up.
_WAYS = {"send": {"color": KEPT, "marker": "D"}, "all_reduce": {"color": CHOSEN, "marker": "o"}}
_GAP = 0.7  # between two groups of rows, in rows


@in_course_style
def volume_bars(volumes: Mapping[str, Volume]) -> Picture:
    """Bytes of a prefill, of one decode pass and of the whole request: payload, and on the wire."""
    if not volumes or not all(volume.transfers for volume in volumes.values()):
        raise ValueError("volumes: nothing is sent; needs one or more, of two ranks or more")
    sizes = {name: _sizes(volume) for name, volume in volumes.items()}
    shown = [size for parts in sizes.values() for pair in parts.values() for size in pair if size]
    quantities = list(next(iter(sizes.values())))
    kinds = {name: volume.transfers[0].kind for name, volume in volumes.items()}
    frame = _volume_frame(tuple(kinds.items()), tuple(quantities))
    axes, step = frame.figure.axes[0], len(volumes) + _GAP
    low, high = 10 ** np.floor(np.log10(min(shown)) - 0.3), max(shown) * 40
    beside = offset_copy(axes.transData, frame.figure, x=8, y=0, units="points")

    def draw() -> None:
        add_ticks(axes, low, high)
        for i, (name, parts) in enumerate(sizes.items()):
            look, rows = _WAYS[kinds[name]], [j * step + i for j in range(len(parts))]
            for y, (payload, wire) in zip(rows, parts.values(), strict=True):
                axes.plot([payload], [y], markersize=8, **look)
                words = format_count(payload, "B")
                if wire != payload:
                    line = look | {"marker": "|", "markevery": [1], "linewidth": 1.6}
                    axes.plot([payload, wire], [y, y], markersize=9, markeredgewidth=1.6, **line)
                    words += f", wire {format_count(wire, 'B')}"
                place = {"transform": beside, "va": "center", "fontsize": 8}
                axes.text(max(payload, wire), y, words, **place)

    told = []
    for name, parts in sizes.items():
        listed = ", ".join(
            f"{what} payload {format_count(payload, 'B')} and wire {format_count(wire, 'B')}"
            for what, (payload, wire) in parts.items()
        )
        told.append(f"{name}: {listed}")
    return Picture(frame.image(draw), "Bytes sent. " + "; ".join(told))


@lru_cache(maxsize=4)
def _volume_frame(kinds: tuple[tuple[str, str], ...], quantities: tuple[str, ...]) -> Backdrop:
    """The axes around the marks, with the names and the legend."""
    step = len(kinds) + _GAP
    height = 0.95 + 0.3 * step * len(quantities)
    figure = new_figure(7.4, height, layout=None)
    box, ylim = (0.17, 0.48 / height, 0.8, 1 - 0.85 / height), (len(quantities) * step - 1, -0.8)
    words = "bytes, logarithmic; mark: payload, line: on the wire of all ranks together"
    axes = bar_axes(figure, box, ylim, (), words)
    axes.set_xscale("log")
    for name, kind in kinds:  # for the legend
        axes.plot([], [], linestyle="none", markersize=8, label=name, **_WAYS[kind])
    middle = (len(kinds) - 1) / 2
    axes.set_yticks([j * step + middle for j in range(len(quantities))], quantities)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value, "B")))
    axes.xaxis.set_minor_locator(NullLocator())  # a hundred small ticks take a third of the time
    axes.tick_params(axis="y", length=0)
    figure.legend(frameon=False, fontsize=9, ncols=4, loc="upper center")
    return Backdrop(figure)


def _sizes(volume: Volume) -> dict[str, tuple[float, float]]:
    """Payload and wire bytes, all ranks together, by what they are for."""
    wire = {"prefill": 0, "decode": 0}
    for transfer in volume.transfers:
        wire[transfer.phase] += transfer.per_pass * transfer.wire_bytes(volume.n_ranks)
    return {
        "prefill": (volume.prefill_bytes, wire["prefill"]),
        "one decode pass": (volume.decode_step_bytes, wire["decode"]),
        "whole request": (volume.payload_bytes, volume.wire_bytes),
    }


@in_course_style
def time_against_ranks(frame: DataFrame, *, title: str = "Time") -> Picture:
    """Time against the number of ranks: where the links eat up what splitting the work gains.

    Args:
        frame: seconds; index: ranks, a column for each curve, NaN where it has no point.

    Raises:
        ValueError: no curve, or more than 4.
    """
    if not 1 <= len(frame.columns) <= len(_CURVES):
        raise ValueError(f"frame: needs 1 to {len(_CURVES)} curves, got {len(frame.columns)}")
    figure = new_figure(7.2, 3.3, layout=None)
    axes = figure.add_axes((0.08, 0.15, 0.66, 0.75))
    told = []
    for name, (colour, marker, style) in zip(frame.columns, _CURVES, strict=False):
        y = 1e3 * frame[name].dropna()  # a curve may end before the others
        axes.plot(y.index, y, style, color=colour, marker=marker, markersize=5, label=name)
        least = f"least {y.min():.3g} at {y.idxmin()} ranks"
        told.append(f"{name} {y.iloc[0]:.3g} to {y.iloc[-1]:.3g} at {y.index[-1]} ranks, {least}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(frame.index), [str(n) for n in frame.index])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0)
    axes.set(xlabel="ranks (GPUs)", ylabel="milliseconds", title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    ranks = f"{frame.index[0]} to {frame.index[-1]}"
    return Picture(figure, f"{title} in milliseconds over {ranks} ranks: " + "; ".join(told))


@in_course_style
def comparison_page(comparison: ParallelComparison) -> Picture:
    """Latency, throughput, memory of a GPU and bytes on the links, each for the three layouts."""
    layouts = comparison.layouts
    panels = (
        ("until all requests end, s", "s", {
            "prefill": [x.prefill_s for x in layouts],
            "decode": [x.request_s - x.prefill_s for x in layouts],
        }),
        ("decode throughput, tokens/s", "", {"": [x.decode_tokens_per_s for x in layouts]}),
        ("fullest GPU, GB (10⁹ bytes)", "GB", {
            "weights": [x.weight_bytes / 1e9 for x in layouts],
            "KV cache": [x.kv_bytes / 1e9 for x in layouts],
        }),
        ("on the links for all requests, GB", "GB", {"": [x.wire_bytes / 1e9 for x in layouts]}),
    )  # fmt: skip
    figure = new_figure(7.4, 3.7, layout=None)
    for i, (title, unit, parts) in enumerate(panels):
        axes = figure.add_axes((0.175 + 0.455 * (i % 2), 0.6 - 0.47 * (i // 2), 0.34, 0.29))
        frame = DataFrame(parts, index=[x.name for x in layouts])
        _draw_panel(axes, title, unit, frame, named=i % 2 == 0)
    told = [
        f"{x.name} on {x.n_ranks}: request {x.request_s:.3g} s, of which prefill {x.prefill_s:.3g} "
        f"s; {x.decode_tokens_per_s:.3g} tokens/s; weights {x.weight_bytes / 1e9:.3g} GB and cache "
        f"{x.kv_bytes / 1e9:.3g} GB on the fullest GPU; "
        f"{format_count(x.wire_bytes, 'B')} on the links"
        for x in layouts
    ]
    alt = f"Comparison ({comparison.assumptions}). " + "; ".join(told)
    return Picture(figure, alt, comparison.assumptions)


def _draw_panel(axes, title: str, unit: str, frame: DataFrame, named: bool) -> None:
    looks = bar_look(KEPT), bar_look(MARK, "///")
    totals = stacked_bars(axes, frame.to_dict("index"), looks, linewidth=0, height=0.7)
    axes.set_yticks(range(len(frame)), frame.index)
    for y, total in enumerate(totals):
        text = f"{total:,.0f} {unit}" if total >= 100 else f"{total:.3g} {unit}"
        text = "none" if total == 0 else text
        axes.text(total + 0.02 * totals.max(), y, text, va="center", fontsize=8)
    axes.set(ylim=(2.5, -0.6), xlim=(0, totals.max() * 1.28))
    axes.tick_params(axis="y", length=0, labelsize=9, labelleft=named)
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=4)
    has_parts = len(frame.columns) > 1
    axes.set_title(title, fontsize=9.5, pad=18 if has_parts else 6)
    if has_parts:
        axes.legend(
            frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(-0.03, 0.93),
            borderpad=0, handlelength=1.2, columnspacing=1,
        )  # fmt: skip
