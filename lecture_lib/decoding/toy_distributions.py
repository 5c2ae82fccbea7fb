"""The lecture's flat and its peaked next-token distribution, with its very sums.

    after "The":       the 6 likeliest words hold 0.68; the nucleus at p = .92 is 9 words, 0.94
    after "The car":   the 6 likeliest words hold 0.99; the nucleus at p = .92 is 3 words, 0.97

The words and the sums are the picture's (the how-to-generate article of the Hugging Face blog,
which the lecture draws on); the single probabilities are ours, chosen so that the sums come out.
"""

import torch

from .toy_lm import ToyLM

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

    Raises:
        ValueError: another name.
    """
    if name not in TOY_DISTRIBUTIONS:
        raise ValueError(f"name: needs one of {list(TOY_DISTRIBUTIONS)}, got {name!r}")
    distribution = TOY_DISTRIBUTIONS[name]
    return list(distribution), torch.tensor(list(distribution.values())).log()


def the_car() -> ToyLM:
    """Both distributions as one ToyLM: flat after "The", peaked after "The car".

    Every text begins with "The"; after any other prefix all the words are equally likely.
    """
    words = ["The", *FLAT, *(word for word in PEAKED if word not in FLAT)]
    table = {"": {"The": 1.0}, "The": FLAT, "The car": PEAKED}
    return ToyLM(table, vocab=words, default=dict.fromkeys(words, 1 / len(words)))
