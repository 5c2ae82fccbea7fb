"""The decode step of one text on a CPU: the textbook's numbers, by fewer kernels."""

from collections import Counter

import pytest
import torch
from engine_models import CONFIGS, assert_logits_close, loaded_model, token_ids
from torch.utils._python_dispatch import TorchDispatchMode  # no public name for it

from lecture_lib.engine import Engine, kernels
from lecture_lib.engine.cuda_graph import FixedShapeCache
from lecture_lib.engine.kernels import FastLlama

LLAMAS = [name for name in CONFIGS if "opt" not in name]


class Operations(TorchDispatchMode):
    """Counts the operations that PyTorch runs."""

    def __init__(self):
        super().__init__()
        self.names = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def engines(name: str, dtype=torch.float32) -> tuple[Engine, Engine]:
    loaded = loaded_model(CONFIGS[name])
    loaded.model.to(dtype)
    return Engine(loaded), Engine(loaded, textbook=True)


@pytest.mark.parity
@pytest.mark.parametrize("name", LLAMAS)
@pytest.mark.parametrize("turned", [False, True])
def test_logits_and_cache_are_the_textbook_s(monkeypatch, name, turned):
    """``turned``: with the two equal rows that AMD's processors get, here on any."""
    monkeypatch.setattr(kernels, "TURN_FEW_ROWS", turned)
    fast, textbook = engines(name)
    ids, further = token_ids(1, 9), token_ids(1, 6, seed=2)[0].tolist()
    for engine in (fast, textbook):
        engine.prefill(ids)
    for token_id in further:
        assert_logits_close(fast.decode(token_id), textbook.decode(token_id))
    assert fast.cache.length == textbook.cache.length == 15
    kept = [engine.cache.kv[..., :15, :] for engine in (fast, textbook)]
    torch.testing.assert_close(*kept, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "llama-biases"])
def test_in_bfloat16_it_is_as_near_to_the_exact_numbers_as_the_textbook(name):
    fast, textbook = engines(name, torch.bfloat16)
    loaded = loaded_model(CONFIGS[name])
    loaded.model.to(torch.bfloat16).float()  # the same weights, exact from here on
    exact = Engine(loaded, textbook=True)
    ids, further = token_ids(1, 9), token_ids(1, 8, seed=2)[0].tolist()
    errors = torch.zeros(2)
    for engine in (fast, textbook, exact):
        engine.prefill(ids)
    for token_id in further:
        expected = exact.decode(token_id)
        for i, engine in enumerate((fast, textbook)):
            errors[i] += (engine.decode(token_id).float() - expected).norm() / expected.norm()
    assert errors[0] < 1.5 * errors[1]
    assert errors[0] / len(further) < 0.05


def test_texts_that_take_turns_do_not_disturb_each_other():
    engine, _ = engines("llama")
    prompts = token_ids(2, 7).tolist()
    alone = [engine.generate(prompt, 6, ignore_eos=True).token_ids for prompt in prompts]
    caches = [engine.new_cache(1, 20) for _ in prompts]
    logits = [engine.prefill(p, cache=c) for p, c in zip(prompts, caches, strict=True)]
    kept = [x.clone() for x in logits]
    found = [[], []]
    for _ in range(6):
        for i in range(2):
            found[i].append(int(logits[i].argmax()))
            logits[i] = engine.decode(found[i][-1], cache=caches[i])
    assert found == alone
    engine.prefill(prompts[0])
    again = engine.decode(found[0][0])
    engine.decode(3)  # what a step returned is not overwritten by the next
    assert_logits_close(again, engine.logits([*prompts[0], found[0][0]])[:, -1])
    assert_logits_close(engine.logits(prompts[0])[:, -1], kept[0])


def test_a_weight_that_is_changed_in_place_is_seen():
    engine, textbook = engines("llama")
    for e in (engine, textbook):
        e.prefill([1, 2, 3])
        e.decode(4)
    with torch.no_grad():
        layer = engine.hf_model.model.layers[1]
        layer.input_layernorm.weight.mul_(1.5)
        layer.mlp.up_proj.weight.mul_(0.5)
    assert_logits_close(engine.decode(5), textbook.decode(5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("turned", [False, True])
def test_it_runs_its_own_operations_where_it_is_used(monkeypatch, dtype, turned):
    monkeypatch.setattr(kernels, "TURN_FEW_ROWS", turned)
    engine, _ = engines("llama", dtype)
    engine.prefill([1, 2, 3])
    pattern, ids = engine.cache.pattern(1), torch.tensor([[4]])

    def count(hidden, cache) -> Counter:
        with torch.inference_mode(), Operations() as operations:
            hidden(engine.model, ids, pattern, cache)
        return operations.names

    own = count(type(engine.model).hidden, engine.cache)
    plain = count(FastLlama.hidden, engine.cache)
    assert own["cat"] == 2  # for the whole step
    assert plain["cat"] >= 2 + 2 * 2 * 3  # in each norm of each layer
    assert not own["layer_norm"] + own["neg"] - 1
    assert own["dot"] == 2 * 3  # the norms of three layers
    fixed = count(type(engine.model).hidden, FixedShapeCache(engine.cache))
    assert not fixed["dot"]  # and not behind a cache that it does not know
