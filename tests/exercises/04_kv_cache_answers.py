# ruff: noqa: F821
"""Answers to exercise 04: other right ones, and wrong ones that are no edit of the solution."""


# %% kv-bytes: right
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    keys = spec["n_layers"] * batch_size * spec["n_kv_heads"] * seq_len * spec["head_dim"]
    return round((keys + keys) * bits / 8)


def max_context(spec, memory_gb, batch_size, bits):
    seq_len_low, seq_len_high = 0, 10**12
    while seq_len_high - seq_len_low > 1:
        middle = (seq_len_low + seq_len_high) // 2
        if kv_cache_bytes(spec, middle, batch_size, bits) <= memory_gb * 1_000_000_000:
            seq_len_low = middle
        else:
            seq_len_high = middle
    return seq_len_low


# %% append: right
def append(keys, values, length, k, v):
    seq_len = k.size(1)
    if length + seq_len > keys.shape[1]:
        raise ValueError(f"no room for {seq_len} more positions")
    for i in range(seq_len):
        keys[:, length + i] = k[:, i]
        values[:, length + i] = v[:, i]
    return keys[:, : length + seq_len, :], values[:, : length + seq_len, :]


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
