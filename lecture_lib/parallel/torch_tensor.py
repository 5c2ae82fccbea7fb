"""Tensor parallelism by PyTorch: parallelize_module on the Transformers model."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from .shards import ModelFolder, Shards
from .traffic import label

# The same split as in tensor.py, said by names.
PLAN = {
    "self_attn.q_proj": ColwiseParallel,
    "self_attn.k_proj": ColwiseParallel,
    "self_attn.v_proj": ColwiseParallel,
    "self_attn.o_proj": RowwiseParallel,
    "mlp.gate_proj": ColwiseParallel,
    "mlp.up_proj": ColwiseParallel,
    "mlp.down_proj": RowwiseParallel,
}


class TorchTensorParallel:
    """Prefill and decode of one prompt on this rank, by PyTorch and Transformers."""

    def __init__(self, shards: Shards, max_seq_len: int):
        from transformers import DynamicCache

        self.model = _empty_model(shards.model, shards.dtype)
        mesh = init_device_mesh(shards.device.type, (shards.n_ranks,))
        for i, layer in enumerate(self.model.model.layers):
            parallelize_module(layer, mesh, {name: style() for name, style in PLAN.items()})
            layer.self_attn.o_proj.register_forward_pre_hook(_labels(i, "attention"))
            layer.mlp.down_proj.register_forward_pre_hook(_labels(i, "mlp"))
        _fill(self.model, shards)
        self.cache = DynamicCache(config=self.model.config)

    @torch.no_grad()
    def step(self, input_ids: Tensor) -> Tensor:
        """(1, L) new tokens to the next token's logits (1, V)."""
        out = self.model(input_ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        label(layer=None, part="")
        return out.logits[:, -1]

    @property
    def cache_bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)


def _labels(layer: int, part: str):
    # RowwiseParallel's AllReduce comes after the module's forward, and so after this.
    return lambda module, inputs: label(layer=layer, part=part)


def _empty_model(model: ModelFolder, dtype: torch.dtype) -> nn.Module:
    """The Transformers model without memory for its weights (on the meta device)."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(Path(model.folder), local_files_only=True)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def _fill(model: nn.Module, shards: Shards) -> None:
    """Give every parameter its values: this rank's part of those that were split."""
    for name, module in model.named_modules():
        for key, parameter in list(module.named_parameters(recurse=False)):
            full_name = f"{name}.{key}"
            if full_name not in shards and full_name == "lm_head.weight":
                continue  # tied: below
            value = _read(shards, full_name, parameter)
            module.register_parameter(key, nn.Parameter(value, requires_grad=False))
    model.tie_weights()
    rotary = type(model.model.rotary_emb)  # its table is no weight: no file has it
    model.model.rotary_emb = rotary(config=model.config).to(shards.device)


def _read(shards: Shards, name: str, parameter: nn.Parameter) -> Tensor:
    if not isinstance(parameter, DTensor):
        return shards.whole(name)
    mesh, placements = parameter.device_mesh, parameter.placements
    if not placements[0].is_shard():
        return DTensor.from_local(shards.whole(name), mesh, placements, run_check=False)
    read = shards.column_part if placements[0].dim == 0 else shards.row_part
    return DTensor.from_local(read(name), mesh, placements, run_check=False)
