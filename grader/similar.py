"""Answers that look alike, as a hint for a person; never a grade.

A program's fingerprints are all runs of K of its tokens. Names, numbers, comments, docstrings and
layout don't count. What the exercise gave, and what many students have, is no sign of anything and
is left out. (Schleimer, Wilkerson, Aiken, "Winnowing: Local Algorithms for Document
Fingerprinting", SIGMOD 2003, keep a part of the runs; a course is small enough for all of them.)
"""

import functools
import keyword
import tokenize
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

K = 10  # tokens in a fingerprint: short enough to find a copied function
MIN_FINGERPRINTS = 30  # shorter programs look alike by themselves
LEAST = 0.6  # the smallest share, of the smaller of the two, that is reported
MAX_LINE, MAX_TEXT = 500, 40_000  # characters that are read: tokenize is quadratic in a line's
COMMON = 0.2  # of the students; a fingerprint that more of them have is dropped
LEAST_COMMON = 4  # students may share one in any case: in a small class a few copies are found too
READ = {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING}


def similar_pairs(
    where: str, sources: dict[str, list[str]], given: Sequence[str] = ()
) -> list[tuple[str, str, str, float]]:
    """(where, student, student, share of rare fingerprints) of pairs, the most similar first.

    ``where`` is an exercise, or "exercise/task"; ``given`` is what everyone got.
    """
    known = set().union(*map(fingerprints, given))
    prints = {who: set().union(*map(fingerprints, answers)) - known
              for who, answers in sources.items()}  # fmt: skip
    counts = Counter(mark for marks in prints.values() for mark in marks)
    limit = max(LEAST_COMMON, COMMON * len(prints))
    rare = {who: {m for m in marks if counts[m] <= limit} for who, marks in prints.items()}
    rare = {who: marks for who, marks in sorted(rare.items()) if len(marks) >= MIN_FINGERPRINTS}
    shares = {(a, b): len(rare[a] & rare[b]) / min(len(rare[a]), len(rare[b]))
              for a, b in combinations(rare, 2)}  # fmt: skip
    pairs = [(where, a, b, share) for (a, b), share in shares.items() if share >= LEAST]
    return sorted(pairs, key=lambda pair: (-pair[3], pair[1]))


@functools.lru_cache(10_000)  # each answer is looked at with its task and with its exercise
def fingerprints(source: str) -> frozenset[int]:
    """Fingerprints of a program; of one that is no Python, as far as it can be read."""
    tokens, before = [], tokenize.NEWLINE
    lines = (f"{line[:MAX_LINE]}\n" for line in source[:MAX_TEXT].splitlines())
    try:
        for token in tokenize.generate_tokens(functools.partial(next, lines, "")):
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                tokens.append("name")
            elif token.type == tokenize.STRING and before not in READ:
                pass  # a docstring
            elif token.type in (tokenize.NUMBER, tokenize.STRING):
                tokens.append("value")
            elif token.type in READ:
                tokens.append(token.string)
            before = token.type
    except (tokenize.TokenError, SyntaxError):
        pass
    return frozenset(hash(tuple(tokens[i : i + K])) for i in range(len(tokens) - K + 1))
