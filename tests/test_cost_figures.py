"""Pictures of compute and memory say in words what they draw, and refuse what makes no sense."""

import importlib
import io
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from PIL import Image

from lecture_lib.costs.units import format_count
from lecture_lib.figures import RooflinePoint, latency_and_throughput, roofline
from lecture_lib.figures.costs import memory_bars, time_breakdown

POINTS = [
    RooflinePoint("QKV", 1365, kind="prefill"),
    RooflinePoint("QKV", 1.0, kind="decode"),
    RooflinePoint("lm_head", 10, 1e13, kind="measured"),
]


def test_the_roofline_says_what_binds_and_the_share_of_the_roof():
    alt = roofline(300e12, 2e12, POINTS).alt
    assert "ridge at 150 FLOPs per byte" in alt
    assert "QKV (prefill): 1,365, compute bound" in alt
    assert "QKV (decode): 1, memory bound" in alt
    assert "lm_head (measured): 10, memory bound, 50% of the roof" in alt  # 1e13 of 10 * 2e12


def test_a_point_that_ran_slower_is_drawn_elsewhere():
    fast, slow = (
        np.asarray(
            Image.open(io.BytesIO(roofline(1e14, 1e12, [RooflinePoint("x", 10, f)]).png)).convert(
                "L"
            )
        )
        for f in (1e13, 2e12)
    )
    assert fast.shape == slow.shape
    assert (fast != slow).any()


def drawn_roofline(monkeypatch, points, peak=300e12, bandwidth=2e12):
    """The figure itself, with what is drawn into it."""
    module = importlib.import_module("lecture_lib.figures.roofline")
    drawn = lambda roof, draw: (draw(), roof.figure)[1]  # noqa: E731
    monkeypatch.setattr(module.Backdrop, "image", drawn)
    monkeypatch.setattr(module, "Picture", lambda figure, *_: figure)
    return roofline(peak, bandwidth, points)


def test_numbers_of_near_points_are_joined_so_that_none_lies_on_another(monkeypatch):
    # Neighbours as in a measured prefill: 6% apart in intensity, a few percent in speed.
    near = [(74.8, 9.7e10), (67.8, 9.8e10), (83.8, 8.8e10), (79.4, 9.6e10), (96, 7.4e10)]
    points = [RooflinePoint("x", *xy) for xy in [*near, (24, 9.2e10), (0.5, 5.7e9)]]
    figure = drawn_roofline(monkeypatch, points, 90.7e9, 28.5e9)
    FigureCanvasAgg(figure).draw()
    labels = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in labels] == ["1–5", "6", "7"]
    boxes = [text.get_window_extent() for text in labels]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_budget_says_what_fits():
    bars = {"one": {"weights": 14e9, "cache": 2e9}, "many": {"weights": 14e9, "cache": 80e9}}
    alt = memory_bars(bars, 80e9).alt
    assert "one: weights 14 GB, cache 2 GB; fits into 80 GB" in alt
    assert "many: weights 14 GB, cache 80 GB; does not fit into 80 GB" in alt


def test_a_breakdown_gives_shares_of_the_whole():
    alt = time_breakdown([("QKV", 3e-3, "memory"), ("softmax", 1e-3, "compute")]).alt
    assert "A step of 4 ms" in alt
    assert "QKV 75.0% (memory bound); softmax 25.0% (compute bound)" in alt


def test_throughput_is_batch_over_step():
    alt = latency_and_throughput({"short": {1: 0.01, 8: 0.02}, "long": {1: 0.02}}, critical=6).alt
    assert "short: batch 1 to 8, 10 to 20 ms per step, 100 to 400 tokens per second" in alt
    assert "long: batch 1 to 1, 20 to 20 ms" in alt
    assert alt.endswith("critical batch 6")


def test_the_list_beside_the_roofline_has_the_share_of_the_roof(monkeypatch):
    figure = drawn_roofline(monkeypatch, [*POINTS, RooflinePoint("slow", 1, 1e12, kind="measured")])
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"2  QKV: 1", "3  lm_head: 10, 50%", "4  slow: 1, 50%"} <= set(words)
    assert "FLOPs/byte, share of roof" in words
    predicted = drawn_roofline(monkeypatch, POINTS[:2]).axes[0].texts
    assert "FLOPs/byte" in [text.get_text() for text in predicted]


@pytest.mark.parametrize(
    ("value", "text"),
    [(312e12, "312 TFLOP/s"), (2.039e12, "2.04 TFLOP/s"), (999.9e9, "1 TFLOP/s"), (5, "5 FLOP/s")],
)
def test_format_count(value, text):
    assert format_count(value, "FLOP/s") == text


@pytest.mark.parametrize(
    ("draw", "word"),
    [
        (lambda: roofline(0, 1e12, [RooflinePoint("x", 1.0)]), "peak_flops"),
        (lambda: roofline(1e12, float("inf"), []), "memory_bandwidth"),
        (lambda: roofline(1e14, 1e12, [RooflinePoint("x", 0)]), "intensity of x"),
        (lambda: roofline(1e14, 1e12, [RooflinePoint("x", 1, 0.0)]), "flops_per_s of x"),
        (lambda: roofline(1e14, 1e12, [RooflinePoint("x", 1, kind=k) for k in "abcde"]), "kinds"),
        (lambda: latency_and_throughput({}), "steps_s"),
        (lambda: latency_and_throughput({"a": {}}), "steps_s"),
    ],
)  # fmt: skip
def test_bad_input_is_named(draw, word):
    with pytest.raises(ValueError, match=word):
        draw()
