"""Similar answers: copies are found through renaming, and what everyone has is no sign."""

from grader.similar import fingerprints, similar_pairs

ORIGINAL = '''
def sample(logits, k, rng):
    """Top-k."""
    order = sorted(range(len(logits)), key=lambda i: -logits[i])[:k]
    top = max(logits[i] for i in order)
    weights = {i: exp(logits[i] - top) for i in order}
    total = sum(weights.values())
    point = rng.random() * total
    for i, weight in weights.items():
        if point < weight:
            return i
        point -= weight
    return order[-1]
'''
RENAMED = (
    ORIGINAL.replace("order", "best").replace("weights", "p").replace("point", "u")
    .replace('    """Top-k."""\n', "    # my own work\n\n").replace("total", "z")
)  # fmt: skip
OTHER = """
import numpy as np
def sample(logits, k, rng):
    scores = np.asarray(logits, dtype=float)
    scores[np.argsort(scores)[:-k]] = -np.inf
    scores = np.exp(scores - scores.max())
    return int(rng.choice(len(scores), p=scores / scores.sum()))
"""
THIRD = """
def sample(logits, k, rng):
    kept = []
    for token in range(len(logits)):
        kept.append((logits[token], token))
    kept.sort(reverse=True)
    while len(kept) > k:
        kept.pop()
    z = [exp(score) for score, _ in kept]
    return kept[bisect(list(accumulate(z)), rng.random() * sum(z))][1]
"""


def pairs(sources, given=()):
    named = {who: [text] for who, text in sources.items()}
    return [pair[1:3] for pair in similar_pairs("03", named, given)]


def test_a_renamed_copy_is_found_and_honest_work_is_not():
    sources = {"ann": ORIGINAL, "bob": RENAMED, "carol": OTHER, "dave": THIRD}
    assert pairs(sources) == [("ann", "bob")]


def test_names_numbers_comments_and_layout_do_not_count():
    assert fingerprints(ORIGINAL) == fingerprints(RENAMED)
    assert fingerprints(ORIGINAL) != fingerprints(OTHER)


def test_what_the_exercise_gave_is_left_out():
    assert pairs({"ann": ORIGINAL, "bob": RENAMED}, given=[ORIGINAL]) == []


def test_what_many_have_is_no_sign():
    assert pairs({f"s{i}": ORIGINAL for i in range(20)}) == []


def test_short_answers_are_alike_by_themselves():
    assert pairs({"ann": "def f(x):\n    return 2 * x", "bob": "def f(y):\n    return 2 * y"}) == []


def test_what_is_no_python_stops_nothing():
    for text in ("def f(", "'''", "\x00", "   x\n y", "%time x", ""):
        fingerprints(text)
