"""The forward pass of OPT (arXiv 2205.01068), written out: the lecture's block, made whole.

One block: LayerNorm, attention, residual; LayerNorm, relu MLP, residual. Positions are learned
vectors added to the embeddings. opt-350m alone has its norms after the residuals and narrower
embeddings with a projection on either side.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Pattern, attend
from .kv_cache import KVCache
from .linear import linear
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


class OPTForward:
    """The forward pass over the weights of a loaded Transformers model (not a copy of them)."""

    def __init__(self, hf_model, n_heads: int, n_kv_heads: int, head_dim: int):
        self.n_heads, self.head_dim = n_heads, head_dim
        decoder = hf_model.model.decoder
        self.embeddings = decoder.embed_tokens.weight.detach()  # (V, D), opt-350m: (V, 512)
        self.position_embeddings = decoder.embed_positions.weight.detach()  # (context + 2, D)
        self.project_in = None if decoder.project_in is None else decoder.project_in.weight.detach()
        self.project_out = (
            None if decoder.project_out is None else decoder.project_out.weight.detach()
        )
        self.layers = [_read_layer(layer) for layer in decoder.layers]
        self.norm_before = hf_model.config.do_layer_norm_before
        self.final_norm = decoder.final_layer_norm
        self.lm_head = hf_model.lm_head.weight.detach()

    def hidden(self, input_ids: Tensor, pattern: Pattern, cache: KVCache | None) -> Tensor:
        """Token ids (B, L) to the last block's embeddings (B, L, D), before the final norm.

        With a cache, keys and values of the past are read from it and those of the L new tokens
        written to it (the caller advances it); without one, the L tokens are all there is.
        """
        batch_size, seq_len = input_ids.shape
        # One row a token, (B * L, D): only attention cares which text a row belongs to.
        x = F.embedding(input_ids.reshape(-1), self.embeddings)
        if self.project_in is not None:
            x = linear(x, self.project_in)
        positions = pattern.positions.expand(batch_size, -1).reshape(-1)  # (B * L,)
        x = x + F.embedding(positions + POSITION_OFFSET, self.position_embeddings)
        for i, layer in enumerate(self.layers):
            h = norm(x, layer.attention_norm) if self.norm_before else x
            q, kv = self.project(h, layer, batch_size)
            k, v = kv.chunk(2, 1) if cache is None else cache.append(i, kv)  # (B, n_H, S, H)
            z = attend(q, k, v, pattern)  # (B, L, D)
            x = x + linear(z.view(len(x), -1), layer.out, layer.out_bias)
            x = x if self.norm_before else norm(x, layer.attention_norm)
            x = x + self.mlp(norm(x, layer.mlp_norm) if self.norm_before else x, layer)
            x = x if self.norm_before else norm(x, layer.mlp_norm)
        return x.view(batch_size, seq_len, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V): the final norm (where there is one), then X W_lm."""
        if self.final_norm is not None:
            hidden = norm(hidden, self.final_norm)
        if self.project_out is not None:
            hidden = linear(hidden, self.project_out)
        return linear(hidden, self.lm_head)

    def project(self, x: Tensor, layer: OPTLayer, batch_size: int) -> tuple[Tensor, Tensor]:
        """Rows (B * L, D) to queries (B, n_H, L, H), and keys and values (B, 2 n_H, L, H)."""
        qkv = linear(x, layer.qkv, layer.qkv_bias)
        qkv = qkv.view(batch_size, -1, 3 * self.n_heads, self.head_dim).transpose(1, 2)
        return qkv.split((self.n_heads, 2 * self.n_heads), 1)

    def mlp(self, x: Tensor, layer: OPTLayer) -> Tensor:
        """relu(x W1) W2"""
        return linear(
            F.relu(linear(x, layer.w1, layer.w1_bias)), layer.w2, layer.w2_bias
        )  # (B * L, D)


def norm(x: Tensor, module: nn.LayerNorm) -> Tensor:
    """LayerNorm: (x - mean) / √(var + ε) · weight + bias."""
    return F.layer_norm(x, module.normalized_shape, module.weight, module.bias, module.eps)


def _read_layer(layer) -> OPTLayer:
    attention = layer.self_attn
    qkv, qkv_bias = join_linears(attention.q_proj, attention.k_proj, attention.v_proj)
    out, out_bias = join_linears(attention.out_proj)
    w1, w1_bias = join_linears(layer.fc1)
    w2, w2_bias = join_linears(layer.fc2)
    return OPTLayer(
        attention_norm=layer.self_attn_layer_norm,
        qkv=qkv,
        qkv_bias=qkv_bias,
        out=out,
        out_bias=out_bias,
        mlp_norm=layer.final_layer_norm,
        w1=w1,
        w1_bias=w1_bias,
        w2=w2,
        w2_bias=w2_bias,
    )
