"""What makes a widget's redraw quick changes no pixel."""

import matplotlib
import numpy as np
import pytest
from matplotlib.axis import Axis, Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.ticker import FuncFormatter, MultipleLocator

from lecture_lib.figures import style
from lecture_lib.figures.picture import _DPI, _draw
from lecture_lib.figures.text_memory import RememberingCanvas


def _labelled_figure(title: str):
    figure = style.new_figure(4, 3, layout=None)
    axes = figure.add_axes((0.2, 0.2, 0.7, 0.6))
    axes.loglog([1, 100], [1, 1e4])
    axes.set_ylabel("turned by 90°")
    axes.set_title(title)
    axes.text(2, 30, "two lines,\nin $x^2$ and colour", color="red", rotation=30)
    axes.text(5, 3, "$x^2$", parse_math=True)
    return figure


def test_remembered_texts_look_as_matplotlib_draws_them(monkeypatch):
    def pixels(canvas_type, title):
        canvas = canvas_type(_labelled_figure(title))
        canvas.draw()
        return np.asarray(canvas.buffer_rgba()).copy()

    with matplotlib.rc_context(style.course_style()):
        plain = {title: pixels(FigureCanvasAgg, title) for title in ("first", "second")}
        assert not np.array_equal(plain["first"], plain["second"])
        rendered, render = [], RendererAgg.draw_text
        monkeypatch.setattr(
            RendererAgg, "draw_text",
            lambda self, gc, x, y, s, *rest: (rendered.append(s), render(self, gc, x, y, s, *rest)),
        )  # fmt: skip
        for title in ("first", "second", "first"):
            rendered.clear()
            assert np.array_equal(pixels(RememberingCanvas, title), plain[title])
        assert set(rendered) == {"$x^2$"}  # mathematics only: the rest was known


def _axes(layout=None):
    figure = style.new_figure(4, 3, layout=layout)
    axes = figure.subplots() if layout else figure.add_axes((0.2, 0.2, 0.7, 0.6))
    axes.plot([0.01, 3, 70], [2, 900, 5])
    axes.set_xlabel("across")
    axes.set_ylabel("up")
    return axes


def _linear(axes):
    axes.set_title("title")


def _logarithmic(axes):
    axes.loglog()
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} FLOP/s"))
    axes.grid(alpha=0.25)


def _turned_round(axes):
    axes.set_xlim(70, 0.5)
    axes.set_ylim(900, -3)
    axes.grid(axis="x", linestyle=":")


def _named(axes):
    axes.set_yticks([0, 450, 900], ["no", "some words", "most"], fontsize=8, color="red")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelrotation=30, direction="in")


def _at_the_limits(axes):
    axes.set_xlim(0, 70)
    axes.xaxis.set_major_locator(MultipleLocator(70 / 3))


def _without_labels(axes):
    axes.set_xticks([])
    axes.yaxis.set_visible(False)


PLAIN = [_linear, _logarithmic, _turned_round, _named, _at_the_limits, _without_labels]


def _smaller_ticks_too(axes):
    axes.minorticks_on()


def _offset(axes):
    axes.plot([0, 70], [1e9 + 1, 1e9 + 2])
    axes.set_ylim(1e9, 1e9 + 3)


def _above(axes):
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.yaxis.tick_right()


def _each_its_colour(axes):
    for label, colour in zip(axes.get_xticklabels(), ("red", "blue", "green"), strict=False):
        label.set_color(colour)


def _label_put_by_hand(axes):
    axes.yaxis.set_label_coords(-0.2, 0.2)


SPECIAL = [_smaller_ticks_too, _offset, _above, _each_its_colour, _label_put_by_hand]


def _figure(change, layout=None):
    axes = _axes(layout)
    change(axes)
    return axes.figure


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("change", PLAIN + SPECIAL, ids=lambda change: change.__name__)
def test_axes_look_as_matplotlib_draws_them(change, layout):
    with matplotlib.rc_context(style.course_style()):
        figure = _figure(change, layout)
        figure.set_dpi(_DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        expected = np.asarray(canvas.buffer_rgba())[..., :3]
        drawn = np.asarray(_draw(_figure(change, layout)))
    assert drawn.shape == expected.shape
    assert np.array_equal(drawn, expected)


@pytest.mark.parametrize("change", PLAIN, ids=lambda change: change.__name__)
def test_one_tick_is_used_for_all_places(change, monkeypatch):
    drawn = []
    monkeypatch.setattr(Tick, "draw", lambda self, renderer: drawn.append(self))
    monkeypatch.setattr(Axis, "_update_ticks", lambda self: drawn.append(self) or [])
    with matplotlib.rc_context(style.course_style()):
        figure = _figure(change)
        _draw(figure)
    named = 3 if change is _named else 1  # matplotlib gives a name by making a tick for it
    assert all(
        len(axis.majorTicks) <= named for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis)
    )
    if change is not _without_labels:
        assert not drawn
