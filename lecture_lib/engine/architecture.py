"""Which models the engine can run, and how long their texts may be."""

import warnings

from lecture_lib.model_spec import ModelSpec, UnsupportedArchitectureError

from .kernels import FastOPT
from .model import Llama
from .one_row import OneRowLlama
from .opt import OPT

# The model types that the engine runs, and their activation: the forward pass of the textbook,
# and the one that computes the same faster.
LLAMA, OPT_LIKE = ("silu", Llama, OneRowLlama), ("relu", OPT, FastOPT)
FAMILIES = {"llama": LLAMA, "mistral": LLAMA, "qwen2": LLAMA, "opt": OPT_LIKE}


def read_model(hf_model, spec: ModelSpec, textbook: bool = False) -> Llama | OPT:
    """The engine's forward pass over a Transformers model's weights.

    Raises:
        UnsupportedArchitectureError: another family, or a variant that it would compute wrongly.
        ValueError: a spec that is not this model's, or weights that the engine cannot read.
    """
    config = hf_model.config
    family = FAMILIES.get(getattr(config, "model_type", None))
    if family is None or not hasattr(hf_model, "lm_head"):
        raise UnsupportedArchitectureError(
            f"loaded.model: {type(hf_model).__name__} is not supported; the engine runs causal "
            f"language models of the types {', '.join(FAMILIES)}"
        )
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation_function", None)
    expected, plain, fast = family
    if activation != expected:
        raise UnsupportedArchitectureError(
            f"loaded.model: {config.model_type} with the activation {activation!r} is not "
            f"supported, only {expected!r}"
        )
    weights = list(hf_model.parameters())
    if len({(p.dtype, p.device) for p in weights}) != 1 or weights[0].device.type == "meta":
        raise ValueError("loaded.model: needs all weights on one device and in one dtype")
    check_heads(hf_model, spec)
    warn_of_unused_settings(hf_model)
    sizes = spec.n_heads, spec.n_kv_heads, spec.head_dim
    # Making it joins matrices in memory, for the textbook's version too: otherwise another engine
    # on this model would move its weights later (see ``check_places``).
    model = fast(hf_model, *sizes)
    return plain(hf_model, *sizes) if textbook else model


def check_heads(hf_model, spec: ModelSpec) -> None:
    """Raise ValueError unless the spec's heads are those of the model's matrices."""
    if spec is None:
        raise UnsupportedArchitectureError("loaded.spec: ModelSpec does not know this variant")
    base = getattr(hf_model.model, "decoder", hf_model.model)
    attention = base.layers[0].self_attn
    sizes = {
        "n_layers": (spec.n_layers, len(base.layers)),
        "n_heads * head_dim": (spec.n_heads * spec.head_dim, len(attention.q_proj.weight)),
        "n_kv_heads * head_dim": (spec.n_kv_heads * spec.head_dim, len(attention.k_proj.weight)),
    }
    for name, (given, found) in sizes.items():
        if given != found:
            raise ValueError(f"loaded.spec: {name} is {given}, but in the model it is {found}")


def warn_of_unused_settings(model) -> None:
    """Warn of settings in a model's generation_config that the course's own loops do not use.

    Transformers' ``generate`` obeys settings that nobody gave it, such as a repetition penalty.
    Here only a call's arguments act, and from the file only the tokens that end a text.
    """
    settings = model.generation_config.to_diff_dict() if model.generation_config else {}
    no_choice = ("_", "use_cache", "cache_", "output_", "return_", "transformers_version", "max_")
    unused = {name: value for name, value in settings.items()
              if not name.startswith(no_choice) and not name.endswith("token_id")}  # fmt: skip
    if unused:
        warnings.warn(
            f"the model's generation_config sets {unused}, which the engine does not use: only "
            "what a call says acts",
            stacklevel=4,
        )
