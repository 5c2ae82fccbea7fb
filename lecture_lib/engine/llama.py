"""The forward pass of the Llama family (Llama, SmolLM2, Mistral, Qwen2), written out.

One block: RMSNorm, attention with RoPE and grouped heads, residual; RMSNorm, SwiGLU, residual.
Against the lecture's table it adds the norms, the residuals, the positions and the mask, and has a
gated MLP of three matrices in place of relu and two.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import Pattern, attend
from .kv_cache import KVCache
from .rope import apply_rope, inverse_frequencies, rope_tables
from .weights import join_linears


@dataclass(slots=True)
class LlamaLayer:
    """The weights of one block; a linear layer is (outputs, inputs) as in nn.Linear."""

    attention_norm: Tensor  # (D,)
    qkv: Tensor  # ((n_H + 2 n_KV) * H, D)
    qkv_bias: Tensor | None
    out: Tensor  # (D, n_H * H)
    out_bias: Tensor | None
    mlp_norm: Tensor  # (D,)
    gate_up: Tensor  # (2 F, D)
    gate_up_bias: Tensor | None
    down: Tensor  # (D, F)
    down_bias: Tensor | None


class LlamaForward:
    """The forward pass over the weights of a loaded Transformers model (not a copy of them)."""

    def __init__(self, hf_model, n_heads: int, n_kv_heads: int, head_dim: int):
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, head_dim
        base = hf_model.model
        self.embeddings = base.embed_tokens.weight.detach()  # (V, D)
        self.layers = [_read_layer(layer) for layer in base.layers]
        self.final_norm = base.norm.weight.detach()  # (D,)
        self.eps = base.norm.variance_epsilon
        self.lm_head = hf_model.lm_head.weight.detach()  # (V, D)
        inv_freq = inverse_frequencies(hf_model.config.rope_parameters, head_dim)
        self.inv_freq = inv_freq.to(self.embeddings.device)

    def hidden(self, input_ids: Tensor, pattern: Pattern, cache: KVCache | None) -> Tensor:
        """Token ids (B, L) to the last block's embeddings (B, L, D), before the final norm.

        With a cache, keys and values of the past are read from it and those of the L new tokens
        written to it (the caller advances it); without one, the L tokens are all there is.
        """
        batch_size, seq_len = input_ids.shape
        # One row a token, (B * L, D): only attention cares which text a row belongs to.
        x = F.embedding(input_ids.reshape(-1), self.embeddings)
        rope = rope_tables(pattern.positions, self.inv_freq, x.dtype)  # cos, sin: (B, L, 1, H)
        for i, layer in enumerate(self.layers):
            q, k, v = self.project(self.norm(x, layer.attention_norm), layer, batch_size, rope)
            if cache is not None:
                k, v = cache.append(i, k, v)  # (B, n_KV, S, H)
            z = attend(q, k, v, pattern)  # (B, L, n_H * H)
            x = x + F.linear(z.view(len(x), -1), layer.out, layer.out_bias)
            x = x + self.mlp(self.norm(x, layer.mlp_norm), layer)
        return x.view(batch_size, seq_len, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V): the final norm, then X W_lm."""
        return F.linear(self.norm(hidden, self.final_norm), self.lm_head)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, weight, self.eps)

    def project(
        self, x: Tensor, layer: LlamaLayer, batch_size: int, rope: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (B * L, D) to queries (B, n_H, L, H), keys and values (B, n_KV, L, H)."""
        n_q, n_kv = self.n_heads, self.n_kv_heads
        qkv = F.linear(x, layer.qkv, layer.qkv_bias)
        qkv = qkv.view(batch_size, -1, n_q + 2 * n_kv, self.head_dim)  # (B, L, n_H + 2 n_KV, H)
        qk, v = qkv.split((n_q + n_kv, n_kv), 2)
        q, k = apply_rope(qk, *rope).split((n_q, n_kv), 2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def mlp(self, x: Tensor, layer: LlamaLayer) -> Tensor:
        """SwiGLU (arXiv 2002.05202): (silu(x W_gate) · x W_up) W_down."""
        gate, up = F.linear(x, layer.gate_up, layer.gate_up_bias).chunk(2, -1)  # (B * L, F) each
        return F.linear(F.silu(gate) * up, layer.down, layer.down_bias)  # (B * L, D)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm (arXiv 1910.07467): x / √(mean(x²) + ε) · weight, over the last axis."""
    if x.is_cuda:
        return F.rms_norm(x, weight.shape, weight, eps)
    # On a CPU F.rms_norm is ten small kernels, a tenth of a decode step. x and -x together have
    # mean 0 and variance mean(x²), so the one kernel of LayerNorm computes the same.
    both = torch.cat((x, -x), -1)
    normed = F.layer_norm(both, both.shape[-1:], eps=eps)
    return normed[..., : x.shape[-1]] * weight


def _read_layer(layer) -> LlamaLayer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv, qkv_bias = join_linears(attention.q_proj, attention.k_proj, attention.v_proj)
    out, out_bias = join_linears(attention.o_proj)
    gate_up, gate_up_bias = join_linears(mlp.gate_proj, mlp.up_proj)
    down, down_bias = join_linears(mlp.down_proj)
    return LlamaLayer(
        attention_norm=layer.input_layernorm.weight.detach(),
        qkv=qkv,
        qkv_bias=qkv_bias,
        out=out,
        out_bias=out_bias,
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        gate_up=gate_up,
        gate_up_bias=gate_up_bias,
        down=down,
        down_bias=down_bias,
    )
