"""Axes drawn with one tick for all places, for widgets that draw again while a slider moves.

matplotlib makes five artists for each place on an axis and asks for all of them three times; that
is half of the time of a picture. Here the first tick goes from place to place. The pixels are the
same.
"""

from functools import partial

import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure


def draw_axes_quickly(figure: Figure) -> None:
    """From now on the axes of a figure whose margins are set by hand draw themselves quickly.

    Left alone: figures with a layout engine, which asks for all ticks itself.
    """
    if figure.get_layout_engine() is not None:
        return
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.draw = partial(_draw, axis)


def _draw(axis: Axis, renderer) -> None:
    if not axis.get_visible():
        return
    places, labels = _shown(axis)
    if not labels or not _is_plain(axis):
        type(axis).draw(axis, renderer)
        return
    tick = axis.get_major_ticks(1)[0]
    tick.update_position(places[0])
    is_x = isinstance(axis, XAxis)
    _draw_everywhere(tick.gridline, places, is_x, renderer)
    _draw_everywhere(tick.tick1line, places, is_x, renderer)
    ends = []
    for place, label in zip(places, labels, strict=True):
        (tick.label1.set_x if is_x else tick.label1.set_y)(place)
        tick.label1.set_text(label)
        tick.label1.draw(renderer)
        if axis.label.get_text():
            box = tick.label1.get_window_extent(renderer)
            ends.append(box.y0 if is_x else box.x0)
    if ends:
        _move_away(axis.label, min(ends), axis.labelpad * axis.get_figure().dpi / 72, is_x)
        axis.label.draw(renderer)
    axis.stale = False


def _shown(axis: Axis) -> tuple[np.ndarray, list[str]]:
    """The places within the axis's limits, and what is written there."""
    places = np.asarray(axis.get_majorticklocs(), dtype=float)
    labels = axis.major.formatter.format_ticks(places)
    low, high = sorted(axis.get_transform().transform(axis.get_view_interval()))
    at, tolerance = axis.get_transform().transform(places), 1e-10 * (high - low)
    inside = (at >= low - tolerance) & (at <= high + tolerance)
    return places[inside], [label for label, shown in zip(labels, inside, strict=True) if shown]


def _is_plain(axis: Axis) -> bool:
    """Whether the axis has nothing but major ticks on its usual side, all looking the same."""
    axis.get_major_ticks(1)
    made = [tick.label1 for tick in axis.majorTicks]
    looks = {
        (t.get_color(), hash(t.get_fontproperties()), t.get_rotation(), t.get_visible())
        for t in made
    }
    return (
        len(looks) == 1
        and len(axis.get_minorticklocs()) == 0
        and not axis.major.formatter.get_offset()
        and axis.get_ticks_position() in ("bottom", "left")
        and axis.get_label_position() in ("bottom", "left")
        and axis._autolabelpos  # has no public name: whether set_label_coords gave a place
    )


def _draw_everywhere(line, places, is_x: bool, renderer) -> None:
    """One line of a tick, drawn at all places as one path with gaps."""
    if not line.get_visible():
        return
    _, across = line.get_data() if is_x else line.get_data()[::-1]
    n = len(across)
    gaps = np.full((len(places), 1), np.nan)
    along = np.hstack([np.repeat(places[:, None], n, axis=1), gaps]).ravel()
    across = np.hstack([np.tile(across, (len(places), 1)), gaps]).ravel()
    line.set_data(*((along, across) if is_x else (across, along)))
    line.draw(renderer)


def _move_away(label, end: float, pad: float, is_x: bool) -> None:
    """The axis's label to where the ticks' labels end."""
    x, y = label.get_position()
    label.set_position((x, end - pad) if is_x else (end - pad, y))
