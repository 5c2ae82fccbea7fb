"""A rank's part of a model's weights, read from the safetensors files without the rest.

The files are mapped, not read: a slice touches only its own pages, and pages that several ranks
use (the embeddings) are in memory once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import safe_open
from torch import Tensor

from ..engine.architecture import max_context
from ..engine.kernels import FastLlama, FastRMSNorm, LlamaLayer
from ..engine.kv_cache import KVCache
from ..engine.weights import inverse_frequencies
from ..loading.weight_files import find_weights
from ..model_spec import ModelSpec, UnsupportedArchitectureError
from ..tokens import end_tokens

FAMILIES = ("llama", "mistral", "qwen2")


@dataclass(frozen=True)
class ModelFolder:
    """What the forward pass must know of a model beside its weights; it is sent to the ranks."""

    folder: str
    spec: ModelSpec
    rope: dict  # the config's rope_parameters
    norm_eps: float
    eos_token_ids: list[int]
    max_seq_len: int


def read_model_folder(folder: Path, name: str) -> ModelFolder:
    """Read a folder's config, and refuse what can't be run in parallel here.

    Raises:
        UnsupportedArchitectureError: (a ValueError) no Llama-like model, or one of a variant that
            the engine does not compute.
        ValueError: its weights are no safetensors.
    """
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in FAMILIES or getattr(config, "hidden_act", None) != "silu":
        raise UnsupportedArchitectureError(
            f"model: {name} is of the type {config.model_type!r}; parallel runs are for "
            f"{', '.join(FAMILIES)} with a gated MLP (silu)"
        )
    if any(path.suffix != ".safetensors" for path in find_weights(folder)):
        raise ValueError(
            f"model: {name} has its weights as pytorch_model.bin; ranks read their parts out of "
            "safetensors (load it and save it again with save_pretrained)"
        )
    spec = ModelSpec.from_config(config, name=name)
    inverse_frequencies(config.rope_parameters, spec.head_dim)  # refuses unknown kinds
    eos = config.eos_token_id
    if (folder / "generation_config.json").is_file():
        eos = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    return ModelFolder(
        folder=str(folder),
        spec=spec,
        rope=dict(config.rope_parameters),
        norm_eps=config.rms_norm_eps,
        eos_token_ids=sorted(end_tokens(None, eos)),
        max_seq_len=max_context(SimpleNamespace(config=config), spec),
    )


class Shards:
    """Reads whole tensors and parts of matrices out of a folder's safetensors files.

    ``nn.Linear`` keeps W transposed, (outputs, inputs): the lecture's columns of W are its rows.

    Args:
        model: what ``read_model_folder`` found. rank, n_ranks: which part to read, of how many.
        dtype, device: what to convert to and where to put it. Where nothing has to be converted
            on a CPU, a tensor stays mapped.

    Attributes:
        split_bytes, whole_bytes: read so far, parts and whole tensors.
    """

    def __init__(self, model: ModelFolder, rank: int, n_ranks: int, dtype, device):
        self.model, self.rank, self.n_ranks = model, rank, n_ranks
        self.dtype, self.device = dtype, device
        self.split_bytes = self.whole_bytes = 0
        files = [safe_open(path, framework="pt") for path in find_weights(Path(model.folder))]
        self._files = {name: file for file in files for name in file.keys()}  # noqa: SIM118

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def whole(self, name: str) -> Tensor:
        """A tensor that every rank has in full."""
        tensor = self._files[name].get_tensor(name).to(device=self.device, dtype=self.dtype)
        self.whole_bytes += tensor.nbytes
        return tensor

    def columns(self, *names: str) -> Tensor:
        """This rank's columns of a matrix W (or elements of a bias): (outputs / n, inputs).

        Of several with the same input, as one matrix. Each is cut by itself: rank 0 gets the first
        heads of Q, of K and of V.
        """
        return self._part(names, dim=0)

    def rows(self, name: str) -> Tensor:
        """This rank's rows of a matrix W: (outputs, inputs / n)."""
        return self._part([name], dim=1)

    def _part(self, names: Sequence[str], dim: int) -> Tensor:
        parts = []
        for name in names:
            view = self._files[name].get_slice(name)
            size = view.get_shape()[dim] // self.n_ranks
            mine = slice(self.rank * size, (self.rank + 1) * size)
            parts.append(view[mine] if dim == 0 else view[:, mine])
        # cat copies: the mapped pages around a few columns would be the whole matrix.
        part = torch.cat(parts).to(device=self.device, dtype=self.dtype)
        self.split_bytes += part.nbytes
        return part


class RankLlama(FastLlama):
    """The engine's Llama with what one rank has of it: its share of each of these layers.

    The rank of the first layer has the embeddings, that of the last one the final norm and W_lm.
    """

    def __init__(self, shards: Shards, layers: range):
        spec, n_ranks = shards.model.spec, shards.n_ranks
        self.n_heads, self.n_kv_heads = spec.n_heads // n_ranks, spec.n_kv_heads // n_ranks
        self.head_dim, self.d_model = spec.head_dim, spec.d_model
        self.dtype, self.device = shards.dtype, shards.device
        self.layers = [read_layer(shards, i) for i in layers]
        self.caches: list[KVCache] = []
        tied = "lm_head.weight" not in shards
        is_first, is_last = 0 in layers, spec.n_layers - 1 in layers
        if is_first or (is_last and tied):
            self.embeddings = shards.whole("model.embed_tokens.weight")  # (V, D)
        if is_last:
            self.final_norm = read_norm(shards, "model.norm")
            self.lm_head = self.embeddings if tied else shards.whole("lm_head.weight")  # (V, D)
        self.inv_freq = inverse_frequencies(shards.model.rope, spec.head_dim).to(shards.device)

    def new_cache(self, max_seq_len: int) -> KVCache:
        """A cache of one request: of this rank's layers and heads."""
        cache = KVCache(
            n_layers=len(self.layers),
            batch_size=1,
            n_kv_heads=self.n_kv_heads,
            max_seq_len=max_seq_len,
            head_dim=self.head_dim,
            dtype=self.dtype,
            device=self.device,
        )
        self.caches.append(cache)
        return cache

    @property
    def cache_bytes(self) -> int:
        return sum(cache.nbytes for cache in self.caches)


def read_layer(shards: Shards, i: int) -> LlamaLayer:
    """Layer i of the engine's forward pass, this rank's part of it (all of it with n_ranks = 1)."""
    prefix = f"model.layers.{i}."
    qkv = [f"{prefix}self_attn.{name}_proj." for name in "qkv"]
    gate_up = [f"{prefix}mlp.{name}_proj." for name in ("gate", "up")]
    out, down = f"{prefix}self_attn.o_proj.", f"{prefix}mlp.down_proj."

    def weight_and_bias(modules: list[str]) -> tuple[Tensor, Tensor | None]:
        biases = [f"{module}bias" for module in modules]
        bias = shards.columns(*biases) if biases[0] in shards else None
        return shards.columns(*(f"{module}weight" for module in modules)), bias

    def bias_once(module: str) -> Tensor | None:
        # Added by rank 0 alone: the AllReduce that follows would add it once for every rank.
        name = f"{module}bias"
        return shards.whole(name) if name in shards and shards.rank == 0 else None

    return LlamaLayer(
        read_norm(shards, f"{prefix}input_layernorm"),
        *weight_and_bias(qkv),
        shards.rows(f"{out}weight"),
        bias_once(out),
        read_norm(shards, f"{prefix}post_attention_layernorm"),
        *weight_and_bias(gate_up),
        shards.rows(f"{down}weight"),
        bias_once(down),
    )


def read_norm(shards: Shards, name: str) -> FastRMSNorm:
    """A norm, which every rank has in full."""
    weight = shards.whole(f"{name}.weight")
    return FastRMSNorm(SimpleNamespace(weight=weight, variance_epsilon=shards.model.norm_eps))
