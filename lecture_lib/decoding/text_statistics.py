"""Numbers that tell texts apart: how varied they are, how often they repeat, how likely."""

import math
import statistics
from collections.abc import Hashable, Iterable, Sequence, Sized

from lecture_lib.checks import check_count, check_parts, check_type
from lecture_lib.tokens import check_token_ids, log_probs_of

Tokens = Sequence[Hashable]


def distinct_n(texts: Sequence[Tokens], n: int) -> float:
    """Different n-grams / all n-grams, over several texts together (Li et al. 2016, 1510.03055).

    1.0: nothing is ever said twice, in one text or in two. Near 0: always the same.

    Args:
        texts: several texts, each a sequence of tokens (ids or strings).
        n: length of the runs, 1 or more.

    Returns:
        A number in (0, 1], or nan where no text has n tokens.
    """
    needs = "several texts, each a list of tokens; wrap one as [text]"
    for each in check_type("texts", texts, list | tuple, needs):
        check_type("texts", each, list | tuple, needs)
    check_count("n", n)
    grams = [tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else math.nan


def repeated_ngrams(tokens: Tokens, n: int = 4) -> float:
    """The share of a text's n-grams that occurred in it before (seq-rep-n, Welleck et al. 2019,
    arXiv 1908.04319): in [0, 1), 0 where nothing repeats, nan for fewer than n tokens."""
    tokens = check_type("tokens", tokens, Iterable, "a list of tokens")
    return 1 - distinct_n([list(tokens)], n)


def token_log_probs(engine, prompt_ids: Sequence[int], new_ids: Sequence[int]) -> list[float]:
    """log p of each new token by the model itself (no temperature, no filter), in nats.

    One pass over the whole text: row i of the logits predicts token i + 1. However the tokens
    were chosen, this says what the model thinks of them.

    Args:
        engine: an Engine. prompt_ids, new_ids: token ids, at least one each.
    """
    n = check_parts("engine", engine).vocab_size
    prompt_ids = check_token_ids("prompt_ids", prompt_ids, n).tolist()
    new_ids = check_token_ids("new_ids", new_ids, n).tolist()
    logits = engine.logits(prompt_ids + new_ids)[0, len(prompt_ids) - 1 : -1]  # (new, V)
    return log_probs_of(logits, new_ids).tolist()


def mean_log_prob(log_probs: Sequence[float]) -> float:
    """The mean of tokens' log-probabilities, in nats; exp of its negative is the perplexity."""
    if not check_type("log_probs", log_probs, Sized, "numbers, one for each token"):
        raise ValueError("log_probs: is empty; a mean needs at least one token")
    return statistics.fmean(log_probs)
