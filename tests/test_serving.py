"""Many requests at once: each one's tokens are those of its solo run, and no block gets lost."""

import random
from collections import Counter

import numpy as np
import pytest
from engine_models import CONFIGS, EOS, loaded_model
from transformers import ContinuousBatchingConfig, GenerationConfig

from lecture_lib.decoding import SamplingSettings
from lecture_lib.decoding.sample_generate import Sampler
from lecture_lib.engine import Engine
from lecture_lib.serving import (
    LoadReport,
    PagedEngine,
    Request,
    Scheduler,
    StaticScheduler,
    paged_scheduler,
    pages,
    poisson_arrivals,
    serve,
    simulate,
    step,
)
from lecture_lib.serving.pages import PrefixPool
from lecture_lib.serving.simulator import (
    PassTimer,
    WallClock,
    fit_costs,
    simulate_disaggregated,
)
from lecture_lib.widgets.serving_view import compare_policies

FAMILIES = ("llama", "llama-mqa", "qwen2", "opt")


@pytest.fixture(scope="module")
def engines():
    return {family: Engine(loaded_model(CONFIGS[family])) for family in FAMILIES}


def check_blocks(scheduler: Scheduler) -> None:
    """Free and used blocks are all there are, and nobody writes where another one reads."""
    pool = scheduler.pool
    readers = Counter(block for request in scheduler.running for block in request.blocks)
    assert [readers[block] for block in range(len(pool.readers))] == pool.readers
    assert sorted(pool.free) == [b for b in range(len(pool.readers)) if not readers[b]]
    assert all(pool.text_of[block] == text for text, block in pool.block_of.items())


def check_writers(scheduler: Scheduler, plan: list) -> None:
    """A block that the next pass writes to has one reader."""
    size = scheduler.pool.block_size
    for request, n in plan:
        for place in range(request.n_cached, request.n_cached + n):
            assert scheduler.pool.readers[request.blocks[place // size]] == 1


def random_workload(seed: int, engine: Engine) -> tuple[PagedEngine, list[Request]]:
    """Requests that share beginnings, come at different steps and want several texts, on a cache
    that is often too small for all of them."""
    rng = random.Random(seed)
    block_size, most = rng.choice([1, 2, 4, 16]), rng.randint(1, 6)
    n_blocks = rng.randint(-(-48 // block_size), 120 // block_size + 3)
    paged = PagedEngine(
        engine, n_blocks, block_size, max_running=most, token_budget=rng.randint(most, 40)
    )
    head = [rng.randrange(EOS) for _ in range(rng.randint(0, 30))]
    requests = []
    for _ in range(rng.randint(1, 7)):
        tail = [rng.randrange(EOS) for _ in range(rng.randint(1, 12))]
        prompt = head[: rng.randint(0, len(head))] + tail
        n, n_new = rng.randint(1, min(most, 3)), rng.randint(1, 48 - len(prompt))
        requests.append(
            paged.request(prompt, n_new, n=n, eos_token_id=[], arrived_s=rng.randint(0, 12))
        )
    return paged, requests


class StepClock:
    """The time is the number of passes so far: arrivals fall between certain passes."""

    def __init__(self):
        self.now_s = 0

    def now(self) -> int:
        return self.now_s

    def wait_until(self, at_s: float) -> None:
        self.now_s = max(self.now_s, at_s)


def run(paged: PagedEngine, requests: list[Request]) -> list[Request]:
    """Serve requests with all invariants checked around each pass; all texts, siblings too."""
    texts = [each for request in requests for each in (request, *request.siblings)]
    clock = StepClock()

    def run_pass(plan):
        clock.now_s += 1
        check_blocks(paged.scheduler)
        check_writers(paged.scheduler, plan)
        assert sum(n for _, n in plan) <= paged.scheduler.token_budget
        return paged.run_pass(plan)

    serve(requests, paged.scheduler, run_pass, clock)
    check_blocks(paged.scheduler)
    assert not any(paged.pool.readers), "a request has ended and still has blocks"
    return texts


def wrong_texts(texts: list[Request], engine: Engine) -> list[Request]:
    """The texts that differ from their solo runs, of which prompts in common are computed once."""
    solo = {}
    for text in texts:
        key, n = tuple(text.prompt_ids), text.max_new_tokens
        if len(solo.get(key, ())) < n:
            solo[key] = engine.generate(text.prompt_ids, n, ignore_eos=True).token_ids
    return [
        text
        for text in texts
        if text.token_ids != solo[tuple(text.prompt_ids)][: text.max_new_tokens]
    ]


@pytest.mark.parity
@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 50), marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_is_that_of_its_solo_run(engines, family, seeds):
    seen = Counter()
    for seed in seeds:  # 200 workloads for all families together
        paged, requests = random_workload(1000 * FAMILIES.index(family) + seed, engines[family])
        texts = run(paged, requests)
        assert wrong_texts(texts, engines[family]) == [], f"workload {seed}"
        seen["texts"] += len(texts)
        seen["preempted"] += sum(text.n_preempted for text in texts)
    assert seen["texts"] > 4 * len(seeds)
    assert seen["preempted"] > len(seeds) / 3


def broken_slots(cache, blocks, n):
    return right_slots(cache, list(reversed(blocks)), n)


right_slots = pages.PagedCache.slots
FAULTS = {
    "a page table that is read in another order": (pages.PagedCache, "slots", broken_slots),
    "no copy on write": (pages.PagedCache, "copy", lambda cache, source, target: None),
    "a block of a text that began otherwise": (
        PrefixPool, "find_prefix", lambda pool, tokens: [
            block for text, block in pool.block_of.items() if text[-1] == tokens[len(text) - 1]
        ][: (len(tokens) - 1) // pool.block_size],
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(engines, monkeypatch, fault):
    monkeypatch.setattr(*FAULTS[fault])
    for seed in range(20):
        paged, requests = random_workload(seed, engines["llama"])
        try:
            if wrong_texts(run(paged, requests), engines["llama"]):
                return
        except (AssertionError, IndexError):
            return
    pytest.fail(f"nothing noticed {fault}")


def test_a_leak_is_seen(engines, monkeypatch):
    def give_back(request, pool):
        for block in request.blocks[1:]:
            pool.release(block)
        request.blocks, request.n_cached = [], 0

    monkeypatch.setattr(paged_scheduler, "give_back", give_back)
    paged, requests = random_workload(0, engines["llama"])
    with pytest.raises(AssertionError):
        run(paged, requests)


def test_a_prefix_is_computed_once(engines):
    paged = PagedEngine(engines["llama"], 64, 4)
    timer = PassTimer(paged.run_pass)
    head = list(range(40))
    for tail in ([50], [51, 52]):
        serve(
            [paged.request([*head, *tail], 1, eos_token_id=[])], paged.scheduler, timer, WallClock()
        )
    assert [n for _, n, _ in timer.passes] == [41, 2]


def test_several_texts_share_the_blocks_of_their_prompt(engines):
    paged = PagedEngine(engines["llama"], 16, 4)
    request = paged.request(list(range(30)), 2, n=4, eos_token_id=[])
    paged.scheduler.waiting.append(request)
    step(paged.scheduler, paged.run_pass, lambda: 0.0)
    assert 16 - len(paged.pool.free) == 8  # 30 positions, and not four times as many
    step(paged.scheduler, paged.run_pass, lambda: 0.0)  # all four end with this token
    assert len(paged.pool.free) == 16


def test_each_text_draws_its_own_tokens(engines):
    """A Sampler with the same seed draws the same text alone and among others."""
    engine, settings = engines["llama"], SamplingSettings(temperature=2.0)
    paged = PagedEngine(engine)
    request = paged.request(
        "abc", 12, n=3, eos_token_id=[], next_token=lambda i: Sampler(settings, seed=7 + i)
    )
    texts = run(paged, [request, paged.request("something else", 9, eos_token_id=[])])
    for i, text in enumerate(texts[:3]):
        sampler = Sampler(settings, seed=7 + i)
        solo = engine.generate("abc", 12, ignore_eos=True, next_token=sampler)
        assert text.token_ids == solo.token_ids
    assert len({tuple(text.token_ids) for text in texts[:3]}) == 3


def test_decoding_requests_are_not_stalled_by_a_long_prompt(engines):
    """With a budget of 8 tokens a prompt of 60 is computed in pieces, and the other request gets
    its token in each of these passes."""
    paged = PagedEngine(engines["llama"], 64, 4, max_running=4, token_budget=8)
    first, long = (
        paged.request([1, 2, 3], 20, eos_token_id=[]),
        paged.request(list(range(60)), 2, eos_token_id=[]),
    )
    paged.scheduler.waiting.append(first)
    step(paged.scheduler, paged.run_pass, lambda: 0.0)
    paged.scheduler.waiting.append(long)
    n_passes = 0
    while not long.token_ids:
        got = step(paged.scheduler, paged.run_pass, lambda: 0.0)
        assert first in got
        n_passes += 1
    assert n_passes == -(-60 // 7)


def test_static_batching_waits_for_the_slowest():
    def passes(scheduler):
        requests = [Request([1], n, next_token=int) for n in (10, 2, 8)]
        clock = StepClock()
        serve(
            requests,
            scheduler,
            lambda plan: clock.wait_until(clock.now_s + 1) or [0] * len(plan),
            clock,
        )
        return clock.now_s

    assert passes(StaticScheduler(max_running=2)) == 10 + 8
    assert passes(Scheduler(max_running=2)) == 10


@pytest.mark.real_model
def test_transformers_continuous_batching_writes_the_same(loaded):
    paged = PagedEngine(Engine(loaded))
    prompts = ["The capital of France is", "Once upon a time", "def add(a, b):\n    return"]
    requests = [paged.request(prompt, 12, eos_token_id=[]) for prompt in prompts]
    serve(requests, paged.scheduler, paged.run_pass, WallClock())
    config = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=-1)
    found = loaded.model.generate_batch(
        [request.prompt_ids for request in requests],
        generation_config=config,
        # Left to itself it takes most of the machine's memory.
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=16, max_batch_tokens=64),
    )
    theirs = {tuple(each.prompt_ids): each.generated_tokens for each in found.values()}
    for request in requests:
        assert request.token_ids == list(theirs[tuple(request.prompt_ids)])


def test_costs_are_found_again():
    rng = np.random.default_rng(0)
    passes = [(1, int(n), int(k)) for n, k in rng.integers(1, 200, (50, 2))]
    costs = np.array([2e-3, 3e-4, 1e-6])
    seconds = np.array(passes) @ costs
    np.testing.assert_allclose(fit_costs(passes, seconds), costs, rtol=1e-6)
    # What a fit would make negative is zero.
    assert (fit_costs(passes, 1e-3 * np.array([n for _, n, _ in passes]) - 5e-4) >= 0).all()


def make_load(rate=20.0, n=60):
    rng = np.random.default_rng(1)
    arrivals = poisson_arrivals(rate, n, seed=2)
    return [
        Request([1] * int(rng.integers(5, 60)), int(rng.integers(2, 30)), arrived_s=at)
        for at in arrivals
    ]


COSTS = (5e-3, 2e-4, 1e-7)


def test_one_request_alone_takes_what_its_passes_cost():
    request = Request([1] * 10, 3)
    simulate([request], Scheduler(), COSTS)
    a, b, c = COSTS
    expected = np.cumsum([a + 10 * b + 10 * c, a + b + 11 * c, a + b + 12 * c])
    np.testing.assert_allclose(request.token_s, expected, rtol=1e-9)
    report = LoadReport([request])
    assert report.ttft_s == [pytest.approx(expected[0])]
    assert report.tpot_s == [pytest.approx((expected[2] - expected[0]) / 2)]
    assert report.gap_s == [pytest.approx(expected[2] - expected[1])]
    assert report.tokens_per_s == pytest.approx(3 / expected[2])


def test_goodput_counts_who_kept_both_limits():
    requests = make_load()
    simulate(requests, Scheduler(max_running=8), COSTS)
    report = LoadReport(requests)
    limits = np.median(report.ttft_s), np.median(report.gap_s)
    kept = 0
    for request in requests:
        waits = np.diff([request.arrived_s, *request.token_s])
        kept += waits[0] <= limits[0] and waits[1:].max() <= limits[1]
    assert 0 < kept < len(requests)
    assert report.goodput(*limits) == pytest.approx(kept / report.seconds)


def test_policies_differ_as_they_should():
    found = compare_policies(make_load, 20.0, COSTS, 32, 1e-6)
    assert found["continuous"].tokens_per_s > found["static"].tokens_per_s
    assert np.mean(found["continuous"].ttft_s) < np.mean(found["static"].ttft_s)
    # What a budget of 32 tokens bounds: COSTS of a pass of 32 tokens, and of 200 with none.
    assert max(found["chunked"].gap_s) < COSTS[0] + 33 * COSTS[1]
    assert max(found["continuous"].gap_s) > max(found["chunked"].gap_s)
    # The machine that decodes never sees a prompt: no pass of more than 16 tokens.
    assert max(found["disaggregated"].gap_s) < COSTS[0] + 17 * COSTS[1] + 60 * 1e-6 + 0.05


def test_disaggregated_requests_pay_for_the_transfer():
    def first_tokens(transfer_s):
        requests = make_load(rate=1.0, n=5)  # so few that nobody waits
        simulate_disaggregated(requests, COSTS, transfer_s)
        assert all(len(request.token_s) == request.max_new_tokens for request in requests)
        return [(len(r.prompt_ids), r.token_s[1] - r.token_s[0]) for r in requests]

    for (n, quick), (_, slow) in zip(first_tokens(0.0), first_tokens(1e-3), strict=True):
        assert slow - quick == pytest.approx(1e-3 * n, rel=1e-6)
        assert quick == pytest.approx(np.dot(COSTS, (1, 1, n + 1)), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda paged: paged.request("a" * 100, 100), "more than the 128"),
        (lambda paged: paged.request("a" * 60, 10), "room for 65"),
        (lambda paged: paged.request("a", 2, n=9), "9 texts of one prompt"),
        (lambda paged: paged.request(["a", "b"], 2), "needs one prompt, got a list of 2"),
        (lambda paged: PagedEngine(paged.engine, max_running=8, token_budget=4), "token_budget"),
        (lambda paged: PagedEngine(None), "engine: needs an Engine"),
    ],
)
def test_bad_input_is_refused(engines, call, message):
    with pytest.raises(ValueError, match=message):
        call(PagedEngine(engines["llama"], 16, 4, max_running=8))
