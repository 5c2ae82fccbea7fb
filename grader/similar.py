"""Answers that look alike, as a hint for a person; never a grade.

Fingerprints by winnowing (Schleimer, Wilkerson, Aiken, "Winnowing: Local Algorithms for Document
Fingerprinting", SIGMOD 2003): hashes of every K tokens, of which the smallest in each window stays.
Names, numbers, comments, docstrings and layout don't count. What the exercise gave, and what many
students have, is no sign of anything and is left out.
"""

import hashlib
import io
import keyword
import tokenize
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

K = 10  # tokens in a fingerprint: short enough to find a copied function
WINDOW = 4
MIN_FINGERPRINTS = 12  # shorter programs look alike by themselves
LEAST = 0.6  # the smallest share, of the smaller of the two, that is reported
COMMON = 0.2  # of the students; a fingerprint that more of them have is dropped
SKIPPED = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


@dataclass(frozen=True)
class Pair:
    """Two students whose answers to an exercise share a part of their rare fingerprints."""

    exercise: str
    first: str
    second: str
    share: float


def similar_pairs(
    exercise: str, sources: dict[str, list[str]], given: Sequence[str] = ()
) -> list[Pair]:
    """Pairs of students, the most similar first.

    Args:
        sources: each student's answers.
        given: what the exercise gave to everyone.
    """
    known = set().union(*map(fingerprints, given))
    prints = {who: set().union(*map(fingerprints, answers)) - known
              for who, answers in sources.items()}  # fmt: skip
    counts = Counter(mark for marks in prints.values() for mark in marks)
    limit = max(2, COMMON * len(prints))
    rare = {who: {m for m in marks if counts[m] <= limit} for who, marks in prints.items()}
    by_mark: dict[int, list[str]] = {}
    for who, marks in rare.items():
        if len(marks) >= MIN_FINGERPRINTS:
            for mark in marks:
                by_mark.setdefault(mark, []).append(who)
    shared = Counter(pair for who in by_mark.values() for pair in combinations(sorted(who), 2))
    pairs = [Pair(exercise, a, b, count / min(len(rare[a]), len(rare[b])))
             for (a, b), count in shared.items()]  # fmt: skip
    return sorted((p for p in pairs if p.share >= LEAST), key=lambda p: (-p.share, p.first))


def fingerprints(source: str) -> set[int]:
    """Fingerprints of a program; of one that is no Python, as far as it can be read."""
    tokens = _normalised(source)
    hashes = [_hash(tokens[i : i + K]) for i in range(len(tokens) - K + 1)]
    windows = (hashes[i : i + WINDOW] for i in range(max(1, len(hashes) - WINDOW + 1)))
    return {min(window) for window in windows if window}


def _normalised(source: str) -> list[str]:
    tokens, before = [], tokenize.NEWLINE
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                tokens.append("name")
            elif token.type == tokenize.STRING and before in SKIPPED:
                pass  # a docstring
            elif token.type in (tokenize.NUMBER, tokenize.STRING):
                tokens.append("value")
            elif token.type not in SKIPPED:
                tokens.append(token.string)
            before = token.type
    except (tokenize.TokenError, SyntaxError):
        pass
    return tokens


def _hash(tokens: list[str]) -> int:
    digest = hashlib.blake2b("\0".join(tokens).encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
