# ruff: noqa: F811, F821
"""Answers to exercise 04: other right ones, and wrong ones by the misconception they show."""


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


# %% kv-bytes: keys-only
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    per_layer = spec["n_kv_heads"] * spec["head_dim"] * bits // 8
    return spec["n_layers"] * per_layer * seq_len * batch_size


def max_context(spec, memory_gb, batch_size, bits):
    return int(memory_gb * 1e9 / kv_cache_bytes(spec, 1, batch_size, bits))


# %% kv-bytes: query-heads
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    per_layer = 2 * spec["n_heads"] * spec["head_dim"] * bits // 8
    return spec["n_layers"] * per_layer * seq_len * batch_size


def max_context(spec, memory_gb, batch_size, bits):
    return int(memory_gb * 1e9 // kv_cache_bytes(spec, 1, batch_size, bits))


# %% kv-bytes: model-width
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    return 2 * spec["n_layers"] * spec["d_model"] * seq_len * batch_size * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: one-head
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    return 2 * spec["n_layers"] * spec["head_dim"] * seq_len * batch_size * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: one-layer
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    return 2 * spec["n_kv_heads"] * spec["head_dim"] * seq_len * batch_size * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: bits-for-bytes
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return elements * bits * seq_len * batch_size


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: always-fp16
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    return 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * 2 * seq_len * batch_size


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: one-sequence
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return elements * seq_len * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: one-position
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return elements * batch_size * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: returns-gigabytes
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return elements * seq_len * batch_size * bits / 8 / 1e9


def max_context(spec, memory_gb, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return memory_gb * 10**9 // (elements * batch_size * bits // 8)


# %% kv-bytes: gib-for-gb
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return elements * seq_len * batch_size * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 1024**3 // kv_cache_bytes(spec, 1, batch_size, bits)


# %% kv-bytes: rounds-up
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return elements * seq_len * batch_size * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    return -(-memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits))


# %% kv-bytes: context-of-one-sequence
def kv_cache_bytes(spec, seq_len, batch_size, bits):
    elements = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    return elements * seq_len * batch_size * bits // 8


def max_context(spec, memory_gb, batch_size, bits):
    per_token = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * bits / 8
    return int(memory_gb * 10**9 / per_token)


# %% append: right
def append(keys, values, length, k, v):
    seq_len = k.size(1)
    if length + seq_len > keys.shape[1]:
        raise ValueError(f"no room for {seq_len} more positions")
    for i in range(seq_len):
        keys[:, length + i] = k[:, i]
        values[:, length + i] = v[:, i]
    return keys[:, : length + seq_len, :], values[:, : length + seq_len, :]


# %% append: concat
def append(keys, values, length, k, v):
    keys = torch.cat((keys[:, :length], k), dim=-2)
    values = torch.cat((values[:, :length], v), dim=-2)
    return keys, values


# %% append: writes-at-the-start
def append(keys, values, length, k, v):
    L = k.shape[1]
    if length + L > keys.shape[1]:
        raise ValueError("full")
    keys[:, :L], values[:, :L] = k, v
    return keys[:, : length + L], values[:, : length + L]


# %% append: writes-at-the-end
def append(keys, values, length, k, v):
    L = k.shape[1]
    if length + L > keys.shape[1]:
        raise ValueError("full")
    keys[:, -L:], values[:, -L:] = k, v
    return keys[:, : length + L], values[:, : length + L]


# %% append: returns-everything
def append(keys, values, length, k, v):
    L = k.shape[1]
    if length + L > keys.shape[1]:
        raise ValueError("full")
    keys[:, length : length + L], values[:, length : length + L] = k, v
    return keys, values


# %% append: returns-the-past
def append(keys, values, length, k, v):
    L = k.shape[1]
    if length + L > keys.shape[1]:
        raise ValueError("full")
    keys[:, length : length + L], values[:, length : length + L] = k, v
    return keys[:, :length], values[:, :length]


# %% append: returns-the-new
def append(keys, values, length, k, v):
    L = k.shape[1]
    if length + L > keys.shape[1]:
        raise ValueError("full")
    new = slice(length, length + L)
    keys[:, new], values[:, new] = k, v
    return keys[:, new], values[:, new]


# %% append: returns-copies
def append(keys, values, length, k, v):
    L = k.shape[1]
    if length + L > keys.shape[1]:
        raise ValueError("full")
    keys[:, length : length + L], values[:, length : length + L] = k, v
    filled = torch.arange(length + L)
    return keys[:, filled], values[:, filled]


# %% append: one-token-only
def append(keys, values, length, k, v):
    if length + k.shape[1] > keys.shape[1]:
        raise ValueError("full")
    keys[:, length : length + 1] = k
    values[:, length : length + 1] = v
    return keys[:, : length + 1], values[:, : length + 1]


# %% append: keys-for-values
def append(keys, values, length, k, v):
    end = length + k.shape[1]
    if end > keys.shape[1]:
        raise ValueError("full")
    keys[:, length:end] = k
    values[:, length:end] = k
    return keys[:, :end], values[:, :end]


# %% append: values-forgotten
def append(keys, values, length, k, v):
    end = length + k.shape[1]
    if end > keys.shape[1]:
        raise ValueError("full")
    keys[:, length:end] = k
    return keys[:, :end], values[:, :end]


# %% append: no-room-check
def append(keys, values, length, k, v):
    end = length + k.shape[1]
    keys[:, length:end] = k
    values[:, length:end] = v
    return keys[:, :end], values[:, :end]


# %% chunk-mask: right
def chunk_mask(seq_len, past_len):
    everything = torch.ones(seq_len, past_len + seq_len, dtype=torch.bool)
    return torch.tril(everything, diagonal=past_len)


# %% chunk-mask: right
def chunk_mask(seq_len, past_len):
    S = past_len + seq_len
    return torch.ones(S, S).tril()[past_len:] == 1


# %% chunk-mask: no-mask-behind-a-cache
def chunk_mask(seq_len, past_len):
    if past_len > 0:
        return torch.ones(seq_len, past_len + seq_len, dtype=torch.bool)
    return torch.ones(seq_len, seq_len, dtype=torch.bool).tril()


# %% chunk-mask: square
def chunk_mask(seq_len, past_len):
    places = torch.arange(seq_len)
    return places <= places[:, None]


# %% chunk-mask: diagonal-not-moved
def chunk_mask(seq_len, past_len):
    return torch.arange(past_len + seq_len) <= torch.arange(seq_len)[:, None]


# %% chunk-mask: sees-the-next
def chunk_mask(seq_len, past_len):
    queries = torch.arange(past_len + 1, past_len + seq_len + 1)
    return torch.arange(past_len + seq_len) <= queries[:, None]


# %% chunk-mask: hides-itself
def chunk_mask(seq_len, past_len):
    queries = torch.arange(past_len, past_len + seq_len)
    return torch.arange(past_len + seq_len) < queries[:, None]


# %% chunk-mask: hides-the-past
def chunk_mask(seq_len, past_len):
    mask = torch.zeros(seq_len, past_len + seq_len, dtype=torch.bool)
    mask[:, past_len:] = torch.ones(seq_len, seq_len, dtype=torch.bool).tril()
    return mask


# %% chunk-mask: past-behind
def chunk_mask(seq_len, past_len):
    mask = torch.ones(seq_len, seq_len + past_len, dtype=torch.bool)
    mask[:, :seq_len] = mask[:, :seq_len].tril()
    return mask


# %% chunk-mask: upside-down
def chunk_mask(seq_len, past_len):
    return torch.ones(seq_len, past_len + seq_len).triu(past_len + 1).bool()


# %% chunk-mask: additive
def chunk_mask(seq_len, past_len):
    return torch.full((seq_len, past_len + seq_len), float("-inf")).triu(past_len + 1)


# %% chunk-mask: transposed
def chunk_mask(seq_len, past_len):
    queries = torch.arange(past_len, past_len + seq_len)
    return torch.arange(past_len + seq_len)[:, None] <= queries


# %% rope-cache: right
def cached_scores(Q, K_new, K_cache):
    K = [*K_cache]
    for i in range(len(Q)):
        K.append(rotate(K_new[i : i + 1], torch.tensor([len(K)]))[0])
    K = torch.stack(K)
    positions = torch.arange(len(K))[len(K_cache) :]
    return rotate(Q, positions).matmul(K.T) * Q.shape[1] ** -0.5, K


# %% rope-cache: right
def cached_scores(Q, K_new, K_cache):
    S, H = len(K_cache) + len(K_new), Q.shape[1]
    # rotation is per row, so rotate as if all S rows were there and keep the last ones
    padded_q = torch.cat([torch.zeros_like(K_cache), Q])
    padded_k = torch.cat([torch.zeros_like(K_cache), K_new])
    Q = rotate(padded_q, torch.arange(S))[len(K_cache) :]
    K = torch.cat([K_cache, rotate(padded_k, torch.arange(S))[len(K_cache) :]])
    return Q @ K.T / H**0.5, K


# %% rope-cache: position-in-the-chunk
def cached_scores(Q, K_new, K_cache):
    places = torch.arange(Q.shape[0])
    K = torch.cat([K_cache, rotate(K_new, places)], dim=0)
    return rotate(Q, places) @ K.T / Q.shape[-1] ** 0.5, K


# %% rope-cache: only-queries-moved
def cached_scores(Q, K_new, K_cache):
    K = torch.cat([K_cache, rotate(K_new, torch.arange(len(K_new)))])
    Q = rotate(Q, torch.arange(len(Q)) + len(K_cache))
    return Q @ K.T / Q.shape[-1] ** 0.5, K


# %% rope-cache: only-keys-moved
def cached_scores(Q, K_new, K_cache):
    K = torch.cat([K_cache, rotate(K_new, torch.arange(len(K_new)) + len(K_cache))])
    Q = rotate(Q, torch.arange(len(Q)))
    return Q @ K.T / Q.shape[-1] ** 0.5, K


# %% rope-cache: off-by-one
def cached_scores(Q, K_new, K_cache):
    places = torch.arange(1, len(Q) + 1) + len(K_cache)
    K = torch.cat([K_cache, rotate(K_new, places)])
    return rotate(Q, places) @ K.T / Q.shape[-1] ** 0.5, K


# %% rope-cache: one-position-for-all
def cached_scores(Q, K_new, K_cache):
    place = torch.tensor([len(K_cache)])
    K = torch.cat([K_cache, rotate(K_new, place)])
    return rotate(Q, place) @ K.T / Q.shape[-1] ** 0.5, K


# %% rope-cache: rotates-twice
def cached_scores(Q, K_new, K_cache):
    K = torch.cat([K_cache, K_new])
    places = torch.arange(len(K))
    K = rotate(K, places)
    return rotate(Q, places[-len(Q) :]) @ K.T / Q.shape[-1] ** 0.5, K


# %% rope-cache: caches-before-rope
def cached_scores(Q, K_new, K_cache):
    K = torch.cat([K_cache, K_new])
    places = torch.arange(len(K))
    return rotate(Q, places[-len(Q) :]) @ rotate(K, places).T / Q.shape[-1] ** 0.5, K


# %% rope-cache: no-rotation
def cached_scores(Q, K_new, K_cache):
    K = torch.vstack([K_cache, K_new])
    return (Q / Q.shape[-1] ** 0.5) @ K.T, K


# %% rope-cache: new-keys-in-front
def cached_scores(Q, K_new, K_cache):
    places = torch.arange(len(Q)) + len(K_cache)
    K = torch.cat([rotate(K_new, places), K_cache])
    return rotate(Q, places) @ K.T / Q.shape[-1] ** 0.5, K


# %% rope-cache: no-scale
def cached_scores(Q, K_new, K_cache):
    places = torch.arange(len(Q)) + len(K_cache)
    K = torch.cat([K_cache, rotate(K_new, places)])
    return rotate(Q, places) @ K.T, K


# %% decode-step: right
def decode_step(X, cache, project):
    q, k, v = project(X[len(X) - 1 :])
    K, V = torch.vstack([cache[0], k]), torch.vstack([cache[1], v])
    return F.scaled_dot_product_attention(q, K, V), (K, V)


# %% decode-step: right
def decode_step(X, cache, project):
    q, k, v = project(X[-1])  # vectors, (H,)
    K = torch.cat([cache[0], k[None]])
    V = torch.cat([cache[1], v.unsqueeze(0)])
    weights = torch.exp(K @ q * len(q) ** -0.5)
    return (weights / weights.sum() @ V)[None], [K, V]


# %% decode-step: projects-everything
def decode_step(X, cache, project):
    q, K, V = project(X)
    z = F.scaled_dot_product_attention(q, K, V, attn_mask=torch.ones(len(X), len(X)).tril().bool())
    return z[-1:], (K, V)


# %% decode-step: projects-everything
def decode_step(X, cache, project):
    q, k, v = (rows[-1:] for rows in project(X))
    K, V = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    return F.scaled_dot_product_attention(q, K, V), (K, V)


# %% decode-step: appends-the-past-again
def decode_step(X, cache, project):
    Q, K, V = project(X)
    K, V = torch.cat([cache[0], K]), torch.cat([cache[1], V])
    return F.scaled_dot_product_attention(Q[-1:], K, V), (K, V)


# %% decode-step: first-row
def decode_step(X, cache, project):
    q, k, v = project(X[0][None])
    K, V = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    return F.scaled_dot_product_attention(q, K, V), (K, V)


# %% decode-step: does-not-see-itself
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    z = F.scaled_dot_product_attention(q, cache[0], cache[1])
    return z, (torch.cat([cache[0], k]), torch.cat([cache[1], v]))


# %% decode-step: sees-only-itself
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    z = torch.softmax(q @ k.T / math.sqrt(q.shape[-1]), dim=-1) @ v
    return z, (torch.cat([cache[0], k]), torch.cat([cache[1], v]))


# %% decode-step: cache-does-not-grow
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    K, V = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    return F.scaled_dot_product_attention(q, K, V), cache


# %% decode-step: forgets-the-past
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    cache = (k, v)
    return F.scaled_dot_product_attention(q, *cache), cache


# %% decode-step: new-in-front
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    K, V = torch.cat([k, cache[0]]), torch.cat([v, cache[1]])
    return F.scaled_dot_product_attention(q, K, V), (K, V)


# %% decode-step: swaps-keys-and-values
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    K, V = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    return F.scaled_dot_product_attention(q, K, V), (V, K)


# %% decode-step: masked-like-a-square
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    K, V = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    scores = q @ K.T / math.sqrt(q.shape[-1])
    hidden = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(hidden, -math.inf).softmax(-1) @ V, (K, V)


# %% decode-step: softmax-over-one
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    K, V = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    scores = q @ K.T / math.sqrt(q.shape[-1])
    return F.softmax(scores, dim=0) @ V, (K, V)


# %% decode-step: no-scale
def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    K, V = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    return F.scaled_dot_product_attention(q, K, V, scale=1), (K, V)


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


# %% cache-test: right
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    if len(cached_ids) != len(naive_ids) or len(calls) != len(naive_ids):
        return False
    past = 0
    for i, (seq_len, past_len) in enumerate(calls):
        if past_len != past or seq_len != (prompt_len if i == 0 else 1):
            return False
        past += seq_len
    return all(a == b for a, b in zip(cached_ids, naive_ids, strict=True))


# %% cache-test: compares-tokens-only
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    same = sum(a == b for a, b in zip(cached_ids, naive_ids, strict=False))
    return same == len(naive_ids)


# %% cache-test: looks-at-calls-only
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    if calls[0] != (prompt_len, 0) or len(calls) != len(naive_ids):
        return False
    return all(call == (1, prompt_len + i) for i, call in enumerate(calls[1:]))


# %% cache-test: prefill-of-one-token
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    for seq_len, _past_len in calls:
        if seq_len != 1:
            return False
    return cached_ids == naive_ids


# %% cache-test: ignores-the-past
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    steps = [seq_len for seq_len, _ in calls][1:]
    return cached_ids == naive_ids and set(steps) <= {1}


# %% cache-test: last-call-only
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    if len(naive_ids) > 1 and calls[-1][0] != 1:
        return False
    return cached_ids == naive_ids


# %% cache-test: first-step-only
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    if cached_ids != naive_ids:
        return False
    return len(calls) == 1 or calls[1][0] == 1


# %% cache-test: past-of-zero-only
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    if cached_ids != naive_ids:
        return False
    return 0 not in [past_len for _, past_len in calls[1:]]


# %% cache-test: number-not-checked
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    wanted = [(prompt_len, 0)] + [(1, prompt_len + i) for i in range(len(naive_ids) - 1)]
    if len(calls) < len(wanted) or cached_ids != naive_ids:
        return False
    return all(call == want for call, want in zip(calls, wanted, strict=False))


# %% cache-test: counts-calls
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    return len(calls) == len(cached_ids) and cached_ids == naive_ids


# %% cache-test: one-step-more
def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    wanted = [(prompt_len, 0)]
    for i in range(len(naive_ids)):
        wanted.append((1, prompt_len + i))
    return cached_ids == naive_ids and calls == wanted
