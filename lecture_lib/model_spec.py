"""ModelSpec: the dimensions that the course's formulas need, of any model, without loading it.

Importing it takes milliseconds: it needs neither torch nor Transformers.
"""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from lecture_lib.checks import (
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_parts,
    check_text,
    presets,
)
from lecture_lib.model_configs import UnsupportedArchitectureError, read_dimensions

__all__ = ["MODEL_SPECS", "ModelSpec", "UnsupportedArchitectureError"]


@dataclass(frozen=True)
class ModelSpec:
    """The dimensions of a decoder-only transformer, enough to count its parameters exactly.

    Args:
        name: what to call it.
        n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, vocab_size: N, D, n_H, n_KV, H, F
            and V of the course's legend. ``n_heads * head_dim`` may differ from ``d_model``.
        gated_mlp: whether the MLP has a third matrix, the gate (SwiGLU), or only W^1 and W^2.
        tied_embeddings: whether the output matrix is the token embedding.
        norm: "rmsnorm" (a weight) or "layernorm" (a weight and a bias).
        final_norm: whether a norm follows the last layer (opt-350m, post-LayerNorm, has none).
        qk_norm: whether each head's queries and keys pass a norm of width H (Qwen3).
        qkv_bias, attention_out_bias, mlp_bias, lm_head_bias: where the linear maps have biases.
        position_rows: rows of a learned position table, 0 with rotary positions. OPT has
            ``max_seq_len + 2``: its position ids start at 2.
        embed_dim: width of the token embedding where it is not ``d_model`` (opt-350m: 512); two
            matrices without bias then project in and out. Default: ``d_model``.
        max_seq_len: the longest sequence that the model was made for, None where none is stated.
        sliding_window, n_window_layers: in so many layers a token sees only this many positions,
            itself included, and no older ones need to be kept (Mistral 7B v0.1, Gemma).
        hub_id: the repository on the Hugging Face Hub, None where there is none.
        source: where the numbers come from.

    Raises:
        ValueError: a dimension that is no positive integer, ``n_kv_heads`` that doesn't divide
            ``n_heads``, a flag that is no bool, an unknown norm; the message names the argument.
    """

    name: str
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    vocab_size: int
    gated_mlp: bool
    tied_embeddings: bool
    norm: str = "rmsnorm"
    final_norm: bool = True
    qk_norm: bool = False
    qkv_bias: bool = False
    attention_out_bias: bool = False
    mlp_bias: bool = False
    lm_head_bias: bool = False
    position_rows: int = 0
    embed_dim: int | None = None
    max_seq_len: int | None = None
    sliding_window: int | None = None
    n_window_layers: int = 0
    hub_id: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value, kind = field.name, getattr(self, field.name), field.type
            if value is None and field.default is None:
                continue
            if kind is bool:
                check_flag(name, value)
            elif kind in (str, str | None):
                check_text(name, value, "" if name == "source" else "character")
            else:
                may_be_0 = name in ("position_rows", "n_window_layers")
                value = check_count(name, value, least=0 if may_be_0 else 1)
                object.__setattr__(self, name, value)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_kv_heads: must divide n_heads={self.n_heads}, since each key/value head serves "
                f"the same number of query heads; got {self.n_kv_heads}"
            )
        check_choice("norm", self.norm, ("rmsnorm", "layernorm"))

    @classmethod
    def from_config(cls, hf_config: Any, *, name: str | None = None) -> Self:
        """The spec of a Transformers config: Llama, Mistral, OPT, GPT-2, Qwen2 or Qwen3.

        Args:
            hf_config: a config object such as ``model.config`` or ``AutoConfig.from_pretrained()``.
            name: what to call it. Default: the name that the config was loaded by, or its type.

        Raises:
            UnsupportedArchitectureError: another family, or a variant that can't be counted.
            ValueError: an object that is no such config, or values that ModelSpec refuses.
        """
        values = read_dimensions(hf_config)
        name = name or getattr(hf_config, "_name_or_path", "") or hf_config.model_type
        return cls(name=name, source=f"{type(hf_config).__name__} of {name}", **values)

    def with_tensors_of(self, model: Any) -> Self:
        """The spec with what a Transformers model's tensors say and its config may say wrongly.

        That is how many embeddings there are (resized ones are more), and whether the output
        matrix is the same tensor (a file may hold two although the config says one).
        """
        check_parts("model", model)
        table, output = (m.weight for m in (model.get_input_embeddings(), model.lm_head))
        return replace(self, vocab_size=len(table), tied_embeddings=output is table)

    @property
    def context_length(self) -> int | None:
        """The longest sequence that the model allows and in which every token sees all others.

        None where nothing limits it. What the course counts and computes is attention to all.
        """
        return min(filter(None, (self.max_seq_len, self.sliding_window)), default=None)

    def check_full_attention(self, seq_len: int) -> None:
        """Raise ValueError if a sliding window would hide a part of so many positions."""
        check_count("seq_len", seq_len)
        if self.sliding_window is not None and seq_len > self.sliding_window:
            raise ValueError(
                f"spec: in {self.n_window_layers} of {self.name}'s {self.n_layers} layers a token "
                f"sees {self.sliding_window} positions, and attention to all {seq_len} would be "
                f"counted; seq_len can be up to {self.sliding_window}"
            )

    def cached_positions(self, seq_len: int) -> int:
        """Positions that all layers together keep of a sequence."""
        seq_len = check_count("seq_len", seq_len)
        short = min(seq_len, self.sliding_window or seq_len)
        return (self.n_layers - self.n_window_layers) * seq_len + self.n_window_layers * short

    @property
    def params_by_part(self) -> dict[str, int]:
        """Parameters by part of the model, all layers together; the values sum to ``n_params``.

        The parts: token_embedding, position_embedding, embedding_projection, attention, mlp,
        norms, lm_head (0 when tied: the matrix is the token embedding's, and counted once).
        """
        embed_dim = self.embed_dim or self.d_model
        projection = 0 if embed_dim == self.d_model else 2 * embed_dim * self.d_model
        norm_width = (2 if self.norm == "layernorm" else 1) * self.d_model
        head_norms = 2 * self.head_dim if self.qk_norm else 0
        lm_head = 0 if self.tied_embeddings else embed_dim * self.vocab_size
        return {
            "token_embedding": self.vocab_size * embed_dim,
            "position_embedding": self.position_rows * self.d_model,
            "embedding_projection": projection,
            "attention": self.n_layers * self._attention_params(),
            "mlp": self.n_layers * self._mlp_params(),
            "norms": self.n_layers * (2 * norm_width + head_norms) + self.final_norm * norm_width,
            "lm_head": lm_head + self.lm_head_bias * self.vocab_size,
        }

    @property
    def n_params(self) -> int:
        """The exact number of parameters; a tied matrix counts once."""
        return sum(self.params_by_part.values())

    def kv_bytes_per_token(self, dtype_bytes: float = 2) -> float:
        """Bytes that one token of one sequence keeps in the KV cache: 2·N·n_KV·H·dtype_bytes.

        Args:
            dtype_bytes: bytes of one element: 4 for float32, 2 for float16 and bfloat16, 1 for
                int8, 0.5 for 4-bit.

        Raises:
            ValueError: ``dtype_bytes`` is not a positive number.
        """
        check_number("dtype_bytes", dtype_bytes, above=0)
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * dtype_bytes

    @property
    def q_width(self) -> int:
        """n_H · H: what W^Q makes of a token."""
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """n_KV · H: what W^K, and W^V, make of a token."""
        return self.n_kv_heads * self.head_dim

    def _attention_params(self) -> int:
        qkv_width = self.q_width + 2 * self.kv_width
        weights = self.d_model * qkv_width + self.q_width * self.d_model
        biases = self.qkv_bias * qkv_width + self.attention_out_bias * self.d_model
        return weights + biases

    def _mlp_params(self) -> int:
        n_up = 2 if self.gated_mlp else 1
        weights = (n_up + 1) * self.d_model * self.d_ff
        return weights + self.mlp_bias * (n_up * self.d_ff + self.d_model)


# Each row's source is the config.json of the repository it names, or the paper's table. opt-350m is
# the odd one: post-LayerNorm, so no norm after the last layer, and 512-wide embeddings. opt-175b is
# not on the Hub: its weights were given on request only. Of Mistral 7B's versions it is the one
# without a sliding window.
_PRESETS = json.loads(Path(__file__).with_name("model_presets.json").read_text("utf-8"))

#: Published models by name: read-only; an unknown name is a KeyError that suggests near ones.
MODEL_SPECS = presets(
    "spec", {name: ModelSpec(name=name, **values) for name, values in _PRESETS.items()}
)
