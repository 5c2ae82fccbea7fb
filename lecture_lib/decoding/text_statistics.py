"""Numbers that tell texts apart: how varied they are, and how often they repeat."""

import math
from collections.abc import Hashable, Iterable, Sequence

from lecture_lib.checks import check_count, check_type

Tokens = Sequence[Hashable]


def distinct_n(texts: Sequence[Tokens], n: int) -> float:
    """Different n-grams / all n-grams, over several texts together (Li et al. 2016, 1510.03055):
    1.0 where nothing is said twice, in one text or in two, near 0 where it is always the same; nan
    where no text has n tokens. A token is an id or a string."""
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
