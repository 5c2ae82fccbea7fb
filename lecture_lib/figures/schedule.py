"""Picture of a pipeline's schedule: stage by time, with the bubbles."""

from collections.abc import Mapping

from matplotlib.patches import Rectangle

from ..parallel import Schedule
from .picture import Picture
from .style import DECODE, INK, OTHER, PREFILL, in_course_style, new_figure

# Prefill and decode differ in colour, in height and in the colour of the number.
_LOOKS = {
    "prefill": {"facecolor": PREFILL, "edgecolor": "white", "height": 0.84, "ink": "white"},
    "decode": {"facecolor": DECODE, "edgecolor": "white", "height": 0.56, "ink": INK},
}
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_LEFT, _WIDTH, _ROW, _INCHES = 0.78, 7.4, 0.36, 6.5  # inches; a row is one stage


@in_course_style
def schedule_chart(
    schedules: Schedule | Mapping[str, Schedule],
    *,
    same_scale: bool = False,
    unit: str | None = None,
    caption: str = "",
) -> Picture:
    """Stage by time: a block is one pass in one stage, the number on it its request, from 0.

    Args:
        schedules: one, or several by title, drawn below one another.
        same_scale: all on one time axis; otherwise each fills its own (a calculated schedule
            beside a measured one).
        unit: what the axis says, such as "units of time" where the times are stated without one.
            Default: s, ms or µs, chosen by the length.

    Raises:
        ValueError: no schedule.
    """
    if isinstance(schedules, Schedule):
        schedules = {"": schedules}
    if not schedules:
        raise ValueError("schedules: is empty; needs at least one")
    heights = [0.55 + _ROW * s.n_stages + 0.25 * bool(title) for title, s in schedules.items()]
    height = sum(heights) + 0.2
    figure = new_figure(_WIDTH, height, layout=None)
    longest = max(schedule.total_s for schedule in schedules.values())
    top, told = height - 0.32, []
    for (title, schedule), tall in zip(schedules.items(), heights, strict=True):
        bottom = top - 0.25 * bool(title) - _ROW * schedule.n_stages
        box = (_LEFT / _WIDTH, bottom / height, _INCHES / _WIDTH, _ROW * schedule.n_stages / height)
        axes = figure.add_axes(box)
        _draw_schedule(axes, schedule, longest if same_scale else schedule.total_s, unit)
        axes.set_title(title, fontsize=10)
        told.append(_told(title, schedule, unit))
        top -= tall
    _draw_legend(figure, height)
    return Picture(figure, " ".join(told), caption)


def _draw_schedule(axes, schedule: Schedule, length_s: float, unit: str | None) -> None:
    scale, name = _unit(length_s, unit)
    # All blocks of one look and stage in one collection: a thousand patches take half a second.
    for stage in range(schedule.n_stages):
        waits = [
            (b.start_s / scale, (b.end_s - b.start_s) / scale)
            for b in schedule.bubbles
            if b.stage == stage
        ]
        axes.broken_barh(
            waits, (stage - 0.42, 0.84), facecolor="white", edgecolor="#C4C4C4", hatch="////", lw=0
        )
        for phase, look in _LOOKS.items():
            spans = [
                (b.start_s / scale, (b.end_s - b.start_s) / scale)
                for b in schedule.blocks
                if b.stage == stage and b.phase == phase
            ]
            axes.broken_barh(
                spans, (stage - look["height"] / 2, look["height"]), facecolor=look["facecolor"],
                edgecolor=look["edgecolor"], linewidth=0.7,
            )  # fmt: skip
    _number_blocks(axes, schedule, scale, length_s / scale / _INCHES)
    axes.set_xlim(0, length_s / scale)
    axes.set_ylim(schedule.n_stages - 0.5, -0.5)
    axes.set_yticks(range(schedule.n_stages), [f"stage {i}" for i in range(schedule.n_stages)])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=9)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"time, {name}", fontsize=9, labelpad=1)


def _number_blocks(axes, schedule: Schedule, scale: float, inch: float) -> None:
    """The request on every block that is wide enough for it."""
    for block in schedule.blocks:
        number = str(block.request)
        width = (block.end_s - block.start_s) / scale
        if width > 0.1 * len(number) * inch:  # a number that sticks out would say nothing
            axes.text(
                block.start_s / scale + width / 2, block.stage, number, ha="center",
                va="center_baseline", fontsize=8, color=_LOOKS[block.phase]["ink"],
            )  # fmt: skip


def _draw_legend(figure, height: float) -> None:
    axes = figure.add_axes((_LEFT / _WIDTH, 1 - 0.26 / height, _INCHES / _WIDTH, 0.2 / height))
    axes.set_xlim(0, _INCHES)
    axes.set_ylim(0, 1)
    axes.axis("off")
    x = 0.0
    for phase, words in (
        ("prefill", "prefill (number: the request)"),
        ("decode", "decode step"),
        ("", "bubble: the stage waits"),
    ):
        look = _LOOKS.get(
            phase, {"facecolor": "white", "edgecolor": OTHER, "height": 0.84, "hatch": "////"}
        )
        tall = look["height"]
        axes.add_patch(
            Rectangle(
                (x, 0.5 - tall / 2), 0.3, tall, facecolor=look["facecolor"],
                edgecolor=look["edgecolor"], hatch=look.get("hatch"), linewidth=0,
            )
        )  # fmt: skip
        axes.text(x + 0.37, 0.47, words, va="center", fontsize=9)
        x += 0.6 + 0.069 * len(words)


def _unit(length_s: float, unit: str | None) -> tuple[float, str]:
    """Seconds a unit, and its name."""
    if unit is not None:
        return 1.0, unit
    return next((u for u in _UNITS if length_s >= u[0]), _UNITS[-1])


def _told(title: str, schedule: Schedule, unit: str | None) -> str:
    scale, name = _unit(schedule.total_s, unit)
    ends = ", ".join(f"{end / scale:.3g}" for end in schedule.completion_s.values())
    busy = ", ".join(f"{share:.0%}" for share in schedule.utilisation)
    phases = {phase: sum(b.phase == phase for b in schedule.blocks) for phase in _LOOKS}
    return (
        f"{title or 'Schedule'}: {schedule.n_requests} requests over {schedule.n_stages} stages, "
        f"{phases['prefill']} prefill and {phases['decode']} decode blocks, "
        f"{schedule.bubble_fraction:.0%} of the stages' time is bubbles. Requests complete at "
        f"{ends} {name}; the stages are busy {busy} of the time."
    )
