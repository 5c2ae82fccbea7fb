# ruff: noqa: F811, F821
"""Answers to exercise 10: other right ones, and wrong ones by the misconception they must show."""


# %% temperature: right
def softmax(logits, temperature):
    scaled = [x / temperature for x in logits]
    log_sum = max(scaled) + math.log(sum(math.exp(x - max(scaled)) for x in scaled))
    return [math.exp(x - log_sum) for x in scaled]


# %% temperature: multiplies
def softmax(logits, temperature):
    top = max(logits)
    weights = [math.exp((x - top) * temperature) for x in logits]
    total = sum(weights)
    return [w / total for w in weights]


# %% temperature: divides-probabilities
def softmax(logits, temperature):
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    total = sum(weights)
    return [w / total / temperature for w in weights]


# %% temperature: no-temperature
def softmax(logits, temperature):
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    total = sum(weights)
    return [w / total for w in weights]


# %% temperature: overflows
def softmax(logits, temperature):
    weights = [math.exp(x / temperature) for x in logits]
    return [w / sum(weights) for w in weights]


# %% top-k: right
def top_k(probs, k):
    left = list(probs)
    for token, p in enumerate(probs):
        if sum(q > p for q in probs) >= k:
            left[token] = 0.0
    total = sum(left)
    return [p / total for p in left]


# %% top-k: not-renormalised
def top_k(probs, k):
    limit = sorted(probs)[-min(k, len(probs))]
    return [p if p >= limit else 0.0 for p in probs]


# %% top-k: drops-ties
def top_k(probs, k):
    best = sorted(range(len(probs)), key=lambda i: -probs[i])[:k]
    total = sum(probs[i] for i in best)
    return [p / total if i in best else 0.0 for i, p in enumerate(probs)]


# %% top-k: one-too-few
def top_k(probs, k):
    limit = sorted(probs)[-min(k, len(probs))]
    left = [p if p > limit else 0.0 for p in probs]
    if not any(left):
        left[probs.index(max(probs))] = 1.0
    return [p / sum(left) for p in left]


# %% top-k: k-unlikeliest
def top_k(probs, k):
    limit = sorted(probs)[:k][-1]
    left = [p if p <= limit else 0.0 for p in probs]
    return [p / sum(left) for p in left]


# %% top-k: k-above-vocabulary
def top_k(probs, k):
    limit = sorted(probs, reverse=True)[k - 1]
    left = [p if p >= limit else 0.0 for p in probs]
    return [p / sum(left) for p in left]


# %% top-p: right
def top_p(probs, p):
    left = [0.0] * len(probs)
    for q, token in sorted((-q, token) for token, q in enumerate(probs)):
        left[token] = -q
        if sum(left) > p or math.isclose(sum(left), p):
            break
    return [q / sum(left) for q in left]


# %% top-p: stops-before-p
def top_p(probs, p):
    left, total = [0.0] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        total += probs[token]
        if total >= p - 1e-9 and any(left):
            break
        left[token] = probs[token]
        if total >= p - 1e-9:
            break
    return [q / sum(left) for q in left]


# %% top-p: not-renormalised
def top_p(probs, p):
    left, total = [0.0] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        left[token] = probs[token]
        total += probs[token]
        if total >= p - 1e-9:
            break
    return left


# %% top-p: unsorted
def top_p(probs, p):
    left, total = [0.0] * len(probs), 0.0
    for token in range(len(probs)):
        left[token] = probs[token]
        total += probs[token]
        if total >= p - 1e-9:
            break
    return [q / sum(left) for q in left]


# %% top-p: each-above-p
def top_p(probs, p):
    left = [q if q >= p else 0.0 for q in probs]
    if not any(left):
        left[probs.index(max(probs))] = 1.0
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


# %% draw: likeliest
def draw(probs, u):
    return max(range(len(probs)), key=lambda token: probs[token])


# %% draw: all-alike
def draw(probs, u):
    return math.floor(len(probs) * u)


# %% draw: sorted-first
def draw(probs, u):
    end = 0.0
    ranked = sorted(enumerate(probs), key=lambda pair: pair[1], reverse=True)
    for token, p in ranked:
        end += p
        if u < end:
            return token
    return [token for token, p in ranked if p > 0][-1]


# %% draw: closed-above
def draw(probs, u):
    for token in range(len(probs)):
        if u <= sum(probs[: token + 1]):
            return token
    return len(probs) - 1


# %% order: right
def sampling_distribution(logits, temperature, p):
    probs = [math.exp(x / temperature) for x in logits]
    probs = [w / sum(probs) for w in probs]
    left, total = [0.0] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        left[token] = probs[token]
        total += probs[token]
        if total >= p:
            break
    return [q / sum(left) for q in left]


# %% order: cuts-first
def sampling_distribution(logits, temperature, p):
    probs = [math.exp(x) for x in logits]
    probs = [w / sum(probs) for w in probs]
    left, total = [0.0] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        left[token] = math.exp(logits[token] / temperature)
        total += probs[token]
        if total >= p:
            break
    return [q / sum(left) for q in left]


# %% order: no-cut
def sampling_distribution(logits, temperature, p):
    probs = [math.exp(x / temperature) for x in logits]
    return [w / sum(probs) for w in probs]


# %% order: no-temperature
def sampling_distribution(logits, temperature, p):
    probs = [math.exp(x) for x in logits]
    probs = [w / sum(probs) for w in probs]
    left, total = [0.0] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        left[token] = probs[token]
        total += probs[token]
        if total >= p:
            break
    return [q / sum(left) for q in left]


# %% order: not-renormalised
def sampling_distribution(logits, temperature, p):
    probs = [math.exp(x / temperature) for x in logits]
    probs = [w / sum(probs) for w in probs]
    left, total = [0.0] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        left[token] = probs[token]
        total += probs[token]
        if total >= p:
            break
    return left


# %% strategies: right
answers = {
    "()": "greedy",
    "(temperature=0.7)": "greedy",
    "(do_sample=True, top_k=1)": "greedy",
    "(do_sample=True)": "sampling",
    "(num_beams=4)": "beam search",
    "(num_beams=4, do_sample=True)": "beam sampling",
    "(top_p=0.9, top_k=0)": "greedy",
    "tokens that (do_sample=True) keeps": 50,
}


# %% strategies: settings-alone-sample
answers = {
    "()": "greedy",
    "(temperature=0.7)": "sampling",
    "(do_sample=True, top_k=1)": "greedy",
    "(do_sample=True)": "sampling",
    "(num_beams=4)": "beam search",
    "(num_beams=4, do_sample=True)": "beam sampling",
    "(top_p=0.9, top_k=0)": "sampling",
    "tokens that (do_sample=True) keeps": 50,
}


# %% strategies: top-k-1-samples
answers = {
    "()": "greedy",
    "(temperature=0.7)": "greedy",
    "(do_sample=True, top_k=1)": "sampling",
    "(do_sample=True)": "sampling",
    "(num_beams=4)": "beam search",
    "(num_beams=4, do_sample=True)": "beam sampling",
    "(top_p=0.9, top_k=0)": "greedy",
    "tokens that (do_sample=True) keeps": 50,
}


# %% strategies: beams-win
answers = {
    "()": "greedy",
    "(temperature=0.7)": "greedy",
    "(do_sample=True, top_k=1)": "greedy",
    "(do_sample=True)": "sampling",
    "(num_beams=4)": "beam search",
    "(num_beams=4, do_sample=True)": "beam search",
    "(top_p=0.9, top_k=0)": "greedy",
    "tokens that (do_sample=True) keeps": 50,
}


# %% strategies: no-default-k
answers = {
    "()": "greedy",
    "(temperature=0.7)": "greedy",
    "(do_sample=True, top_k=1)": "greedy",
    "(do_sample=True)": "sampling",
    "(num_beams=4)": "beam search",
    "(num_beams=4, do_sample=True)": "beam sampling",
    "(top_p=0.9, top_k=0)": "greedy",
    "tokens that (do_sample=True) keeps": 0,
}


# %% order: right
def sampling_distribution(logits, temperature, p):
    """With the functions of tasks 1 and 3."""
    return top_p(softmax(logits, temperature), p)
