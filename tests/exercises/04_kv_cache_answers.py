# ruff: noqa: F821
"""Answers to exercise 04: other right ones, and wrong ones that are no edit of the solution."""


# %% chunk-mask: right
def chunk_mask(seq_len, past_len):
    everything = torch.ones(seq_len, past_len + seq_len, dtype=torch.bool)
    return torch.tril(everything, diagonal=past_len)


# %% rope-cache: right
def cached_scores(Q, K_new, K_cache):
    K = [*K_cache]
    for i in range(len(Q)):
        K.append(rotate(K_new[i : i + 1], torch.tensor([len(K)]))[0])
    K = torch.stack(K)
    positions = torch.arange(len(K))[len(K_cache) :]
    return rotate(Q, positions).matmul(K.T) * Q.shape[1] ** -0.5, K


# %% decode-step: right
def decode_step(X, cache, project):
    q, k, v = project(X[len(X) - 1 :])
    K, V = torch.vstack([cache[0], k]), torch.vstack([cache[1], v])
    return F.scaled_dot_product_attention(q, K, V), (K, V)


# %% cache-test: right
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    if cached_ids != naive_ids:
        return False
    seen, pasts = [call[0] for call in calls], [call[1] for call in calls]
    steps = len(naive_ids) - 1
    return seen == [prompt_len] + [1] * steps and pasts == [
        0,
        *range(prompt_len, prompt_len + steps),
    ]


# %% generate: right
def generate(model, prompt_ids, max_new_tokens, end_id):
    keys, values = {}, {}
    past_len, result, new = 0, [], torch.tensor(prompt_ids)
    while len(result) < max_new_tokens and end_id not in result:
        n = len(new)
        x = model.embed(new)
        for layer in range(model.n_layers):
            q, k, v = model.qkv(layer, x, torch.arange(n) + past_len)
            for name, rows in ((keys, k), (values, v)):
                name.setdefault(layer, []).extend(rows.unbind(1))  # a list of positions, (n_H, H)
            k, v = torch.stack(keys[layer], 1), torch.stack(values[layer], 1)
            mask = torch.ones(n, n + past_len, dtype=torch.bool).tril(past_len)
            z = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)
            x = model.finish(layer, x, z[0])
        past_len += n
        new = model.logits(x)[-1:].argmax(-1)
        result.append(new.item())
    return result
