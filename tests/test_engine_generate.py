"""generate: the same tokens as Transformers' generate, and proof that the cache is used."""

import pytest
import references
import torch
from engine_models import (
    CONFIGS,
    EOS,
    hf_greedy,
    left_padded,
    llama,
    loaded_model,
    opt,
    random_model,
    token_ids,
)
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lecture_lib.engine import Engine, ForwardCall, kernels

PROMPTS = [
    "The quick brown", "Once upon a time", "2 + 2 =", "def main():", "Bonjour, je", "A",
    "The capital of France is", "Dear Sir or Madam,\n\n", "1, 1, 2, 3, 5, 8,", "Roses are red,",
    "émoji 🙂 and 中文", "import numpy as np\n", "Why do birds",
]  # fmt: skip


@pytest.fixture(scope="module", params=["llama", "llama3-rope", "qwen2", "opt", "opt-350m-like"])
def engine(request):
    return Engine(loaded_model(CONFIGS[request.param]))


@pytest.fixture(scope="module", params=["llama", "opt"])
def either(request):
    return Engine(loaded_model(CONFIGS[request.param]))


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_tokens_equal_generate_s(engine, use_cache):
    model = random_model(engine.hf_model.config)
    for seed, prompt_len in enumerate([1, 2, 5, 9, 17, 40]):
        ids = token_ids(1, prompt_len, seed)
        generation = engine.generate(ids, 24, use_cache=use_cache)
        assert [generation.token_ids] == hf_greedy(model, ids, max_new_tokens=24)


@pytest.mark.parity
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_batch_equals_generate_s_and_each_prompt_alone(engine, use_cache):
    lengths = [11, 3, 20, 20, 1]
    ids, mask = left_padded(lengths)
    prompts = [ids[row, -n:].tolist() for row, n in enumerate(lengths)]
    batch = engine.generate(prompts, 24, use_cache=use_cache)
    assert [g.prompt_len for g in batch] == lengths
    alone = [engine.generate(prompt, 24).token_ids for prompt in prompts]
    assert [g.token_ids for g in batch] == alone
    expected = hf_greedy(random_model(engine.hf_model.config), ids, mask, max_new_tokens=24)
    assert [_until_eos(row) for row in expected] == alone


def _until_eos(token_ids: list[int]) -> list[int]:
    return token_ids[: token_ids.index(EOS) + 1] if EOS in token_ids else token_ids


def test_every_decode_call_sees_one_token_and_the_cache_grows_by_one(either):
    generation = either.generate(token_ids(2, 10).tolist(), 6, ignore_eos=True)[0]
    assert generation.calls[0] == ForwardCall(batch_size=2, seq_len=10, past_len=0, kv_len=10)
    assert list(generation.calls[1:]) == [ForwardCall(2, 1, n, n + 1) for n in range(10, 15)]


def test_the_naive_way_sees_the_whole_sequence_each_time(either):
    generation = either.generate(token_ids(1, 10), 4, use_cache=False, ignore_eos=True)
    assert [call.seq_len for call in generation.calls] == [10, 11, 12, 13]
    assert {call.past_len for call in generation.calls} == {0}


@pytest.fixture
def plain_products(monkeypatch):
    """Products as everywhere but on AMD's processors, where few rows are turned, one given twice
    (test_engine_linear looks at that)."""
    monkeypatch.setattr(kernels, "TURN_FEW_ROWS", False)


def test_a_decode_step_costs_the_flops_of_one_token(either, plain_products):
    """Counted by PyTorch, not by the engine's own record."""
    n_rows = {}
    linear = 2 * sum(  # 2 FLOPs a weight and a row, in every matrix but the embedding tables
        p.numel()
        for n, p in either.hf_model.named_parameters()
        if p.dim() == 2 and "embed" not in n
    )
    linear += (
        2
        * either.hf_model.lm_head.weight.numel()
        * (either.hf_model.lm_head.weight is either.hf_model.get_input_embeddings().weight)
    )
    for name, call in {
        "prefill": lambda: either.prefill(token_ids(1, 30)),
        "decode": lambda: either.decode([5]),
    }.items():
        with FlopCounterMode(display=False) as counter:
            call()
        counts = counter.get_flop_counts()["Global"]
        products = (torch.ops.aten.mm, torch.ops.aten.addmm)
        n_rows[name] = sum(counts.get(op, 0) for op in products) / linear
    assert n_rows["decode"] == 1
    assert 20 < n_rows["prefill"] < 30  # lm_head sees one row, everything else thirty


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_decode_step_copies_no_cache(dtype, plain_products):
    """The only copies are the new keys and values; internal ones would show in the profile."""
    loaded = loaded_model(llama())
    loaded.model.to(dtype)
    engine = Engine(loaded)
    engine.prefill(token_ids(2, 50))
    address = engine.cache.keys.data_ptr()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as trace:
        engine.decode([1, 2])
    assert sum(event.name == "aten::copy_" for event in trace.events()) >= 3  # K and V of 3 layers
    one_layer = engine.cache.keys[0, :, :, : engine.cache.length].numel()
    for event in trace.events():
        if event.name in ("aten::copy_", "aten::clone", "aten::cat", "aten::contiguous"):
            sizes = [torch.Size(shape).numel() for shape in event.input_shapes[:1] if shape]
            assert all(n < one_layer / 4 for n in sizes), f"{event.name} of {event.input_shapes}"
    assert engine.cache.keys.data_ptr() == address


def test_the_cache_holds_what_the_prompt_left_and_nothing_moves(either):
    ids = token_ids(1, 12)
    either.prefill(ids)
    kept = either.cache.keys[:, :, :, :12].clone()
    either.decode([7])
    assert either.cache.length == 13
    assert torch.equal(either.cache.keys[:, :, :, :12], kept)


def test_each_row_ends_at_its_own_eos(either):
    prompts = token_ids(6, 8).tolist()
    free = [g.token_ids for g in either.generate(prompts, 16, ignore_eos=True)]
    eos = free[0][3]  # a token that ends rows at different places, some never
    batch = either.generate(prompts, 16, eos_token_id=eos)
    for tokens, generation in zip(free, batch, strict=True):
        ended = eos in tokens
        n = tokens.index(eos) + 1 if ended else 16
        assert generation.token_ids == tokens[:n]
        assert generation.finish_reason == ("eos" if ended else "length")
    assert len(batch[0].token_ids) <= 4


def test_eos_may_be_several_tokens_and_the_model_s_own_is_the_default():
    config = opt()
    engine = Engine(loaded_model(config))
    ids = token_ids(1, 8)
    free = engine.generate(ids, 12, ignore_eos=True).token_ids
    assert (
        engine.generate(ids, 12, eos_token_id=[free[5], EOS]).token_ids
        == (free[: free.index(free[5]) + 1])
    )
    engine.hf_model.generation_config.eos_token_id = [free[2], 3]
    assert engine.generate(ids, 12).token_ids == free[: free.index(free[2]) + 1]


def test_two_streams_do_not_disturb_one_another(either):
    prompts = [token_ids(1, 9, seed) for seed in (1, 2)]
    expected = [either.generate(p, 20, ignore_eos=True).text for p in prompts]
    streams = [either.stream(p, 20, ignore_eos=True) for p in prompts]
    texts = ["", ""]
    for i in [0, 1] * 25:
        texts[i] += next(streams[i], "")
    assert texts == expected


def test_another_choice_of_token_can_be_given(either):
    ids = token_ids(1, 5)
    worst = either.generate(ids, 3, ignore_eos=True, next_token=lambda logits: logits.argmin(-1))
    assert worst.token_ids[0] == int(either.logits(ids)[0, -1].argmin())


def test_logits_and_cache_are_ordinary_tensors_that_a_reader_may_change(either):
    logits = either.prefill(token_ids(1, 5))
    logits[:, 3] = -torch.inf
    either.decode(1).clamp_(min=0)
    either.cache.keys[:, :, :, 0] = 0
    assert either.decode(2).isfinite().all()


def test_timings_are_those_of_the_run(either):
    timings = either.generate(token_ids(1, 5), 6, ignore_eos=True).timings
    assert timings.ttft_s > 0
    assert len(timings.step_s) == 5
    assert timings.total_s == pytest.approx(timings.ttft_s + 5 * timings.tpot_s)


@pytest.mark.real_model
def test_real_greedy_tokens_equal_generate_s(loaded):
    """Each text alone in Transformers; here all in one batch, and some alone."""
    engine = Engine(loaded)
    options = {"do_sample": False, "max_new_tokens": 16}
    expected = [references.stored(loaded, [prompt], **options)[0] for prompt in PROMPTS]
    batch = engine.generate(PROMPTS, 16)
    assert [one.token_ids for one in batch] == expected
    for prompt, tokens in list(zip(PROMPTS, expected, strict=True))[:3]:
        assert engine.generate(prompt, 16).token_ids == tokens, prompt


@pytest.mark.real_model
def test_real_naive_equals_cached(loaded):
    engine = Engine(loaded)
    cached = engine.generate(PROMPTS[:3], 6)
    naive = engine.generate(PROMPTS[:3], 6, use_cache=False)
    assert [g.token_ids for g in cached] == [g.token_ids for g in naive]
    assert [g.text for g in cached] == [g.text for g in naive]
