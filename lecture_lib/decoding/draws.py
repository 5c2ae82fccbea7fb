"""Draws: tokens drawn from a distribution, counted, and tested against it."""

from typing import NamedTuple

import torch
from torch import Tensor

from lecture_lib.checks import check_count
from lecture_lib.tokens import as_tensor


def draw_tokens(probs: Tensor, n_draws: int = 1, *, seed: int | None = None) -> Tensor:
    """Token ids drawn independently from a distribution.

    Args:
        probs: (V,) or (B, V), for example from ``sampling_distribution``.
        n_draws: how many for each row, at most ten million.
        seed: the same seed gives the same draws; without it PyTorch's global generator is used.

    Returns:
        (n_draws,) or (B, n_draws) token ids.
    """
    probs = as_tensor("probs", probs, "probabilities")
    if probs.dim() not in (1, 2) or probs.numel() == 0 or not probs.is_floating_point():
        raise ValueError(f"probs: needs floats of shape (V,) or (B, V), got {tuple(probs.shape)}")
    mass = probs.sum(-1)
    if not bool((probs >= 0).all() and (mass > 0).all() and torch.isfinite(mass).all()):
        raise ValueError("probs: needs numbers of 0 or more in every row, not all of them 0")
    n_draws = check_count("n_draws", n_draws, most=10**7)
    generator = None
    if seed is not None:
        generator = torch.Generator(probs.device).manual_seed(check_count("seed", seed, least=0))
    return torch.multinomial(probs, n_draws, replacement=True, generator=generator)


class ChiSquareTest(NamedTuple):
    """Pearson's test: do counts follow a distribution?"""

    statistic: float  # Σ (observed - expected)² / expected over the bins
    p_value: float  # of draws that do follow it, the share that deviates as much or more


def chi_square_test(counts: Tensor, probs: Tensor) -> ChiSquareTest:
    """Pearson's chi-square test of counts (V,) against probabilities (V,).

    Tokens that are expected fewer than five times share one bin: the test's distribution is an
    approximation that needs about so many in a bin (Cochran 1954). A token of probability 0 that
    was drawn all the same makes the statistic infinite and p 0.
    """
    counts = as_tensor("counts", counts, "numbers of draws").double()
    probs = as_tensor("probs", probs, "probabilities").double()
    if counts.shape != probs.shape or counts.dim() != 1:
        raise ValueError(
            f"counts: needs the shape (V,) of probs {tuple(probs.shape)}, got {tuple(counts.shape)}"
        )
    if not (counts.sum() >= 1 and (counts >= 0).all()):
        raise ValueError("counts: needs at least one draw and no negative count")
    if not (abs(float(probs.sum()) - 1) <= 1e-4 and (probs >= 0).all()):
        raise ValueError(f"probs: needs probabilities that sum to 1, got {float(probs.sum()):.6g}")
    expected = counts.sum() * probs / probs.sum()
    # A bin for each frequent token, then one for all rare ones, where there are any.
    often, rare = expected >= 5, (expected < 5) & (probs > 0)
    observed, expected = (
        torch.cat((values[often], values[rare].sum()[None] if bool(rare.any()) else values[:0]))
        for values in (counts, expected)
    )
    if len(expected) < 2:
        raise ValueError("counts: too few draws for a test, or only one token is possible")
    if bool((counts[probs == 0] > 0).any()):
        return ChiSquareTest(float("inf"), 0.0)
    statistic = ((observed - expected) ** 2 / expected).sum()
    # With f + 1 bins P(χ²_f >= x) is the upper regularised incomplete gamma function Q(f/2, x/2).
    half = statistic.new_tensor((len(expected) - 1) / 2)
    p_value = torch.special.gammaincc(half, statistic / 2)
    return ChiSquareTest(float(statistic), float(p_value))
