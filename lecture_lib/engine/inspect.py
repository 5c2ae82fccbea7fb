"""look_inside(): queries, keys, values and attention scores of one layer of the real model."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lecture_lib.checks import check_count, check_parts
from lecture_lib.tokens import check_batch

from .model import Llama


@dataclass(frozen=True)
class LayerView:
    """What one layer's attention worked with, for one text.

    Attributes:
        q: (n_H, L, H), after RoPE.
        k, v: (n_KV, L, H); k after RoPE, as the cache keeps it.
    """

    q: Tensor
    k: Tensor
    v: Tensor

    def scores(self) -> Tensor:
        """softmax(Q_i K_i^T / √H) of every query head, (n_H, L, L), causal."""
        n_heads, _, head_dim = self.q.shape
        k = self.k.repeat_interleave(n_heads // len(self.k), dim=0)  # (n_H, L, H)
        logits = self.q @ k.mT * head_dim**-0.5
        later = torch.ones_like(logits, dtype=torch.bool).triu(1)
        return logits.masked_fill(later, -torch.inf).softmax(dim=-1)


@torch.inference_mode()
def look_inside(engine, token_ids, layer: int) -> LayerView:
    """Run one text up to the attention of a layer and return what it computes there.

    Args:
        engine: an Engine on a model of the Llama family.
        token_ids: (L,) token ids. layer: its index, 0 to n_layers - 1.
    """
    model = check_parts("engine", engine).model
    if not isinstance(model, Llama):
        raise ValueError("engine: look_inside knows the Llama family only")
    check_count("layer", layer, least=0, most=len(model.layers) - 1)
    input_ids, _ = check_batch(token_ids, None, engine.vocab_size, engine.device)  # (1, L)
    if len(input_ids) != 1:
        raise ValueError(f"token_ids: look_inside takes one text, got {len(input_ids)}")
    states = engine.hf_model(input_ids, output_hidden_states=True, use_cache=False).hidden_states
    x = states[layer][0]  # (L, D): what this layer gets, as Transformers computes it
    positions = torch.arange(len(x), device=x.device)[None]  # (1, L)
    rope = model.rope_tables(positions, model.inv_freq, x.dtype)
    weights = model.layers[layer]
    q, kv = model.project(weights.attention_norm(x), weights, 1, rope)
    k, v = kv.chunk(2, 1)
    return LayerView(q[0], k[0], v[0])
