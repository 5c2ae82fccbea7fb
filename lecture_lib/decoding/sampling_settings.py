"""What a sampler may be asked for, checked: logits, temperature, k, p and their like."""

import math
import operator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplingSettings:
    """The arguments of ``generate`` that shape a sampling distribution, under the same names.

    The defaults change nothing (pure multinomial sampling). Transformers' own default is
    ``top_k=50``: pass ``top_k=0`` there to get what is the default here.

    Args:
        temperature: above 0. Below 1 sharpens, above 1 flattens.
        top_k: how many tokens to keep; None or 0 keeps all.
        top_p: the mass to keep, in (0, 1]; 1 keeps all.
        min_p: keep what has at least this share of the likeliest token's probability, in [0, 1];
            None or 0 keeps all.
        typical_p: the mass of the most typical tokens to keep, in (0, 1]; 1 keeps all.
        repetition_penalty: above 0; 1 penalises nothing.

    Raises:
        ValueError: a setting outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float | None = None
    typical_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self):
        check_temperature(self.temperature)
        if self.top_k is not None and not _is_zero(self.top_k):
            check_k(self.top_k)
        check_mass("top_p", self.top_p)
        if self.min_p is not None:
            check_min_p(self.min_p)
        check_mass("typical_p", self.typical_p)
        check_penalty(self.repetition_penalty)


def check_logits(logits) -> Tensor:
    """Logits as a floating-point tensor (V,) or (B, V), or ValueError.

    Raises:
        ValueError: another shape, NaN, +inf, or a row without a possible token (all -inf).
    """
    try:
        logits = torch.as_tensor(logits)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"logits: needs numbers in rows of one length: {error}") from None
    if logits.dtype == torch.bool or logits.is_complex():
        raise ValueError(f"logits: needs floating-point numbers, got {logits.dtype}")
    logits = logits if logits.is_floating_point() else logits.float()
    if logits.dim() not in (1, 2) or logits.numel() == 0:
        raise ValueError(f"logits: needs shape (V,) or (B, V), got {tuple(logits.shape)}")
    check_possible(logits)
    return logits


def check_possible(logits: Tensor, why: str = "") -> None:
    """Raise ValueError unless every row of logits (..., V) has a softmax."""
    best = logits.amax(-1)  # NaN if any is NaN: one pass over the vocabulary sees all three faults
    if bool(torch.isfinite(best).all()):
        return
    row = int((~torch.isfinite(best)).reshape(-1).nonzero()[0])
    where = f"row {row}" if logits.dim() > 1 else "the row"
    worst = float(best.reshape(-1)[row])
    if math.isnan(worst):
        fault = "holds NaN; did the model overflow?"
    elif worst > 0:
        fault = "holds +inf, which has no softmax"
    else:
        fault = "is -inf everywhere: no token is possible"
    raise ValueError(f"logits: {where} {fault}{why}")


def check_temperature(temperature: float) -> float:
    """A finite number above 0, or ValueError."""
    value = _number("temperature", temperature)
    if value == 0:
        raise ValueError(
            "temperature: 0 divides by zero; for the likeliest token always, use greedy search "
            "(do_sample=False)"
        )
    if not 0 < value < math.inf:
        raise ValueError(f"temperature: needs a number above 0, got {temperature!r}")
    return value


def check_k(k: int, name: str = "top_k") -> int:
    """A whole number of 1 or more, or ValueError."""
    try:
        value = 0 if isinstance(k, bool) else operator.index(k)
    except TypeError:
        value = 0
    if value < 1:
        raise ValueError(f"{name}: needs a whole number of 1 or more, got {k!r}")
    return value


def check_mass(name: str, p: float) -> float:
    """A probability mass in (0, 1], or ValueError."""
    value = _number(name, p)
    if not 0 < value <= 1:
        hint = "; for the likeliest token alone use top_k=1" if value == 0 else ""
        raise ValueError(f"{name}: needs a number above 0 and at most 1, got {p!r}{hint}")
    return value


def check_min_p(min_p: float) -> float:
    """A share of the likeliest token's probability in [0, 1], or ValueError."""
    value = _number("min_p", min_p)
    if not 0 <= value <= 1:
        raise ValueError(f"min_p: needs a number from 0 to 1, got {min_p!r}")
    return value


def check_penalty(penalty: float) -> float:
    """A finite number above 0, or ValueError."""
    value = _number("repetition_penalty", penalty)
    if not 0 < value < math.inf:
        raise ValueError(f"repetition_penalty: needs a number above 0, got {penalty!r}")
    return value


def _number(name: str, value) -> float:
    try:
        if isinstance(value, bool | str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name}: needs a number, got {value!r}") from None


def _is_zero(k) -> bool:
    return not isinstance(k, bool) and isinstance(k, int) and k == 0
