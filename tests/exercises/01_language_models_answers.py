# ruff: noqa: F811, F821
"""Answers to exercise 01: other right ones, and wrong ones by the misconception they show."""


# %% sequence-log-prob: right
def sequence_log_prob(lm, tokens):
    if not tokens:
        return 0.0
    *left, last = tokens
    p = lm.next_distribution(left)[last]
    if p == 0:
        return -math.inf
    return sequence_log_prob(lm, left) + math.log(p)


# %% sequence-log-prob: right
def sequence_log_prob(lm, tokens):
    ids = lm.encode(tokens)
    total = torch.tensor(0.0, dtype=torch.float64)
    for i in range(len(ids)):
        total += lm.next_log_probs([ids[:i]])[0, ids[i]]
    return total.item()


# %% sequence-log-prob: returns-probability
def sequence_log_prob(lm, tokens):
    p = 1
    for i in range(len(tokens)):
        p = p * lm.next_distribution(tokens[:i])[tokens[i]]
    return p


# %% sequence-log-prob: skips-first-token
def sequence_log_prob(lm, tokens):
    total = 0.0
    for i in range(1, len(tokens)):
        p = lm.next_distribution(tokens[:i])[tokens[i]]
        if p == 0:
            return -math.inf
        total += math.log(p)
    return total


# %% sequence-log-prob: no-context
def sequence_log_prob(lm, tokens):
    dist = lm.next_distribution([])
    if any(dist[token] == 0 for token in tokens):
        return -math.inf
    return sum(math.log(dist[token]) for token in tokens)


# %% sequence-log-prob: only-previous-token
def sequence_log_prob(lm, tokens):
    total, previous = 0.0, []
    for token in tokens:
        p = lm.next_distribution(previous)[token]
        total += math.log(p) if p else -math.inf
        previous = [token]
    return total


# %% sequence-log-prob: sees-the-token
def sequence_log_prob(lm, tokens):
    total, context = 0.0, []
    for token in tokens:
        context.append(token)
        p = lm.next_distribution(context)[token]
        total += math.log(p) if p > 0 else -math.inf
    return total


# %% sequence-log-prob: takes-the-mean
def sequence_log_prob(lm, tokens):
    logs = []
    for i, token in enumerate(tokens):
        p = lm.next_distribution(tokens[:i])[token]
        logs.append(math.log(p) if p > 0 else -math.inf)
    return sum(logs) / len(logs)


# %% sequence-log-prob: base-two
def sequence_log_prob(lm, tokens):
    total = 0.0
    for i, token in enumerate(tokens):
        p = lm.next_distribution(tokens[:i])[token]
        total += math.log(p, 2) if p > 0 else -math.inf
    return total


# %% sequence-log-prob: product-underflows
def sequence_log_prob(lm, tokens):
    p = 1.0
    for i, token in enumerate(tokens):
        p *= lm.next_distribution(tokens[:i])[token]
    return math.log(p) if p > 0 else -math.inf


# %% sequence-log-prob: log-of-the-product
def sequence_log_prob(lm, tokens):
    probs = [lm.next_distribution(tokens[:i])[token] for i, token in enumerate(tokens)]
    return math.log(math.prod(probs))


# %% sequence-log-prob: log-of-zero
def sequence_log_prob(lm, tokens):
    total = 0.0
    for i in range(len(tokens)):
        total += math.log(lm.next_distribution(tokens[:i])[tokens[i]])
    return total


# %% perplexity: right
def perplexity(log_probs):
    loss = -torch.tensor(log_probs, dtype=torch.float64).mean()
    return loss.exp()


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


# %% perplexity: averages-inverses
def perplexity(log_probs):
    inverses = [1 / math.exp(x) for x in log_probs]
    return sum(inverses) / len(inverses)


# %% perplexity: inverse-of-mean-probability
def perplexity(log_probs):
    probs = [math.exp(x) for x in log_probs]
    return 1 / (sum(probs) / len(probs))


# %% perplexity: divides-by-one-less
def perplexity(log_probs):
    n_predicted = len(log_probs) - 1
    return math.exp(-sum(log_probs) / n_predicted)


# %% next-token-probs: right
def next_token_probs(X, W_lm):
    logits = torch.einsum("d,dv->v", X[-1], W_lm)
    logits = logits - logits.max()
    return logits.exp() / logits.exp().sum()


# %% next-token-probs: right
def next_token_probs(X, W_lm):
    return torch.nn.functional.softmax(X @ W_lm, dim=1)[-1].tolist()


# %% next-token-probs: all-rows
def next_token_probs(X, W_lm):
    logits = torch.matmul(X, W_lm)
    return logits.softmax(1)


# %% next-token-probs: keeps-the-row-axis
def next_token_probs(X, W_lm):
    last = X[-1].unsqueeze(0)
    return (last @ W_lm).softmax(-1)


# %% next-token-probs: first-row
def next_token_probs(X, W_lm):
    return (X @ W_lm).softmax(-1)[0]


# %% next-token-probs: mean-of-rows
def next_token_probs(X, W_lm):
    text = X.sum(0) / len(X)
    return torch.softmax(text @ W_lm, 0)


# %% next-token-probs: forgets-softmax
def next_token_probs(X, W_lm):
    return (X @ W_lm)[-1]


# %% next-token-probs: returns-log-probs
def next_token_probs(X, W_lm):
    logits = X[-1] @ W_lm
    return logits - logits.logsumexp(0)


# %% next-token-probs: softmax-over-positions
def next_token_probs(X, W_lm):
    logits = X @ W_lm
    probs = torch.softmax(logits, 0)
    return probs[len(X) - 1]


# %% next-token-probs: transposes-the-weights
def next_token_probs(X, W_lm):
    logits = torch.nn.functional.linear(X[-1], W_lm)
    return logits.softmax(-1)


# %% next-token-probs: overflows
def next_token_probs(X, W_lm):
    logits = X @ W_lm
    exps = logits.exp()
    return (exps / exps.sum(dim=-1, keepdim=True))[-1]


# %% continuation-log-probs: right
def continuation_log_probs(logits, token_ids, n_prompt):
    probs = torch.softmax(logits.double(), dim=-1)
    n = len(token_ids)
    return [math.log(probs[i - 1][token_ids[i]]) for i in range(n_prompt, n)]


# %% continuation-log-probs: right
def continuation_log_probs(logits, token_ids, n_prompt):
    losses = torch.nn.functional.cross_entropy(
        logits[n_prompt - 1 : -1], torch.tensor(token_ids[n_prompt:]), reduction="none"
    )
    return -losses


# %% continuation-log-probs: same-row
def continuation_log_probs(logits, token_ids, n_prompt):
    targets = torch.tensor(token_ids)
    log_probs = logits.log_softmax(-1)
    return log_probs[torch.arange(len(targets)), targets][n_prompt:]


# %% continuation-log-probs: shifted-the-wrong-way
def continuation_log_probs(logits, token_ids, n_prompt):
    log_probs = logits.log_softmax(-1)[1:]
    targets = torch.tensor(token_ids[:-1])
    return log_probs.gather(1, targets[:, None])[:, 0][n_prompt - 1 :]


# %% continuation-log-probs: scores-the-prompt
def continuation_log_probs(logits, token_ids, n_prompt):
    targets = torch.tensor(token_ids[1:])
    return -torch.nn.functional.cross_entropy(logits[:-1], targets, reduction="none")


# %% continuation-log-probs: misses-the-first
def continuation_log_probs(logits, token_ids, n_prompt):
    log_probs = logits[:-1].log_softmax(-1)
    targets = torch.tensor(token_ids[1:])
    return log_probs[torch.arange(len(targets)), targets][n_prompt:]


# %% continuation-log-probs: raw-logits
def continuation_log_probs(logits, token_ids, n_prompt):
    scores = []
    for i in range(n_prompt, len(token_ids)):
        scores.append(logits[i - 1, token_ids[i]].item())
    return torch.tensor(scores)


# %% continuation-log-probs: forgets-log
def continuation_log_probs(logits, token_ids, n_prompt):
    probs = logits.softmax(-1)
    return torch.stack([probs[i - 1, token_ids[i]] for i in range(n_prompt, len(token_ids))])


# %% continuation-log-probs: softmax-over-positions
def continuation_log_probs(logits, token_ids, n_prompt):
    log_probs = torch.softmax(logits, 0).log()
    return torch.stack([log_probs[i - 1, token_ids[i]] for i in range(n_prompt, len(token_ids))])


# %% continuation-log-probs: returns-the-sum
def continuation_log_probs(logits, token_ids, n_prompt):
    log_probs = logits.log_softmax(-1)
    total = 0.0
    for i in range(n_prompt, len(token_ids)):
        total += log_probs[i - 1, token_ids[i]]
    return total


# %% rank-sentences: right
def rank_sentences(log_probs):
    perplexities = torch.tensor(
        [math.exp(-sum(sentence) / len(sentence)) for sentence in log_probs], dtype=torch.float64
    )
    return perplexities.argsort()


# %% rank-sentences: by-total
def rank_sentences(log_probs):
    totals = [sum(sentence) for sentence in log_probs]
    return sorted(range(len(totals)), key=totals.__getitem__, reverse=True)


# %% rank-sentences: worst-first
def rank_sentences(log_probs):
    pairs = [(sum(sentence) / len(sentence), i) for i, sentence in enumerate(log_probs)]
    return [i for _, i in sorted(pairs)]


# %% rank-sentences: total-worst-first
def rank_sentences(log_probs):
    return torch.tensor([sum(sentence) for sentence in log_probs]).argsort().tolist()


# %% rank-sentences: returns-places
def rank_sentences(log_probs):
    means = torch.tensor([sum(sentence) / len(sentence) for sentence in log_probs])
    return means.argsort(descending=True).argsort().tolist()


# %% rank-sentences: mean-of-probabilities
def rank_sentences(log_probs):
    means = [torch.tensor(sentence).exp().mean().item() for sentence in log_probs]
    return sorted(range(len(means)), key=lambda i: means[i], reverse=True)


# %% rank-sentences: by-worst-token
def rank_sentences(log_probs):
    order = [(min(sentence), i) for i, sentence in enumerate(log_probs)]
    return [i for _, i in sorted(order, reverse=True)]


# %% rank-sentences: returns-perplexities
def rank_sentences(log_probs):
    return sorted([math.exp(-sum(sentence) / len(sentence)) for sentence in log_probs])


# %% rank-sentences: only-the-best
def rank_sentences(log_probs):
    means = [sum(sentence) / len(sentence) for sentence in log_probs]
    return means.index(max(means))


# %% rank-sentences: right
def rank_sentences(log_probs):
    """With the function of task 2."""
    return sorted(range(len(log_probs)), key=lambda i: perplexity(log_probs[i]))


# %% perplexity: right
def perplexity(log_probs):
    """As the lecture computes it, in float32."""
    import torch

    return torch.exp(-torch.tensor(log_probs).mean()).item()
