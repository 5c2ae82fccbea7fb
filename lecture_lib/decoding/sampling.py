"""Sampling: from logits to the distribution that the next token is drawn from.

Every filter takes logits (V,) or (B, V) and returns logits of the same shape with -inf for what
is cut: a softmax over them renormalises what is left. At least ``min_tokens_to_keep`` tokens stay
in any case. A setting outside its range and bad logits (another shape, NaN, +inf, a row of -inf)
are a ValueError. ``sampling_distribution`` applies the filters in the order of ``generate``:

    repetition penalty -> temperature -> top-k -> top-p -> min-p -> softmax

The order matters: top-p looks at the distribution that temperature and top-k left over, so the
same p keeps another nucleus when it comes first.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lecture_lib.checks import check_count, check_number, check_type
from lecture_lib.sampling_settings import SamplingSettings, check_mass, check_temperature
from lecture_lib.tokens import as_tensor, check_logits, check_possible, check_token_ids, to_float32

CUT = float("-inf")  # the logit of a token that must not be drawn: e^-inf = 0


def apply_repetition_penalty(
    logits: Tensor, previous_ids: Sequence[int] | Sequence[Sequence[int]] | Tensor, penalty: float
) -> Tensor:
    """Make every token that already occurred less likely (Keskar et al. 2019, arXiv 1909.05858).

    A positive logit is divided by the penalty, a negative one multiplied: once per token, however
    often it occurred. (So the result depends on where the model's logits have their zero, which
    a softmax never sees.) The prompt counts too.

    Args:
        logits: (V,) or (B, V).
        previous_ids: the token ids so far: of shape (L,) for (V,), B rows for (B, V). Rows may have
            different lengths; leave padding out.
        penalty: above 0; above 1 penalises, below 1 rewards.
    """
    logits = check_logits(logits)
    check_number("repetition_penalty", penalty, above=0)
    needs = "a row of token ids for each row of logits"
    check_type("previous_ids", previous_ids, Iterable, needs)
    rows = list(previous_ids) if logits.dim() == 2 else [previous_ids]
    seen = torch.zeros_like(logits, dtype=torch.bool)  # which tokens occurred
    masks = seen.view(-1, logits.shape[-1])  # (B, V)
    if len(rows) != len(masks):
        raise ValueError(f"previous_ids: needs {len(masks)} rows (as logits), got {len(rows)}")
    for mask, ids in zip(masks, rows, strict=True):
        if as_tensor("previous_ids", ids, needs).numel():  # before the first token there are none
            ids = check_token_ids("previous_ids", ids, len(mask), mask.device)
            if ids.dim() != 1:
                raise ValueError(f"previous_ids: needs {needs}")
            mask[ids] = True
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    penalised = torch.where(seen, penalised, logits)
    check_possible(penalised, f" (after the repetition penalty {penalty})")
    return penalised


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """logits / T: T < 1 sharpens the distribution, T > 1 flattens it, T = 1 is the model's own.

    T -> 0 is greedy search, T -> infinity the uniform distribution; neither is a temperature. The
    order of the tokens never changes.
    """
    scaled = check_logits(logits) / check_temperature(temperature)
    check_possible(scaled, f" (divided by the temperature {temperature})")
    return scaled


def top_k_filter(logits: Tensor, k: int, *, min_tokens_to_keep: int = 1) -> Tensor:
    """Cut all but the k likeliest tokens (Fan et al. 2018, arXiv 1805.04833); k is 1 or more.

    Tokens as likely as the k-th all stay, as in Transformers: with ties more than k are kept.
    """
    logits = check_logits(logits)
    keep = check_count("min_tokens_to_keep", min_tokens_to_keep)
    k = min(max(check_count("top_k", k), keep), logits.shape[-1])
    kth_best = logits.topk(k).values[..., -1:]  # (B, 1)
    return logits.masked_fill(logits < kth_best, CUT)


def top_p_filter(logits: Tensor, p: float, *, min_tokens_to_keep: int = 1) -> Tensor:
    """Keep the nucleus: the smallest set of likeliest tokens whose mass reaches p, in (0, 1].

    Nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751. Like Transformers, this sums from the
    *unlikeliest* token upwards and cuts while the sum stays at or below 1 - p: the same set, but
    tiny probabilities are added first, where float32 can still see them. Which of several equally
    likely tokens on the edge stay is left to torch's sort. A mass of exactly p is enough.
    """
    logits, p = check_logits(logits), check_mass(p)
    ascending, order = logits.sort(dim=-1)  # (B, V): the unlikeliest first
    tail_mass = ascending.softmax(-1).cumsum(-1)  # of a token and all that are less likely
    cut = tail_mass <= 1 - p
    cut[..., -check_count("min_tokens_to_keep", min_tokens_to_keep) :] = False
    cut = cut.scatter(-1, order, cut)  # back to the order of the ids
    return logits.masked_fill(cut, CUT)


def min_p_filter(logits: Tensor, min_p: float, *, min_tokens_to_keep: int = 1) -> Tensor:
    """Cut tokens with less than ``min_p``, in [0, 1], times the likeliest token's probability.

    Nguyen et al. 2024, arXiv 2407.01082. The threshold moves with the model's confidence: high
    where one token is far ahead, low where many are plausible.
    """
    logits, min_p = check_logits(logits), check_number("min_p", min_p, least=0, most=1)
    probs = logits.softmax(-1)  # (B, V)
    cut = probs < min_p * probs.amax(-1, keepdim=True)
    keep = check_count("min_tokens_to_keep", min_tokens_to_keep)
    likeliest = probs.topk(min(keep, logits.shape[-1])).indices
    return logits.masked_fill(cut.scatter(-1, likeliest, False), CUT)


def filter_logits(
    logits: Tensor,
    settings: SamplingSettings,
    *,
    previous_ids: Sequence | Tensor | None = None,
    min_tokens_to_keep: int = 1,
) -> Tensor:
    """All filters of the settings, in the order of Transformers' ``generate``.

    Half precision is raised to float32 first, as ``generate`` does it.

    Args:
        previous_ids: the tokens so far, for the repetition penalty.
        min_tokens_to_keep: no filter leaves fewer (beam-search sampling needs 1 + EOS tokens).
    """
    logits, keep = to_float32(check_logits(logits)), {"min_tokens_to_keep": min_tokens_to_keep}
    if settings.repetition_penalty != 1:
        if previous_ids is None:
            raise ValueError("previous_ids: the repetition penalty needs the tokens so far")
        logits = apply_repetition_penalty(logits, previous_ids, settings.repetition_penalty)
    if settings.temperature != 1:
        logits = apply_temperature(logits, settings.temperature)
    if settings.top_k:
        logits = top_k_filter(logits, settings.top_k, **keep)
    if settings.top_p < 1:
        logits = top_p_filter(logits, settings.top_p, **keep)
    if settings.min_p:
        logits = min_p_filter(logits, settings.min_p, **keep)
    return logits


def sampling_distribution(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    previous_ids: Sequence | Tensor | None = None,
) -> Tensor:
    """The probabilities that the next token is drawn from, after all filters.

    Args:
        logits: (V,) or (B, V), the model's own.
        temperature, top_k, top_p, min_p, repetition_penalty: see ``SamplingSettings``;
            the defaults change nothing.
        previous_ids: the tokens so far, needed by the repetition penalty alone.

    Returns:
        Probabilities of the same shape, each row summing to 1; 0 for what is cut. float32 (float64
        for float64 logits).
    """
    settings = SamplingSettings(temperature, top_k, top_p, min_p, repetition_penalty)
    return filter_logits(logits, settings, previous_ids=previous_ids).softmax(-1)


def strategy_table():
    """The lecture's decoding strategies and those that are gone, as a DataFrame: the arguments of
    ``generate``, the strategy that they select, those that have no effect, and a note.

    It is written down for Transformers 5.23, and a test compares it with the installed one.
    """
    import pandas as pd

    return pd.read_csv(Path(__file__).with_name("strategies.csv"), keep_default_na=False)
