"""Answers to exercise 09: other right ones, and wrong ones that are no edit of the solution."""


# %% step: right
def beam_step(beams, log_probs, num_beams):
    flat = []
    for i, (tokens, score) in enumerate(beams):
        for j, log_prob in enumerate(log_probs[i]):
            flat.append((-(score + log_prob), (i, j), [*tokens, j], score + log_prob))
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


# %% threshold: right
x_threshold = max(i / 1000 for i in range(334, 1000) if 0.4 * i / 1000 < 0.35 * 0.48)  # .419


# %% stopping: right
def can_stop(finished, best_running, num_beams, n_tokens, max_new_tokens, length_penalty):
    def score(length):
        return best_running / pow(length, length_penalty)

    n_better_or_equal = 0
    reachable = max(score(length) for length in range(n_tokens, max_new_tokens + 1))
    for text in finished:
        if text >= reachable:
            n_better_or_equal += 1
    return n_better_or_equal == num_beams
