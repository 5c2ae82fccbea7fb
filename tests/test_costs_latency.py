"""Step times against the roofline worked by hand; where a batch becomes compute bound."""

import pytest

from lecture_lib.costs import (
    critical_batch_size,
    kv_cache_bytes,
    op_costs,
    step_latency,
    weight_bytes,
)
from lecture_lib.hardware import HARDWARE, Hardware
from lecture_lib.model_spec import MODEL_SPECS

SPEC = MODEL_SPECS["llama-2-7b"]
A100 = HARDWARE["a100-80gb-sxm"]


def test_decode_is_the_reading_of_weights_and_cache():
    step = step_latency(SPEC, A100, "decode", 1, 1024)
    embedding = SPEC.params_by_part["token_embedding"] * 2
    by_hand = (weight_bytes(SPEC) - embedding + kv_cache_bytes(SPEC, 1, 1025)) / 2039e9
    assert step.seconds == pytest.approx(by_hand, rel=0.01)  # activations are the rest
    assert step.seconds > by_hand
    assert step.bound == "memory"
    assert step.tokens_per_s == 1 / step.seconds


def test_prefill_is_computing():
    step = step_latency(SPEC, A100, "prefill", 2, 2048)
    assert step.bound == "compute"
    matrices = SPEC.params_by_part["attention"] + SPEC.params_by_part["mlp"]
    assert step.seconds == pytest.approx(2 * matrices * 4096 / 312e12, rel=0.2)
    assert step.seconds > step.flops / 312e12
    assert step.tokens_per_s == pytest.approx(4096 / step.seconds)


def test_quantised_weights_speed_up_decode_and_not_prefill():
    for phase, expected in (("decode", 0.5), ("prefill", 1.0)):
        whole, int8 = (
            step_latency(SPEC, A100, phase, 1, 2048, weight_format=f).seconds
            for f in (None, "int8")
        )
        assert int8 / whole == pytest.approx(expected, abs=0.08)
    long, short = (
        step_latency(SPEC, A100, "decode", 8, 8192, kv_format=f).seconds for f in (None, "int8")
    )
    assert short / long < 0.65  # long contexts: the cache is what is read


@pytest.mark.parametrize("op", ["q_proj", "up_proj", "down_proj"])
@pytest.mark.parametrize("weight_format", [None, "int8", "int4"])
def test_critical_batch_is_the_first(op, weight_format):
    batch = critical_batch_size(SPEC, A100, op, weight_format=weight_format)
    for batch_size, bound in ((batch - 1, "memory"), (batch, "compute")):
        costs = op_costs(SPEC, "decode", batch_size, 64, weight_format=weight_format, hardware=A100)
        assert costs.set_index("op").bound[op] == bound


def test_critical_batch_by_the_closed_formula():
    """B D F / (B D + B F + D F) = ridge, solved for B."""
    ridge, d, f = A100.ridge(), SPEC.d_model, SPEC.d_ff
    by_hand = ridge / (1 - ridge * (1 / d + 1 / f))
    assert critical_batch_size(SPEC, A100) - 1 < by_hand <= critical_batch_size(SPEC, A100)


def test_attention_never_becomes_compute_bound():
    assert critical_batch_size(SPEC, A100, "attention", fused_attention=True) is None
    assert critical_batch_size(SPEC, A100, "qk_matmul") is None
    narrow = MODEL_SPECS["smollm2-135m"]  # D = 576: its intensity stays below 576 · 576 / 1152
    assert critical_batch_size(narrow, HARDWARE["h100-80gb-sxm"], "o_proj") is None
    assert critical_batch_size(SPEC, Hardware("slow", 1e9, 1e12, 1e12)) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: step_latency(SPEC, "a1000"), "hardware: none is called 'a1000'"),
        (lambda: step_latency(SPEC, A100, "train"), "phase: must be one of"),
        (lambda: step_latency(SPEC, A100, "decode", 0), "batch_size: needs an integer"),
        (lambda: critical_batch_size(SPEC, A100, "w1"), "op: must be one of .*'up_proj'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
