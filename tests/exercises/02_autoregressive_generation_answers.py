# ruff: noqa: F821
"""Answers to exercise 02: other right ones, and wrong ones that are no edit of the solution."""


# %% greedy-step: right
def greedy_step(model, token_ids):
    extended = list(token_ids)
    probs = torch.softmax(model(token_ids), dim=-1)
    extended.append(torch.argmax(probs[len(token_ids) - 1]))
    return extended


# %% greedy-generate: right
def greedy_generate(model, prompt_ids, max_new_tokens):
    if max_new_tokens == 0:
        return []
    first = model(prompt_ids)[-1].argmax().item()
    return [first, *greedy_generate(model, [*prompt_ids, first], max_new_tokens - 1)]


# %% generate-until-end: right
def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    ids = list(prompt_ids)
    for _ in range(max_new_tokens):
        next_id = model(ids)[-1].argmax()
        ids.append(next_id.item())
        if any(next_id == end for end in eos_token_ids):
            break
    return ids[len(prompt_ids) :]


# %% generate-with-choice: right
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    tokens, probabilities = [], []
    while len(tokens) < max_new_tokens:
        logits = model(prompt_ids + tokens)[-1]
        probs = (logits - logits.logsumexp(0)).exp()
        tokens.append(choose(probs))
        probabilities.append(probs[tokens[-1]])
    return list(zip(tokens, probabilities, strict=True))


# %% positions-processed: right
def positions_processed(prompt_len, n_new_tokens):
    total, length = 0, prompt_len
    while n_new_tokens > 0:
        total, length, n_new_tokens = total + length, length + 1, n_new_tokens - 1
    return total
