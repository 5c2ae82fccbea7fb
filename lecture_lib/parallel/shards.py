"""A rank's part of a model's weights, read from the safetensors files without the rest.

The files are mapped, not read: a slice touches only its own pages, and pages that several ranks
use (the embeddings) are in memory once for all of them.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..engine.kernels import FastLlama
from ..engine.kv_cache import KVCache
from ..engine.weights import inverse_frequencies
from ..loading.weight_files import find_weights
from ..model_spec import ModelSpec

# How the lecture cuts W. (nn.Linear keeps W transposed, (outputs, inputs): its rows are W's
# columns.) What is in neither of the two is whole on every rank.
SPLIT_BY_COLUMNS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
SPLIT_BY_ROWS = ("o_proj", "down_proj")


class Shards:
    """Reads one rank's parts of a model.

    Args:
        rank, n_ranks: which part of a matrix that is split, of how many.
        dtype, device: what to convert to and where to put it. Where nothing has to be converted
            on a CPU, a whole tensor stays mapped.

    Attributes:
        split_bytes, whole_bytes: read so far, parts and whole tensors.
    """

    def __init__(self, folder: str, spec: ModelSpec, rank: int, n_ranks: int, dtype, device):
        self.folder, self.spec, self.rank, self.n_ranks = folder, spec, rank, n_ranks
        self.dtype, self.device = dtype, device
        self.split_bytes = self.whole_bytes = 0
        files = [safe_open(path, framework="pt") for path in find_weights(Path(folder))]
        self._files = {name: file for file in files for name in file.keys()}  # noqa: SIM118

    def read(self, name: str) -> Tensor:
        """This rank's columns or rows of a W, its elements of a bias, or a whole tensor."""
        module, kind = name.split(".")[-2:]
        by_columns = module in SPLIT_BY_COLUMNS
        to = {"device": self.device, "dtype": self.dtype}
        if not by_columns and (module not in SPLIT_BY_ROWS or kind == "bias"):
            tensor = self._files[name].get_tensor(name).to(**to)
            self.whole_bytes += tensor.nbytes
            return tensor
        view = self._files[name].get_slice(name)
        size = view.get_shape()[0 if by_columns else 1] // self.n_ranks
        mine = slice(self.rank * size, (self.rank + 1) * size)
        # W's rows are copied: the pages that they are on would be the whole matrix.
        part = view[mine].to(**to) if by_columns else view[:, mine].to(**to, copy=True)
        self.split_bytes += part.nbytes
        return part

    def empty_model(self) -> nn.Module:
        """The Transformers model without memory for its weights (on the meta device)."""
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
        config.tie_word_embeddings = "lm_head.weight" not in self._files
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=self.dtype).eval()

    def fill(self, model: nn.Module, layers: range) -> None:
        """Give these layers this rank's weights; the first has the embeddings, the last W_lm."""
        base, tied = model.model, "lm_head.weight" not in self._files
        is_first, is_last = 0 in layers, self.spec.n_layers - 1 in layers
        parts = {f"model.layers.{i}": base.layers[i] for i in layers}
        if is_first or (is_last and tied):
            parts["model.embed_tokens"] = base.embed_tokens
        if is_last:
            parts["model.norm"] = base.norm
        if is_last and not tied:
            parts["lm_head"] = model.lm_head
        for part_name, part in parts.items():
            for name, module in part.named_modules(prefix=part_name):
                for key, old in list(module.named_parameters(recurse=False)):
                    value = self.read(f"{name}.{key}")
                    if isinstance(old, DTensor):  # split by PyTorch, in the same way
                        place = (old.device_mesh, old.placements)
                        value = DTensor.from_local(value, *place, run_check=False)
                    module.register_parameter(key, nn.Parameter(value, requires_grad=False))
        if is_last and tied:
            model.lm_head.weight = base.embed_tokens.weight


class RankLlama(FastLlama):
    """The engine's Llama with what one rank has of it: its share of each of these layers."""

    def __init__(self, shards: Shards, layers: range):
        spec, n_ranks = shards.spec, shards.n_ranks
        self.d_model, self.dtype, self.device = spec.d_model, shards.dtype, shards.device
        self.caches: list[KVCache] = []
        model = shards.empty_model()
        shards.fill(model, layers)
        model.model.layers = model.model.layers[layers.start : layers.stop]
        heads = (spec.n_heads // n_ranks, spec.n_kv_heads // n_ranks, spec.head_dim)
        super().__init__(model, *heads)
        # Also where the embeddings are on another rank, and so is the table's device.
        inv_freq = inverse_frequencies(model.config.rope_parameters, spec.head_dim)
        self.inv_freq = inv_freq.to(self.device)
        if shards.rank > 0:  # added once: the AllReduce that follows adds up all ranks'
            for layer in self.layers:
                layer.out_bias = layer.down_bias = None

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
