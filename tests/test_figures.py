"""Pictures: they are what they say, readable by everybody, and refuse nonsense."""

import io
import math
import re
import threading

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.ticker import NullLocator
from PIL import Image

from lecture_lib import figures
from lecture_lib.figures import Picture, style
from lecture_lib.figures.blocks import cache_view
from lecture_lib.figures.picture import Backdrop, add_ticks, bar_axes, new_figure
from lecture_lib.figures.scores import surprise_colour
from lecture_lib.scoring import TextScore

TOP = [(" fox", 0.5), (" dog", 0.25), ("$x^2$", 0.05)]


def score(text="a b", log_probs=(math.nan, -3.0)):
    return TextScore(text, (0, 1), ("a", " b"), tuple(log_probs))


FREE = np.full((2, 2), 0.5)
MASKED = np.array([[1.0, 0.0], [0.25, 0.75]])
TWO_PASSES = pd.DataFrame(
    [("K", 2, 3, 2, 0, 1, 0.0), ("X'", 2, 3, 0, 2, 1, 0.5)],
    columns=[
        "tensor",
        "rows_first",
        "rows_second",
        "unchanged",
        "changed",
        "new",
        "max_difference",
    ],
)


def growth(curves, x=(1, 2, 4)):
    return figures.growth_curves(x, curves, x_label="n", y_label="FLOPs")


ALL = {
    "bars": lambda: figures.next_token_bars(TOP, context="The brown", chosen=" dog"),
    "film": lambda: figures.generation_filmstrip([("a", TOP, " fox"), ("a fox", TOP, " dog")]),
    "strip": lambda: figures.surprise_strip([score(), score("b a")]),
    "chain": lambda: figures.chain_rule_path(["a", "b"], [0.5, 0.25]),
    "rows": lambda: figures.recomputed_rows(TWO_PASSES),
    "maps": lambda: figures.score_maps(
        {"free": np.full((2, 2), 0.5), "masked": MASKED}, ["a", "b"]
    ),
    "growth": lambda: growth({"naive": [1, 4, 16], "cached": [1, 2, 4]}),
    "cache": lambda: cache_view(np.eye(3, 4), [0.2, 0.7, 0.1], ["a", " b", " c"]),
}


@pytest.mark.parametrize("name", ALL)
def test_a_picture_is_a_png_with_words_and_is_repeatable(name):
    picture = ALL[name]()
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"image/png", "text/html", "text/plain"}
    alt = re.search(r'<img alt="([^"]+)"', bundle["text/html"]).group(1)
    assert len(alt) > 30
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    assert image.std() > 5, "the picture is blank"
    assert picture.width <= 960, "wider than a notebook's column at 1280 pixels"
    assert len(picture.png) < 40_000
    assert ALL[name]().png == picture.png


def test_the_users_matplotlib_settings_change_nothing():
    import matplotlib

    before = ALL["bars"]().png
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "figure.dpi": 30}):
        assert ALL["bars"]().png == before


def test_numbers_in_the_words_are_the_data():
    alt = ALL["bars"]().alt
    assert "␣fox 0.500" in alt
    assert "all others 0.200" in alt
    assert "Chosen: ␣dog" in alt
    assert "product 0.125" in ALL["chain"]().alt
    assert "␣b -3.0" in ALL["strip"]().alt
    assert "step 2 ␣dog (0.250)" in ALL["film"]().alt
    assert "K 2 same, 0 changed, 1 new; X' 0 same, 2 changed, 1 new" in ALL["rows"]().alt
    assert "free: 0.25 of the attention on later tokens" in ALL["maps"]().alt
    assert "masked: 0.00 of the attention on later tokens" in ALL["maps"]().alt
    assert "naive from 1 to 16; cached from 1 to 4" in ALL["growth"]().alt
    assert "3 keys of width 4, 1 new in this step (␣c)" in ALL["cache"]().alt
    assert "most to ␣b at position 1 (0.70)" in ALL["cache"]().alt


def test_live_and_saved_picture_are_the_same_size():
    picture = ALL["bars"]()
    sizes = {Image.open(io.BytesIO(png)).size for png in (picture.png, picture.live_jpeg)}
    assert len(sizes) == 1


def test_a_backdrop_gives_what_a_whole_drawing_gives():
    def frame():
        figure = new_figure(4, 3, layout=None)
        figure.add_axes((0.2, 0.2, 0.7, 0.6)).set(xlim=(0, 9), ylim=(0, 5), xlabel="x", title="t")
        return figure

    def add(figure, y):
        figure.axes[0].plot([1, 3, 8], [4, y, 2], "o-", color=style.KEPT)
        figure.axes[0].text(2, 3, f"words {y}", zorder=1)

    kept = Backdrop(frame())
    for y in (1, 4, 1):
        whole = frame()
        add(whole, y)
        image = kept.image(lambda y=y: add(kept.figure, y))
        assert Picture(image, "words").png == Picture(whole, "words").png
    assert not kept.figure.axes[0].lines


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(0, 7, "linear"), (0, 3e9, "linear"), (1e3, 2e14, "log")]
)
def test_ticks_and_their_label_lie_where_matplotlib_puts_them(low, high, scale):
    ours, theirs = new_figure(4, 2, layout=None), new_figure(4, 2, layout=None)
    box, names = (0.2, 0.3, 0.7, 0.6), ["a", "b"]

    @style.in_course_style
    def draw():
        axes = bar_axes(ours, box, (1, 0), names, "x")
        axes.set_xscale(scale)
        axes.spines.left.set_animated(False)
        add_ticks(axes, low, high)
        axes = theirs.add_axes(box, ylim=(1, 0), xscale=scale, xlim=(low, high), xlabel="x")
        axes.set_yticks(range(2), names)
        axes.xaxis.set_minor_locator(NullLocator())
        return Picture(ours, "words").png == Picture(theirs, "words").png

    assert draw()


def test_surprise_gets_darker_as_log_p_falls():
    def brightness(colour):
        return sum(int(colour[i : i + 2], 16) for i in (1, 3, 5))

    values = [brightness(surprise_colour(x)) for x in (0, -2, -5, -9, -14)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5
    assert surprise_colour(-99) == surprise_colour(-14)
    assert surprise_colour(math.nan) == "#ffffff"


def test_html_strip_escapes_what_the_reader_typed():
    nasty = TextScore("<b>", (0,), ("<script>",), (-1.0,))
    assert "<script>" not in figures.surprise_html(nasty)
    picture = figures.next_token_bars([('"><b>', 0.5)], context='"><script>')
    assert "<script>" not in picture.html()


def test_tokens_are_made_visible(monkeypatch):
    assert style.visible(" a\nb\tc") == "␣a↵b⇥c"
    assert style.visible("x" * 40) == "x" * 17 + "…"
    monkeypatch.setattr(style, "font_families", lambda: ("DejaVu Sans",))
    style._can_draw.cache_clear()
    assert style.visible("中") == "U+4E2D"
    style._can_draw.cache_clear()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.next_token_bars([]), "top: is empty"),
        (lambda: figures.next_token_bars([("a", 1.5)]), "sum to at most 1"),
        (lambda: figures.next_token_bars([("a", -0.5)]), "must be 0 or more"),
        (lambda: figures.next_token_bars([("a", math.nan)]), "must be 0 or more"),
        (lambda: figures.generation_filmstrip([]), "steps: is empty"),
        (lambda: figures.surprise_strip([]), "scores: is empty"),
        (lambda: figures.chain_rule_path(["a"], [0.5, 0.5]), "equal lengths, got 1, 2"),
        (lambda: figures.recomputed_rows(TWO_PASSES[:0]), "frame: is empty"),
        (lambda: figures.score_maps({}, []), "maps: is empty"),
        (lambda: figures.score_maps({"m": MASKED}, ["a"]), r"needs \(L, 1\), got \(2, 2\)"),
        (lambda: growth({}), "curves: is empty; needs at least one"),
        (lambda: growth({"a": [1, 2]}), "needs 3 values, got 2"),
        (lambda: figures.Picture(new_figure(), "  "), "alt: is empty; needs at least one word"),
    ],
)
def test_bad_input_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_a_masked_score_looks_unlike_a_score_of_nearly_zero_and_a_plain_zero_does_not():
    def picture(later: float, earlier: float) -> bytes:
        return figures.score_maps({"m": np.array([[1.0, later], [earlier, 1.0]])}, ["a", "b"]).png

    assert picture(0.0, 0.0) != picture(1e-9, 0.0)
    assert picture(0.0, 0.0) == picture(0.0, 1e-9)


def test_others_have_a_bar_only_where_there_are_others():
    some = figures.next_token_bars([("a", 0.5), ("b", 0.25)])
    all_of_them = figures.next_token_bars([("a", 0.75), ("b", 0.25)])
    assert "all others 0.250" in some.alt
    assert "others" not in all_of_them.alt
    assert all_of_them.height < some.height


@pytest.mark.parametrize("longest", [0.05, 0.4, 0.99])
def test_the_longest_bar_fills_most_of_the_width(longest):
    n = int(0.99 // longest)
    picture = figures.next_token_bars([(f"{i}", longest) for i in range(n)], chosen="0")
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)
    orange = (np.abs(image - [0xD5, 0x5E, 0x00]).max(axis=-1) < 9).sum(axis=0) > 5
    assert 0.65 < orange.nonzero()[0].max() / image.shape[1] < 0.85


def test_bars_that_are_compared_can_have_one_axis():
    def orange_columns(**options):
        picture = figures.next_token_bars(
            [("a", 0.2), ("b", 0.4), ("c", 0.4)], chosen="a", **options
        )
        image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)
        orange = (np.abs(image - [0xD5, 0x5E, 0x00]).max(axis=-1) < 9).sum(axis=0) > 5
        return orange.nonzero()[0]

    assert len(orange_columns(longest=0.8)) == pytest.approx(len(orange_columns()) / 2, rel=0.05)
    assert len(orange_columns(longest=0.1)) == len(orange_columns())


def test_a_thread_that_ends_drawing_leaves_the_settings_of_another():
    """The settings are those of the whole process; a widget may draw in a thread."""
    first_draws, second_draws, first_has_drawn = (threading.Event() for _ in range(3))

    @style.in_course_style
    def first():
        first_draws.set()
        second_draws.wait(0.5)

    @style.in_course_style
    def second():
        second_draws.set()
        first_has_drawn.wait(5)
        return rcParams["text.color"]

    def draw_and_say_so():
        first()
        first_has_drawn.set()

    thread = threading.Thread(target=draw_and_say_so)
    thread.start()
    first_draws.wait(5)
    assert second() == style.INK
    thread.join()
