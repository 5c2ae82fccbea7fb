"""Sampling: from logits to the distribution that the next token is drawn from.

The first five functions are lecture 10's, line by line. Every filter takes logits (V,) or (B, V)
and returns logits of the same shape with -inf for what is cut: a softmax over them renormalises
what is left, which is one token or more. A setting outside its range and bad logits (another
shape, NaN, +inf, a row of -inf) are a ValueError.
"""

import functools
import inspect
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lecture_lib.checks import check_count, check_number, check_type
from lecture_lib.sampling_settings import SamplingSettings, check_mass, check_temperature
from lecture_lib.tokens import as_tensor, check_logits, check_possible, check_token_ids, to_float32

_CHECKS = {
    "logits": check_logits,
    "temperature": check_temperature,
    "k": functools.partial(check_count, "top_k"),
    "p": check_mass,
    "min_p": functools.partial(check_number, "min_p", least=0, most=1),
}


def checked_filter(function):
    """Decorator: bad arguments of a filter, and a result without a softmax, are ValueErrors."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments
        given = {name: _CHECKS[name](value) for name, value in given.items()}
        result, (_, (name, value)) = function(**given), given.items()
        check_possible(result, f" (after {name} {value})")
        return result

    return call


@checked_filter
def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Below 1 the distribution gets sharper, above 1 flatter; the order of the tokens stays."""
    return logits / temperature


@checked_filter
def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Cut all but the k likeliest tokens (Fan et al. 2018, arXiv 1805.04833).

    Tokens as likely as the k-th all stay, as in Transformers: with ties more than k are kept.
    """
    kth_best = logits.topk(min(k, logits.shape[-1])).values[..., -1:]  # (B, 1)
    return logits.masked_fill(logits < kth_best, -torch.inf)


@checked_filter
def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the nucleus: the smallest set of likeliest tokens whose mass reaches p, in (0, 1].

    Nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751. Like Transformers, this sums from the
    *unlikeliest* token upwards and cuts while the sum stays at or below 1 - p: the same set, but
    tiny probabilities are added first, where float32 can still see them. Which of several equally
    likely tokens on the edge stay is left to torch's sort. A mass of exactly p is enough.
    """
    ascending, order = logits.sort(dim=-1)  # (B, V): the unlikeliest first
    tail_mass = ascending.softmax(-1).cumsum(-1)  # of a token and all that are less likely
    cut = tail_mass <= 1 - p
    cut[..., -1] = False  # the likeliest token stays
    return logits.masked_fill(cut.scatter(-1, order, cut), -torch.inf)  # in the order of the ids


@checked_filter
def min_p_filter(logits: Tensor, min_p: float) -> Tensor:
    """Cut tokens with less than ``min_p``, in [0, 1], times the likeliest token's probability.

    Nguyen et al. 2024, arXiv 2407.01082. The limit moves with the model: high where one token is
    far ahead, low where many are plausible.
    """
    probs = logits.softmax(-1)  # (B, V)
    return logits.masked_fill(probs < min_p * probs.amax(-1, keepdim=True), -torch.inf)


def apply_settings(logits, temperature=1.0, top_k=None, top_p=1.0, min_p=None):
    """The filters in the order of ``generate``; another order keeps other tokens."""
    if temperature != 1:
        logits = apply_temperature(logits, temperature)
    if top_k:
        logits = top_k_filter(logits, top_k)
    if top_p < 1:
        logits = top_p_filter(logits, top_p)
    if min_p:
        logits = min_p_filter(logits, min_p)
    return logits


def apply_repetition_penalty(
    logits: Tensor, previous_ids: Sequence[int] | Sequence[Sequence[int]] | Tensor, penalty: float
) -> Tensor:
    """Make every token that already occurred less likely (Keskar et al. 2019, arXiv 1909.05858).

    A positive logit is divided by the penalty, a negative one multiplied: once per token, however
    often it occurred. (So the result depends on where the model's logits have their zero, which
    a softmax never sees.) The prompt counts too; a penalty below 1 rewards.

    Args:
        previous_ids: the token ids so far: of shape (L,) for logits (V,), B rows for (B, V). Rows
            may have different lengths; leave padding out.
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


def filter_logits(
    logits: Tensor,
    settings: SamplingSettings,
    *,
    previous_ids: Sequence | Tensor | None = None,
    min_tokens_to_keep: int = 1,
) -> Tensor:
    """The repetition penalty, then ``apply_settings``. Half precision is raised to float32 first,
    as ``generate`` does it.

    Args:
        previous_ids: the tokens so far, for the repetition penalty.
        min_tokens_to_keep: so many of the likeliest stay (beam-search sampling: 1 + EOS tokens).
    """
    logits = to_float32(check_logits(logits))
    if settings.repetition_penalty != 1:
        if previous_ids is None:
            raise ValueError("previous_ids: the repetition penalty needs the tokens so far")
        logits = apply_repetition_penalty(logits, previous_ids, settings.repetition_penalty)
    logits = apply_settings(logits, settings.temperature)
    kept = apply_settings(logits, 1.0, settings.top_k, settings.top_p, settings.min_p)
    if check_count("min_tokens_to_keep", min_tokens_to_keep) > 1:
        likeliest = logits.topk(min(min_tokens_to_keep, logits.shape[-1])).indices
        kept = kept.scatter(-1, likeliest, logits.gather(-1, likeliest))
    return kept


def sampling_distribution(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    previous_ids: Sequence | Tensor | None = None,
) -> Tensor:
    """Logits (V,) or (B, V) to the probabilities that the next token is drawn from, 0 for what is
    cut: float32 (float64 for float64 logits). The settings are explained in ``SamplingSettings``,
    ``previous_ids`` in ``filter_logits``; the defaults change nothing."""
    settings = SamplingSettings(temperature, top_k, top_p, min_p, repetition_penalty)
    return filter_logits(logits, settings, previous_ids=previous_ids).softmax(-1)
