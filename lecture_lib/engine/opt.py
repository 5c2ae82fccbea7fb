"""The forward pass of OPT (arXiv 2205.01068), written out: the lecture's block in full.

One block: LayerNorm, attention, residual; LayerNorm, relu MLP, residual. Positions are learned
vectors added to the embeddings. Only opt-350m has its norms after the residuals, and
narrower embeddings with a projection before and after the blocks.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .kv_cache import KVCache, Pattern
from .model import Llama, attend, split_heads
from .weights import join_linears

POSITION_OFFSET = 2  # the table's first two rows were fairseq's padding symbols; OPT skips them


@dataclass(slots=True)
class OPTLayer:
    """The weights of one block; a linear layer is (outputs, inputs) as in nn.Linear."""

    attention_norm: nn.LayerNorm
    qkv: Tensor  # (3 D, D)
    qkv_bias: Tensor | None
    out: Tensor  # (D, D)
    out_bias: Tensor | None
    mlp_norm: nn.LayerNorm
    w1: Tensor  # (F, D)
    w1_bias: Tensor | None
    w2: Tensor  # (D, F)
    w2_bias: Tensor | None


class OPT:
    """The forward pass over the weights of a loaded Transformers model (not a copy of them)."""

    linear = staticmethod(F.linear)
    attend = staticmethod(attend)
    attention = Llama.attention  # which calls this class's project and out
    find_places, check_places = Llama.find_places, Llama.check_places

    def __init__(self, hf_model, n_heads: int, n_kv_heads: int, head_dim: int):
        self.hf_model, self.n_heads, self.head_dim = hf_model, n_heads, head_dim
        decoder = hf_model.model.decoder
        self.embeddings = decoder.embed_tokens.weight.detach()  # (V, D), opt-350m: (V, 512)
        self.position_embeddings = decoder.embed_positions.weight.detach()  # (context + 2, D)
        self.project_in, self.project_out = (
            None if module is None else module.weight.detach()
            for module in (decoder.project_in, decoder.project_out)
        )
        self.layers = [_read_layer(layer) for layer in decoder.layers]
        self.norm_before = hf_model.config.do_layer_norm_before
        self.final_norm = decoder.final_layer_norm
        self.lm_head = hf_model.lm_head.weight.detach()
        self.places = self.find_places()

    def hidden(self, input_ids: Tensor, pattern: Pattern, cache: KVCache | None) -> Tensor:
        """Token ids (B, L) to the last block's embeddings (B, L, D); see ``Llama.hidden``."""
        batch_size, seq_len = input_ids.shape
        # One row per token, (B * L, D): only attention cares which text a row belongs to.
        x = F.embedding(input_ids.reshape(-1), self.embeddings)
        if self.project_in is not None:
            x = self.linear(x, self.project_in)
        positions = pattern.positions.expand(batch_size, -1).reshape(-1)  # (B * L,)
        x = x + F.embedding(positions + POSITION_OFFSET, self.position_embeddings)
        for i, layer in enumerate(self.layers):
            h = norm(x, layer.attention_norm) if self.norm_before else x
            x = x + self.attention(h, i, batch_size, None, pattern, cache)
            x = x if self.norm_before else norm(x, layer.attention_norm)
            h = norm(x, layer.mlp_norm) if self.norm_before else x
            x = x + self.mlp(h, layer)
            x = x if self.norm_before else norm(x, layer.mlp_norm)
        return x.view(batch_size, seq_len, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V): the final norm (where there is one), then X W_lm."""
        if self.final_norm is not None:
            hidden = norm(hidden, self.final_norm)
        if self.project_out is not None:
            hidden = self.linear(hidden, self.project_out)
        return self.linear(hidden, self.lm_head)

    def project(
        self, x: Tensor, layer: OPTLayer, batch_size: int, rope: None
    ) -> tuple[Tensor, Tensor]:
        """Rows (B * L, D) to queries (B, n_H, L, H), and keys and values (B, 2 n_H, L, H)."""
        qkv = self.linear(x, layer.qkv, layer.qkv_bias)  # (B * L, 3 D)
        q, k, v = (split_heads(part, batch_size, self.head_dim) for part in qkv.chunk(3, -1))
        return q, torch.cat((k, v), 1)

    def out(self, z: Tensor, layer) -> Tensor:
        """Z W^O"""
        return self.linear(z, layer.out, layer.out_bias)

    def mlp(self, x: Tensor, layer: OPTLayer) -> Tensor:
        """relu(x W1) W2"""
        a = F.relu(self.linear(x, layer.w1, layer.w1_bias))  # (B * L, F)
        return self.linear(a, layer.w2, layer.w2_bias)  # (B * L, D)


def norm(x: Tensor, module: nn.LayerNorm) -> Tensor:
    """LayerNorm: (x - mean) / √(var + ε) · weight + bias."""
    return F.layer_norm(x, module.normalized_shape, module.weight, module.bias, module.eps)


def _read_layer(layer) -> OPTLayer:
    attention = layer.self_attn
    return OPTLayer(
        layer.self_attn_layer_norm,
        *join_linears(attention.q_proj, attention.k_proj, attention.v_proj),
        *join_linears(attention.out_proj),
        layer.final_layer_norm,
        *join_linears(layer.fc1),
        *join_linears(layer.fc2),
    )
