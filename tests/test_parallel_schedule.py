"""The schedule against hand-computed charts, closed formulas and a brute-force simulation."""

import itertools
import random
from dataclasses import replace

import pytest

from lecture_lib.parallel import StageBlock, pipeline_schedule, schedule_from_timestamps


def chart(schedule, step_s=1):
    """One string a stage: the request's digit where it works in prefill, a letter in decode."""
    n_ticks = round(schedule.total_s / step_s)
    rows = [["."] * n_ticks for _ in range(schedule.n_stages)]
    for block in schedule.blocks:
        mark = "abcdefgh"[block.request] if block.step else str(block.request)
        for tick in range(round(block.start_s / step_s), round(block.end_s / step_s)):
            assert rows[block.stage][tick] == ".", "two blocks at once"
            rows[block.stage][tick] = mark
    return ["".join(row) for row in rows]


def brute_force(n_requests, n_stages, prefill_s, decode_s, n_tokens):
    """Tick by tick, in whole numbers: which pass may start now? First come, first served."""
    ready = {(request, 0, 0): 0 for request in range(n_requests)}
    working, done = {}, []
    for now in itertools.count():
        for stage, (key, end) in list(working.items()):
            if end == now:
                request, step, _ = key
                done.append((stage, request, step, end))
                del working[stage]
                if stage + 1 < n_stages:
                    ready[request, step, stage + 1] = now
                elif step + 1 < n_tokens:
                    ready[request, step + 1, 0] = now
        for stage in set(range(n_stages)) - set(working):
            here = [(t, key) for key, t in ready.items() if key[2] == stage and t <= now]
            if here:
                _, key = min(here)
                del ready[key]
                working[stage] = (key, now + (decode_s if key[1] else prefill_s)[stage])
        if not working and not ready:
            return sorted(done)


@pytest.mark.parametrize("seed", range(60))
def test_equals_brute_force(seed):
    draw = random.Random(seed)
    m, s = draw.randint(1, 5), draw.randint(1, 4)
    prefill, decode = ([draw.randint(1, 4) for _ in range(s)] for _ in range(2))
    tokens = draw.randint(1, 4)
    schedule = pipeline_schedule(
        n_requests=m, n_stages=s, prefill_s=prefill, decode_s=decode, max_new_tokens=tokens
    )
    found = sorted((b.stage, b.request, b.step, b.end_s) for b in schedule.blocks)
    assert found == brute_force(m, s, prefill, decode, tokens)


@pytest.mark.parametrize(("m", "s"), itertools.product((1, 2, 5), (1, 2, 4)))
def test_prefill_alone_fills_and_drains(m, s):
    """(m + s - 1)·t, and s(s-1)·t of waiting: GPipe, arXiv 1811.06965, section 2.3."""
    schedule = pipeline_schedule(n_requests=m, n_stages=s, prefill_s=3)
    assert schedule.total_s == (m + s - 1) * 3
    assert schedule.completion_s == {r: (r + s) * 3 for r in range(m)}
    assert schedule.bubble_fraction == pytest.approx((s - 1) / (m + s - 1))
    assert sum(b.end_s - b.start_s for b in schedule.bubbles) == s * (s - 1) * 3
    assert schedule.utilisation == pytest.approx([m / (m + s - 1)] * s)


@pytest.mark.parametrize("s", [1, 2, 3, 8])
def test_one_request_gains_nothing(s):
    """A model cut in s stages, each taking 1/s of the time, ends when the whole one does."""
    whole = pipeline_schedule(n_requests=1, n_stages=1, prefill_s=24, decode_s=8, max_new_tokens=5)
    cut = pipeline_schedule(
        n_requests=1, n_stages=s, prefill_s=24 / s, decode_s=8 / s, max_new_tokens=5
    )
    assert cut.total_s == pytest.approx(whole.total_s) == 24 + 4 * 8
    assert cut.utilisation == pytest.approx([1 / s] * s)


def test_as_many_requests_as_stages_keep_all_busy_in_decode():
    schedule = pipeline_schedule(n_requests=4, n_stages=4, prefill_s=1, max_new_tokens=50)
    assert schedule.total_s == 4 * 50 + 3
    assert min(schedule.utilisation) == pytest.approx(200 / 203)


def test_charts_drawn_by_hand():
    one = pipeline_schedule(n_requests=1, n_stages=2, prefill_s=2, max_new_tokens=3)
    assert chart(one) == ["00..a.a.", "..00.a.a"]
    # Of three, request 0's decode step waits at stage 0 until the prefills are through.
    three = pipeline_schedule(n_requests=3, n_stages=2, prefill_s=2, max_new_tokens=2)
    assert chart(three) == ["001122abc..", "..001122abc"]
    assert three.completion_s == {0: 9, 1: 10, 2: 11}
    bubbles = [(b.stage, b.start_s, b.end_s) for b in three.bubbles]
    assert bubbles == [(0, 9, 11), (1, 0, 2)]


def test_a_decode_step_waits_for_its_token():
    schedule = pipeline_schedule(
        n_requests=3, n_stages=3, prefill_s=0.3, decode_s=0.1, max_new_tokens=4
    )
    at = {(b.request, b.step, b.stage): b for b in schedule.blocks}
    for request, step in itertools.product(range(3), range(1, 4)):
        left = at[request, step - 1, 2].end_s
        assert at[request, step, 0].start_s >= left - 1e-9


def test_chunks_of_a_prefill_follow_one_another_like_requests():
    sizes = {"n_stages": 4, "prefill_s": 1, "decode_s": 0.25, "max_new_tokens": 8}
    whole, chunked = (pipeline_schedule(n_requests=4, n_chunks=n, **sizes) for n in (1, 4))
    assert whole.total_s == 14
    assert chunked.total_s == (4 * (4 + 7) + 3) * 0.25  # equal blocks: nothing but fill and drain
    assert chunked.busy_s == whole.busy_s
    one = pipeline_schedule(n_requests=1, n_stages=2, prefill_s=4, n_chunks=2, max_new_tokens=2)
    assert chart(one) == ["0000..a.", "..0000.a"]


def test_ties_do_not_hang_on_the_last_digit():
    """0.1 + 0.2 is not 0.3 to a float; the schedule in tenths must be the one in whole numbers."""
    size = {"n_requests": 5, "n_stages": 4, "max_new_tokens": 6}
    whole = pipeline_schedule(**size, prefill_s=3, decode_s=1)
    tenths = pipeline_schedule(**size, prefill_s=0.3, decode_s=0.1)
    assert [(b.stage, b.request, b.step) for b in whole.blocks] == [
        (b.stage, b.request, b.step) for b in tenths.blocks
    ]


def test_timestamps_of_a_run_give_the_same_structure():
    made = pipeline_schedule(n_requests=2, n_stages=2, prefill_s=2, max_new_tokens=3)
    late = [replace(b, start_s=b.start_s + 100, end_s=b.end_s + 100) for b in reversed(made.blocks)]
    again = schedule_from_timestamps(late)
    assert again == made
    assert again.completion_s == made.completion_s


def block(start_s=0.0, end_s=1.0):
    return StageBlock(0, 0, 0, start_s, end_s)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "blocks: is empty"),
        ([7], r"blocks: needs StageBlocks, .* got 7"),
        ([block(end_s=-1)], r"blocks: needs StageBlocks, 0 <= start_s <= end_s, got .*end_s=-1"),
        ([block(start_s=2)], r"blocks: needs StageBlocks, 0 <= start_s <= end_s, got .*start_s=2"),
        ([block(start_s=float("nan"))], "start_s=nan"),
    ],
)
def test_bad_timestamps_are_refused(blocks, message):
    with pytest.raises(ValueError, match=message):
        schedule_from_timestamps(blocks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_requests": 0}, "n_requests: needs an integer of 1"),
        ({"n_stages": 1.5}, "n_stages: needs an integer, got 1.5"),
        ({"prefill_s": 0}, "prefill_s: needs a number above 0"),
        ({"prefill_s": [1]}, "prefill_s: needs one number, or one for each of the 2 stages"),
        ({"prefill_s": [1, 2, 3]}, "one for each of the 2 stages"),
        ({"decode_s": "fast"}, "decode_s: needs one number, or one for each of the 2 stages"),
        ({"max_new_tokens": 0}, "max_new_tokens: needs an integer of 1"),
        ({"n_chunks": 0}, "n_chunks: needs an integer of 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        pipeline_schedule(**{"n_requests": 3, "n_stages": 2, "prefill_s": 1} | change)
