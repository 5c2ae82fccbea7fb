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
from .linear import linear
from .rope import apply_rope_, inverse_frequencies, rope_tables
from .weights import join_linears


class RMSNorm:
    """RMSNorm (arXiv 1910.07467): x / √(mean(x²) + ε) · weight, over the last axis."""

    def __init__(self, module):
        self.weight, self.eps = module.weight.detach(), module.variance_epsilon  # (D,)
        self._weight_twice = torch.cat((self.weight, self.weight))  # (2 D,)

    def __call__(self, x: Tensor) -> Tensor:
        d_model = len(self.weight)
        if x.is_cuda:
            return F.rms_norm(x, (d_model,), self.weight, self.eps)
        # On a CPU F.rms_norm is ten small kernels, a tenth of a decode step. x and -x together
        # have mean 0 and variance mean(x²), so the one kernel of LayerNorm computes the same.
        both = torch.cat((x, -x), -1)  # (..., 2 D)
        normed = F.layer_norm(both, (2 * d_model,), self._weight_twice, eps=self.eps)
        return normed.narrow(-1, 0, d_model)


@dataclass(slots=True)
class LlamaLayer:
    """The weights of one block; a linear layer is (outputs, inputs) as in nn.Linear."""

    attention_norm: RMSNorm
    qkv: Tensor  # ((n_H + 2 n_KV) * H, D)
    qkv_bias: Tensor | None
    out: Tensor  # (D, n_H * H)
    out_bias: Tensor | None
    mlp_norm: RMSNorm
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
        self.final_norm = RMSNorm(base.norm)
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
        rope = rope_tables(pattern.positions, self.inv_freq, x.dtype)  # cos, sin: (B, 1, L, H)
        for i, layer in enumerate(self.layers):
            q, kv = self.project(layer.attention_norm(x), layer, batch_size, rope)
            k, v = kv.chunk(2, 1) if cache is None else cache.append(i, kv)  # (B, n_KV, S, H)
            z = attend(q, k, v, pattern)  # (B, L, n_H * H)
            x = x + linear(z.view(len(x), -1), layer.out, layer.out_bias)
            x = x + self.mlp(layer.mlp_norm(x), layer)
        return x.view(batch_size, seq_len, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V): the final norm, then X W_lm."""
        return linear(self.final_norm(hidden), self.lm_head)

    def project(
        self, x: Tensor, layer: LlamaLayer, batch_size: int, rope: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Rows (B * L, D) to queries (B, n_H, L, H), and keys and values (B, 2 n_KV, L, H)."""
        n_q, n_kv = self.n_heads, self.n_kv_heads
        qkv = linear(x, layer.qkv, layer.qkv_bias)
        qkv = qkv.view(batch_size, -1, n_q + 2 * n_kv, self.head_dim).transpose(1, 2)
        apply_rope_(qkv.narrow(1, 0, n_q + n_kv), *rope)  # queries and keys, not the values
        return qkv.split((n_q, 2 * n_kv), 1)

    def mlp(self, x: Tensor, layer: LlamaLayer) -> Tensor:
        """SwiGLU (arXiv 2002.05202): (silu(x W_gate) · x W_up) W_down."""
        gate, up = linear(x, layer.gate_up, layer.gate_up_bias).chunk(2, -1)  # (B * L, F) each
        return linear(F.silu(gate) * up, layer.down, layer.down_bias)  # (B * L, D)


def _read_layer(layer) -> LlamaLayer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv, qkv_bias = join_linears(attention.q_proj, attention.k_proj, attention.v_proj)
    out, out_bias = join_linears(attention.o_proj)
    gate_up, gate_up_bias = join_linears(mlp.gate_proj, mlp.up_proj)
    down, down_bias = join_linears(mlp.down_proj)
    return LlamaLayer(
        attention_norm=RMSNorm(layer.input_layernorm),
        qkv=qkv,
        qkv_bias=qkv_bias,
        out=out,
        out_bias=out_bias,
        mlp_norm=RMSNorm(layer.post_attention_layernorm),
        gate_up=gate_up,
        gate_up_bias=gate_up_bias,
        down=down,
        down_bias=down_bias,
    )
