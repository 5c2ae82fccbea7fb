"""Pictures and calculators of parallelism: what they say is what the library computes."""

import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lecture_lib import figures
from lecture_lib.costs.units import format_seconds
from lecture_lib.figures import style
from lecture_lib.model_spec import MODEL_SPECS
from lecture_lib.parallel import (
    ParallelDegreeError,
    all_reduce_time_s,
    communication_time_s,
    compare_parallelism,
    pipeline_schedule,
    pipeline_volume,
    schedule_from_timestamps,
    tensor_parallel_volume,
)
from lecture_lib.widgets import PipelineCalculator, ScheduleView, TensorParallelCalculator

LLAMA, SMOL = MODEL_SPECS["llama-2-7b"], MODEL_SPECS["smollm2-135m"]
SIZES = {"seq_len": 64, "max_new_tokens": 8}
ONE = pipeline_schedule(n_requests=1, n_stages=2, prefill_s=2, max_new_tokens=3)
THREE = pipeline_schedule(n_requests=3, n_stages=2, prefill_s=2, max_new_tokens=2)
VOLUMES = {
    "tensor": tensor_parallel_volume(LLAMA, n_ranks=4, **SIZES),
    "pipeline": pipeline_volume(LLAMA, n_ranks=4, **SIZES),
}
PAGE = compare_parallelism(LLAMA, n_ranks=4, **SIZES)
SECONDS = {"a": {1: 0.002, 2: 0.001, 4: 0.0005}, "b": {1: 0.003, 2: 0.001}}
CURVES = pd.DataFrame(SECONDS)
ALL = {
    "schedule": lambda: figures.schedule_chart(THREE),
    "schedules": lambda: figures.schedule_chart({"one": ONE, "three": THREE}, unit="units"),
    "layer": lambda: figures.sharded_layer(SMOL, 3),
    "narrow": lambda: figures.sharded_layer(MODEL_SPECS["llama-3.1-70b"], 4),
    "ring": lambda: figures.ring_all_reduce_view(3),
    "bytes": lambda: figures.volume_bars(VOLUMES),
    "ranks": lambda: figures.time_against_ranks(CURVES),
    "page": lambda: figures.comparison_page(PAGE),
}


@pytest.mark.parametrize("name", ALL)
def test_every_picture_has_words_and_is_the_same_each_time(name):
    picture, again = ALL[name](), ALL[name]()
    assert picture.png == again.png
    assert len(picture.alt) > 60
    assert picture.width <= 740, "fits a page of 1280 pixels beside the sidebar"
    assert len(picture.png) < 60_000


def test_words_say_what_is_drawn():
    alt = ALL["schedules"]().alt
    assert "one: 1 requests over 2 stages, 2 prefill and 4 decode blocks, 50% of" in alt
    assert "three: 3 requests" in alt
    assert "Requests complete at 9, 10, 11 units" in alt
    alt = ALL["layer"]().alt
    assert "each has 576 × 320 of W^Q, W^K, W^V by columns, the softmax of its 3 heads" in alt
    assert "Y (L × 512), 512 × 576 of W^2 by rows, g" in alt
    assert "W^gate" not in figures.sharded_layer(MODEL_SPECS["opt-1.3b"], 2).alt
    assert "Step 2 (reduce-scatter): each rank then has 1 of 3 chunks done" in ALL["ring"]().alt
    assert "pipeline: prefill payload 1.57 MB and wire 1.57 MB" in ALL["bytes"]().alt
    assert f"tensor parallel on 4: request {PAGE.tensor.request_s:.3g} s" in ALL["page"]().alt


def test_a_measured_schedule_is_drawn_with_its_own_unit():
    blocks = [
        replace(b, start_s=5 + b.start_s / 1000, end_s=5 + b.end_s / 1000) for b in THREE.blocks
    ]
    measured = schedule_from_timestamps(blocks)
    assert "Requests complete at 9, 10, 11 ms" in figures.schedule_chart(measured).alt


def test_schedules_that_are_compared_have_one_time_axis():
    short = pipeline_schedule(n_requests=1, n_stages=2, prefill_s=0.1)
    alt = figures.schedule_chart({"short": short, "long": ONE}).alt
    assert "Requests complete at 0.2 s" in alt
    alone, both = (
        Image.open(io.BytesIO(figures.schedule_chart(charts).png))
        for charts in ({"short": short}, {"short": short, "long": ONE})
    )
    blue = tuple(int(style.KEPT[i : i + 2], 16) for i in (1, 3, 5))
    rows = slice(60, 150)  # of the first chart, below the legend
    wide, narrow = ((np.asarray(image.convert("RGB"))[rows] == blue).all(-1).sum()
                    for image in (alone, both))  # fmt: skip
    assert narrow < wide / 10


def test_the_area_of_a_phase_is_its_time():
    """Counted in pixels: 2 × 2 s of prefill, 2 × 8 s of decode, drawn lower; less the numbers."""

    def pixels(n_decode, colour):
        schedule = pipeline_schedule(
            n_requests=1, n_stages=2, prefill_s=2, max_new_tokens=1 + n_decode
        )
        image = Image.open(io.BytesIO(figures.schedule_chart(schedule).png)).convert("RGB")
        wanted = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return (np.asarray(image) == wanted).all(axis=-1).sum()

    legend = {colour: pixels(0, colour) for colour in (style.KEPT, style.MARK)}
    assert legend[style.KEPT] > 20 * legend[style.MARK] > 0, "no decode: only in the legend"
    decode = pixels(8, style.MARK) - legend[style.MARK]
    prefill = pixels(8, style.KEPT) - legend[style.MARK] * 0.84 / 0.56
    assert decode / prefill == pytest.approx((8 * 0.56) / (2 * 0.84), rel=0.15)


def test_a_curve_may_end_before_the_others():
    alt = figures.time_against_ranks(CURVES).alt
    assert "a 2 to 0.5 at 4 ranks, least 0.5 at 4 ranks" in alt
    assert "b 3 to 1 at 2 ranks, least 1 at 2 ranks" in alt


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.schedule_chart({}), "schedules: is empty"),
        (lambda: figures.sharded_layer(SMOL, 2), "tensor-parallel degrees that work: 1, 3"),
        (lambda: figures.sharded_layer(LLAMA, 8), "n_ranks: needs an integer from 1 to 4, got 8"),
        (lambda: figures.volume_bars({}), "volumes: is empty"),
        (
            lambda: figures.volume_bars({"x": pipeline_volume(LLAMA, n_ranks=1, seq_len=1)}),
            "nothing is sent",
        ),
        (lambda: figures.ring_all_reduce_view(7), "n_ranks: needs an integer from 2 to 6"),
        (
            lambda: figures.time_against_ranks(CURVES.iloc[:, :0]),
            "frame: needs 1 to 4 curves, got 0",
        ),
    ],
)
def test_bad_input_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


CONTROLS = {
    "model": "llama-2-13b", "n_ranks": 2, "seq_len": 2048, "max_new_tokens": 16,
    "batch_size": 8, "dtype": "FP32", "link": "100gbe",
}  # fmt: skip


@pytest.mark.parametrize("kind", [PipelineCalculator, TensorParallelCalculator])
def test_every_control_of_a_calculator_acts(kind):
    widget = kind()
    for name, value in CONTROLS.items():
        facts, alt = widget.facts.value, widget.picture.alt
        getattr(widget, name).value = value
        assert widget.facts.value != facts, name
        assert name == "link" or widget.picture.alt != alt, name
    assert widget.message.value == ""
    volume = widget.volume()
    assert (volume.model, volume.n_ranks, volume.dtype_bytes) == ("llama-2-13b", 2, 4)
    assert (volume.seq_len, volume.max_new_tokens, volume.batch_size) == (2048, 16, 8)
    assert "8 × 2,048 × 5,120 × 4 bytes = 335,544,320 bytes" in widget.facts.value
    assert "1 prefill and 15 decode passes" in widget.facts.value
    seconds = communication_time_s(volume, "100gbe").request_s
    assert f"on the links, {format_seconds(seconds)} on 100gbe" in widget.facts.value


def test_tensor_calculator_shows_ring_and_extras():
    widget = TensorParallelCalculator()
    assert "2 AllReduces × 32 layers of 1 × 1,024 × 4,096 × 2 bytes" in widget.facts.value
    assert "each rank sends 2 × 3/4 of that" in widget.facts.value
    time = all_reduce_time_s(8192, 4, "nvlink4")
    assert f"{1e6 * time:.3g} µs on nvlink4 for one" in widget.facts.value
    before = widget.volume().payload_bytes
    widget.gather_logits.value = True
    logits = widget.volume().payload_bytes - before
    assert logits == 128 * 32000 * 2
    widget.vocab_parallel_embedding.value = True
    assert widget.volume().payload_bytes == before + logits + (1024 + 127) * 4096 * 2


def test_a_calculator_refuses_with_the_degrees_that_work():
    widget = TensorParallelCalculator("smollm2-135m", 3)
    shown, facts = widget.picture_view.value, widget.facts.value
    widget.n_ranks.value = 2
    assert "9 query heads and the 3 key/value heads" in widget.message.value
    assert "degrees that work: 1, 3" in widget.message.value
    assert (widget.picture_view.value, widget.facts.value) == (shown, facts)
    widget.n_ranks.value = 3
    assert widget.message.value == ""
    pipeline = PipelineCalculator("smollm2-135m", 5)
    assert "tensor" not in pipeline.picture.alt, "5 stages work, 5 tensor-parallel ranks don't"
    pipeline.n_ranks.value = 4
    assert "stages that work: 1, 2, 3, 5, 6" in pipeline.message.value
    with pytest.raises(ParallelDegreeError, match="stages that work"):
        PipelineCalculator("smollm2-135m", 4)


def test_schedule_view():
    widget = ScheduleView(n_requests=1, n_stages=4)
    assert "<b>one request gains nothing</b>" in widget.facts.value
    for n_stages in (1, 3, 8):
        widget.n_stages.value = n_stages
        assert widget.schedule().total_s == pytest.approx(3 + 4)
        assert "Requests complete at 7." in widget.facts.value
    widget.n_requests.value = 8
    schedule = widget.schedule()
    assert f"{56 / schedule.total_s:.3g} × as many tokens" in widget.facts.value
    assert f"{schedule.bubble_fraction:.0%} of the stages' time" in widget.facts.value
    for name, value in (("prefill", 6), ("n_chunks", 3), ("max_new_tokens", 9), ("n_stages", 2)):
        alt = widget.picture.alt
        getattr(widget, name).value = value
        assert widget.picture.alt != alt, name


@pytest.mark.parametrize("kind", [PipelineCalculator, TensorParallelCalculator, ScheduleView])
def test_a_widget_has_a_picture_where_there_is_no_kernel(kind):
    bundle = kind()._repr_mimebundle_()
    assert {"image/png", "text/html", "text/plain"} < set(bundle)
    assert re.search(r'<img alt="[^"]{60,}"', bundle["text/html"])
