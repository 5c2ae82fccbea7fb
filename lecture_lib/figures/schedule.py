"""Picture of a pipeline's schedule: stage by time, with the bubbles."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from matplotlib.patches import Rectangle

from ..parallel import Schedule
from .picture import Backdrop, Picture, add_bars, add_ticks, bar_axes, new_figure
from .style import DECODE, INK, OTHER, PREFILL, in_course_style

# Prefill and decode differ in colour, in height and in the colour of the number.
_LOOKS = {
    "prefill": ({"facecolor": PREFILL, "edgecolor": "white"}, 0.84, "white"),
    "decode": ({"facecolor": DECODE, "edgecolor": "white"}, 0.56, INK),
}
_BUBBLE = {"facecolor": "white", "hatch": "////", "linewidth": 0}
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_LEFT, _WIDTH, _ROW, _INCHES = 0.78, 7.4, 0.36, 6.5  # inches; a row is one stage


@in_course_style
def schedule_chart(
    schedules: Schedule | Mapping[str, Schedule], *, unit: str | None = None
) -> Picture:
    """Stage by time: a block is one pass in one stage, the number on it its request, from 0.

    Args:
        schedules: one, or several by title, drawn below one another with the same time axis (a
            calculated schedule beside a measured one).
        unit: what the axis says, such as "units of time" where the times are stated without one.
            Default: s, ms or µs, chosen by the length.

    Raises:
        ValueError: no schedule.
    """
    if isinstance(schedules, Schedule):
        schedules = {"": schedules}
    longest_s = max(schedule.total_s for schedule in schedules.values())
    scale, name = next((u for u in _UNITS if longest_s >= u[0]), _UNITS[-1])
    if unit:
        scale, name = 1.0, unit
    told = []
    for title, schedule in schedules.items():
        n_blocks = {phase: sum(b.phase == phase for b in schedule.blocks) for phase in _LOOKS}
        ends = ", ".join(f"{end / scale:.3g}" for end in schedule.completion_s.values())
        busy = ", ".join(f"{share:.0%}" for share in schedule.utilisation)
        told.append(
            f"{title or 'Schedule'}: {schedule.n_requests} requests over {schedule.n_stages} "
            f"stages, {n_blocks['prefill']} prefill and {n_blocks['decode']} decode blocks, "
            f"{schedule.bubble_fraction:.0%} of the stages' time is bubbles. Requests complete at "
            f"{ends} {name}; the stages are busy {busy} of the time."
        )
    frame = _frame(tuple((title, plan.n_stages, name) for title, plan in schedules.items()))
    drawn = list(zip(frame.figure.axes, schedules.values(), strict=False))

    def draw() -> None:
        for axes, schedule in drawn:
            _draw_schedule(axes, schedule, scale, longest_s / scale)

    return Picture(frame.image(draw), " ".join(told))


@lru_cache(maxsize=4)
def _frame(charts: tuple[tuple[str, int, str], ...]) -> Backdrop:
    """The axes of charts, (title, stages, unit of time), below one another, and a legend."""
    height = 0.2 + sum(0.55 + _ROW * n_stages + 0.25 * bool(title) for title, n_stages, _ in charts)
    figure = new_figure(_WIDTH, height, layout=None)
    bottom = height - 0.32
    for title, n_stages, unit in charts:
        bottom -= 0.25 * bool(title) + _ROW * n_stages
        box = (_LEFT / _WIDTH, bottom / height, _INCHES / _WIDTH, _ROW * n_stages / height)
        ylim, names = (n_stages - 0.5, -0.5), [f"stage {i}" for i in range(n_stages)]
        axes = bar_axes(figure, box, ylim, names, f"time, {unit}", x_size=9, gap=1)
        axes.set_title(title, fontsize=10)
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.spines["left"].set_visible(False)
        bottom -= 0.55
    _draw_legend(figure, height)
    return Backdrop(figure)


def _draw_schedule(axes, schedule: Schedule, scale: float, length: float) -> None:
    # All blocks of one look in one collection: a thousand patches take half a second.
    kinds = [(schedule.bubbles, _BUBBLE | {"edgecolor": "#C4C4C4"}, 0.84)]
    for phase, (look, tall, _) in _LOOKS.items():
        blocks = [b for b in schedule.blocks if b.phase == phase]
        kinds.append((blocks, look | {"linewidth": 0.7}, tall))
    for blocks, look, tall in kinds:
        spans = np.array([(b.start_s / scale, b.end_s / scale, b.stage) for b in blocks])
        add_bars(axes, *spans.reshape(-1, 3).T, tall, **look)
    for block in schedule.blocks:
        number, width = str(block.request), (block.end_s - block.start_s) / scale
        if width > 0.1 * len(number) * length / _INCHES:  # it would say nothing if it stuck out
            axes.text(
                block.start_s / scale + width / 2, block.stage, number, ha="center",
                va="center_baseline", fontsize=8, color=_LOOKS[block.phase][2],
            )  # fmt: skip
    add_ticks(axes, 0, length, size=9)


def _draw_legend(figure, height: float) -> None:
    axes = figure.add_axes((_LEFT / _WIDTH, 1 - 0.26 / height, _INCHES / _WIDTH, 0.2 / height))
    axes.set(xlim=(0, _INCHES), ylim=(0, 1))
    axes.axis("off")
    x = 0.0
    for words, look, tall in (
        ("prefill (number: the request)", *_LOOKS["prefill"][:2]),
        ("decode step", *_LOOKS["decode"][:2]),
        ("bubble: the stage waits", _BUBBLE | {"edgecolor": OTHER}, 0.84),
    ):
        axes.add_patch(Rectangle((x, 0.5 - tall / 2), 0.3, tall, **look | {"linewidth": 0}))
        axes.text(x + 0.37, 0.47, words, va="center", fontsize=9)
        x += 0.6 + 0.069 * len(words)
