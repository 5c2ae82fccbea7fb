"""Measured operations and predictions, with a timer that says what it is told."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lecture_lib.costs import (
    kv_cache_bytes,
    measure_ops,
    predict_step,
    weight_bytes,
)
from lecture_lib.costs.measured import engine_costs
from lecture_lib.engine import Engine
from lecture_lib.hardware import Hardware
from tests.engine_models import CONFIGS, loaded_model

TOY = Hardware("toy", 1e12, 1e10, 1e10, peak_dtype="float32")
PRODUCTS = {"qkv_proj", "o_proj", "qk_matmul", "sv_matmul", "down_proj", "lm_head"}
POINTWISE = {"softmax", "attn_norm", "activation", "attn_residual"}


class CountingTimer:
    """Makes the call and counts its matrix products instead of looking at a clock."""

    def __init__(self):
        self.flops = []

    def __call__(self, call):
        with FlopCounterMode(display=False) as counter:
            call()
        self.flops.append(counter.get_total_flops())
        return 0.5


@pytest.fixture(params=["llama", "llama-mqa", "llama-biases", "opt", "opt-350m-like"])
def engine(request):
    return Engine(loaded_model(CONFIGS[request.param]))


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_what_is_timed_computes_what_the_table_says(engine, phase):
    """For every operation, PyTorch's own count of the calls that the timer gets is the table's."""
    timer = CountingTimer()
    table = measure_ops(engine, phase, 3, 11, timer=timer, seconds=1, progress=False)
    in_turns = len(table) + 1  # the last of each round is the whole step
    for i, row in enumerate(table.itertuples()):
        if row.op != "attention":  # the fused kernel of the CPU is unknown to the counter
            assert set(timer.flops[i::in_turns]) == {row.flops}, row.op
    costs = engine_costs(engine, phase, 3, 11)
    counted = costs[~costs.op.isin(["attention", "qk_matmul", "sv_matmul"])]  # as above
    assert set(timer.flops[len(table) :: in_turns]) == {counted.flops.sum()}
    up = "gate_up_proj" if engine.spec.gated_mlp else "up_proj"
    rope = {"rope"} if engine.spec.position_rows == 0 else set()
    assert set(table.op) == PRODUCTS | POINTWISE | {up, "attention"} | rope


def test_what_is_timed_goes_by_the_engine_s_own_kernel():
    """A single row of bfloat16 by the vector kernel, as in a decode step."""
    loaded = loaded_model(CONFIGS["llama"])
    loaded.model.to(torch.bfloat16)
    by_vector = []

    def timer(call):
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            call()
        by_vector.append(any(event.name == "aten::mv" for event in trace.events()))
        return 0.5

    table = measure_ops(Engine(loaded), "decode", 1, 5, timer=timer, seconds=1, progress=False)
    in_turns = len(table) + 1  # the last of each round is the whole step
    seen = {op for i, op in enumerate(table.op) if all(by_vector[i::in_turns])}
    assert seen == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"}


def test_rates_follow_from_times_and_costs(engine):
    table = measure_ops(engine, "decode", 2, 5, timer=lambda c: 0.25, seconds=1, progress=False)
    costs = engine_costs(engine, "decode", 2, 5).set_index("op")
    for row in table.itertuples():
        assert row.seconds == 0.25
        assert row.attained_flops == costs.flops[row.op] / 0.25
        assert row.attained_bandwidth == costs.bytes[row.op] / 0.25
        assert row.bytes / row.count == costs.bytes[row.op] / engine.spec.n_layers or (
            row.op == "lm_head"
        )
    assert "q, k, v joined" in table.attrs["conventions"]
    assert table.attrs["step_seconds"] == 0.25


def test_costs_are_in_the_engine_s_dtype(engine):
    head = engine_costs(engine, "decode", 1, 5).set_index("op").weight_bytes["lm_head"]
    assert head == engine.model.lm_head.nbytes


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_every_round_is_the_same_step(engine, phase):
    rounds = []

    def timer(call):
        call()
        rounds.append(engine.calls[-1])
        return 0.5

    result = predict_step(engine, TOY, phase, 2, 9, seconds=1, timer=timer)
    assert len(rounds) > 5
    past_len, seq_len = (0, 9) if phase == "prefill" else (9, 1)
    assert {(c.batch_size, c.past_len, c.seq_len) for c in rounds} == {(2, past_len, seq_len)}
    assert result.measured == 0.5
    assert result.error == result.predicted / 0.5 - 1
    assert f"{phase}, B = 2, L = 9: predicted" in str(result)
    slower = Hardware("slower", 1e12, 1e9, 1e10, peak_dtype="float32")
    again = predict_step(engine, slower, "decode", 2, 9, seconds=1, timer=lambda c: 0.5)
    first = predict_step(engine, TOY, "decode", 2, 9, seconds=1, timer=lambda c: 0.5)
    assert again.predicted > first.predicted


def test_cache_and_weights_are_exact(engine):
    for batch_size, seq_len in ((1, 1), (3, 50), (2, 128)):
        predicted = kv_cache_bytes(engine.spec, batch_size, seq_len, 4)
        assert predicted == engine.new_cache(batch_size, seq_len).nbytes
    real = sum(parameter.nbytes for parameter in engine.hf_model.parameters())
    assert weight_bytes(engine.spec, 4) == real > 1e4


@pytest.mark.real_model
def test_the_bundled_model_s_cache_is_exact(loaded):
    width = loaded.dtype.itemsize
    cache = Engine(loaded).new_cache(2, 333)
    assert kv_cache_bytes(loaded.spec, 2, 333, width) == cache.nbytes
    real = sum(parameter.nbytes for parameter in loaded.model.parameters())
    assert weight_bytes(loaded.spec, width) == real


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: measure_ops(e, "both"), "phase: must be one of"),
        (lambda e: measure_ops(e, "decode", 0), "batch_size: needs an integer"),
        (lambda e: measure_ops(e, "decode", 1, 128), "seq_len: 129 positions, more than the 128"),
        (lambda e: measure_ops(e, "decode", 1, 5, seconds=0), "seconds: needs a number"),
        (lambda e: predict_step(e, "a100", "decode"), "hardware: none is called"),
        (lambda e: predict_step(e, TOY, "decode", 1, 0), "seq_len: needs an integer"),
        (lambda e: predict_step(e, TOY, "decode", 1, 500), "max_seq_len: 501 positions"),
    ],
)
def test_bad_arguments(call, message):
    engine = Engine(loaded_model(CONFIGS["llama"]))
    with pytest.raises(ValueError, match=message):
        call(engine)


def test_real_clock_waits_for_the_work():
    engine = Engine(loaded_model(CONFIGS["llama"]))
    table = measure_ops(engine, "decode", 1, 4, seconds=0.1, progress=False)
    assert (table.seconds > 0).all()
    assert isinstance(table.attrs["model"], str)
