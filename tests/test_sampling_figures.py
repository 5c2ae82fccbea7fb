"""Pictures of sampling and the widget: words that tell the numbers, one model run, named errors."""

import sys

import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection

from lecture_lib.decoding import sampling_distribution, toy_logits
from lecture_lib.figures import Picture
from lecture_lib.figures.sampling import filter_view, likely_and_repeated, nucleus_strip
from lecture_lib.widgets import SamplingView, sampling_view

WORDS, LOGITS = toy_logits("flat")
BEFORE = LOGITS.softmax(-1)
AFTER = sampling_distribution(LOGITS, top_p=0.92)


def viewed(**options):
    return filter_view(BEFORE, AFTER, WORDS.__getitem__, title="after “The”", **options)


ALL = {
    "filter": lambda: viewed(top_p=0.92),
    "nucleus": lambda: nucleus_strip([" a", "\n", " dog"], [1, 30, 4000]),
    "repeated": lambda: likely_and_repeated(
        {"greedy": ([-1.0, -2.0], [0.5, 0.1]), "T = 1": ([-3.0, -3.5], [0.0, 0.02])}
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_each_is_a_picture_with_words_that_comes_out_the_same_twice(name):
    picture = ALL[name]()
    assert isinstance(picture, Picture)
    assert picture.png.startswith(b"\x89PNG")
    assert len(picture.png) < 60_000
    assert picture.png == ALL[name]().png
    assert len(picture.alt) > 60


def test_the_words_of_the_filter_view_are_its_numbers():
    alt = ALL["filter"]().alt
    assert "9 of 10 tokens are kept, with 0.940 of the probability" in alt
    assert "The line of top-p stands at 0.92" in alt
    assert f"nice 0.125 becomes {0.125 / 0.94:.3f}; dog" in alt
    assert "cat 0.060 is cut" in alt


def test_the_words_of_the_other_pictures_are_their_numbers():
    assert "␣a 1, ↵ 30, ␣dog 4,000" in ALL["nucleus"]().alt
    alt = ALL["repeated"]().alt
    assert "greedy: mean log p -1.5 ± 0.7, 30 ± 28 % repeated; T = 1: mean log p -3.2" in alt


def drawn(monkeypatch, **options):
    """The axes that filter_view draws on."""
    seen = []
    module = sys.modules["lecture_lib.figures.sampling"]
    monkeypatch.setattr(module, "Picture", lambda figure, alt: seen.append(figure))
    viewed(**options)
    return seen[0].axes[0]


def test_what_is_kept_is_told_apart_by_more_than_colour(monkeypatch):
    axes = drawn(monkeypatch, top_p=0.92)
    bars = [c for c in axes.collections if isinstance(c, PolyCollection)]
    hatched = [c for c in bars if c.get_hatch()]
    assert [len(c.get_paths()) for c in bars] == [9, 1, 9]
    assert hatched == [bars[1]]
    texts = [text.get_text() for text in axes.texts]
    assert "0.060 cut" in texts
    widths = [np.ptp(path.vertices[:, 0]) for path in bars[0].get_paths()]
    assert np.array(widths) / widths[0] == pytest.approx(BEFORE[:9] / BEFORE[0])


def test_the_other_tokens_share_a_row(monkeypatch):
    monkeypatch.setattr(sys.modules["lecture_lib.figures.sampling"], "_MOST_ROWS", 4)
    texts = [t.get_text() for t in drawn(monkeypatch).texts]
    assert "6 others" in texts
    assert "0.530, 5 kept" in texts
    assert texts.count("nice") == 1


def test_the_cumulative_curve_is_that_which_top_p_saw(monkeypatch):
    seen = sampling_distribution(LOGITS, top_k=6)
    axes = drawn(monkeypatch, seen_by_top_p=seen, top_p=0.5)
    curve = next(line for line in axes.lines if len(line.get_xdata()) == 10)
    x = np.asarray(curve.get_xdata())
    steps = np.diff(x, prepend=4.4)
    assert steps / steps[0] == pytest.approx(seen / seen[0], abs=1e-5)


def test_pictures_that_are_compared_have_one_axis(monkeypatch):
    def longest_bar(**options):
        bars = drawn(monkeypatch, **options).collections[0]
        return max(np.ptp(path.vertices[:, 0]) for path in bars.get_paths())

    assert longest_bar() == pytest.approx(2.0)
    assert longest_bar(longest=0.5) == pytest.approx(2.0 * 0.125 / 0.5)
    assert longest_bar(longest=0.01) == pytest.approx(2.0)


# The widget


def test_the_widget_begins_with_a_filter_and_says_what_it_keeps():
    view = SamplingView()
    assert "<b>6</b> of 10 tokens are kept, with <b>0.680</b> of the mass" in view.facts.value
    view.top_k.value = 3
    assert "<b>3</b> of 10" in view.facts.value
    assert "<b>0.360</b> of the mass" in view.facts.value


def test_top_p_s_line_stands_on_what_top_k_left(monkeypatch):
    view = SamplingView()
    handed = []
    original = sampling_view.filter_view
    monkeypatch.setattr(
        sampling_view, "filter_view", lambda *a, **k: handed.append(k) or original(*a, **k)
    )
    view.top_k.value, view.top_p.value = 0, 0.5
    assert handed[-1]["seen_by_top_p"] is None
    view.top_k.value = 6
    assert torch.equal(handed[-1]["seen_by_top_p"], sampling_distribution(LOGITS, top_k=6))


@pytest.mark.real_model
def test_the_model_runs_once_a_prompt_whatever_the_sliders_do(loaded, monkeypatch):
    prompts = []
    original = sampling_view.next_token_logits
    monkeypatch.setattr(
        sampling_view,
        "next_token_logits",
        lambda model, ids: prompts.append(ids) or original(model, ids),
    )
    view = SamplingView(loaded, source="the model")
    view.prompt.value = "The capital of France is"
    prompts.clear()
    for temperature in (0.5, 1.5, 2.0):
        view.temperature.value = temperature
    view.top_k.value = 40
    assert prompts == []
    assert "␣Paris" in view.picture.alt
    view.prompt.value = "The car"
    assert len(prompts) == 1
    shown = view.picture
    view.prompt.value = ""
    assert "Prompt: is empty" in view.message.value
    assert view.picture is shown
    view.source.value = "peaked"
    assert len(prompts) == 1
    assert "drives" in view.picture.alt
    assert view.message.value == ""
