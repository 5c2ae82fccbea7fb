# ruff: noqa: F811, F821
"""Answers to exercise 01: other right ones, and wrong ones that are no edit of the solution."""


# %% sequence-log-prob: right
def sequence_log_prob(lm, tokens):
    ids = lm.encode(tokens)
    total = torch.tensor(0.0, dtype=torch.float64)
    for i in range(len(ids)):
        total += lm.next_log_probs([ids[:i]])[0, ids[i]]
    return total.item()


# %% perplexity: right
def perplexity(log_probs):
    loss = -torch.tensor(log_probs, dtype=torch.float64).mean()
    return loss.exp()


# %% perplexity: right
def perplexity(log_probs):
    """As the lecture computes it, in float32."""
    import torch

    return torch.exp(-torch.tensor(log_probs).mean()).item()


# %% next-token-probs: right
def next_token_probs(X, W_lm):
    logits = torch.einsum("d,dv->v", X[-1], W_lm)
    logits = logits - logits.max()
    return logits.exp() / logits.exp().sum()


# %% next-token-probs: right
def next_token_probs(X, W_lm):
    return torch.nn.functional.softmax(X @ W_lm, dim=1)[-1].tolist()


# %% continuation-log-probs: right
def continuation_log_probs(logits, token_ids, n_prompt):
    probs = torch.softmax(logits.double(), dim=-1)
    n = len(token_ids)
    return [math.log(probs[i - 1][token_ids[i]]) for i in range(n_prompt, n)]


# %% rank-sentences: right
def rank_sentences(log_probs):
    perplexities = torch.tensor(
        [math.exp(-sum(sentence) / len(sentence)) for sentence in log_probs], dtype=torch.float64
    )
    return perplexities.argsort()


# %% rank-sentences: right
def rank_sentences(log_probs):
    """With the function of task 2."""
    return sorted(range(len(log_probs)), key=lambda i: perplexity(log_probs[i]))
