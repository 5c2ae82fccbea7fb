"""Tensor parallelism by PyTorch itself: parallelize_module on the Transformers model."""

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from .shards import SPLIT_BY_COLUMNS, SPLIT_BY_ROWS, Shards
from .traffic import label


class TorchTensorParallel:
    """Prefill and decode of one prompt on this rank, by PyTorch and Transformers."""

    def __init__(self, shards: Shards, max_seq_len: int):
        from transformers import DynamicCache

        self.model = shards.empty_model()
        mesh = init_device_mesh(shards.device.type, (shards.n_ranks,))
        for i, layer in enumerate(self.model.model.layers):
            names = [name for name, _ in layer.named_modules()]
            plan = {n: ColwiseParallel() for n in names if n.endswith(SPLIT_BY_COLUMNS)}
            plan |= {n: RowwiseParallel() for n in names if n.endswith(SPLIT_BY_ROWS)}
            parallelize_module(layer, mesh, plan)
            layer.self_attn.o_proj.register_forward_pre_hook(_labels(i, "attention"))
            layer.mlp.down_proj.register_forward_pre_hook(_labels(i, "mlp"))
        shards.fill(self.model, range(shards.spec.n_layers))
        rotary = type(self.model.model.rotary_emb)  # its table is no weight: no file has it
        self.model.model.rotary_emb = rotary(config=self.model.config).to(shards.device)
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
