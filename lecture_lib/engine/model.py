"""The forward pass of the Llama family (Llama, SmolLM2, Mistral, Qwen2), as a textbook writes it.

The functions and classes down to ``mlp`` are those of lecture 03b, line by line. ``Llama`` puts
them together: there is a KV cache between the keys and the scores, which lecture 04 adds. One
block is RMSNorm, attention with RoPE and grouped heads, residual; RMSNorm, SwiGLU, residual.

An Engine runs ``one_row.OneRowLlama``, which computes the same faster; ``Engine(loaded,
textbook=True)`` runs what is written here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .kv_cache import KVCache, Pattern
from .weights import inverse_frequencies


class RMSNorm:
    """RMSNorm (arXiv 1910.07467): x / √(mean(x²) + ε) · w, over the last axis."""

    def __init__(self, module):
        self.weight, self.eps = module.weight.detach(), module.variance_epsilon  # (D,)

    def __call__(self, x: Tensor) -> Tensor:
        x32 = x.float()  # the squares of half-precision numbers need more digits
        normed = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps)
        return normed.to(x.dtype) * self.weight


def rope_tables(positions: Tensor, inv_freq: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of the angles of positions (B, L): two tensors (B, 1, L, H / 2)."""
    angles = positions[:, None, :, None] * inv_freq  # float32
    return angles.cos().to(dtype), angles.sin().to(dtype)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE (arXiv 2104.09864): turn the pairs (x_i, x_{i + H/2}) of x, (B, heads, L, H), by the
    angles of their position."""
    x1, x2 = x.chunk(2, -1)  # (B, heads, L, H / 2) each
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), -1)


class LlamaLayer:
    """What one block is made of: the norms and nn.Linears of a Transformers layer, not copied."""

    def __init__(self, layer):
        attention, mlp = layer.self_attn, layer.mlp
        self.attention_norm = RMSNorm(layer.input_layernorm)
        self.q_proj, self.k_proj = attention.q_proj, attention.k_proj  # D to n_H * H and n_KV * H
        self.v_proj, self.o_proj = attention.v_proj, attention.o_proj  # D to n_KV * H; n_H * H to D
        self.head_dim = attention.head_dim
        self.mlp_norm = RMSNorm(layer.post_attention_layernorm)
        self.gate_proj, self.up_proj = mlp.gate_proj, mlp.up_proj  # D to F
        self.down_proj = mlp.down_proj  # F to D


def split_heads(x: Tensor, batch_size: int, head_dim: int) -> Tensor:
    """Rows (B * L, n * H) to heads (B, n, L, H)."""
    return x.view(batch_size, -1, x.shape[-1] // head_dim, head_dim).transpose(1, 2)


def project_qkv(
    x: Tensor, layer: LlamaLayer, batch_size: int, rope: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (B * L, D) to queries (B, n_H, L, H), and keys and values (B, n_KV, L, H)."""
    q = split_heads(layer.q_proj(x), batch_size, layer.head_dim)
    k = split_heads(layer.k_proj(x), batch_size, layer.head_dim)
    v = split_heads(layer.v_proj(x), batch_size, layer.head_dim)
    return apply_rope(q, *rope), apply_rope(k, *rope), v


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / √H) V for every head (Vaswani et al. 2017, eq. 1), merged to (B, L, n_H · H).

    q is (B, n_H, L, H), k and v are (B, n_KV, S, H): query head i uses key/value head
    i // (n_H / n_KV) (grouped-query attention, arXiv 2305.13245). The mask, (1 or B, 1, L, S), is
    True where a query may look at a key; None is the causal rule.
    """
    group_size = q.shape[1] // k.shape[1]
    k, v = (y.repeat_interleave(group_size, 1) for y in (k, v))  # (B, n_H, S, H)
    scores = q @ k.mT / q.shape[-1] ** 0.5  # (B, n_H, L, S)
    if mask is None:  # causal: the last query is at the last key's position
        seq_len, kv_len = scores.shape[-2:]
        mask = torch.ones_like(scores[0, 0], dtype=torch.bool).tril(kv_len - seq_len)
    scores = scores.float().masked_fill(~mask, -torch.inf).softmax(-1).to(q.dtype)
    return (scores @ v).transpose(1, 2).flatten(2)  # (B, n_H, L, H) -> (B, L, n_H * H)


def mlp(x: Tensor, layer: LlamaLayer) -> Tensor:
    """SwiGLU (arXiv 2002.05202): (silu(x W_gate) · x W_up) W_down."""
    gate, up = layer.gate_proj(x), layer.up_proj(x)  # (B * L, F) each
    return layer.down_proj(F.silu(gate) * up)  # (B * L, D)


class Llama:
    """The forward pass over the weights of a loaded Transformers model (not a copy of them)."""

    linear = staticmethod(F.linear)
    attend = staticmethod(attend)
    mlp = staticmethod(mlp)
    rope_tables = staticmethod(rope_tables)
    norm_class, layer_class = RMSNorm, LlamaLayer

    def __init__(self, hf_model, n_heads: int, n_kv_heads: int, head_dim: int):
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, head_dim
        self.hf_model, base = hf_model, hf_model.model
        self.embeddings = base.embed_tokens.weight.detach()  # (V, D)
        self.layers = [self.layer_class(layer) for layer in base.layers]
        self.final_norm = self.norm_class(base.norm)
        self.lm_head = hf_model.lm_head.weight.detach()  # (V, D)
        inv_freq = inverse_frequencies(hf_model.config.rope_parameters, head_dim)
        self.inv_freq = inv_freq.to(self.embeddings.device)
        self.places = self.find_places()

    def find_places(self) -> list[int]:
        """Where each of the weights is in memory."""
        return [parameter.data_ptr() for parameter in self.hf_model.parameters()]

    def check_places(self) -> None:
        """Raise ValueError if a weight has been replaced by another tensor since this was made."""
        if self.find_places() != self.places:
            raise ValueError(
                "loaded.model: some of its weights were replaced by other tensors since this "
                "engine was made; make a new Engine(loaded)"
            )

    def hidden(self, input_ids: Tensor, pattern: Pattern, cache: KVCache | None) -> Tensor:
        """Token ids (B, L) to the last block's embeddings (B, L, D), before the final norm.

        The cache has the keys and values of the past and gets those of the L new tokens (the caller
        advances it); without a cache there are only the L tokens.
        """
        batch_size, seq_len = input_ids.shape
        # One row per token, (B * L, D): only attention cares which text a row belongs to.
        x = F.embedding(input_ids.reshape(-1), self.embeddings)
        rope = self.rope_tables(pattern.positions, self.inv_freq, x.dtype)  # cos and sin
        for i, layer in enumerate(self.layers):
            x = x + self.attention(layer.attention_norm(x), i, batch_size, rope, pattern, cache)
            x = x + self.mlp(layer.mlp_norm(x), layer)
        return x.view(batch_size, seq_len, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V): the final norm, then X W_lm."""
        return self.linear(self.final_norm(hidden), self.lm_head)

    def attention(
        self, x: Tensor, i: int, batch_size: int, rope, pattern: Pattern, cache: KVCache | None
    ) -> Tensor:
        """Layer i's attention: rows (B * L, D) to rows (B * L, D)."""
        layer = self.layers[i]
        q, kv = self.project(x, layer, batch_size, rope)
        k, v = kv.chunk(2, 1) if cache is None else cache.append(i, kv)  # (B, n_KV, S, H)
        z = self.attend(q, k, v, pattern.mask)  # (B, L, n_H * H)
        return self.out(z.view(len(x), -1), layer)

    def project(self, x: Tensor, layer, batch_size: int, rope) -> tuple[Tensor, Tensor]:
        """``project_qkv`` with keys and values side by side, (B, 2 n_KV, L, H), as the cache keeps
        them: one copy writes both."""
        q, k, v = project_qkv(x, layer, batch_size, rope)
        return q, torch.cat((k, v), 1)

    def out(self, z: Tensor, layer) -> Tensor:
        """Z W^O"""
        return layer.o_proj(z)
