"""ModelSpec against Transformers' own classes, built without memory from published configs."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    DynamicCache,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
)

from lecture_lib.costs import kv_cache_bytes, kv_overtakes_weights, op_costs
from lecture_lib.model_spec import MODEL_SPECS, ModelSpec, UnsupportedArchitectureError

TINY = {
    "name": "tiny",
    "n_layers": 2,
    "d_model": 8,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 2,
    "d_ff": 16,
    "vocab_size": 11,
    "gated_mlp": True,
    "tied_embeddings": False,
}


def llama_like(config_class, n, d, heads, kv, ff, vocab, length, tied=False, **more):
    return config_class(
        num_hidden_layers=n,
        hidden_size=d,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        intermediate_size=ff,
        vocab_size=vocab,
        max_position_embeddings=length,
        tie_word_embeddings=tied,
        **more,
    )


def opt(n, d, heads, **more):
    return OPTConfig(
        num_hidden_layers=n,
        hidden_size=d,
        num_attention_heads=heads,
        ffn_dim=4 * d,
        vocab_size=50272,
        max_position_embeddings=2048,
        word_embed_proj_dim=more.pop("word_embed_proj_dim", d),
        **more,
    )


def gpt2(n, d, heads):
    return GPT2Config(n_layer=n, n_embd=d, n_head=heads, n_positions=1024, vocab_size=50257)


# As published in each model's config.json (OPT-175B: arXiv 2205.01068, table 1), apart from what
# doesn't change shapes.
CONFIGS = {
    "opt-125m": opt(12, 768, 12),
    "opt-350m": opt(24, 1024, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": opt(24, 2048, 32),
    "opt-2.7b": opt(32, 2560, 32),
    "opt-6.7b": opt(32, 4096, 32),
    "opt-13b": opt(40, 5120, 40),
    "opt-30b": opt(48, 7168, 56),
    "opt-66b": opt(64, 9216, 72),
    "opt-175b": opt(96, 12288, 96),
    "gpt2": gpt2(12, 768, 12),
    "gpt2-medium": gpt2(24, 1024, 16),
    "gpt2-large": gpt2(36, 1280, 20),
    "gpt2-xl": gpt2(48, 1600, 25),
    "llama-2-7b": llama_like(LlamaConfig, 32, 4096, 32, 32, 11008, 32000, 4096),
    "llama-2-13b": llama_like(LlamaConfig, 40, 5120, 40, 40, 13824, 32000, 4096),
    "llama-2-70b": llama_like(LlamaConfig, 80, 8192, 64, 8, 28672, 32000, 4096),
    "llama-3.1-8b": llama_like(LlamaConfig, 32, 4096, 32, 8, 14336, 128256, 131072),
    "llama-3.1-70b": llama_like(LlamaConfig, 80, 8192, 64, 8, 28672, 128256, 131072),
    "llama-3.1-405b": llama_like(LlamaConfig, 126, 16384, 128, 8, 53248, 128256, 131072),
    "tinyllama-1.1b": llama_like(LlamaConfig, 22, 2048, 32, 4, 5632, 32000, 2048),
    "smollm2-135m": llama_like(LlamaConfig, 30, 576, 9, 3, 1536, 49152, 8192, tied=True),
    "smollm2-360m": llama_like(LlamaConfig, 32, 960, 15, 5, 2560, 49152, 8192, tied=True),
    "smollm2-1.7b": llama_like(LlamaConfig, 24, 2048, 32, 32, 8192, 49152, 8192, tied=True),
    "mistral-7b": llama_like(
        MistralConfig, 32, 4096, 32, 8, 14336, 32768, 32768, sliding_window=None
    ),
    "qwen2.5-0.5b": llama_like(Qwen2Config, 24, 896, 14, 2, 4864, 151936, 32768, tied=True),
    "qwen2.5-1.5b": llama_like(Qwen2Config, 28, 1536, 12, 2, 8960, 151936, 131072, tied=True),
    "qwen2.5-7b": llama_like(Qwen2Config, 28, 3584, 28, 4, 18944, 152064, 131072),
    "qwen3-0.6b": llama_like(
        Qwen3Config, 28, 1024, 16, 8, 3072, 151936, 40960, tied=True, head_dim=128
    ),
    "qwen3-8b": llama_like(Qwen3Config, 36, 4096, 32, 8, 12288, 151936, 40960, head_dim=128),
}

# Totals as the model cards and the Hub's safetensors listings state them.
PUBLISHED_TOTALS = {
    "opt-125m": 125_239_296,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "tinyllama-1.1b": 1_100_048_384,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "mistral-7b": 7_248_023_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
}


def meta_model(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def count(model, *names):
    """Parameters whose name contains one of these; PyTorch lists a tied matrix once."""
    return sum(p.numel() for n, p in model.named_parameters() if any(part in n for part in names))


def test_every_preset_is_checked():
    assert set(CONFIGS) == set(MODEL_SPECS)


@pytest.mark.parametrize("name", CONFIGS)
def test_preset_counts_what_transformers_builds(name):
    model = meta_model(CONFIGS[name])
    assert MODEL_SPECS[name].n_params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_from_config_reads_every_preset(name):
    read = ModelSpec.from_config(CONFIGS[name], name=name)
    preset = MODEL_SPECS[name]
    assert read == dataclasses.replace(preset, hub_id=read.hub_id, source=read.source)
    assert preset.source


@pytest.mark.parametrize("name", PUBLISHED_TOTALS)
def test_published_totals(name):
    assert MODEL_SPECS[name].n_params == PUBLISHED_TOTALS[name]


@pytest.mark.parametrize(
    "config",
    [
        llama_like(LlamaConfig, 2, 24, 4, 2, 32, 50, 64, head_dim=10),
        llama_like(LlamaConfig, 2, 24, 4, 2, 32, 50, 64, attention_bias=True, mlp_bias=True),
        llama_like(MistralConfig, 2, 24, 4, 1, 32, 50, 64, head_dim=8),
        llama_like(Qwen2Config, 2, 24, 4, 2, 32, 50, 64, tied=True),
        llama_like(Qwen3Config, 2, 24, 4, 2, 32, 50, 64, head_dim=16, attention_bias=True),
        OPTConfig(
            num_hidden_layers=2,
            hidden_size=24,
            num_attention_heads=4,
            ffn_dim=40,
            vocab_size=50,
            max_position_embeddings=64,
            word_embed_proj_dim=12,
            enable_bias=False,
            tie_word_embeddings=False,
        ),
        GPT2Config(
            n_layer=2, n_embd=24, n_head=4, n_inner=30, vocab_size=50, n_positions=20,
            tie_word_embeddings=False,
        ),
    ],
    ids=lambda c: c.model_type,
)  # fmt: skip
def test_unusual_variants_count_too(config):
    model = meta_model(config)
    assert ModelSpec.from_config(config).n_params == sum(p.numel() for p in model.parameters())


def test_parts_are_the_model_s_parts():
    model = meta_model(CONFIGS["opt-350m"])
    assert MODEL_SPECS["opt-350m"].params_by_part == {
        "token_embedding": count(model, "embed_tokens"),
        "position_embedding": count(model, "embed_positions"),
        "embedding_projection": count(model, "project_in", "project_out"),
        "attention": count(model, "self_attn."),
        "mlp": count(model, "fc1", "fc2"),
        "norms": count(model, "layer_norm"),
        "lm_head": 0,
    }
    model = meta_model(CONFIGS["qwen3-8b"])
    parts = MODEL_SPECS["qwen3-8b"].params_by_part
    assert parts["lm_head"] == count(model, "lm_head")
    assert parts["norms"] == count(model, "norm")
    assert parts["mlp"] == count(model, "mlp.")


def test_kv_bytes_are_those_of_a_real_cache():
    config = llama_like(LlamaConfig, 3, 24, 6, 2, 32, 50, 64)
    spec = ModelSpec.from_config(config)
    out = AutoModelForCausalLM.from_config(config)(torch.arange(14).view(2, 7), use_cache=True)
    tensors = [t for layer in out.past_key_values.layers for t in (layer.keys, layer.values)]
    real = sum(t.numel() * t.element_size() for t in tensors)
    assert spec.kv_bytes_per_token(dtype_bytes=4) * 2 * 7 == real
    assert spec.kv_bytes_per_token() * 2 == spec.kv_bytes_per_token(4)


@pytest.mark.parametrize("dtype_bytes", [0, -2, "2", None, True, float("nan"), float("inf")])
def test_kv_bytes_refuses_nonsense(dtype_bytes):
    with pytest.raises(ValueError, match="dtype_bytes"):
        MODEL_SPECS["gpt2"].kv_bytes_per_token(dtype_bytes)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("name", ""),
        ("name", 7),
        ("n_layers", 0),
        ("d_model", -8),
        ("n_heads", 4.0),
        ("n_kv_heads", 3),
        ("n_kv_heads", 8),
        ("n_kv_heads", True),
        ("head_dim", "2"),
        ("d_ff", None),
        ("vocab_size", 0),
        ("gated_mlp", 1),
        ("tied_embeddings", "yes"),
        ("norm", "batchnorm"),
        ("position_rows", -1),
        ("embed_dim", 0),
        ("max_seq_len", 0),
        ("hub_id", 3),
    ],
)
def test_bad_values_name_their_argument(argument, value):
    with pytest.raises(ValueError, match=rf"^{argument}: "):
        ModelSpec(**{**TINY, argument: value})


def test_spec_is_frozen():
    spec = ModelSpec(**TINY)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.n_layers = 3
    with pytest.raises(TypeError):
        MODEL_SPECS["mine"] = spec


def test_other_architectures_are_refused_by_name():
    with pytest.raises(UnsupportedArchitectureError, match=r"'bloom'.*llama"):
        ModelSpec.from_config(BloomConfig())
    with pytest.raises(UnsupportedArchitectureError, match="layer_norm_elementwise_affine"):
        ModelSpec.from_config(OPTConfig(layer_norm_elementwise_affine=False))


@pytest.mark.parametrize("config", [None, {"model_type": "llama"}, "gpt2"])
def test_no_config_at_all(config):
    with pytest.raises(ValueError, match="hf_config: needs a Transformers config"):
        ModelSpec.from_config(config)


def test_unknown_preset_suggests_near_names():
    with pytest.raises(KeyError, match=r"did you mean .*llama-2-7b"):
        MODEL_SPECS["llama2-7b"]
    with pytest.raises(KeyError, match=r"did you mean .*opt-125m"):
        MODEL_SPECS["OPT-125M"]
    with pytest.raises(KeyError, match=r"there are: opt-125m"):
        MODEL_SPECS["#"]
    assert "llama2-7b" not in MODEL_SPECS
    assert MODEL_SPECS.get("llama2-7b") is None


def test_importing_the_specs_imports_nothing_heavy():
    code = (
        "import sys, lecture_lib.model_spec\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("config", "n_window_layers"),
    [
        (MistralConfig(num_hidden_layers=6, sliding_window=32), 6),
        (MistralConfig(num_hidden_layers=6, sliding_window=None), 0),
        (Qwen2Config(num_hidden_layers=6, use_sliding_window=False, sliding_window=32), 0),
        (
            Qwen2Config(
                num_hidden_layers=6, use_sliding_window=True, sliding_window=32,
                layer_types=["full_attention", "sliding_attention"] * 3,
            ),
            3,
        ),
        (
            Qwen2Config(
                num_hidden_layers=6, use_sliding_window=True, sliding_window=32,
                layer_types=["full_attention"] * 6,
            ),
            0,
        ),
    ],
    ids=["mistral", "no window", "switched off", "every other layer", "named and unused"],
)  # fmt: skip
def test_the_cache_of_a_layer_with_a_window_is_what_transformers_keeps(config, n_window_layers):
    spec, n_tokens = ModelSpec.from_config(config, name="-"), 100
    assert spec.n_window_layers == n_window_layers
    cache = DynamicCache(config=config)
    for layer in range(6):
        keys = torch.zeros(1, spec.n_kv_heads, n_tokens, spec.head_dim, dtype=torch.float16)
        cache.update(keys, keys, layer)
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    # Transformers keeps a token less: the next one takes its place.
    of_a_token = 2 * spec.n_kv_heads * spec.head_dim * 2
    assert kv_cache_bytes(spec, 1, n_tokens) == kept + n_window_layers * of_a_token
    longest = 32 if n_window_layers else spec.max_seq_len
    assert spec.context_length == longest
    assert len(op_costs(spec, "decode", 1, min(32, longest))) > 0
    if n_window_layers:
        message = rf"in {n_window_layers} of -'s 6 layers a token sees 32 positions"
        with pytest.raises(ValueError, match=message):
            op_costs(spec, "decode", 1, 33)
        with pytest.raises(ValueError, match=message):
            kv_overtakes_weights(spec)
