"""Packed weights: a matrix as 4-bit or 8-bit integers, for the kernels that PyTorch has for CPUs.

A packed weight takes the place of the ``weight`` of an nn.Linear or nn.Embedding: ``F.linear`` and
``F.embedding`` accept it, so Transformers' own forward pass runs on it too. Activations are
bfloat16, in which these kernels are fast.
"""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_lib.quantisation import in_groups, quantise_absmax, quantise_zero_point

GROUP_SIZE = 32  # weights that share a scale and a zero
ROWS_TOGETHER = 64  # the most outputs that one block of the packed form can have
FEW_ROWS = 32  # for a product with more rows the weights are dequantised first
# The layout of the packed form is not documented. It has blocks of BLOCK_ROWS outputs. A byte has
# rows r and r + half of a block, or, without vector instructions (as seen on x86), two neighbours.
BLOCK_ROWS = {"AVX512": 64, "AVX2": 32}.get(torch.backends.cpu.get_cpu_capability())
NEIGHBOURS = BLOCK_ROWS is None and torch.cpu.get_capabilities().get("architecture") == "x86_64"
BLOCK_ROWS = 32 if NEIGHBOURS else BLOCK_ROWS


def dtype_of_many_rows(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which this CPU multiplies many rows of a 2-byte dtype fastest.

    It is the same dtype if the processor has instructions for such products (Intel and AMD: in
    AVX-512, which PyTorch must be using; ARM: in NEON). Others convert number by number, and take
    three to seven times as long as float32, the conversion included.
    """
    names = {torch.bfloat16: ("avx512_bf16", "bf16"), torch.float16: ("avx512_fp16", "fp16_arith")}
    name = names[dtype][torch.backends.cpu.get_cpu_capability() != "AVX512"]
    able = torch.cpu.get_capabilities().get(name) and torch.backends.mkldnn.is_available()
    return dtype if able else torch.float32


MANY_ROWS = {dtype: dtype_of_many_rows(dtype) for dtype in (torch.bfloat16, torch.float16)}


class PackedWeight:
    """(N, K) weights as the kernels need them: N outputs of K inputs each.

    Attributes:
        shape: (N, K). dtype: of activations. format: its name among those of ``lecture_lib.costs``.
        whole: the joined weight of which this one is a part, see ``join_linears``.
    """

    dtype, format = torch.bfloat16, None

    def __init__(self, shape: tuple[int, int], *tensors: Tensor):
        self.shape, self.device = torch.Size(shape), tensors[0].device
        self._tensors, self.whole, self._start = tensors, None, 0
        # The kernels read 16 inputs at a time, without checking where a row ends.
        self.most_rows = FEW_ROWS if shape[1] % 16 == 0 else 0

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """The integers and the scales."""
        return self.whole.rows_of(self._start, len(self)) if self.whole else self._tensors

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def become_part(self, whole: Self, start: int) -> None:
        """Free its memory: ``whole`` has the same outputs, from ``start`` on."""
        self._tensors, self.whole, self._start = None, whole, start

    def __len__(self) -> int:
        return self.shape[0]

    def detach(self) -> Self:
        return self

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        """What F.linear and F.embedding do with such a weight."""
        if function is F.linear:
            x, weight, *bias = args
            return weight.linear(x, *bias, **(kwargs or {}))
        if function is F.embedding:
            token_ids, weight = args[:2]
            return weight.rows(token_ids)
        raise TypeError(f"{function.__name__}: a packed weight can be multiplied and no more")

    def linear(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """``F.linear``: rows (..., K) to (..., N), plus bias."""
        if x.dim() != 2:
            y = self.linear(x.reshape(-1, x.shape[-1]), bias)
            return y.view(*x.shape[:-1], len(self))
        if len(x) <= self.most_rows:
            y = self.product(x)
        else:
            dtype = MANY_ROWS[x.dtype]
            y = F.linear(x.to(dtype), self.dequantised(dtype)).to(x.dtype)
        return y if bias is None else y + bias


class Int8Weight(PackedWeight):
    """8 bits per weight and a bfloat16 scale per output: w = q · scale."""

    format = "int8"

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        """Round floats (N, K) to the nearest."""
        if len(weight) > 8192:  # in parts, so that little memory is needed beside the result
            return cls.join([cls.of(rows) for rows in weight.split(8192)])
        _, scale = quantise_absmax(weight.float(), 8, -1)  # (N, 1)
        scale = scale.bfloat16()  # rounded first, so that q makes up for what the scale lost
        q = (weight / scale.float()).round().clamp(-127, 127).to(torch.int8)
        return cls(weight.shape, q, scale.view(-1))

    def product(self, x: Tensor) -> Tensor:
        # PyTorch has no public name for this product.
        return torch._weight_int8pack_mm(x.contiguous(), *self.tensors)

    def rows(self, token_ids: Tensor) -> Tensor:
        """The weights of some outputs: the embeddings of tokens, (..., K)."""
        q, scale = self.tensors
        return q[token_ids] * scale[token_ids].unsqueeze(-1)

    def dequantised(self, dtype: torch.dtype = torch.float32) -> Tensor:
        q, scale = self.tensors
        return q.to(dtype) * scale.to(dtype)[:, None]

    @classmethod
    def join(cls, weights: Sequence[Self]) -> Self:
        """Several matrices, one below the other."""
        q, scale = (torch.cat(parts) for parts in zip(*(w.tensors for w in weights), strict=True))
        return cls(q.shape, q, scale)

    def rows_of(self, start: int, n: int) -> tuple[Tensor, Tensor]:
        q, scale = self.tensors
        return q[start : start + n], scale[start : start + n]


class Int4Weight(PackedWeight):
    """4 bits per weight, and for a group of 32 a bfloat16 scale and zero, so 5 bits per weight:
    w = (q - 8) · scale + zero."""

    format = "q4_1"

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        """Round floats (N, K) to the nearest of 16 levels between a group's least and greatest.

        Raises:
            ValueError: a shape that the kernel cannot take.
        """
        if weight.shape[0] % ROWS_TOGETHER or weight.shape[1] % GROUP_SIZE:
            raise ValueError(
                f"weight: {weight.shape[0]} outputs of {weight.shape[1]} inputs; the 4-bit kernel "
                f"needs multiples of {ROWS_TOGETHER} and {GROUP_SIZE}. Take 8 bits per weight"
            )
        return cls.pack(*quantise_zero_point(in_groups(weight.float(), GROUP_SIZE), 4, -1))

    @classmethod
    def pack(cls, q: Tensor, scale: Tensor, minimum: Tensor) -> Self:
        """w = scale · q + minimum: q from 0 to 15 (N, K / 32, 32), the others (N, K / 32, 1)."""
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(q.flatten(1).int(), 1)
        zero = 8 * scale.float() + minimum.float()  # the kernel's q begins at -8
        scale_zero = torch.cat((scale.float(), zero), -1).transpose(0, 1)  # (K / 32, N, 2)
        return cls(q.flatten(1).shape, packed, scale_zero.bfloat16().contiguous())

    def product(self, x: Tensor) -> Tensor:
        packed, scale_zero = self.tensors
        return torch.ops.aten._weight_int4pack_mm_for_cpu(
            x.contiguous(), packed, GROUP_SIZE, scale_zero
        )

    def dequantised(self, dtype: torch.dtype = torch.float32) -> Tensor:
        n, k = self.shape
        if BLOCK_ROWS is None:  # an unknown layout: let the kernel multiply by 1
            return self.product(torch.eye(k, dtype=self.dtype)).mT.to(dtype)
        packed, scale_zero = self.tensors
        pairs = packed.view(-1, k, BLOCK_ROWS // 2).transpose(0, 1)  # (K, blocks, half)
        w = torch.empty((k, n // BLOCK_ROWS, 2, BLOCK_ROWS // 2), dtype=dtype)
        w = w.view(*pairs.shape, 2).transpose(2, 3) if NEIGHBOURS else w
        w[:, :, 0], w[:, :, 1] = pairs & 15, pairs >> 4
        scale, zero = scale_zero.to(dtype).unsqueeze(1).unbind(-1)  # (K / 32, 1, N) each
        w = (w.mT if NEIGHBOURS else w).view(-1, GROUP_SIZE, n).sub_(8).mul_(scale).add_(zero)
        return w.view(k, n).mT

    @classmethod
    def join(cls, weights: Sequence[Self]) -> Self:
        """Several matrices, one below the other."""
        packed, scale_zero = zip(*(w.tensors for w in weights), strict=True)
        shape = (sum(map(len, weights)), weights[0].shape[1])
        return cls(shape, torch.cat(packed), torch.cat(scale_zero, 1))

    def rows_of(self, start: int, n: int) -> tuple[Tensor, Tensor]:
        packed, scale_zero = self.tensors
        return packed[start : start + n], scale_zero[:, start : start + n].contiguous()
