"""The engine without its faster kernels: the same logits, and the same tokens."""

import pytest
import torch
import torch.nn.functional as F
from engine_models import (
    CONFIGS,
    assert_logits_close,
    left_padded,
    loaded_model,
    prefill_in_chunks,
    token_ids,
)
from torch.profiler import ProfilerActivity, profile

from lecture_lib.engine import Engine, kernels, model
from lecture_lib.engine.kv_cache import Pattern


def both_engines(name: str, dtype=torch.float32) -> tuple[Engine, Engine]:
    loaded = loaded_model(CONFIGS[name])
    loaded.model.to(dtype)
    return Engine(loaded, textbook=True), Engine(loaded)


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("name", CONFIGS)
def test_its_logits_equal_transformers_and_the_fast_engine_s(name):
    textbook, fast = both_engines(name)
    ids, mask = left_padded([11, 3, 20])
    further = token_ids(3, 4, seed=1)
    assert_logits_close(textbook.logits(ids[2:]), fast.hf_model(ids[2:]).logits)
    assert_logits_close(*(prefill_in_chunks(e, ids, 7) for e in (textbook, fast)))
    assert_logits_close(*(e.prefill(ids, mask) for e in (textbook, fast)))
    for i in range(4):
        assert_logits_close(textbook.decode(further[:, i]), fast.decode(further[:, i]))


FAMILIES = ["llama", "llama-biases", "qwen2", "opt", "opt-350m-like"]


@pytest.mark.parametrize("name", FAMILIES)
def test_its_tokens_are_the_fast_engine_s(name):
    textbook, fast = both_engines(name)
    for prompts in (token_ids(1, 7).tolist(), [[1, 2, 3], [4, 5, 6, 7, 8], [9]]):
        expected = [g.token_ids for g in fast.generate(prompts, 12, ignore_eos=True)]
        for use_cache in (True, False):
            found = textbook.generate(prompts, 12, ignore_eos=True, use_cache=use_cache)
            assert [g.token_ids for g in found] == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_in_bfloat16_its_tokens_are_the_same_wherever_rounding_does_not_decide(name):
    """Three digits leave ties between the best tokens: there, either engine may take either."""
    textbook, fast = both_engines(name, torch.bfloat16)
    prompt = token_ids(1, 7)[0].tolist()
    tokens = fast.generate(prompt, 12, ignore_eos=True).token_ids
    logits = textbook.logits(prompt + tokens)[0, len(prompt) - 1 : -1].float()  # (12, V)
    rounding = 0.05 * logits.abs().amax(-1)
    chosen = logits[range(12), tokens]
    assert (chosen >= logits.amax(-1) - rounding).all()
    assert (logits.argmax(-1) == torch.tensor(tokens)).sum() >= 8


def test_it_runs_plain_products_and_no_kernel_that_is_there_for_speed():
    textbook, fast = both_engines("llama", torch.bfloat16)
    tricks = {"aten::mv", "aten::scaled_dot_product_attention", "aten::layer_norm", "aten::addcmul"}
    for engine, expected in ((textbook, set()), (fast, tricks)):
        engine.prefill([1, 2, 3])
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            engine.decode(4)
        assert tricks & {event.name for event in trace.events()} == expected


@pytest.mark.parametrize(("past_len", "seq_len"), [(0, 6), (5, 1), (5, 3)])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 6])
def test_attention_by_the_formula_and_by_the_fused_kernel(past_len, seq_len, n_kv_heads):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 6, seq_len, 8, generator=generator)
    k, v = torch.randn(2, 2, n_kv_heads, past_len + seq_len, 8, generator=generator)
    for padding in (None, torch.tensor([0, 2])):
        mask = Pattern.of(past_len, seq_len, padding, "cpu").mask
        torch.testing.assert_close(kernels.attend(q, k, v, mask), model.attend(q, k, v, mask))


def test_rope_and_norm_by_the_formula_and_by_fewer_kernels():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 8, generator=generator)
    positions, inv_freq = torch.arange(5)[None] + 40, torch.tensor([1.0, 0.3, 0.1, 0.03])
    turned = model.apply_rope(x, *model.rope_tables(positions, inv_freq, x.dtype))
    in_place = x.clone()
    kernels.apply_rope_(in_place, *kernels.rope_tables(positions, inv_freq, x.dtype))
    torch.testing.assert_close(in_place, turned)

    module = torch.nn.RMSNorm(8)
    module.variance_epsilon = 1e-5
    torch.nn.init.normal_(module.weight)
    plain, fast = model.RMSNorm(module)(x), kernels.FastRMSNorm(module)(x)
    torch.testing.assert_close(plain, fast)
    torch.testing.assert_close(plain, F.rms_norm(x, (8,), module.weight.detach(), 1e-5))
