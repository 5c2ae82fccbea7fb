"""A seeded search over random toy models: does beam search ever lose? How often does it win?"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from .beam_search import beam_search
from .toy_lm import ToyLM

_PARTS = 50  # probabilities are multiples of .02, so that a student can check them by hand


@dataclass(frozen=True)
class FoundToy:
    """A toy model, and p of the texts that greedy search and beam search find in it.

    Attributes:
        model: the ToyLM. tries: how many models were looked at until this one came.
        greedy_p, beam_p: probability of their texts. best_p: that of the likeliest text of all.
    """

    model: ToyLM
    greedy_p: float
    beam_p: float
    best_p: float
    tries: int


def find_toy_model(
    wanted: Callable[[float, float, float], bool],
    *,
    vocab: Sequence[str] = ("A", "B", "C"),
    depth: int = 3,
    num_beams: int = 2,
    seed: int = 0,
    max_tries: int = 10_000,
) -> FoundToy:
    """The first random toy model of which ``wanted(greedy_p, beam_p, best_p)`` is true.

    Args:
        wanted: takes the probabilities of greedy's text, of the beam's, and of the likeliest.
        vocab, depth: the tokens, and how many a text has.
        num_beams: of the beam search.
        seed: the same seed gives the same model.
        max_tries: after this many models the search gives up.

    Raises:
        ValueError: nothing found, or a model too large to enumerate.
    """
    if len(vocab) ** depth > 10**4:
        raise ValueError(f"depth: {len(vocab)} ** {depth} texts are too many to compare")
    for name, value in {"depth": depth, "max_tries": max_tries}.items():
        if value < 1:
            raise ValueError(f"{name}: needs 1 or more, got {value}")
    draw = random.Random(seed)
    for tries in range(1, max_tries + 1):
        model = random_toy_model(draw, vocab, depth)
        greedy_p, beam_p = (search_probability(model, depth, k) for k in (1, num_beams))
        # Rounded, so that products in another order don't differ in their last bit.
        best_p = round(max(model.all_sequences(depth).values()), 12)
        if wanted(greedy_p, beam_p, best_p):
            return FoundToy(model, greedy_p, beam_p, best_p, tries)
    raise ValueError(f"wanted: none of {max_tries} models (seed {seed}) is like that")


def search_probability(model: ToyLM, depth: int, num_beams: int) -> float:
    """p of the text of ``depth`` tokens that beam search finds (greedy search with one beam)."""
    trace = beam_search(model, num_beams=num_beams, max_new_tokens=depth, length_penalty=0.0)
    return round(math.exp(trace.scores[0]), 12)


def random_toy_model(draw: random.Random, vocab: Sequence[str], depth: int) -> ToyLM:
    """A toy with a random distribution after every text that is shorter than ``depth``."""
    table = {
        prefix: dict(zip(vocab, _random_distribution(draw, len(vocab)), strict=True))
        for prefix in prefixes(vocab, depth)
    }
    return ToyLM(table, vocab=vocab)


def prefixes(vocab: Sequence[str], depth: int) -> list[tuple[str, ...]]:
    """All texts of fewer than ``depth`` tokens, the empty one first."""
    return [prefix for n in range(depth) for prefix in product(vocab, repeat=n)]


def _random_distribution(draw: random.Random, n: int) -> list[float]:
    """n different multiples of .02 that sum to 1 (equal ones would leave the order open)."""
    while True:
        cuts = sorted(draw.sample(range(1, _PARTS), n - 1))
        parts = [b - a for a, b in zip([0, *cuts], [*cuts, _PARTS], strict=True)]
        if len(set(parts)) == n:
            return [part / _PARTS for part in parts]
