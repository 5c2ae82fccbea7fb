"""Volumes against the lecture's formulas and a counted ring; links, degrees, the comparison."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lecture_lib.hardware import Hardware
from lecture_lib.model_spec import MODEL_SPECS
from lecture_lib.parallel import (
    LINKS,
    Link,
    ParallelDegreeError,
    all_reduce_time_s,
    check_pipeline_degree,
    check_tensor_parallel_degree,
    communication_time_s,
    compare_parallelism,
    lay_out,
    pipeline_degrees,
    pipeline_schedule,
    pipeline_volume,
    ring_steps,
    ring_wire_bytes,
    tensor_parallel_degrees,
    tensor_parallel_volume,
    transfer_time_s,
)

LLAMA, SMOL = MODEL_SPECS["llama-2-7b"], MODEL_SPECS["smollm2-135m"]
REQUEST = {"n_ranks": 4, "seq_len": 100, "max_new_tokens": 9}


def test_pipeline_volume_is_the_lectures():
    volume = pipeline_volume(LLAMA, **REQUEST)
    assert volume.prefill_tensor_bytes == 2 * 100 * 4096  # 2LD
    assert volume.decode_tensor_bytes == 2 * 4096  # 2D
    assert volume.n_decode_passes == 8  # the first of the 9 tokens comes out of the prefill
    assert volume.payload_bytes == 3 * 2 * 4096 * (100 + 8)
    assert volume.wire_bytes == volume.payload_bytes


def test_tensor_parallel_volume_is_the_lectures():
    volume = tensor_parallel_volume(LLAMA, **REQUEST)
    assert volume.prefill_tensor_bytes == 2 * 100 * 4096
    assert volume.decode_tensor_bytes == 2 * 4096
    assert volume.decode_step_bytes == 32 * 2 * 2 * 4096
    assert volume.n_all_reduces == 2 * 32 * 9
    assert volume.payload_bytes == 32 * 2 * 2 * 4096 * (100 + 8)
    assert volume.wire_bytes == 2 * 3 * volume.payload_bytes


def test_the_run_that_the_lecture_measured():
    """3 ranks, a 10-token prompt in fp32: 60 AllReduces, the ring sends 4 × payload in total."""
    volume = tensor_parallel_volume(SMOL, n_ranks=3, seq_len=10, dtype_bytes=4)
    assert volume.n_all_reduces == 60
    assert volume.payload_bytes == 60 * 10 * 576 * 4
    assert volume.wire_bytes / volume.payload_bytes == 4


@pytest.mark.parametrize("count", [pipeline_volume, tensor_parallel_volume])
def test_batch_and_dtype_multiply_everything(count):
    one, many = count(LLAMA, **REQUEST), count(LLAMA, **REQUEST, batch_size=3, dtype_bytes=4)
    assert many.payload_bytes == 6 * one.payload_bytes
    assert many.wire_bytes == 6 * one.wire_bytes
    assert many.n_decode_passes == one.n_decode_passes


@pytest.mark.parametrize("count", [pipeline_volume, tensor_parallel_volume])
def test_one_rank_and_one_token(count):
    alone = count(LLAMA, n_ranks=1, seq_len=100, max_new_tokens=9)
    assert alone.payload_bytes == alone.wire_bytes == 0
    assert len(alone.table()) == 0
    single = count(LLAMA, n_ranks=2, seq_len=100)
    assert single.n_decode_passes == 0
    assert single.decode_step_bytes > 0, "what one step would send"
    assert single.payload_bytes == single.prefill_bytes > 0


def test_what_real_implementations_add_is_off_unless_asked_for():
    plain = tensor_parallel_volume(LLAMA, **REQUEST)
    extra = tensor_parallel_volume(
        LLAMA, **REQUEST, vocab_parallel_embedding=True, gather_logits=True
    )
    embedding, logits = 2 * 4096 * (100 + 8), 2 * 32000 * 9
    assert extra.payload_bytes - plain.payload_bytes == embedding + logits
    assert extra.wire_bytes - plain.wire_bytes == 2 * 3 * embedding + 3 * logits
    assert set(extra.table().kind) == {"all_reduce", "all_gather"}
    assert set(plain.table().what) == {"after attention", "after MLP"}
    narrow = MODEL_SPECS["opt-350m"]  # its embedding is 512 wide, half of D
    with_it = tensor_parallel_volume(narrow, n_ranks=2, seq_len=7, vocab_parallel_embedding=True)
    assert with_it.payload_bytes == 2 * 7 * (24 * 2 * 1024 + 512)
    back = pipeline_volume(LLAMA, **REQUEST, batch_size=5, return_tokens=True)
    plain = pipeline_volume(LLAMA, **REQUEST, batch_size=5)
    assert back.payload_bytes - plain.payload_bytes == 8 * 5 * 8


@pytest.mark.parametrize("count", [pipeline_volume, tensor_parallel_volume])
def test_table_sums_to_the_totals(count):
    volume = count(LLAMA, **REQUEST)
    table = volume.table()
    assert table.total_payload_bytes.sum() == volume.payload_bytes
    assert table.total_payload_bytes[table.phase == "prefill"].sum() == volume.prefill_bytes


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_ring_formula_equals_a_ring_that_is_counted(n):
    """Chunks of 6 bytes, added up as the steps say."""
    values = np.random.default_rng(0).normal(size=(n, n))  # [rank][chunk]
    total, sent, steps = values.sum(axis=0), [0] * n, ring_steps(n)
    for step in steps:
        before = values.copy()
        for source, target, chunk in step.sends:
            sent[source] += 6
            added = before[target, chunk] * (step.phase == "reduce-scatter")
            values[target, chunk] = before[source, chunk] + added
    np.testing.assert_allclose(values, np.tile(total, (n, 1)))
    assert len(steps) == 2 * (n - 1)
    assert sent == [ring_wire_bytes(6 * n, n)] * n
    assert sum(sent) == ring_wire_bytes(6 * n, n, all_ranks=True)


def test_ring_steps_hold_what_they_say():
    steps = ring_steps(4)
    scatter = [step for step in steps if step.phase == "reduce-scatter"]
    complete = [[len(held) for held in rank].count(4) for rank in scatter[-1].held]
    assert complete == [1] * 4, "each rank has one finished chunk"
    assert all(held == {0, 1, 2, 3} for rank in steps[-1].held for held in rank)
    assert len({send.chunk for send in steps[0].sends}) == 4


def test_times_on_a_link():
    link = Link("slow", 1000, 0.5)
    assert transfer_time_s(2000, link) == 2.5
    assert transfer_time_s(2000, link, n_messages=4) == 4
    assert all_reduce_time_s(4000, 4, link) == 2 * 3 * (0.5 + 1)
    slow_start = replace(link, start_s=7)
    assert all_reduce_time_s(4000, 4, slow_start) == 7 + 2 * 3 * (0.5 + 1)
    assert all_reduce_time_s(4000, 1, slow_start) == 0, "a single rank has nothing to start"
    volume = pipeline_volume(SMOL, n_ranks=3, seq_len=10, max_new_tokens=5)
    time = communication_time_s(volume, link)
    assert time.prefill_s == pytest.approx(2 * (0.5 + 10 * 576 * 2 / 1000))
    assert time.request_s == pytest.approx(time.prefill_s + 4 * time.decode_step_s)
    volume = tensor_parallel_volume(SMOL, n_ranks=3, seq_len=10, gather_logits=True)
    reduces = 60 * all_reduce_time_s(10 * 576 * 2, 3, link)
    gather = 2 * 0.5 + 2 / 3 * 49152 * 2 / 1000
    assert communication_time_s(volume, link).prefill_s == pytest.approx(reduces + gather)
    started = communication_time_s(volume, slow_start).prefill_s
    assert started == pytest.approx(reduces + gather + 61 * 7)


def test_link_presets():
    """In one direction: half of what NVIDIA prints for NVLink; PCIe as published tables have it."""
    assert LINKS["nvlink4"].bandwidth == 900e9 / 2
    assert LINKS["pcie4-x16"].bandwidth == pytest.approx(31.5e9, rel=1e-3)
    assert LINKS["pcie5-x16"].bandwidth == pytest.approx(63e9, rel=1e-3)
    assert LINKS["100gbe"].bandwidth == 12.5e9
    assert all(link.latency_s > 0 for link in LINKS.values())
    with pytest.raises(KeyError, match="did you mean nvlink4 or nvlink3"):
        LINKS["NVLink"]
    with pytest.raises(ValueError, match="did you mean pcie5-x16"):
        transfer_time_s(1, "pcie5")
    with pytest.raises(TypeError):
        LINKS["mine"] = LINKS["nvlink4"]


def test_degrees_that_work_are_those_that_are_not_refused():
    for spec in MODEL_SPECS.values():
        for check, listed in (
            (check_tensor_parallel_degree, tensor_parallel_degrees(spec)),
            (check_pipeline_degree, pipeline_degrees(spec)),
        ):
            works = []
            for n in range(1, 200):
                try:
                    check(spec, n)
                    works.append(n)
                except ParallelDegreeError:
                    pass
            assert works == listed
    assert tensor_parallel_degrees(SMOL) == [1, 3]
    assert check_pipeline_degree(SMOL, 3) == (range(10), range(10, 20), range(20, 30))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tensor_parallel_volume(SMOL, n_ranks=2, seq_len=1), r"9 query heads and the 3 "),
        (lambda: tensor_parallel_volume(SMOL, n_ranks=9, seq_len=1), r"the 3 key/value .* 1, 3$"),
        (lambda: tensor_parallel_volume(LLAMA, n_ranks=3, seq_len=1), r"11008 columns of W\^1"),
        (lambda: pipeline_volume(SMOL, n_ranks=7, seq_len=1), "n_ranks: 7 does .* 1, 2, 3, 5, 6"),
        (lambda: check_pipeline_degree(SMOL, 31), "31 does not divide the 30 layers"),
        (lambda: check_pipeline_degree(SMOL, 0), "n_stages: needs an integer of 1 or more, got 0"),
        (lambda: check_tensor_parallel_degree(SMOL, 3.0), "n_ranks: needs an integer"),
        (lambda: pipeline_volume(SMOL, n_ranks=2, seq_len=0), "seq_len: needs an integer of 1"),
        (lambda: pipeline_volume(SMOL, n_ranks=2, seq_len=True), "seq_len: .* got True"),
        (lambda: pipeline_volume("smollm2", n_ranks=2, seq_len=1), "spec: needs a ModelSpec"),
        (lambda: pipeline_volume(SMOL, n_ranks=2, seq_len=1, max_new_tokens=0), "max_new_tokens"),
        (lambda: pipeline_volume(SMOL, n_ranks=2, seq_len=1, dtype_bytes=0), "dtype_bytes: .*bove"),
        (lambda: pipeline_volume(SMOL, n_ranks=2, seq_len=1, dtype_bytes=math.nan), "dtype_bytes"),
        (lambda: ring_wire_bytes(-1, 2), "payload_bytes: needs a number of 0 or more"),
        (lambda: all_reduce_time_s(1, 0, "nvlink4"), "n_ranks: needs an integer of 1 or more"),
        (lambda: transfer_time_s(1, 7), "link: needs a Link or a string, got int"),
        (lambda: Link("x", 0, 1), "bandwidth: needs a number above 0"),
        (lambda: Link("x", 1, -1), "latency_s: needs a number of 0 or more"),
        (lambda: Link("x", 1, 1, -1), "start_s: needs a number of 0 or more"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


ALIKE = {"n_ranks": 4, "seq_len": 512, "max_new_tokens": 64}
FREE = Link("free", 1e30, 0)


#: A GPU and a link that only take time for FLOPs, and a step's FLOPs: all layers, output matrix.
COUNTS = Hardware("counts", 1e12, 1e30, 80e9, peak_dtype="float16")
LM_HEAD_S = 2 * 4096 * 32000 / 1e12


def test_comparison_where_only_flops_take_time():
    """Then n ranks divide the layers' time, a pipeline nothing, and both yield nearly as much."""
    page = compare_parallelism(LLAMA, **ALIKE, link=FREE, hardware=COUNTS)
    layers_s = page.one_gpu.decode_step_s - LM_HEAD_S
    assert page.tensor.decode_step_s == pytest.approx(layers_s / 4 + LM_HEAD_S)
    assert page.tensor.decode_tokens_per_s == pytest.approx(1 / page.tensor.decode_step_s)
    assert page.pipeline.request_s == pytest.approx(page.one_gpu.request_s)
    assert page.one_gpu.request_s == page.one_gpu.prefill_s + 63 * page.one_gpu.decode_step_s
    assert page.pipeline.n_batches == 1
    full = compare_parallelism(LLAMA, **ALIKE, batch_size=4, link=FREE, hardware=COUNTS)
    assert full.pipeline.decode_tokens_per_s == pytest.approx(1 / (layers_s / 4 + LM_HEAD_S))
    assert [layout.n_batches for layout in full.layouts] == [1, 1, 4]
    slowest_s = (page.one_gpu.prefill_s - LM_HEAD_S) / 4 + LM_HEAD_S  # the last of the stages
    after_the_first_s = full.pipeline.prefill_s - page.pipeline.prefill_s
    assert after_the_first_s == pytest.approx(3 * slowest_s)
    assert page.one_gpu.wire_bytes == 0


def test_comparison_with_real_links():
    fast, slow = (compare_parallelism(LLAMA, **ALIKE, link=name) for name in ("nvlink4", "100gbe"))
    assert fast.tensor.decode_step_s < fast.one_gpu.decode_step_s / 2
    assert slow.tensor.prefill_s > slow.one_gpu.prefill_s, "a slow link makes splitting a loss"
    hops = 3 * transfer_time_s(512 * 4096 * 2, "100gbe")
    assert slow.pipeline.prefill_s == pytest.approx(slow.one_gpu.prefill_s + hops)
    assert slow.pipeline.prefill_s < slow.tensor.prefill_s
    for page in (fast, slow):
        assert page.pipeline.decode_step_s > page.one_gpu.decode_step_s
        assert page.pipeline.wire_bytes < page.tensor.wire_bytes / 50
        assert page.tensor.wire_bytes == tensor_parallel_volume(LLAMA, **ALIKE).wire_bytes
    names = [layout.name for layout in fast.layouts]
    assert names == ["one GPU", "tensor parallel", "pipeline"]


def test_pipelines_throughput_is_what_the_schedule_gives():
    size = {"seq_len": 64, "max_new_tokens": 300, "link": FREE, "hardware": COUNTS}
    page = compare_parallelism(LLAMA, n_ranks=4, batch_size=4, **size)
    one_s = lay_out(LLAMA, **size).decode_step_s
    stages = [(one_s - LM_HEAD_S) / 4] * 4
    stages[-1] += LM_HEAD_S
    schedule = pipeline_schedule(
        n_requests=4, n_stages=4, prefill_s=1e-6, decode_s=stages, max_new_tokens=300
    )
    tokens_per_s = 4 * 299 / schedule.total_s
    assert tokens_per_s == pytest.approx(page.pipeline.decode_tokens_per_s, rel=0.01)


def test_all_layouts_keep_the_same_requests_in_flight():
    for batch_size in (1, 4, 6, 7):
        page = compare_parallelism(LLAMA, **ALIKE, batch_size=batch_size)
        assert page.tensor.kv_bytes == page.pipeline.kv_bytes == page.one_gpu.kv_bytes / 4
        for layout in page.layouts:
            assert layout.decode_tokens_per_s == batch_size / layout.decode_step_s
    assert page.pipeline.n_batches == 4, "7 requests as 2 + 2 + 2 + 1"
    assert lay_out(LLAMA, stages=4, seq_len=8, max_new_tokens=2, batch_size=6).n_batches == 3


def test_groups_in_stages_are_both_ways_at_once():
    """Where only FLOPs take time; and with links, what each of them adds."""
    size = {"seq_len": 64, "max_new_tokens": 9}
    free = {"link": FREE, "hardware": COUNTS}
    one_s = lay_out(LLAMA, **size, **free).decode_step_s
    both = lay_out(LLAMA, tensor=4, stages=2, **size, **free)
    assert both.decode_step_s == pytest.approx((one_s - LM_HEAD_S) / 4 + LM_HEAD_S)
    assert (both.name, both.n_ranks) == ("4 × 2", 8)
    links = {"link": Link("in", 1e30, 1e-6, 5e-6), "stage_link": Link("out", 1e30, 1e-3)}
    slow = lay_out(LLAMA, tensor=4, stages=2, **size, **links, hardware=COUNTS)
    sums_s, hops_s = 64 * (5e-6 + 6e-6), 2 * 1e-3  # to the next stage, and the token back
    assert slow.decode_step_s - both.decode_step_s == pytest.approx(sums_s + hops_s)
    assert slow.prefill_s - both.prefill_s == pytest.approx(sums_s + 1e-3)
    tensor = lay_out(LLAMA, tensor=4, **size)
    assert both.weight_bytes < tensor.weight_bytes < 2 * both.weight_bytes
    assert both.kv_bytes == tensor.kv_bytes / 2
    with pytest.raises(ParallelDegreeError, match="tensor: 3 does not divide"):
        lay_out(LLAMA, tensor=3, **size)
    with pytest.raises(ParallelDegreeError, match="stages: 5 does not divide"):
        lay_out(LLAMA, stages=5, **size)


def test_a_counted_start_makes_one_request_3_times_faster_and_not_3_4():
    """Llama-2-7B on four A100: 128 passes of 64 AllReduces."""
    size = {"n_ranks": 4, "seq_len": 1024, "max_new_tokens": 128, "hardware": "a100-80gb-sxm"}
    free = compare_parallelism(LLAMA, **size, link=replace(LINKS["nvlink3"], start_s=0))
    counted = compare_parallelism(LLAMA, **size, link="nvlink3")
    starts_s = counted.tensor.request_s - free.tensor.request_s
    assert starts_s == pytest.approx(128 * 64 * 3.6e-6)
    ratios = [x.one_gpu.request_s / x.tensor.request_s for x in (free, counted)]
    assert [round(ratio, 1) for ratio in ratios] == [3.4, 3.1]


def test_memory_of_each_gpu():
    """Counted matrix by matrix for SmolLM2 in 3 parts, fp16."""
    page = compare_parallelism(SMOL, n_ranks=3, seq_len=50, max_new_tokens=7)
    embedding, norms = 49152 * 576, 2 * 576
    attention = 576 * 576 * 2 + 2 * 576 * 192
    layer = attention + 3 * 576 * 1536
    assert page.one_gpu.weight_bytes == 2 * SMOL.n_params
    tensor = embedding + 30 * (layer / 3 + norms) + 576
    assert page.tensor.weight_bytes == pytest.approx(2 * tensor)
    last_stage = 10 * (layer + norms) + embedding + 576  # tied: the embedding is here once more
    assert page.pipeline.weight_bytes == pytest.approx(2 * last_stage)
    cache = 2 * 30 * 3 * 64 * 2 * (50 + 6)
    assert page.one_gpu.kv_bytes == cache
    assert page.tensor.kv_bytes == pytest.approx(cache / 3)
    assert page.pipeline.kv_bytes == pytest.approx(cache / 3)


@pytest.mark.parametrize("name", ["opt-350m", "gpt2", "llama-3.1-8b", "qwen2.5-0.5b"])
def test_memory_adds_up_for_every_kind_of_model(name):
    """All stages' weights are all parameters, a tied matrix twice; n ranks hold at least all."""
    spec = MODEL_SPECS[name]
    page = compare_parallelism(spec, n_ranks=2, seq_len=8, max_new_tokens=2)
    assert 2 * page.tensor.weight_bytes >= 2 * spec.n_params
    tied = spec.params_by_part["token_embedding"] if spec.tied_embeddings else 0
    assert spec.n_params / 2 <= page.pipeline.weight_bytes / 2 <= spec.n_params + tied


def test_comparison_refuses_what_only_one_way_allows():
    with pytest.raises(ParallelDegreeError, match="key/value heads"):
        compare_parallelism(SMOL, n_ranks=5, seq_len=8, max_new_tokens=2)
    with pytest.raises(ValueError, match="hardware: none is called"):
        compare_parallelism(LLAMA, **ALIKE, hardware="h1000")


def test_calculators_start_without_torch():
    code = "import sys, lecture_lib.parallel as p; p.LINKS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
