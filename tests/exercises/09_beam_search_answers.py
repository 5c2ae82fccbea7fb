# ruff: noqa: F811
"""Answers to exercise 09: other right ones, and wrong ones by the misconception they must show."""

# %% track: right
track = {"kept": [["a", "b"], ["bc", "aa"], ["bca", "aaa"]], "probability": 0.144}


# %% track: two-per-parent
track = {"kept": [["a", "b"], ["aa", "bc"], ["aaa", "bca"]], "probability": 0.3 * 0.8 * 0.6}


# %% track: step-probabilities
track = {"kept": [["a", "b"], ["bc", "aa"], ["bca", "aaa"]], "probability": 0.6}


# %% track: greedy
track = {"kept": [["a", "b"], ["aa", "ab"], ["aba", "aaa"]], "probability": 0.5 * 0.3 * 0.9}


# %% track: unpruned
track = {"kept": [["a", "b"], ["bc", "aa"], ["caa", "bca"]], "probability": 0.2 * 0.9 * 0.9}


# %% step: right
def beam_step(beams, log_probs, num_beams):
    flat = []
    for i, (tokens, score) in enumerate(beams):
        for j, log_prob in enumerate(log_probs[i]):
            flat.append((-(score + log_prob), (i, j), [*tokens, j], score + log_prob))
    flat.sort(key=lambda c: (c[0], c[1]))
    return [(tokens, score) for _, _, tokens, score in flat[:num_beams]]


# %% step: forgets-the-past
def beam_step(beams, log_probs, num_beams):
    flat = []
    for i, (tokens, _) in enumerate(beams):
        for j, log_prob in enumerate(log_probs[i]):
            flat.append((-log_prob, (i, j), [*tokens, j], log_prob))
    flat.sort(key=lambda c: (c[0], c[1]))
    return [(tokens, score) for _, _, tokens, score in flat[:num_beams]]


# %% step: multiplies
def beam_step(beams, log_probs, num_beams):
    flat = []
    for i, (tokens, score) in enumerate(beams):
        for j, log_prob in enumerate(log_probs[i]):
            flat.append((-(score * log_prob), (i, j), [*tokens, j], score * log_prob))
    flat.sort(key=lambda c: (c[0], c[1]))
    return [(tokens, score) for _, _, tokens, score in flat[:num_beams]]


# %% step: best-of-each-beam
def beam_step(beams, log_probs, num_beams):
    kept = []
    for (tokens, score), row in zip(beams, log_probs, strict=True):
        best = sorted(range(len(row)), key=lambda token: -row[token])[:num_beams]
        kept += [([*tokens, token], score + row[token]) for token in best]
    return kept


# %% step: worst-first
def beam_step(beams, log_probs, num_beams):
    flat = []
    for i, (tokens, score) in enumerate(beams):
        for j, log_prob in enumerate(log_probs[i]):
            flat.append((score + log_prob, (i, j), [*tokens, j], score + log_prob))
    flat.sort(key=lambda c: (c[0], c[1]))
    return [(tokens, score) for _, _, tokens, score in flat[:num_beams]]


# %% step: ties-by-token
def beam_step(beams, log_probs, num_beams):
    flat = []
    for i, (tokens, score) in enumerate(beams):
        for j, log_prob in enumerate(log_probs[i]):
            flat.append((-(score + log_prob), (j, i), [*tokens, j], score + log_prob))
    flat.sort(key=lambda c: (c[0], c[1]))
    return [(tokens, score) for _, _, tokens, score in flat[:num_beams]]


# %% choice: right
def best_hypothesis(hypotheses, length_penalty):
    best = 0
    for i, (n, total) in enumerate(hypotheses):
        first_n, first = hypotheses[best]
        if total / n**length_penalty > first / first_n**length_penalty:
            best = i
    return best


# %% choice: multiplies
def best_hypothesis(hypotheses, length_penalty):
    best = 0
    for i, (n, total) in enumerate(hypotheses):
        first_n, first = hypotheses[best]
        if total * n**length_penalty > first * first_n**length_penalty:
            best = i
    return best


# %% choice: ignores-the-power
def best_hypothesis(hypotheses, length_penalty):
    best = 0
    for i, (n, total) in enumerate(hypotheses):
        first_n, first = hypotheses[best]
        if total / n > first / first_n:
            best = i
    return best


# %% choice: no-normalisation
def best_hypothesis(hypotheses, length_penalty):
    totals = [total for _, total in hypotheses]
    return totals.index(max(totals))


# %% choice: length-times-power
def best_hypothesis(hypotheses, length_penalty):
    scores = [total / (n * length_penalty or 1) for n, total in hypotheses]
    return scores.index(max(scores))


# %% select: right
def select(candidates, num_beams, eos):
    running, finished = [], []
    for rank, candidate in enumerate(candidates):
        if candidate[2] == eos:
            if rank < num_beams:
                finished.append(candidate)
        elif len(running) < num_beams:
            running.append(candidate)
    return running, finished


# %% select: narrows
def select(candidates, num_beams, eos):
    best = candidates[:num_beams]
    return [c for c in best if c[2] != eos], [c for c in best if c[2] == eos]


# %% select: finishes-at-any-rank
def select(candidates, num_beams, eos):
    running = [c for c in candidates if c[2] != eos]
    return running[:num_beams], [c for c in candidates if c[2] == eos]


# %% select: runs-on
def select(candidates, num_beams, eos):
    best = candidates[:num_beams]
    return best, [c for c in best if c[2] == eos]


# %% select: one-finished
def select(candidates, num_beams, eos):
    running = [c for c in candidates if c[2] != eos][:num_beams]
    for c in candidates[:num_beams]:
        if c[2] == eos:
            return running, [c]
    return running, []


# %% threshold: right
x_threshold = 0.42


# %% threshold: ratio-of-first-steps
x_threshold = 0.35 / 0.40


# %% threshold: second-step-only
x_threshold = 0.48


# %% threshold: probability-of-ba
x_threshold = 0.35 * 0.48


# %% threshold: greedy-s-limit
x_threshold = 1 / 3


# %% threshold: right
x_threshold = max(i / 1000 for i in range(334, 1000) if 0.4 * i / 1000 < 0.35 * 0.48)  # .419
