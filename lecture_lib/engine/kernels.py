"""What makes the engine fast: the quickest kernels for every part of a forward pass.

Every function and class here takes the place of one with the same signature in ``model`` or
``opt`` and gives the same numbers up to rounding. Which kernel runs is decided here, by device,
dtype and shape.
"""

import platform
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .model import Llama, RMSNorm
from .opt import OPT, OPTLayer
from .packed import MANY_ROWS
from .weights import join_linears


def made_by_amd() -> bool:
    """Whether the processor is AMD's."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return "AuthenticAMD" in platform.processor()  # Windows names the maker here


# For a few rows of float32, MKL takes a slow path on processors that Intel did not make.
TURN_FEW_ROWS = torch.backends.mkl.is_available() and made_by_amd()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: rows (..., inputs) times weight (outputs, inputs) transposed, plus bias.

    A decode step has few rows, one at batch 1. On a CPU F.linear hands bfloat16 and float16 to a
    kernel for matrix times matrix; the one for matrix times vector reads the same weights in about
    two thirds of the time. In float32, on an AMD processor, W times x transposed takes a third of
    the time for two rows and half of it for three; a single row is given twice, and takes two
    thirds. More than eight rows of 2-byte numbers go through float32 where ``dtype_of_many_rows``
    says so. Packed weights bring their own product.
    """
    if not isinstance(weight, Tensor):
        return weight.linear(x, bias)
    if TURN_FEW_ROWS and x.is_cpu and x.dtype == torch.float32 and x.dim() == 2 and len(x) <= 8:
        rows = torch.cat((x, x)) if len(x) == 1 else x
        y = torch.mm(weight, rows.mT)[:, : len(x)].mT.contiguous()  # (rows, outputs)
        return y if bias is None else y + bias
    if x.is_cpu and x.element_size() == 2 and x.dim() == 2 and len(x) == 1:
        row = x.view(-1)  # (inputs,)
        y = torch.mv(weight, row) if bias is None else torch.addmv(bias, weight, row)
        return y.unsqueeze(0)  # (1, outputs)
    if x.is_cpu and x.numel() > 8 * x.shape[-1] and MANY_ROWS.get(x.dtype) == torch.float32:
        bias = bias if bias is None else bias.float()
        return F.linear(x.float(), weight.float(), bias).to(x.dtype)
    return F.linear(x, weight, bias)


class FastRMSNorm(RMSNorm):
    """``RMSNorm`` by few kernels."""

    def __call__(self, x: Tensor) -> Tensor:
        d_model = len(self.weight)
        if x.is_cuda:
            return F.rms_norm(x, (d_model,), self.weight, self.eps)
        # On a CPU F.rms_norm runs ten small kernels, which take a tenth of a decode step. x and -x
        # together have mean 0 and variance mean(x²), so LayerNorm's one kernel gives the same.
        both = torch.cat((x, -x), -1)  # (..., 2 D)
        # Joined here and not once, so that a weight that is changed in place is changed here too.
        weight = torch.cat((self.weight, self.weight))  # (2 D,)
        return F.layer_norm(both, (2 * d_model,), weight, eps=self.eps).narrow(-1, 0, d_model)


def rope_tables(positions: Tensor, inv_freq: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin for the whole head, (B, 1, L, H) each; the first half of the sine is negated."""
    angles = positions[:, None, :, None] * inv_freq  # (B, 1, L, H / 2), float32
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)


def apply_rope_(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """``apply_rope`` in place, for queries and keys together, (B, heads, L, H): the rotation
    written for the whole head as x · cos + roll(x) · (-sin, sin), three kernels."""
    swapped = x.roll(x.shape[-1] // 2, -1)  # the two halves of each head, exchanged
    x.mul_(cos).addcmul_(swapped, sin)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """``attend`` by a fused kernel, which keeps the scores on the chip: (B, L, n_H · H)."""
    if q.shape[2] == 1:
        return _attend_one(q, k, v, mask)
    causal = mask is None  # L = S: the kernel skips the upper triangle
    grouped = q.shape[1] != k.shape[1]
    z = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped
    )  # (B, n_H, L, H)
    return z.transpose(1, 2).flatten(2)  # (B, L, n_H * H)


def _attend_one(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """``attend`` for a single new token in each row.

    The query heads of a group are stacked, as if they were n_H / n_KV tokens. So a group reads its
    keys once and in place; ``enable_gqa`` would first repeat the whole cache.
    """
    batch_size, n_heads, _, head_dim = q.shape
    q = q.reshape(batch_size, k.shape[1], -1, head_dim)  # (B, n_KV, n_H / n_KV, H)
    z = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, n_KV, n_H / n_KV, H)
    return z.reshape(batch_size, 1, n_heads * head_dim)  # a view, except for some CUDA kernels


@dataclass(slots=True)
class JoinedLayer:
    """``LlamaLayer`` with matrices of the same input joined into one, see ``join_linears``; all
    are (outputs, inputs), as in nn.Linear."""

    attention_norm: FastRMSNorm
    qkv: Tensor  # ((n_H + 2 n_KV) * H, D)
    qkv_bias: Tensor | None
    out: Tensor  # (D, n_H * H)
    out_bias: Tensor | None
    mlp_norm: FastRMSNorm
    gate_up: Tensor  # (2 F, D)
    gate_up_bias: Tensor | None
    down: Tensor  # (D, F)
    down_bias: Tensor | None

    @classmethod
    def of(cls, layer) -> "JoinedLayer":
        attention, mlp = layer.self_attn, layer.mlp
        return cls(
            FastRMSNorm(layer.input_layernorm),
            *join_linears(attention.q_proj, attention.k_proj, attention.v_proj),
            *join_linears(attention.o_proj),
            FastRMSNorm(layer.post_attention_layernorm),
            *join_linears(mlp.gate_proj, mlp.up_proj),
            *join_linears(mlp.down_proj),
        )


class FastLlama(Llama):
    """``Llama`` with joined matrices, of which it starts fewer products, and the kernels above."""

    linear = staticmethod(linear)
    attend = staticmethod(attend)
    rope_tables = staticmethod(rope_tables)
    norm_class, layer_class = FastRMSNorm, JoinedLayer.of

    def project(
        self, x: Tensor, layer: JoinedLayer, batch_size: int, rope: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        n_q, n_kv = self.n_heads, self.n_kv_heads
        qkv = linear(x, layer.qkv, layer.qkv_bias)
        qkv = qkv.view(batch_size, -1, n_q + 2 * n_kv, self.head_dim).transpose(1, 2)
        apply_rope_(qkv.narrow(1, 0, n_q + n_kv), *rope)  # queries and keys, not the values
        return qkv.split((n_q, 2 * n_kv), 1)

    def out(self, z: Tensor, layer: JoinedLayer) -> Tensor:
        return linear(z, layer.out, layer.out_bias)

    def mlp(self, x: Tensor, layer: JoinedLayer) -> Tensor:
        gate, up = linear(x, layer.gate_up, layer.gate_up_bias).chunk(2, -1)  # (B * L, F) each
        return linear(F.silu(gate) * up, layer.down, layer.down_bias)  # (B * L, D)


class FastOPT(OPT):
    """``OPT`` with a joined matrix and the kernels above."""

    linear = staticmethod(linear)
    attend = staticmethod(attend)

    def project(
        self, x: Tensor, layer: OPTLayer, batch_size: int, rope: None
    ) -> tuple[Tensor, Tensor]:
        qkv = linear(x, layer.qkv, layer.qkv_bias)
        qkv = qkv.view(batch_size, -1, 3 * self.n_heads, self.head_dim).transpose(1, 2)
        return qkv.split((self.n_heads, 2 * self.n_heads), 1)
