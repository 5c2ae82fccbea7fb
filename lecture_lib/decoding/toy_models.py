"""The lecture's toy models, written down once."""

from .toy_lm import ToyLM
from .toy_search import find_toy_model, prefixes


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

    Each step has one distribution, whatever stands to its left. It is another model than
    ``lecture_tree``: their third steps differ (.9 and .7).
    """
    steps = [(0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.05, 0.05, 0.9)]
    table = {
        prefix: dict(zip("ILU", steps[len(prefix)], strict=True)) for prefix in prefixes("ILU", 3)
    }
    return ToyLM(table, vocab=list("ILU"))


def lecture_tree() -> ToyLM:
    """The lecture's beam tree, k = 2: I, L; then IL .42, LI .15; then ILU .294, ILL .084.

    The lecture gives five distributions, all that two beams look at. After any other text the
    three tokens are equally likely here.
    """
    table = {
        "": (0.6, 0.3, 0.1),
        "I": (0.2, 0.7, 0.1),
        "L": (0.5, 0.2, 0.3),
        "I L": (0.1, 0.2, 0.7),
        "L I": (0.3, 0.4, 0.3),
    }
    rows = {prefix: dict(zip("ILU", row, strict=True)) for prefix, row in table.items()}
    return ToyLM(rows, vocab=list("ILU"), default=dict.fromkeys("ILU", 1 / 3))


def beam_loses_to_greedy() -> ToyLM:
    """The lecture's counterexample, k = 2: greedy finds AAA .144, two beams only .05712.

    After A the three continuations are so even that both beams leave it for B; the sure third
    step (AA, then A with .9) is never seen.
    """
    table = {
        "": (0.40, 0.35, 0.25),
        "A": (0.4, 0.3, 0.3),
        "B": (0.48, 0.48, 0.04),
        "A A": (0.9, 0.05, 0.05),
    }
    rows = {prefix: dict(zip("ABC", row, strict=True)) for prefix, row in table.items()}
    default = dict(zip("ABC", (0.34, 0.33, 0.33), strict=True))
    return ToyLM(rows, vocab=list("ABC"), default=default)


def beam_finds_what_greedy_misses() -> ToyLM:
    """Two beams find the likeliest text of all, greedy search a much less likely one.

    Not made by hand: the first that ``find_toy_model`` comes upon with seed 0.
    """
    return find_toy_model(
        lambda greedy, beam, best: beam == best and beam > 1.5 * greedy, seed=0
    ).model
