"""The engine's forward passes against Transformers', logit by logit."""

import copy

import pytest
import torch
from engine_models import (
    CONFIGS,
    assert_logits_close,
    left_padded,
    loaded_model,
    prefill_in_chunks,
    random_model,
    token_ids,
)

from lecture_lib.engine import Engine
from lecture_lib.engine.kv_cache import Pattern

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module", params=CONFIGS, ids=list(CONFIGS))
def pair(request):
    """An engine, and another instance of the same model that the engine never touched."""
    config = CONFIGS[request.param]
    return Engine(loaded_model(config)), random_model(config)


@torch.no_grad()
def test_logits_equal_transformers(pair):
    engine, model = pair
    ids = token_ids(2, 50)
    assert_logits_close(engine.logits(ids), model(ids).logits)


@torch.no_grad()
def test_prefill_then_decode_equals_transformers(pair):
    engine, model = pair
    ids = token_ids(2, 50)
    expected = model(ids).logits  # (2, 50, V)
    assert_logits_close(engine.prefill(ids[:, :40]), expected[:, 39])
    for i in range(40, 50):
        assert_logits_close(engine.decode(ids[:, i]), expected[:, i])


@torch.no_grad()
@pytest.mark.parametrize("chunk_size", [1, 7, 16, 49])
def test_chunked_prefill_equals_transformers(pair, chunk_size):
    engine, model = pair
    ids = token_ids(2, 50)
    logits = prefill_in_chunks(engine, ids, chunk_size)
    assert_logits_close(logits, model(ids).logits[:, -1])
    assert [call.seq_len for call in engine.calls[:-1]] == [chunk_size] * (49 // chunk_size)
    assert sum(call.seq_len for call in engine.calls) == 50


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [20, 18])
def test_left_padding_equals_transformers_row_by_row(pair, first_chunk):
    engine, model = pair
    lengths = [11, 3, 20]
    ids, mask = left_padded(lengths)
    further = token_ids(3, 5, seed=1)
    prefilled = engine.prefill(ids[:, :first_chunk], mask[:, :first_chunk])
    if first_chunk < 20:
        prefilled = engine.prefill(ids[:, first_chunk:], cache=engine.cache)
    decoded = torch.stack([engine.decode(further[:, i]) for i in range(5)], 1)  # (3, 5, V)
    for row, n in enumerate(lengths):
        alone = torch.cat((ids[row, -n:], further[row]))[None]  # the row without its padding
        expected = model(alone).logits[0, n - 1 :]
        assert_logits_close(prefilled[row], expected[0])
        assert_logits_close(decoded[row], expected[1:])


@torch.no_grad()
def test_a_filled_cache_is_continued(pair):
    engine, model = pair
    ids = token_ids(1, 50)
    cache = engine.new_cache(1, 50)
    engine.prefill(ids[:, :20], cache=cache)
    engine.decode(ids[:, 20], cache=cache)
    logits = engine.prefill(ids[:, 21:], cache=cache)
    assert_logits_close(logits, model(ids).logits[:, -1])


@torch.no_grad()
def test_the_model_stays_usable_and_shares_its_weights(pair):
    engine, untouched = pair
    ids = token_ids(2, 9)
    assert_logits_close(engine.hf_model(ids).logits, untouched(ids).logits)
    shared = {p.untyped_storage().data_ptr() for p in engine.hf_model.parameters()}
    for layer in engine.model.layers:
        for name in layer.__slots__:
            weight = getattr(layer, name)
            if isinstance(weight, torch.Tensor):
                assert weight.untyped_storage().data_ptr() in shared, f"{name} was copied"


def test_the_weights_exist_once_and_a_second_engine_copies_nothing():
    loaded = loaded_model(CONFIGS["qwen2"])
    before = sum(p.nbytes for p in loaded.model.parameters())
    first = Engine(loaded)
    storages = {
        p.untyped_storage().data_ptr(): p.untyped_storage().nbytes()
        for p in loaded.model.parameters()
    }
    assert sum(storages.values()) == before
    second = Engine(loaded)
    for a, b in zip(first.model.layers, second.model.layers, strict=True):
        assert a.qkv.data_ptr() == b.qkv.data_ptr()
        assert a.gate_up.data_ptr() == b.gate_up.data_ptr()
        assert torch.equal(a.qkv_bias, b.qkv_bias)


def test_a_model_that_the_engine_read_can_still_be_saved(tmp_path):
    from transformers import AutoModelForCausalLM

    loaded = loaded_model(CONFIGS["llama-tied"])
    Engine(loaded)
    loaded.model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    for name, parameter in random_model(CONFIGS["llama-tied"]).state_dict().items():
        assert torch.equal(again.state_dict()[name], parameter), name


@pytest.mark.real_model
@torch.no_grad()
def test_the_real_model_s_logits_equal_transformers(loaded):
    ids = loaded.tokenizer("The quick brown fox jumps over the lazy dog, " * 4).input_ids
    ids = torch.tensor([ids])
    expected = loaded.model(ids).logits
    engine = Engine(loaded)
    assert_logits_close(engine.logits(ids), expected)
    prefix = ids[:, :-3]
    cache = engine.new_cache(1, ids.shape[1])
    for chunk in prefix.split(16, dim=1):
        logits = engine.prefill(chunk, cache=cache)
    assert_logits_close(logits, expected[:, -4])
    for i in range(-3, 0):
        assert_logits_close(engine.decode(ids[:, i]), expected[:, i])


@pytest.mark.parametrize("past_len", [0, 3])
def test_every_query_may_look_at_something_and_never_at_padding_or_the_future(past_len):
    padding = torch.tensor([0, 5, 2])
    mask = Pattern.of(past_len, 7, padding, "cpu").mask  # (3, 1, 7, past_len + 7)
    assert mask.any(-1).all()  # a softmax over nothing is NaN in some kernels
    for row, n_pad in enumerate(padding.tolist()):
        for i in range(7):
            slot = past_len + i
            expected = {slot} if slot < n_pad else set(range(n_pad, slot + 1))
            assert set(mask[row, 0, i].nonzero().flatten().tolist()) == expected


@pytest.mark.parametrize("name", ["llama", "llama-tied", "qwen2", "opt", "opt-350m-like"])
@torch.no_grad()
def test_a_weight_that_is_changed_in_place_is_changed_in_the_engine(name):
    """Fine-tuning and ablation do so; a copy made by the engine would keep the old numbers."""
    loaded = loaded_model(CONFIGS[name])
    engine, ids = Engine(loaded), token_ids(1, 9)
    for parameter_name, parameter in loaded.model.named_parameters():
        before = engine.logits(ids)
        parameter.mul_(1.7).add_(0.1)
        after = engine.logits(ids)
        assert_logits_close(after, loaded.model(ids).logits)
        if not parameter_name.endswith("k_proj.bias"):  # adds the same to all of a row's scores
            assert not torch.allclose(before, after, atol=1e-5), parameter_name


@pytest.mark.parametrize(
    "replace",
    [
        lambda model: model.to(torch.float64),
        lambda model: setattr(model.lm_head, "weight", torch.nn.Parameter(torch.ones(260, 48))),
        lambda model: setattr(model.model.layers[1].mlp.down_proj.weight, "data", torch.ones(4)),
        lambda model: model.resize_token_embeddings(300),
    ],
)
def test_a_weight_that_is_replaced_is_noticed(replace):
    loaded = loaded_model(copy.deepcopy(CONFIGS["llama"]))  # a resize changes the config too
    engine = Engine(loaded)
    Engine(loaded)  # a second one joins nothing anew
    engine.generate("go", 2)
    replace(loaded.model)
    with pytest.raises(ValueError, match=r"loaded\.model: some of its weights were replaced"):
        engine.generate("go", 2)
