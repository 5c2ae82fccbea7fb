# ruff: noqa: F811, F821
"""Answers to exercise 02: other right ones, and wrong ones by the misconception they show."""


# %% greedy-step: right
def greedy_step(model, token_ids):
    extended = list(token_ids)
    probs = torch.softmax(model(token_ids), dim=-1)
    extended.append(torch.argmax(probs[len(token_ids) - 1]))
    return extended


# %% greedy-step: changes-the-argument
def greedy_step(model, token_ids):
    token_ids += [model(token_ids)[-1].argmax().item()]
    return token_ids


# %% greedy-step: token-only
def greedy_step(model, token_ids):
    probs = model(token_ids)[-1].softmax(-1)
    return probs.argmax().item()


# %% greedy-step: list-of-the-new-token
def greedy_step(model, token_ids):
    return model(token_ids)[-1:].argmax(-1).tolist()


# %% greedy-step: first-row
def greedy_step(model, token_ids):
    best = model(token_ids).argmax(dim=-1)
    return [*token_ids, best[0].item()]


# %% greedy-step: argmax-of-the-table
def greedy_step(model, token_ids):
    logits = model(token_ids)
    return [*token_ids, torch.argmax(logits).item()]


# %% greedy-step: argmax-over-positions
def greedy_step(model, token_ids):
    best = torch.argmax(model(token_ids), 0)
    return [*token_ids, best[-1].item()]


# %% greedy-step: appends-the-logit
def greedy_step(model, token_ids):
    best = max(model(token_ids)[-1].tolist())
    return [*token_ids, best]


# %% greedy-step: least-likely
def greedy_step(model, token_ids):
    order = model(token_ids)[-1].argsort()
    return [*token_ids, order[0].item()]


# %% greedy-generate: right
def greedy_generate(model, prompt_ids, max_new_tokens):
    if max_new_tokens == 0:
        return []
    first = model(prompt_ids)[-1].argmax().item()
    return [first, *greedy_generate(model, [*prompt_ids, first], max_new_tokens - 1)]


# %% greedy-generate: returns-the-prompt
def greedy_generate(model, prompt_ids, max_new_tokens):
    ids = prompt_ids.copy()
    for _ in range(max_new_tokens):
        ids.append(model(ids)[-1].argmax().item())
    return ids


# %% greedy-generate: counts-the-prompt
def greedy_generate(model, prompt_ids, max_new_tokens):
    ids = prompt_ids.copy()
    for _ in range(max_new_tokens - len(prompt_ids)):
        ids.append(model(ids)[-1].argmax().item())
    return ids[len(prompt_ids) :]


# %% greedy-generate: never-appends
def greedy_generate(model, prompt_ids, max_new_tokens):
    new = []
    while len(new) < max_new_tokens:
        logits = model(prompt_ids)
        new.append(logits[-1].argmax().item())
    return new


# %% greedy-generate: last-token-only
def greedy_generate(model, prompt_ids, max_new_tokens):
    new = []
    token = model(prompt_ids)[-1].argmax().item()
    while True:
        new.append(token)
        if len(new) == max_new_tokens:
            return new
        token = model([token])[-1].argmax().item()


# %% greedy-generate: forgets-the-prompt
def greedy_generate(model, prompt_ids, max_new_tokens):
    new = [model(prompt_ids)[-1].argmax().item()]
    for _ in range(max_new_tokens - 1):
        new.append(model(new)[-1].argmax().item())
    return new


# %% greedy-generate: changes-the-prompt
def greedy_generate(model, prompt_ids, max_new_tokens):
    ids, n_prompt = prompt_ids, len(prompt_ids)
    for _ in range(max_new_tokens):
        ids.append(model(ids)[-1].argmax().item())
    return ids[n_prompt:]


# %% greedy-generate: one-too-many
def greedy_generate(model, prompt_ids, max_new_tokens):
    new = []
    while len(new) <= max_new_tokens:
        new.append(model([*prompt_ids, *new])[-1].argmax().item())
    return new


# %% greedy-generate: one-call
def greedy_generate(model, prompt_ids, max_new_tokens):
    order = model(prompt_ids)[-1].argsort(descending=True)
    return order[:max_new_tokens].tolist()


# %% greedy-generate: calls-too-often
def greedy_generate(model, prompt_ids, max_new_tokens):
    ids = list(prompt_ids)
    next_id = model(ids)[-1].argmax().item()
    while len(ids) < len(prompt_ids) + max_new_tokens:
        ids.append(next_id)
        next_id = model(ids)[-1].argmax().item()
    return ids[len(prompt_ids) :]


# %% greedy-generate: calls-too-often
def greedy_generate(model, prompt_ids, max_new_tokens):
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        highest = model(ids)[-1].max()
        ids.append(model(ids)[-1].tolist().index(highest))
    return ids[len(prompt_ids) :]


# %% generate-until-end: right
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        next_id = model(ids)[-1].argmax()
        ids.append(next_id.item())
        if any(next_id == end for end in eos_token_ids):
            break
    return ids[len(prompt_ids) :]


# %% generate-until-end: drops-the-end
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new = []
    for _ in range(max_new_tokens):
        next_id = model(prompt_ids + new)[-1].argmax().item()
        if next_id in eos_token_ids:
            break
        new.append(next_id)
    return new


# %% generate-until-end: never-stops
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new = []
    for _ in range(max_new_tokens):
        new.append(model(prompt_ids + new)[-1].argmax().item())
        if new[-1] == eos_token_ids:  # an int is never a list
            break
    return new


# %% generate-until-end: first-id-only
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new, end = [], eos_token_ids[0]
    while len(new) < max_new_tokens and end not in new:
        new.append(model(prompt_ids + new)[-1].argmax().item())
    return new


# %% generate-until-end: end-in-the-prompt
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        ids.append(model(ids)[-1].argmax().item())
        if any(end in ids for end in eos_token_ids):
            break
    return ids[len(prompt_ids) :]


# %% generate-until-end: end-of-the-prompt
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    ids = list(prompt_ids)
    while ids[-1] not in eos_token_ids and len(ids) < len(prompt_ids) + max_new_tokens:
        ids.append(model(ids)[-1].argmax().item())
    return ids[len(prompt_ids) :]


# %% generate-until-end: one-too-late
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new = []
    for _ in range(max_new_tokens):
        ended = bool(new) and new[-1] in eos_token_ids
        new.append(model(prompt_ids + new)[-1].argmax().item())
        if ended:
            break
    return new


# %% generate-until-end: calls-after-the-end
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        ids.append(model(ids)[-1].argmax().item())
    new = ids[len(prompt_ids) :]
    for i, token in enumerate(new):
        if token in eos_token_ids:
            return new[: i + 1]
    return new


# %% generate-until-end: calls-after-the-end
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new = []
    for _ in range(max_new_tokens):
        logits = model(prompt_ids + new)
        if new and new[-1] in eos_token_ids:
            return new
        new.append(logits[-1].argmax().item())
    return new


# %% generate-with-choice: right
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    tokens, probabilities = [], []
    while len(tokens) < max_new_tokens:
        logits = model(prompt_ids + tokens)[-1]
        probs = (logits - logits.logsumexp(0)).exp()
        tokens.append(choose(probs))
        probabilities.append(probs[tokens[-1]])
    return list(zip(tokens, probabilities, strict=True))


# %% generate-with-choice: ignores-the-choice
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        p, token = model(ids)[-1].softmax(-1).max(dim=-1)
        ids.append(token.item())
        trace.append((token.item(), p.item()))
    return trace


# %% generate-with-choice: gives-logits
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        probs = model(ids)[-1]
        ids.append(choose(probs))
        trace.append((ids[-1], probs[ids[-1]].item()))
    return trace


# %% generate-with-choice: softmax-over-positions
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        probs = model(ids).softmax(0)[-1]
        ids.append(choose(probs))
        trace.append((ids[-1], probs[ids[-1]].item()))
    return trace


# %% generate-with-choice: first-row
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        probs = model(ids).softmax(-1)[0]
        ids.append(choose(probs))
        trace.append((ids[-1], probs[ids[-1]].item()))
    return trace


# %% generate-with-choice: goes-on-greedily
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        probs = model(ids)[-1].softmax(-1)
        token = choose(probs)
        trace.append((token, probs[token].item()))
        ids.append(probs.argmax().item())
    return trace


# %% generate-with-choice: never-appends
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    trace = []
    for _ in range(max_new_tokens):
        probs = model(prompt_ids)[-1].softmax(-1)
        token = choose(probs)
        trace.append((token, probs[token].item()))
    return trace


# %% generate-with-choice: notes-the-highest
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        probs = model(ids)[-1].softmax(-1)
        ids.append(choose(probs))
        trace.append((ids[-1], max(probs.tolist())))
    return trace


# %% generate-with-choice: notes-the-logarithm
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        log_probs = model(ids)[-1].log_softmax(-1)
        ids.append(choose(log_probs.exp()))
        trace.append((ids[-1], log_probs[ids[-1]].item()))
    return trace


# %% generate-with-choice: chooses-twice
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids, trace = list(prompt_ids), []
    for _ in range(max_new_tokens):
        probs = model(ids)[-1].softmax(-1)
        ids.append(choose(probs))
        trace.append((choose(probs), probs[ids[-1]].item()))
    return trace


# %% generate-with-choice: returns-the-text
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        ids.append(choose(model(ids)[-1].softmax(-1)))
    return ids


# %% positions-processed: right
def positions_processed(prompt_len, n_new_tokens):
    total, length = 0, prompt_len
    while n_new_tokens > 0:
        total, length, n_new_tokens = total + length, length + 1, n_new_tokens - 1
    return total


# %% positions-processed: each-token-once
def positions_processed(prompt_len, n_new_tokens):
    return sum([prompt_len, *[1] * n_new_tokens])


# %% positions-processed: as-with-a-cache
def positions_processed(prompt_len, n_new_tokens):
    calls = [prompt_len] + [1] * (n_new_tokens - 1)
    return sum(calls[:n_new_tokens])


# %% positions-processed: context-stays
def positions_processed(prompt_len, n_new_tokens):
    return sum(prompt_len for _ in range(n_new_tokens))


# %% positions-processed: one-later
def positions_processed(prompt_len, n_new_tokens):
    return n_new_tokens * prompt_len + n_new_tokens * (n_new_tokens + 1) // 2


# %% positions-processed: one-call-too-many
def positions_processed(prompt_len, n_new_tokens):
    return sum(range(prompt_len, prompt_len + n_new_tokens + 1))


# %% positions-processed: all-calls-full
def positions_processed(prompt_len, n_new_tokens):
    final_len = prompt_len + n_new_tokens
    return sum([final_len] * n_new_tokens)


# %% positions-processed: half-a-square
def positions_processed(prompt_len, n_new_tokens):
    return n_new_tokens * prompt_len + n_new_tokens * n_new_tokens // 2


# %% greedy-generate: right
def greedy_generate(model, prompt_ids, max_new_tokens):
    """With the function of task 1."""
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        ids = greedy_step(model, ids)
    return ids[len(prompt_ids) :]
