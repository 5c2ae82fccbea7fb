"""Answers to exercise 13: other right ones, and wrong ones that are no edit of the solution."""


# %% lookup: right
def draft_from_text(tokens, k, longest):
    best = (0, 0)  # length of the common ending, place behind it
    for end in range(1, len(tokens)):
        n = 0
        while n < min(longest, end) and tokens[end - 1 - n] == tokens[-1 - n]:
            n += 1
        if n and n >= best[0]:
            best = (n, end)
    return list(tokens[best[1] : best[1] + k]) if best[0] else []


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


# %% tree: right
def draft_tree(drafts, past_len):
    nodes, parents, depths = [], [], []
    for draft in drafts:
        at = -1
        for depth, token in enumerate(draft):
            known = [i for i in range(len(nodes)) if (nodes[i], parents[i]) == (token, at)]
            if not known:
                nodes.append(token)
                parents.append(at)
                depths.append(depth)
                known = [len(nodes) - 1]
            at = known[0]
    mask = []
    for i in range(len(nodes)):
        row, at = [0] * len(nodes), i
        while at >= 0:
            row[at] = 1
            at = parents[at]
        mask.append([1] * past_len + row)
    return nodes, [past_len + depth for depth in depths], mask


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
