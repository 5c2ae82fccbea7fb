"""Answers to exercise 01: other right ones, and wrong ones that are no edit of the solution."""


# %% sequence-log-prob: right
def sequence_log_prob(lm, tokens):
    ids = lm.encode(tokens)
    total = torch.tensor(0.0, dtype=torch.float64)
    for i in range(len(ids)):
        total += lm.next_log_probs([ids[:i]])[0, ids[i]]
    return total.item()


# %% batch-log-probs: right
def batch_log_probs(model, texts, pad_id):
    """By cross entropy, which leaves out what is -100."""
    longest = max(len(ids) for ids in texts)
    ids = torch.tensor([t + [pad_id] * (longest - len(t)) for t in texts])
    labels = torch.tensor([t[1:] + [-100] * (longest - len(t)) for t in texts], dtype=torch.long)
    logits = model(ids)[:, :-1].transpose(1, 2)
    return -torch.nn.functional.cross_entropy(logits, labels, reduction="none").sum(1)


# %% text-perplexity: right
def text_perplexity(model, token_ids, window, stride):  # as Transformers' documentation does it
    losses, last_end = [], 1
    for start in range(0, len(token_ids), stride):
        ids = token_ids[start : start + window]
        n_new, last_end = start + len(ids) - last_end, start + len(ids)
        targets = torch.tensor(ids[1:])
        loss = torch.nn.functional.cross_entropy(model(ids)[:-1], targets, reduction="none")
        losses.append(loss[-n_new:])
        if last_end == len(token_ids):
            break
    return torch.cat(losses).mean().exp().item()
