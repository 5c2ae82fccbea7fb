"""Numbers that tell texts apart: how varied they are, how often they repeat, how likely."""

import math
from collections.abc import Hashable, Sequence

from lecture_lib.checks import check_count
from lecture_lib.tokens import log_probs_of

Tokens = Sequence[Hashable]


def ngrams(tokens: Tokens, n: int) -> list[tuple]:
    """All runs of n tokens, in order: len(tokens) - n + 1 of them, none for a shorter text."""
    check_count("n", n)
    tokens = list(tokens)
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def distinct_n(texts: Sequence[Tokens], n: int) -> float:
    """Different n-grams / all n-grams, over several texts together (Li et al. 2016, 1510.03055).

    1.0: nothing is ever said twice, in one text or in two. Near 0: always the same.

    Args:
        texts: several texts, each a sequence of tokens (ids or strings).
        n: length of the runs, 1 or more.

    Returns:
        A number in (0, 1], or nan where no text has n tokens.

    Raises:
        ValueError: n below 1, a single text in place of several.
    """
    grams = [gram for text in _as_texts(texts) for gram in ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def repeated_ngrams(tokens: Tokens, n: int = 4) -> float:
    """The share of a text's n-grams that occurred in it before (seq-rep-n, Welleck et al. 2019,
    arXiv 1908.04319): 1 - different / all.

    Returns:
        A number in [0, 1), 0 where nothing repeats, or nan for a text of fewer than n tokens.

    Raises:
        ValueError: n below 1.
    """
    grams = ngrams(tokens, n)
    return 1 - len(set(grams)) / len(grams) if grams else math.nan


def token_log_probs(engine, prompt_ids: Sequence[int], new_ids: Sequence[int]) -> list[float]:
    """log p of each new token by the model itself (no temperature, no filter), in nats.

    One pass over the whole text: row i of the logits predicts token i + 1. However the tokens
    were chosen, this says what the model thinks of them.

    Args:
        engine: an Engine. prompt_ids, new_ids: token ids, at least one each.

    Raises:
        ValueError: no prompt or no new tokens; ids outside the vocabulary; too long a text.
    """
    prompt_ids, new_ids = list(prompt_ids), list(new_ids)
    if not prompt_ids or not new_ids:
        raise ValueError("prompt_ids, new_ids: need at least one token each")
    logits = engine.logits(prompt_ids + new_ids)[0, len(prompt_ids) - 1 : -1]  # (new, V)
    return log_probs_of(logits, new_ids).tolist()


def mean_log_prob(log_probs: Sequence[float]) -> float:
    """The mean of tokens' log-probabilities, in nats; exp of its negative is the perplexity.

    Raises:
        ValueError: no tokens.
    """
    log_probs = list(log_probs)
    if not log_probs:
        raise ValueError("log_probs: is empty; a mean needs at least one token")
    return math.fsum(log_probs) / len(log_probs)


def _as_texts(texts: Sequence[Tokens]) -> list[Tokens]:
    texts = list(texts)
    if any(isinstance(text, str | int) for text in texts):
        raise ValueError("texts: needs several texts, each a list of tokens; wrap one as [text]")
    return texts
