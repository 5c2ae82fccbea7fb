"""Answers to exercise 10: other right ones, and wrong ones that are no edit of the solution."""


# %% sample: right
def sample(next_logits, ids, n_new, seed, temperature=1.0, top_k=0, top_p=1.0, eos=-1):
    generator, ended = torch.Generator().manual_seed(seed), torch.zeros(len(ids), 1, dtype=bool)
    for _ in range(n_new):
        p = torch.softmax(next_logits(ids) / temperature, dim=-1)
        if top_k:
            p[p < p.sort(descending=True).values[:, :top_k][:, -1:]] = 0
        values, order = p.sort(descending=True)
        before = values.cumsum(-1) - values  # of all that are likelier
        before[:, 0] = -1
        p[torch.zeros_like(p).scatter(1, order, before) >= top_p * p.sum(-1)[:, None]] = 0
        tokens = torch.multinomial(p / p.sum(-1)[:, None], 1, generator=generator)
        ids, ended = torch.cat((ids, tokens.where(~ended, eos)), dim=1), ended | (tokens == eos)
        if bool(ended.all()):
            break
    return ids
