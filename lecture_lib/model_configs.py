"""Reads the dimensions out of a Hugging Face config: the one place that knows its field names."""

from typing import Any


class UnsupportedArchitectureError(ValueError):
    """A config of a model family whose parameters ModelSpec can't count exactly."""


def read_dimensions(hf_config: Any) -> dict[str, Any]:
    """ModelSpec's arguments, all but name, hub_id and source, from a Transformers config.

    Raises:
        UnsupportedArchitectureError: a family that is not read here, or a variant of one.
        ValueError: an object that is no config, or one that lacks a field.
    """
    model_type = getattr(hf_config, "model_type", None)
    if not isinstance(model_type, str):
        raise ValueError(
            "hf_config: needs a Transformers config object such as model.config, "
            f"got {type(hf_config).__name__}"
        )
    if model_type not in _READERS:
        raise UnsupportedArchitectureError(
            f"hf_config: model type {model_type!r} is not one that ModelSpec can read "
            f"({', '.join(sorted(_READERS))}); give the dimensions to ModelSpec(...) yourself"
        )
    try:
        return _READERS[model_type](hf_config)
    except AttributeError as error:
        raise ValueError(f"hf_config: this {model_type} config is incomplete: {error}") from None


def _read_sizes(c: Any, d_ff: int) -> dict[str, Any]:
    """What every family's config has; GPT-2's knows its fields by these names too."""
    n_heads = c.num_attention_heads
    return {
        "n_layers": c.num_hidden_layers,
        "d_model": c.hidden_size,
        "n_heads": n_heads,
        # A config that leaves these two out, or has None, means the plain case.
        "n_kv_heads": getattr(c, "num_key_value_heads", None) or n_heads,
        "head_dim": getattr(c, "head_dim", None) or c.hidden_size // n_heads,
        "d_ff": d_ff,
        "vocab_size": c.vocab_size,
        "tied_embeddings": c.tie_word_embeddings,
        "max_seq_len": c.max_position_embeddings,
        **_read_windows(c),
    }


def _read_windows(c: Any) -> dict[str, Any]:
    """How many layers see only a window. A config may name a window that no layer uses (Qwen2)."""
    kinds = getattr(c, "layer_types", None) or ["sliding_attention"] * c.num_hidden_layers
    window, n = getattr(c, "sliding_window", None), kinds.count("sliding_attention")
    return {"sliding_window": window, "n_window_layers": n} if window and n else {}


def _read_llama(c: Any) -> dict[str, Any]:
    """Llama and the families shaped like it: RMSNorm, rotary positions, a gated MLP."""
    bias = bool(getattr(c, "attention_bias", False))
    return _read_sizes(c, c.intermediate_size) | {
        "gated_mlp": True,
        "qkv_bias": bias,
        "attention_out_bias": bias,
        "mlp_bias": bool(getattr(c, "mlp_bias", False)),
    }


def _read_qwen2(c: Any) -> dict[str, Any]:
    # Qwen2 has these biases always, and no setting for them.
    return _read_llama(c) | {"qkv_bias": True, "attention_out_bias": False}


def _read_qwen3(c: Any) -> dict[str, Any]:
    return _read_llama(c) | {"qk_norm": True}


def _read_opt(c: Any) -> dict[str, Any]:
    if not c.layer_norm_elementwise_affine:
        raise UnsupportedArchitectureError(
            "hf_config: an OPT variant whose LayerNorms have no parameters "
            "(layer_norm_elementwise_affine=False) is not supported"
        )
    return _read_sizes(c, c.ffn_dim) | {
        "gated_mlp": False,
        "norm": "layernorm",
        "final_norm": c.do_layer_norm_before and not c._remove_final_layer_norm,
        "qkv_bias": c.enable_bias,
        "attention_out_bias": c.enable_bias,
        "mlp_bias": c.enable_bias,
        "position_rows": c.max_position_embeddings + 2,
        "embed_dim": None if c.word_embed_proj_dim == c.hidden_size else c.word_embed_proj_dim,
    }


def _read_gpt2(c: Any) -> dict[str, Any]:
    if getattr(c, "add_cross_attention", False):
        raise UnsupportedArchitectureError("hf_config: GPT-2 with cross-attention is no decoder")
    return _read_sizes(c, c.n_inner or 4 * c.n_embd) | {
        "gated_mlp": False,
        "norm": "layernorm",
        "qkv_bias": True,
        "attention_out_bias": True,
        "mlp_bias": True,
        "position_rows": c.n_positions,
    }


_READERS = {
    "llama": _read_llama,
    "mistral": _read_llama,
    "qwen2": _read_qwen2,
    "qwen3": _read_qwen3,
    "opt": _read_opt,
    "gpt2": _read_gpt2,
}
