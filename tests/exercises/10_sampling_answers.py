# ruff: noqa: F821
"""Answers to exercise 10: other right ones, and wrong ones that are no edit of the solution."""


# %% temperature: right
def softmax(logits, temperature):
    scaled = [x / temperature for x in logits]
    log_sum = max(scaled) + math.log(sum(math.exp(x - max(scaled)) for x in scaled))
    return [math.exp(x - log_sum) for x in scaled]


# %% top-k: right
def top_k(probs, k):
    left = list(probs)
    for token, p in enumerate(probs):
        if sum(q > p for q in probs) >= k:
            left[token] = 0.0
    total = sum(left)
    return [p / total for p in left]


# %% top-p: right
def top_p(probs, p):
    left = [0.0] * len(probs)
    for q, token in sorted((-q, token) for token, q in enumerate(probs)):
        left[token] = -q
        if sum(left) > p or math.isclose(sum(left), p):
            break
    return [q / sum(left) for q in left]


# %% draw: right
def draw(probs, u):
    last = None
    for token, p in enumerate(probs):
        if p == 0:
            continue
        last = token
        if u < p:
            return token
        u -= p
    return last


# %% order: right
def sampling_distribution(logits, temperature, p):
    """With the functions of tasks 1 and 3."""
    return top_p(softmax(logits, temperature), p)
