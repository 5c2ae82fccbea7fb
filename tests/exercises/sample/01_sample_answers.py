# ruff: noqa: F811
"""Answers to the sample exercise: other right ones, and wrong ones by their misconception."""


# %% perplexity: right
def perplexity(log_probs):
    return math.prod(math.exp(-x) for x in log_probs) ** (1 / len(log_probs))


# %% perplexity: forgets-mean
def perplexity(log_probs):
    product = 1.0
    for x in log_probs:
        product *= math.exp(x)
    return 1 / product


# %% perplexity: forgets-sign
def perplexity(log_probs):
    mean = sum(log_probs) / len(log_probs)
    return math.e**mean


# %% perplexity: base-two
def perplexity(log_probs):
    mean = sum(log_probs) / len(log_probs)
    return 1 / math.pow(2, mean)


# %% perplexity: returns-loss
def perplexity(log_probs):
    return sum(-x / len(log_probs) for x in log_probs)


# %% greedy: right
def greedy(next_log_probs, prompt_ids, n):
    if n == 0:
        return ()
    best = next_log_probs([prompt_ids]).argmax(dim=-1)[0]
    return (best, *greedy(next_log_probs, [*prompt_ids, int(best)], n - 1))


# %% greedy: returns-prompt
def greedy(next_log_probs, prompt_ids, n):
    ids = prompt_ids[:]
    while len(ids) < len(prompt_ids) + n:
        ids += [next_log_probs([ids]).argmax().item()]
    return ids


# %% greedy: ignores-prompt
def greedy(next_log_probs, prompt_ids, n):
    new = []
    for _ in range(n):
        new.append(next_log_probs([new]).argmax().item())
    return new


# %% greedy: spoils-prompt
def greedy(next_log_probs, prompt_ids, n):
    length = len(prompt_ids)
    ids = prompt_ids
    for _ in range(n):
        ids.append(next_log_probs([ids]).argmax().item())
    return ids[length:]


# %% greedy: least-probable
def greedy(next_log_probs, prompt_ids, n):
    ids = list(prompt_ids)
    for _ in range(n):
        ids.append((-next_log_probs([ids])[0]).argmax().item())
    return ids[-n:]


# %% greedy: asks-again
def greedy(next_log_probs, prompt_ids, n):
    def new_tokens(k):
        ids = list(prompt_ids)
        for _ in range(k):
            ids.append(next_log_probs([ids]).argmax().item())
        return ids[len(prompt_ids) :]

    return [new_tokens(k)[-1] for k in range(1, n + 1)]


# %% new-rows: right
n_new_rows = len(range(10, 11))

# %% new-rows: all
n_new_rows = 11

# %% new-rows: old
n_new_rows = 10

# %% new-rows: none
n_new_rows = 0

# %% new-rows: two
n_new_rows = 1 + 1


# %% bits: right
def bits_per_token(log_probs):
    return -sum(x / math.log(2) for x in log_probs) / len(log_probs)


# %% bits: nats
def bits_per_token(log_probs):
    return -sum(log_probs) / len(log_probs)


# %% bits: digits
def bits_per_token(log_probs):
    return math.log(perplexity(log_probs), 10)


# %% bits: no-log
def bits_per_token(log_probs):
    return perplexity(log_probs)


# %% bits: of-the-text
def bits_per_token(log_probs):
    return math.log2(math.exp(-sum(log_probs)))
