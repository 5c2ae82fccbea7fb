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


# %% verify: right
def verify(draft, choices, past_len, end_id):
    n = next((i for i, x in enumerate(draft) if x != choices[i]), len(draft))
    new = list(choices[: n + 1])
    if end_id in new:
        new = new[: new.index(end_id) + 1]
    return new, past_len + len(new)


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


# %% price: right
def best_draft_length(alpha, row_costs, draft_cost):
    speed_ups = {0: 1.0}
    for k in range(1, len(row_costs)):
        n_tokens = k + 1 if alpha == 1 else (1 - alpha ** (k + 1)) / (1 - alpha)
        speed_ups[k] = n_tokens / (row_costs[k] + k * draft_cost)
    k = max(speed_ups, key=lambda n: (round(speed_ups[n], 12), -n))
    return k, speed_ups[k]


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
