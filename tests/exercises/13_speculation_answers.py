"""Answers to exercise 13: other right ones, and wrong ones that are no edit of the solution."""


# %% redraw: right
def next_token(token, u, v, p, q):
    if p[token] >= q[token] > 0 or (q[token] > 0 and u < p[token] / q[token]):
        return token
    left = {i: a - b for i, (a, b) in enumerate(zip(p, q)) if a > b}  # noqa: B905
    place = v * sum(left.values())
    for i, weight in left.items():
        if place < weight:
            return i
        place -= weight
    return max(left)


# %% generate: right
def generate(forward, prompt_ids, n_new, draft, end_id):
    text = list(prompt_ids)
    logits = forward(text, 0)
    text.append(int(logits[-1].argmax()))
    while text[-1] != end_id and len(text) < len(prompt_ids) + n_new:
        guesses = list(draft(list(text)))
        rows = forward([text[-1], *guesses], len(text) - 1).max(-1).indices
        for i in range(len(guesses) + 1):
            text.append(int(rows[i]))
            if text[-1] == end_id or i == len(guesses) or guesses[i] != text[-1]:
                break
    return text[len(prompt_ids) :][:n_new]
