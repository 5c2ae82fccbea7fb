"""Bad input ends in a ValueError that names the argument; nothing comes out wrong in silence."""

from types import SimpleNamespace

import pytest
import torch
from engine_models import (
    COMMON,
    CONFIGS,
    GROUPED,
    hf_greedy,
    llama,
    loaded_model,
    opt,
    random_model,
    token_ids,
)
from transformers import AutoModelForCausalLM, GPT2Config, MistralConfig, Qwen2Config, Qwen3Config

from lecture_lib.decoding import engine_beam_search, sample_generate
from lecture_lib.engine import Engine, KVCache
from lecture_lib.inference_script import TaskInfo, run
from lecture_lib.model_spec import UnsupportedArchitectureError


@pytest.fixture(scope="module")
def engine():
    return Engine(loaded_model(CONFIGS["llama"]))


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {}, "prompt: needs at least one token"),
        ([], {}, "prompt: needs at least one token"),
        ([[]], {}, "prompt: needs at least one token"),
        (["a", ""], {}, "prompt: needs at least one token"),
        (torch.zeros(1, 0, dtype=torch.long), {}, "prompt: needs at least one token"),
        (None, {}, "prompt: needs text, token ids or a list, got NoneType"),
        ([1, 260], {}, r"prompt: 260 is outside the vocabulary, 0\.\.259"),
        ([-1, 2], {}, "prompt: -1 is outside"),
        ([1.5, 2.0], {}, "prompt: needs integers"),
        (torch.zeros(2, 2, 2), {}, "prompt: "),
        ("go", {"max_new_tokens": 0}, "max_new_tokens: needs an integer of 1 or more, got 0"),
        ("go", {"max_new_tokens": -3}, "max_new_tokens: .* got -3"),
        ("go", {"max_new_tokens": 2.0}, "max_new_tokens: .* got 2.0"),
        ("go", {"max_new_tokens": True}, "max_new_tokens: .* got True"),
        (
            "go",
            {"max_new_tokens": 127},
            r"prompt \+ max_new_tokens: 129 positions, more than .*128",
        ),
        ("go" * 70, {"max_new_tokens": 1}, "141 positions, more than the 128"),
        ("go", {"stop": ["a", ""]}, "stop: needs non-empty strings"),
        ("go", {"stop": [3]}, "stop: needs non-empty strings"),
        ("go", {"eos_token_id": 999}, "eos_token_id: 999 is outside"),
    ],
)
def test_generate_refuses(engine, prompt, options, message):
    with pytest.raises(ValueError, match=message):
        engine.generate(prompt, **options)


def test_stream_takes_one_prompt_and_refuses_at_once(engine):
    with pytest.raises(ValueError, match="one prompt, got 2"):
        engine.stream(["a", "b"])
    with pytest.raises(ValueError, match="max_new_tokens"):
        engine.stream("a", 0)


@pytest.mark.parametrize(
    ("input_ids", "mask", "message"),
    [
        ([[]], None, "input_ids: needs at least one token"),
        ([[1, 2], [3]], None, "input_ids: needs whole numbers in rows of one length"),
        (torch.zeros(1, 2, 3, dtype=torch.long), None, r"input_ids: needs shape \(B, L\)"),
        ([[1.0, 2.0]], None, "input_ids: needs integers"),
        ([[0, 260]], None, "input_ids: 260 is outside"),
        ([list(range(129))], None, "input_ids: 129 positions, more than the 128"),
        ([[1, 2, 3]], [[1, 1, 0]], "attention_mask: needs zeros .padding. on the left"),
        ([[1, 2, 3]], [[1, 0, 1]], "attention_mask: needs zeros"),
        ([[1, 2, 3]], [[0, 0, 0]], "attention_mask: needs zeros"),
        ([[1, 2, 3]], [[0, 1, 2]], "attention_mask: needs zeros"),
        ([[1, 2, 3]], [[1, 1]], "attention_mask: needs the shape of input_ids"),
    ],
)
def test_prefill_refuses(engine, input_ids, mask, message):
    for call in (engine.prefill, engine.logits):
        with pytest.raises(ValueError, match=message):
            call(input_ids, mask)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([1, 2, 3], "cache: has 2 rows, the input 3"),
        (5, "cache: has 2 rows, the input 1"),
        ([[1, 2], [3, 4]], r"token_ids: needs shape \(B,\) or \(B, 1\)"),
        ([1, 260], "token_ids: 260 is outside"),
        ([1, -1], "token_ids: -1 is outside"),
        ([1.0, 2.0], "token_ids: needs integers"),
        ([], "token_ids: needs at least one token"),
    ],
)
def test_decode_refuses(engine, tokens, message):
    engine.prefill(token_ids(2, 4))
    with pytest.raises(ValueError, match=message):
        engine.decode(tokens)
    assert engine.cache.length == 4  # and the cache is as it was


def test_decode_needs_a_prefill():
    fresh = Engine(loaded_model(CONFIGS["llama"]))
    with pytest.raises(ValueError, match="call prefill first"):
        fresh.decode([1])
    with pytest.raises(ValueError, match="call prefill first"):
        fresh.decode([1], cache=fresh.new_cache(1, 8))


def test_a_cache_of_another_model_a_short_one_and_another_batch_are_refused(engine):
    other = Engine(loaded_model(CONFIGS["llama"]))  # of the very same shape
    with pytest.raises(ValueError, match="cache: made for another model"):
        engine.prefill([1, 2], cache=other.new_cache(1, 8))
    with pytest.raises(ValueError, match="cache: needs a KVCache, got list"):
        engine.prefill([1, 2], cache=[])
    short = engine.new_cache(1, 4)
    with pytest.raises(ValueError, match="0 of its 4 positions are filled, 5 more do not fit"):
        engine.prefill([1, 2, 3, 4, 5], cache=short)
    engine.prefill([1, 2, 3, 4], cache=short)
    with pytest.raises(ValueError, match="4 of its 4 positions are filled, 1 more do not fit"):
        engine.decode(1, cache=short)
    with pytest.raises(ValueError, match="cache: has 1 rows, the input 2"):
        engine.prefill([[1, 2], [3, 4]], cache=engine.new_cache(1, 8))
    behind = engine.new_cache(1, 16)
    engine.prefill([1, 2], cache=behind)
    with pytest.raises(ValueError, match="attention_mask: padding is only possible in front"):
        engine.prefill([1, 2], [0, 1], cache=behind)


@pytest.mark.parametrize("bad", [0, -4, 2.0, True])
def test_sizes_of_a_cache_are_checked(engine, bad):
    with pytest.raises(ValueError, match="batch_size: needs an integer from 1"):
        engine.new_cache(bad, 8)
    sizes = {"n_layers": 1, "batch_size": 1, "n_kv_heads": 1, "max_seq_len": 4, "head_dim": 2}
    for name in sizes:
        with pytest.raises(ValueError, match=f"{name}: needs an integer"):
            KVCache(**{**sizes, name: bad})


def test_a_cache_can_be_emptied_and_used_again(engine):
    cache = engine.new_cache(1, 8)
    first = engine.prefill([1, 2, 3], cache=cache)
    cache.reset()
    assert torch.equal(engine.prefill([1, 2, 3], cache=cache), first)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=16), "GPT2LMHeadModel is not supp"),
        (Qwen3Config(**COMMON | GROUPED, intermediate_size=8, head_dim=8), "Qwen3ForCausalLM is"),
        (llama(hidden_act="gelu"), "activation 'gelu' is not supported, only 'silu'"),
        (opt(activation_function="gelu"), "activation 'gelu' is not supported, only 'relu'"),
        (
            llama(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}),
            "RoPE of kind 'yarn'",
        ),
        (
            llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}),
            "RoPE of kind 'dynamic'",
        ),
    ],
)
def test_models_that_would_come_out_wrong_are_refused(config, message):
    with pytest.raises(UnsupportedArchitectureError, match=message):
        Engine(loaded_model(config))


def test_a_variant_that_has_no_spec_is_refused():
    model = random_model(opt(layer_norm_elementwise_affine=False))
    with pytest.raises(UnsupportedArchitectureError, match=r"loaded\.spec"):
        Engine(SimpleNamespace(model=model, tokenizer=None, spec=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": 5}, r"n_heads \* head_dim is 40, but in the model it is 48"),
        ({"n_heads": 4}, r"n_heads \* head_dim is 32, but in the model it is 48"),
        ({"n_kv_heads": 3}, r"n_kv_heads \* head_dim is 24, but"),
        ({"n_layers": 2}, "n_layers is 2, but in the model it is 3"),
    ],
)
def test_heads_that_are_not_the_model_s_are_refused(changes, message):
    loaded = loaded_model(CONFIGS["llama"])
    loaded.spec = SimpleNamespace(**{**vars(loaded.spec), **changes})
    with pytest.raises(ValueError, match=message):
        Engine(loaded)


def test_weights_that_the_engine_cannot_read_are_refused():
    class Adapted(torch.nn.Linear):
        pass

    loaded = loaded_model(CONFIGS["llama"])
    loaded.model.model.layers[1].mlp.up_proj.__class__ = Adapted
    with pytest.raises(ValueError, match=r"plain floating-point nn\.Linear layers"):
        Engine(loaded)
    loaded = loaded_model(CONFIGS["llama"])
    loaded.model.lm_head.to(torch.bfloat16)
    with pytest.raises(ValueError, match="on one device and in one dtype"):
        Engine(loaded)


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**COMMON | GROUPED, intermediate_size=80, sliding_window=24),
        Qwen2Config(
            **COMMON | GROUPED, intermediate_size=80, use_sliding_window=True, sliding_window=24,
            max_window_layers=1,
        ),
    ],
    ids=["mistral", "qwen2"],
)  # fmt: skip
def test_a_sliding_window_is_refused_where_it_would_act_and_only_there(config):
    engine = Engine(loaded_model(config))
    ids = token_ids(1, 14)
    expected = hf_greedy(random_model(config), ids, max_new_tokens=10)
    assert [engine.generate(ids, 10).token_ids] == expected  # 24 positions: it hides nothing yet
    with pytest.raises(ValueError, match=r"25 positions, more than the 24 .*sliding window"):
        engine.generate(ids, 11)


def test_the_real_context_is_the_limit_and_it_can_be_filled():
    model = AutoModelForCausalLM.from_config(llama())
    engine = Engine(loaded_model(llama()))
    assert engine.context_length == model.config.max_position_embeddings == 128
    generation = engine.generate(token_ids(1, 100), 28, ignore_eos=True)
    assert generation.calls[-1].kv_len == 127  # the last token needs no place in the cache


@pytest.mark.parametrize(
    "use",
    [
        lambda engine: engine.generate("go", 3),
        lambda engine: list(engine.stream("go", 3)),
        lambda engine: sample_generate(engine, "go", 3, seed=0),
        lambda engine: engine_beam_search(engine, "go", num_beams=2, max_new_tokens=3),
        lambda engine: engine.logits([1, 2]),
        lambda engine: list(run.stream(TaskInfo("go", output_len=3), engine)),
    ],
    ids=["greedy", "stream", "sampling", "beams", "logits", "script"],
)
def test_logits_that_are_not_numbers_are_the_same_error_everywhere(use):
    """In float16 a large model's numbers overflow, and the argmax of NaN would be a token."""
    loaded = loaded_model(CONFIGS["llama"])
    loaded.model.lm_head.weight[5] = torch.nan
    with pytest.raises(ValueError, match=r"logits: .* holds NaN; did the model overflow"):
        use(Engine(loaded))
