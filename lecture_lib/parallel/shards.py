"""A rank's part of a model's weights, read from the safetensors files without the rest.

The files are mapped, not read: a slice touches only its own pages, and pages that several ranks
use (the embeddings) are in memory once for all of them.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import safe_open
from torch import Tensor

from ..engine.kernels import FastRMSNorm, LlamaLayer
from ..loading.weight_files import find_weights
from ..model_spec import ModelSpec, UnsupportedArchitectureError
from ..tokens import end_tokens

FAMILIES = ("llama", "mistral", "qwen2")


@dataclass(frozen=True)
class ModelFolder:
    """What the forward pass must know of a model beside its weights; as JSON it goes to the ranks.

    Attributes:
        folder: with config.json and the safetensors. spec: the dimensions, as a dict.
        rope: the config's rope_parameters. norm_eps: the ε of the norms.
        eos_token_ids: tokens that end a text. max_seq_len: longest sequence.
    """

    folder: str
    spec: dict
    rope: dict
    norm_eps: float
    eos_token_ids: list[int]
    max_seq_len: int

    @property
    def dimensions(self) -> ModelSpec:
        return ModelSpec(**self.spec)


def read_model_folder(folder: Path, name: str) -> ModelFolder:
    """Read a folder's config, and refuse what can't be run in parallel here.

    Raises:
        UnsupportedArchitectureError: (a ValueError) no Llama-like model, or one of a variant that
            the engine does not compute.
        ValueError: its weights are no safetensors.
    """
    from transformers import AutoConfig, GenerationConfig

    from ..engine.architecture import max_context
    from ..engine.weights import inverse_frequencies

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
        spec=asdict(spec),
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
        tensor = self._convert(self._files[name].get_tensor(name))
        self.whole_bytes += tensor.nbytes
        return tensor

    def column_part(self, name: str) -> Tensor:
        """This rank's columns of a matrix W (or elements of a bias): (outputs / n, inputs)."""
        part = self._slice(name, dim=0)
        return self._own(part)

    def row_part(self, name: str) -> Tensor:
        """This rank's rows of a matrix W: (outputs, inputs / n)."""
        return self._own(self._slice(name, dim=1))

    def columns_side_by_side(self, *names: str) -> Tensor:
        """This rank's columns of several matrices with the same input, as one matrix.

        Each matrix is cut by itself: rank 0 gets the first heads of Q, of K and of V.
        """
        return self._own(torch.cat([self._slice(name, dim=0) for name in names]))

    def _slice(self, name: str, dim: int) -> Tensor:
        view = self._files[name].get_slice(name)
        size = view.get_shape()[dim] // self.n_ranks
        mine = slice(self.rank * size, (self.rank + 1) * size)
        return view[mine] if dim == 0 else view[:, mine]

    def _own(self, part: Tensor) -> Tensor:
        # A copy: the mapped pages around a few columns would be the whole matrix.
        part = self._convert(part).contiguous()
        self.split_bytes += part.nbytes
        return part

    def _convert(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype)


def read_layer(shards: Shards, i: int) -> LlamaLayer:
    """Layer i of the engine's forward pass, this rank's part of it (all of it with n_ranks = 1)."""
    prefix = f"model.layers.{i}."
    attention, mlp = prefix + "self_attn.", prefix + "mlp."
    qkv = [f"{attention}{name}_proj." for name in "qkv"]
    gate_up = [f"{mlp}{name}_proj." for name in ("gate", "up")]

    def bias(*modules: str) -> Tensor | None:
        names = [f"{module}bias" for module in modules]
        return shards.columns_side_by_side(*names) if names[0] in shards else None

    def bias_once(module: str) -> Tensor | None:
        # Added by rank 0 alone: the AllReduce that follows would add it once for every rank.
        name = f"{module}bias"
        return shards.whole(name) if name in shards and shards.rank == 0 else None

    return LlamaLayer(
        attention_norm=read_norm(shards, f"{prefix}input_layernorm"),
        qkv=shards.columns_side_by_side(*(f"{module}weight" for module in qkv)),
        qkv_bias=bias(*qkv),
        out=shards.row_part(f"{attention}o_proj.weight"),
        out_bias=bias_once(f"{attention}o_proj."),
        mlp_norm=read_norm(shards, f"{prefix}post_attention_layernorm"),
        gate_up=shards.columns_side_by_side(*(f"{module}weight" for module in gate_up)),
        gate_up_bias=bias(*gate_up),
        down=shards.row_part(f"{mlp}down_proj.weight"),
        down_bias=bias_once(f"{mlp}down_proj."),
    )


def read_norm(shards: Shards, name: str) -> FastRMSNorm:
    """A norm, which every rank has in full."""
    weight = shards.whole(f"{name}.weight")
    return FastRMSNorm(SimpleNamespace(weight=weight, variance_epsilon=shards.model.norm_eps))


def read_lm_head(shards: Shards, embeddings: Tensor | None = None) -> Tensor:
    """W_lm as (V, D): the embeddings themselves where the two are tied."""
    if "lm_head.weight" in shards:
        return shards.whole("lm_head.weight")
    name = "model.embed_tokens.weight"
    return shards.whole(name) if embeddings is None else embeddings
