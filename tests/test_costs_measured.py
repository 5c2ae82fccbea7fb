"""Measured operations, with a timer that says what it is told."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lecture_lib.costs import kv_cache_bytes, measure_ops, weight_bytes
from lecture_lib.costs.measured import engine_costs, step_call
from lecture_lib.engine import Engine
from tests.engine_models import CONFIGS, loaded_model

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
    assert table.attrs["step_seconds"] == 0.25


def test_costs_are_in_the_engine_s_dtype(engine):
    head = engine_costs(engine, "decode", 1, 5).set_index("op").weight_bytes["lm_head"]
    assert head == engine.model.lm_head.nbytes


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_every_round_is_the_same_step(engine, phase):
    call = step_call(engine, phase, 2, 9)
    past_len, seq_len = (0, 9) if phase == "prefill" else (9, 1)
    for _ in range(3):
        call()
        ran = engine.calls[-1]
        assert (ran.batch_size, ran.past_len, ran.seq_len) == (2, past_len, seq_len)


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
        (lambda e: measure_ops(e, "decode", 1, 0), "seq_len: needs an integer"),
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
    assert table.attrs["step_seconds"] > 0
