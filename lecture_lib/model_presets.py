"""Published dimensions of well-known models, plain data; model_spec.py makes MODEL_SPECS of it.

Each row's source is the config.json of the repository it names, or the paper's table.
"""

from typing import Any

_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size")


def _llama(
    hub_id: str, dims: tuple[int, ...], max_seq_len: int, tied: bool = False, **more: Any
) -> dict:
    """A row of a Llama-shaped model; dims: N, D, n_H, n_KV, F, V. H is D / n_H, unless given."""
    return {
        **dict(zip(_SIZES, dims, strict=True)),
        "head_dim": dims[1] // dims[2],
        "gated_mlp": True,
        "tied_embeddings": tied,
        "max_seq_len": max_seq_len,
        "hub_id": hub_id,
        "source": f"{hub_id}, config.json",
        **more,
    }


def _classic(
    hub_id: str, n_layers: int, d_model: int, n_heads: int, vocab_size: int, **positions: int
) -> dict:
    """A row of OPT or GPT-2: F = 4D, LayerNorms, biases everywhere, learned positions."""
    dims = (n_layers, d_model, n_heads, n_heads, 4 * d_model, vocab_size)
    return {
        **dict(zip(_SIZES, dims, strict=True)),
        "head_dim": d_model // n_heads,
        "gated_mlp": False,
        "tied_embeddings": True,
        "norm": "layernorm",
        "qkv_bias": True,
        "attention_out_bias": True,
        "mlp_bias": True,
        "hub_id": hub_id,
        "source": f"{hub_id}, config.json",
        **positions,
    }


def _opt(size: str, n_layers: int, d_model: int, n_heads: int, **more: Any) -> dict:
    hub_id = f"facebook/opt-{size}"
    more = {"source": f"{hub_id}, config.json; arXiv 2205.01068, table 1", **more}
    positions = {"position_rows": 2048 + 2, "max_seq_len": 2048}
    return _classic(hub_id, n_layers, d_model, n_heads, 50272, **positions) | more


def _gpt2(hub_id: str, n_layers: int, d_model: int, n_heads: int) -> dict:
    positions = {"position_rows": 1024, "max_seq_len": 1024}
    return _classic(hub_id, n_layers, d_model, n_heads, 50257, **positions)


def _qwen2(hub_id: str, dims: tuple[int, ...], max_seq_len: int, tied: bool = False) -> dict:
    return _llama(hub_id, dims, max_seq_len, tied, qkv_bias=True)


def _qwen3(hub_id: str, dims: tuple[int, ...], tied: bool = False) -> dict:
    return _llama(hub_id, dims, 40960, tied, head_dim=128, qk_norm=True)


# Dimensions of the last three kinds in the order N, D, n_H, n_KV, F, V.
PRESETS: dict[str, dict[str, Any]] = {
    "opt-125m": _opt("125m", 12, 768, 12),
    # The odd one: post-LayerNorm, so no norm after the last layer, and 512-wide embeddings.
    "opt-350m": _opt("350m", 24, 1024, 16, embed_dim=512, final_norm=False),
    "opt-1.3b": _opt("1.3b", 24, 2048, 32),
    "opt-2.7b": _opt("2.7b", 32, 2560, 32),
    "opt-6.7b": _opt("6.7b", 32, 4096, 32),
    "opt-13b": _opt("13b", 40, 5120, 40),
    "opt-30b": _opt("30b", 48, 7168, 56),
    "opt-66b": _opt("66b", 64, 9216, 72),
    "opt-175b": _opt(  # its weights were given on request only, so it is not on the Hub
        "175b", 96, 12288, 96, hub_id=None, source="arXiv 2205.01068, table 1"
    ),
    "gpt2": _gpt2("openai-community/gpt2", 12, 768, 12),
    "gpt2-medium": _gpt2("openai-community/gpt2-medium", 24, 1024, 16),
    "gpt2-large": _gpt2("openai-community/gpt2-large", 36, 1280, 20),
    "gpt2-xl": _gpt2("openai-community/gpt2-xl", 48, 1600, 25),
    "llama-2-7b": _llama("meta-llama/Llama-2-7b-hf", (32, 4096, 32, 32, 11008, 32000), 4096),
    "llama-2-13b": _llama("meta-llama/Llama-2-13b-hf", (40, 5120, 40, 40, 13824, 32000), 4096),
    "llama-2-70b": _llama("meta-llama/Llama-2-70b-hf", (80, 8192, 64, 8, 28672, 32000), 4096),
    "llama-3.1-8b": _llama("meta-llama/Llama-3.1-8B", (32, 4096, 32, 8, 14336, 128256), 131072),
    "llama-3.1-70b": _llama("meta-llama/Llama-3.1-70B", (80, 8192, 64, 8, 28672, 128256), 131072),
    "llama-3.1-405b": _llama(
        "meta-llama/Llama-3.1-405B", (126, 16384, 128, 8, 53248, 128256), 131072
    ),
    "tinyllama-1.1b": _llama(
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0", (22, 2048, 32, 4, 5632, 32000), 2048
    ),
    "smollm2-135m": _llama("HuggingFaceTB/SmolLM2-135M", (30, 576, 9, 3, 1536, 49152), 8192, True),
    "smollm2-360m": _llama("HuggingFaceTB/SmolLM2-360M", (32, 960, 15, 5, 2560, 49152), 8192, True),
    "smollm2-1.7b": _llama(
        "HuggingFaceTB/SmolLM2-1.7B", (24, 2048, 32, 32, 8192, 49152), 8192, True
    ),
    # Of its versions the one without a sliding window.
    "mistral-7b": _llama("mistralai/Mistral-7B-v0.3", (32, 4096, 32, 8, 14336, 32768), 32768),
    "qwen2.5-0.5b": _qwen2("Qwen/Qwen2.5-0.5B", (24, 896, 14, 2, 4864, 151936), 32768, True),
    "qwen2.5-1.5b": _qwen2("Qwen/Qwen2.5-1.5B", (28, 1536, 12, 2, 8960, 151936), 131072, True),
    "qwen2.5-7b": _qwen2("Qwen/Qwen2.5-7B", (28, 3584, 28, 4, 18944, 152064), 131072),
    "qwen3-0.6b": _qwen3("Qwen/Qwen3-0.6B", (28, 1024, 16, 8, 3072, 151936), True),
    "qwen3-8b": _qwen3("Qwen/Qwen3-8B", (36, 4096, 32, 8, 12288, 151936)),
}
