"""What a block is made of: BlockWeights, and BlockFlags, the switches for what the slide omits."""

import math
from dataclasses import dataclass

import torch

from ..checks import check_count, check_flag, check_type

MATRICES = ("w_q", "w_k", "w_v", "w_o", "w_1", "w_2")


@dataclass(frozen=True)
class BlockFlags:
    """What real models add to the slide's block."""

    causal: bool = False  # position i attends to positions up to i only
    head_dim_scale: bool = False  # scores are divided by √H instead of the slide's √D
    residual: bool = False  # X + Out after attention, Out + X' after the MLP
    layer_norm: bool = False  # before attention and MLP (pre-norm, as in most OPTs), unscaled

    def __post_init__(self):
        for name, value in vars(self).items():
            check_flag(name, value)

    def scale(self, d_model: int, n_heads: int) -> tuple[str, float]:
        """What scores are divided by: its name and its value."""
        if self.head_dim_scale:
            return "√H", math.sqrt(d_model // n_heads)
        return "√D", math.sqrt(d_model)


@dataclass(frozen=True)
class BlockWeights:
    """The six matrices of the slide, to be multiplied from the right: X W."""

    w_q: torch.Tensor  # (D, D), as the next three
    w_k: torch.Tensor
    w_v: torch.Tensor
    w_o: torch.Tensor
    w_1: torch.Tensor  # (D, F), F = 4D in the lecture
    w_2: torch.Tensor  # (F, D)

    def __post_init__(self):
        for name in MATRICES:
            check_type(name, getattr(self, name), torch.Tensor, "a tensor")
        d, d_ff = self.w_q.shape[0], self.w_1.shape[-1]
        for name, shape in zip(MATRICES, [(d, d)] * 4 + [(d, d_ff), (d_ff, d)], strict=True):
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise ValueError(f"{name}: needs the shape {shape}, got {got}")

    @classmethod
    def random(
        cls,
        d_model: int,
        n_heads: int,
        d_ff: int | None = None,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> "BlockWeights":
        """Normal weights of variance 1 / rows, so that products keep the scale of their input."""
        d_model = check_count("d_model", d_model, most=10_000)
        d_ff = 4 * d_model if d_ff is None else check_count("d_ff", d_ff, most=40_000)
        if d_model % check_count("n_heads", n_heads):
            raise ValueError(f"n_heads: needs a divisor of d_model = {d_model}, got {n_heads}")
        check_type("dtype", dtype, torch.dtype, "a torch.dtype")
        generator = torch.Generator().manual_seed(check_count("seed", seed, least=0))
        shapes = [(d_model, d_model)] * 4 + [(d_model, d_ff), (d_ff, d_model)]
        draws = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
        return cls(*(draw / math.sqrt(len(draw)) for draw in draws))

    @property
    def d_model(self) -> int:
        return self.w_q.shape[0]

    def slide_names(self) -> dict[str, torch.Tensor]:
        """The matrices by their names on the slide."""
        return {f"W^{name[-1].upper()}": getattr(self, name) for name in MATRICES}
