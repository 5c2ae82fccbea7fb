"""The lecture's toy models and distributions, toys of our own, and random ones."""

import random
from collections.abc import Mapping, Sequence
from itertools import product

import torch

from lecture_lib.checks import check_choice, check_count

from .toy_lm import ToyLM

# The lecture's flat and its peaked next-token distribution, with its very sums:
#     after "The":       the 6 likeliest words hold 0.68; the nucleus at p = .92 is 9 words, 0.94
#     after "The car":   the 6 likeliest words hold 0.99; the nucleus at p = .92 is 3 words, 0.97
# The words and the sums are the picture's (the how-to-generate article of the Hugging Face blog,
# which the lecture draws on); the single probabilities are ours, chosen so that the sums come out.
FLAT = {
    "nice": 0.125, "dog": 0.120, "car": 0.115, "woman": 0.110, "guy": 0.107, "man": 0.103,
    "people": 0.095, "big": 0.087, "house": 0.078, "cat": 0.060,
}  # fmt: skip
PEAKED = {
    "drives": 0.550, "is": 0.270, "turns": 0.150, "stops": 0.009, "down": 0.006, "a": 0.005,
    "not": 0.004, "the": 0.003, "small": 0.002, "told": 0.001,
}  # fmt: skip
TOY_DISTRIBUTIONS = {"flat": FLAT, "peaked": PEAKED}


def toy_logits(name: str) -> tuple[list[str], torch.Tensor]:
    """The words of a toy distribution, the likeliest first, and their logits.

    The logits are the logs of the probabilities (a softmax gives those back), float32 (10,).

    Args:
        name: "flat" (after "The") or "peaked" (after "The car").
    """
    distribution = TOY_DISTRIBUTIONS[check_choice("name", name, list(TOY_DISTRIBUTIONS))]
    return list(distribution), torch.tensor(list(distribution.values())).log()


def mouse_and_cheese() -> ToyLM:
    """Five words, every text of five words has a probability (lecture 01 builds it by hand).

    The lecture's numbers come out of the chain rule: p(the mouse ate the cheese) = 0.02,
    p(the cheese ate the mouse) = 0.01, p(mouse the the cheese ate) = 0.0001.
    """
    words = ["ate", "ball", "cheese", "mouse", "the"]
    table = {
        "": {"the": 0.8, "mouse": 0.05, "cheese": 0.05, "ball": 0.05, "ate": 0.05},
        "the": {"mouse": 0.4, "cheese": 0.25, "ball": 0.25, "ate": 0.05, "the": 0.05},
        "the mouse": {"ate": 0.5, "the": 0.2, "mouse": 0.1, "cheese": 0.1, "ball": 0.1},
        "the mouse ate": {"the": 0.5, "cheese": 0.2, "ball": 0.1, "mouse": 0.1, "ate": 0.1},
        "the mouse ate the": {"ball": 0.4, "cheese": 0.25, "mouse": 0.15, "ate": 0.1, "the": 0.1},
        "the cheese": {"ate": 0.2, "the": 0.5, "mouse": 0.1, "ball": 0.1, "cheese": 0.1},
        "the cheese ate": {"the": 0.5, "mouse": 0.2, "cheese": 0.1, "ball": 0.1, "ate": 0.1},
        "the cheese ate the": {"mouse": 0.5, "cheese": 0.2, "ball": 0.1, "ate": 0.1, "the": 0.1},
        "mouse": {"ate": 0.6, "the": 0.1, "mouse": 0.1, "cheese": 0.1, "ball": 0.1},
        "mouse the": {"cheese": 0.4, "mouse": 0.2, "ball": 0.2, "the": 0.1, "ate": 0.1},
        "mouse the the": {"cheese": 0.4, "mouse": 0.3, "ball": 0.1, "ate": 0.1, "the": 0.1},
        "mouse the the cheese": {"ate": 0.5, "the": 0.2, "mouse": 0.1, "cheese": 0.1, "ball": 0.1},
    }
    return ToyLM(table, vocab=words, default=dict.fromkeys(words, 0.2))


def lecture_greedy() -> ToyLM:
    """The lecture's greedy example: I, L, U with probability .6 · .7 · .9 = .378.

    Each step has one distribution. In ``lecture_tree`` the third step is another (.7, not .9).
    """
    steps = [(0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.05, 0.05, 0.9)]
    return _toy("ILU", {prefix: steps[len(prefix)] for prefix in _prefixes("ILU", 3)})


def lecture_tree() -> ToyLM:
    """The lecture's beam tree, k = 2: I, L; then IL .42, LI .15; then ILU .294, ILL .084.

    The lecture gives these five distributions; after any other text all tokens are equally likely.
    """
    table = {
        "": (0.6, 0.3, 0.1),
        "I": (0.2, 0.7, 0.1),
        "L": (0.5, 0.2, 0.3),
        "I L": (0.1, 0.2, 0.7),
        "L I": (0.3, 0.4, 0.3),
    }
    return _toy("ILU", table, default=(1 / 3, 1 / 3, 1 / 3))


def beam_loses_to_greedy() -> ToyLM:
    """Our counterexample, k = 2: greedy finds AAA .144, two beams only .05712.

    After A the three continuations are so even that both beams leave it for B; the certain third
    step (AA, then A with .9) is never seen.
    """
    table = {
        "": (0.40, 0.35, 0.25),
        "A": (0.4, 0.3, 0.3),
        "B": (0.48, 0.48, 0.04),
        "A A": (0.9, 0.05, 0.05),
    }
    return _toy("ABC", table, default=(0.34, 0.33, 0.33))


def beam_finds_what_greedy_misses() -> ToyLM:
    """Two beams find the likeliest text of all, BAB .2; greedy search finds ABB .091."""
    table = {
        "": (0.5, 0.48, 0.02),
        "A": (0.06, 0.48, 0.46),
        "B": (0.52, 0.12, 0.36),
        "A B": (0.28, 0.38, 0.34),
        "B A": (0.18, 0.8, 0.02),
    }
    return _toy("ABC", table, default=(0.34, 0.33, 0.33))


def random_toy(depth: int, *, seed: int) -> ToyLM:
    """A random model of three tokens, with another distribution after every text of fewer than
    ``depth`` tokens (1 to 6). The same seed gives the same model."""
    draw = random.Random(check_count("seed", seed, least=0))
    prefixes = _prefixes("ABC", check_count("depth", depth, most=6))
    return _toy("ABC", {prefix: _random_row(draw) for prefix in prefixes})


def _toy(vocab: str, table: Mapping, default: Sequence[float] | None = None) -> ToyLM:
    """A ToyLM of letters, from rows of numbers in the letters' order."""
    rows = {prefix: dict(zip(vocab, row, strict=True)) for prefix, row in table.items()}
    rest = default and dict(zip(vocab, default, strict=True))
    return ToyLM(rows, vocab=list(vocab), default=rest)


def _prefixes(vocab: str, depth: int) -> list[tuple[str, ...]]:
    """All texts of fewer than ``depth`` tokens, the empty one first."""
    return [prefix for n in range(depth) for prefix in product(vocab, repeat=n)]


def _random_row(draw: random.Random) -> list[float]:
    """Three different multiples of .02 that sum to 1 (equal ones would leave the order open)."""
    while True:
        a, b = sorted(draw.sample(range(1, 50), 2))
        parts = [a, b - a, 50 - b]
        if len(set(parts)) == 3:
            return [part / 50 for part in parts]
