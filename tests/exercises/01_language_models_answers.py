# ruff: noqa: F821
"""Answers to exercise 01: other right ones, and wrong ones that are no edit of the solution."""


# %% sequence-log-prob: right
def sequence_log_prob(lm, tokens):
    ids = lm.encode(tokens)
    total = torch.tensor(0.0, dtype=torch.float64)
    for i in range(len(ids)):
        total += lm.next_log_probs([ids[:i]])[0, ids[i]]
    return total.item()


# %% bigram-model: right
def bigram_model(texts):
    from collections import Counter

    pairs = Counter()
    for words in texts:
        padded = ["<start>", *words, "<end>"]
        for i in range(len(padded) - 1):
            pairs[padded[i], padded[i + 1]] += 1
    totals = Counter()
    for (left, _), n in pairs.items():
        totals[left] += n
    table = {left: {} for left in totals}
    for (left, right), n in pairs.items():
        table[left][right] = n / totals[left]
    return table


# %% continuation-log-probs: right
def continuation_log_probs(logits, token_ids, n_prompt):
    probs = torch.softmax(logits.double(), dim=-1)
    n = len(token_ids)
    return [math.log(probs[i - 1][token_ids[i]]) for i in range(n_prompt, n)]


# %% batch-log-probs: right
def batch_log_probs(model, texts, pad_id):
    """By cross entropy, which leaves out what is -100."""
    longest = max(len(ids) for ids in texts)
    ids = torch.tensor([t + [pad_id] * (longest - len(t)) for t in texts])
    labels = torch.tensor([t[1:] + [-100] * (longest - len(t)) for t in texts], dtype=torch.long)
    logits = model(ids)[:, :-1].transpose(1, 2)
    return -torch.nn.functional.cross_entropy(logits, labels, reduction="none").sum(1)


# %% text-perplexity: right
def text_perplexity(model, token_ids, window, stride):
    """With cross entropy over the last tokens of each window."""
    total, n, end, start = 0.0, 0, 0, 0
    while end < len(token_ids):
        new_end = min(start + window, len(token_ids))
        ids = token_ids[start:new_end]
        n_new = new_end - max(end, 1)
        logits = model(ids)[:-1][-n_new:]
        targets = torch.tensor(ids[1:][-n_new:])
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        n, end, start = n + n_new, new_end, start + stride
    return math.exp(total / n)
