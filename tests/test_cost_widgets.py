"""The calculators show the very numbers that the library computes, and redraw for every control."""

import pytest

from lecture_lib.costs import Conventions, memory_budget, step_latency, weight_bytes
from lecture_lib.widgets import CostCalculator, StepBreakdown

INT8_GB = weight_bytes("llama-2-7b", weight_format="int8") / 1e9
PLAIN = Conventions(softmax_pass=False)


def test_the_calculator_shows_what_the_library_computes():
    widget = CostCalculator(batch_size=16, seq_len=2048)
    step = step_latency(
        "llama-2-7b", "a100-80gb-sxm", "decode", 16, 2048, 2, False, conventions=PLAIN
    )
    assert f"{step.tokens_per_s:,.0f} new tokens per second" in widget.facts.value
    assert "memory bound as a whole" in widget.facts.value
    budget = memory_budget("llama-2-7b", 16, 2048, memory="a100-80gb-sxm", prefill=False)
    assert f"KV cache {budget.kv_cache / 1e9:.3g} GB" in widget.picture.alt
    assert "fits into 80 GB" in widget.picture.alt


@pytest.mark.parametrize(
    ("control", "value", "word"),
    [
        ("phase", "prefill", "compute bound as a whole"),
        ("model", "llama-3.1-70b", "does not fit"),
        ("seq_len", 65536, "KV cache 34.4 GB"),
        ("batch_size", 256, "KV cache 137 GB"),
        ("hardware", "h100-80gb-sxm", "h100"),
        ("precision", "int8 weights", f"weights {INT8_GB:.3g} GB"),
    ],
)
def test_each_control_changes_the_picture_and_the_words(control, value, word):
    widget = CostCalculator(seq_len=1024)
    before = widget.picture.png
    getattr(widget, control).value = value
    assert widget.picture.png != before
    html = widget.facts.value + widget.picture.alt + widget.hardware.value
    assert word in html.replace("<b>", "").replace("</b>", "")


def test_the_breakdown_adds_up_and_says_what_the_bytes_are():
    widget = StepBreakdown(batch_size=64, seq_len=4096)
    step = widget.step("decode")
    assert step.table.seconds.sum() == pytest.approx(step.seconds)
    weights, cache = (step.table[c].sum() / step.bytes for c in ("weight_bytes", "kv_bytes"))
    assert f"{weights:.0%} are weights and {cache:.0%} keys and values" in widget.facts.value
    widget.seq_len.value = 16
    assert "gate_proj" in widget.picture.alt.split(";")[0]  # short context: the MLP leads
