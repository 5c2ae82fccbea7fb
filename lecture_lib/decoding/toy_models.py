"""The lecture's toy models, written down once."""

from .toy_lm import ToyLM


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
