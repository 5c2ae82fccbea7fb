# ruff: noqa: F811, F821
"""Answers to exercise 07: other right ones, and wrong ones by the misconception they show."""


# %% tp-bytes: right
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    def layer(tokens):
        after_attention = after_mlp = tokens * batch_size * spec["d_model"] * dtype_bytes
        return after_attention + after_mlp

    passes = [seq_len] + [1] * (max_new_tokens - 1)
    request = sum(layer(tokens) for tokens in passes for _ in range(spec["n_layers"]))
    sent = sum(request / n_ranks for _ in range(2 * (n_ranks - 1)))
    return {
        "request": request,
        "rank_sends": sent,
        "prefill_layer": layer(seq_len),
        "decode_layer": layer(1),
    }


# %% tp-bytes: one-all-reduce
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: four-all-reduces
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    f_and_g = 2 + 2
    decode = f_and_g * batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: width-divided
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * (spec["d_model"] // n_ranks) * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: inner-width
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_ff"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: a-pass-for-each-token
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: one-layer
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_model"] * dtype_bytes
    request = decode * seq_len + decode * (max_new_tokens - 1)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: one-sequence
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: elements-for-bytes
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_model"]
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    sends = 2 * (n_ranks - 1) * request / n_ranks
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sends,
    }


# %% tp-bytes: payload-for-wire
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": request,
    }


# %% tp-bytes: half-of-the-ring
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": request / n_ranks * (n_ranks - 1),
    }


# %% tp-bytes: all-ranks
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": n_ranks * 2 * (n_ranks - 1) / n_ranks * request,
    }


# %% tp-bytes: sends-to-everyone
def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    return {
        "prefill_layer": seq_len * decode,
        "decode_layer": decode,
        "request": request,
        "rank_sends": sum(request for other in range(1, n_ranks)),
    }


# %% mlp-shards: right
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    F = W1.size(1)
    units = [f for f in range(F) if f % n_ranks == rank]  # any units, if they belong together
    return W1[:, units], b1[units], W2[units, :], b2 / n_ranks


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return (x @ W1_r + b1_r).clamp(min=0) @ W2_r + b2_r


# %% mlp-shards: right
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    last = rank == n_ranks - 1
    return (
        W1.chunk(n_ranks, dim=1)[rank],
        b1.chunk(n_ranks)[rank],
        W2.chunk(n_ranks, dim=0)[rank],
        b2 if last else None,
    )


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    out = torch.nn.functional.relu(x @ W1_r + b1_r) @ W2_r
    return out if b2_r is None else out + b2_r


# %% mlp-shards: bias-on-every-rank
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    w = W1.shape[1] // n_ranks
    mine = slice(rank * w, rank * w + w)
    return W1[:, mine], b1[mine], W2[mine], b2


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu(x @ W1_r + b1_r) @ W2_r + b2_r


# %% mlp-shards: second-bias-forgotten
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    w = W1.shape[1] // n_ranks
    mine = slice(rank * w, rank * w + w)
    return W1[:, mine], b1[mine], W2[mine], b2


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu(x @ W1_r + b1_r) @ W2_r


# %% mlp-shards: first-bias-forgotten
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    w = W1.shape[1] // n_ranks
    mine = slice(rank * w, rank * w + w)
    return W1[:, mine], b1[mine], W2[mine], b2 / n_ranks


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu(x @ W1_r) @ W2_r + b2_r


# %% mlp-shards: rows-of-other-units
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    w = W1.shape[1] // n_ranks
    mine = slice(rank * w, rank * w + w)
    return W1[:, mine], b1[mine], W2[rank::n_ranks], b2 / n_ranks


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu(x @ W1_r + b1_r) @ W2_r + b2_r


# %% mlp-shards: replicates
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    return W1, b1, W2, b2 if rank == 0 else torch.zeros_like(b2)


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu(x @ W1_r + b1_r) @ W2_r + b2_r


# %% mlp-shards: columns-twice
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    W1_r, W2_r = (W.chunk(n_ranks, dim=1)[rank] for W in (W1, W2))
    return W1_r, b1.chunk(n_ranks)[rank], W2_r, b2


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu(x @ W1_r + b1_r) @ W2_r + b2_r


# %% mlp-shards: relu-forgotten
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    w = W1.shape[1] // n_ranks
    mine = slice(rank * w, rank * w + w)
    return W1[:, mine], b1[mine], W2[mine], b2 / n_ranks


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    hidden = x @ W1_r + b1_r
    return hidden @ W2_r + b2_r


# %% mlp-shards: relu-on-the-summand
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    w = W1.shape[1] // n_ranks
    mine = slice(rank * w, rank * w + w)
    return W1[:, mine], b1[mine], W2[mine], b2 / n_ranks


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu((x @ W1_r + b1_r) @ W2_r + b2_r)


# %% mlp-shards: relu-twice
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    w = W1.shape[1] // n_ranks
    mine = slice(rank * w, rank * w + w)
    return W1[:, mine], b1[mine], W2[mine], b2 / n_ranks


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return torch.relu(torch.relu(x @ W1_r + b1_r) @ W2_r + b2_r)


# %% where-to-reduce: right
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    D = W1.shape[0]
    size, partial = D // n_ranks, []
    for rank in range(n_ranks):
        mine = slice(rank * size, (rank + 1) * size)
        partial.append(x[:, mine] @ W1[mine, :])
    hidden = all_reduce(partial).clamp(min=0)
    y = torch.empty(len(x), D, dtype=x.dtype)
    for rank in range(n_ranks):
        mine = slice(rank * size, (rank + 1) * size)
        y[:, mine] = hidden @ W2[:, mine]
    return y


def counterexample():
    return -7, 7


# %% where-to-reduce: relu-before-the-sum
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    parts = zip(x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), strict=True)
    hidden = torch.relu(all_reduce([torch.relu(a @ b) for a, b in parts]))
    return torch.cat([hidden @ W2_r for W2_r in W2.chunk(n_ranks, 1)], 1)


def counterexample():
    return 1, -1


# %% where-to-reduce: relu-gone
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    parts = zip(x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), strict=True)
    hidden = all_reduce([a @ b for a, b in parts])
    return torch.cat([hidden @ W2_r for W2_r in W2.chunk(n_ranks, 1)], 1)


def counterexample():
    return 1, -1


# %% where-to-reduce: relu-at-the-end
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    parts = zip(x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), strict=True)
    hidden = all_reduce([a @ b for a, b in parts])
    return torch.relu(torch.cat([hidden @ W2_r for W2_r in W2.chunk(n_ranks, 1)], 1))


def counterexample():
    return 1, -1


# %% where-to-reduce: never-sums
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    outputs = []
    for rank in range(n_ranks):
        x_r, W1_r, W2_r = x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), W2.chunk(n_ranks, 1)
        hidden = torch.relu(x_r[rank] @ W1_r[rank])
        outputs.append(hidden @ W2_r[rank])
    return torch.cat(outputs, dim=1)


def counterexample():
    return 1, -1


# %% where-to-reduce: sums-at-the-end
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    parts = zip(x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), strict=True)
    return all_reduce([torch.relu(x_r @ W1_r) @ W2 for x_r, W1_r in parts])


def counterexample():
    return 1, -1


# %% where-to-reduce: averages
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    parts = zip(x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), strict=True)
    hidden = torch.relu(all_reduce([a @ b for a, b in parts]) / n_ranks)
    return torch.cat([hidden @ W2_r for W2_r in W2.chunk(n_ranks, 1)], 1)


def counterexample():
    return 1, -1


# %% where-to-reduce: sums-the-columns
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    parts = zip(x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), strict=True)
    hidden = torch.relu(all_reduce([a @ b for a, b in parts]))
    return sum(hidden @ W2_r for W2_r in W2.chunk(n_ranks, 1))


def counterexample():
    return 1, -1


# %% where-to-reduce: no-counterexample
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    parts = zip(x.chunk(n_ranks, 1), W1.chunk(n_ranks, 0), strict=True)
    hidden = torch.relu(all_reduce([a @ b for a, b in parts]))
    return torch.cat([hidden @ W2_r for W2_r in W2.chunk(n_ranks, 1)], 1)


def counterexample():
    return -3, -4


# %% shard-heads: right
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    for n in (n_heads, n_kv_heads):
        if n % n_ranks != 0:
            raise ValueError(f"{n} heads over {n_ranks} ranks")
    Wq_r, Wk_r, Wv_r = (W.chunk(n_ranks, dim=1)[rank] for W in (Wq, Wk, Wv))
    return Wq_r, Wk_r, Wv_r, Wo.chunk(n_ranks, dim=0)[rank]


# %% shard-heads: right
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("a head would be cut")
    H = Wq.shape[1] // n_heads
    group = n_heads // n_kv_heads
    kv_heads = range(rank * n_kv_heads // n_ranks, (rank + 1) * n_kv_heads // n_ranks)
    kv = [h * H + i for h in kv_heads for i in range(H)]
    q = [h * H + i for kv_h in kv_heads for h in range(kv_h * group, kv_h * group + group)
         for i in range(H)]  # fmt: skip
    return Wq[:, q], Wk[:, kv], Wv[:, kv], Wo[q]


# %% shard-heads: out-by-columns
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    return tuple(W.chunk(n_ranks, dim=1)[rank] for W in (Wq, Wk, Wv, Wo))


# %% shard-heads: out-not-split
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    return *(W.chunk(n_ranks, dim=1)[rank] for W in (Wq, Wk, Wv)), Wo


# %% shard-heads: queries-by-rows
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    q, kv = Wq.shape[1] // n_ranks, Wk.shape[1] // n_ranks
    q, kv = slice(rank * q, rank * q + q), slice(rank * kv, rank * kv + kv)
    return Wq[q], Wk[kv], Wv[kv], Wo[q]


# %% shard-heads: keys-not-split
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    return Wq.chunk(n_ranks, dim=1)[rank], Wk, Wv, Wo.chunk(n_ranks, dim=0)[rank]


# %% shard-heads: keys-like-queries
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    width = Wq.shape[1] // n_ranks
    a, b = rank * width, (rank + 1) * width
    return Wq[:, a:b], Wk[:, a:b], Wv[:, a:b], Wo[a:b]


# %% shard-heads: heads-dealt
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    columns = torch.arange(Wq.shape[1]).reshape(n_heads, -1)[rank::n_ranks].flatten()
    Wk_r, Wv_r = (W.chunk(n_ranks, dim=1)[rank] for W in (Wk, Wv))
    return Wq[:, columns], Wk_r, Wv_r, Wo[columns]


# %% shard-heads: columns-dealt
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    Wk_r, Wv_r = (W.chunk(n_ranks, dim=1)[rank] for W in (Wk, Wv))
    return Wq[:, rank::n_ranks], Wk_r, Wv_r, Wo[rank::n_ranks]


# %% shard-heads: keys-for-values
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks or n_kv_heads % n_ranks:
        raise ValueError("heads")
    Wq_r, Wk_r, Wv_r = (W.chunk(n_ranks, dim=1)[rank] for W in (Wq, Wk, Wk))
    return Wq_r, Wk_r, Wv_r, Wo.chunk(n_ranks, dim=0)[rank]


# %% shard-heads: cuts-heads
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    q, kv = Wq.shape[1] // n_ranks, Wk.shape[1] // n_ranks
    q, kv = slice(rank * q, rank * q + q), slice(rank * kv, rank * kv + kv)
    return Wq[:, q], Wk[:, kv], Wv[:, kv], Wo[q]


# %% shard-heads: key-heads-not-checked
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    if n_heads % n_ranks:
        raise ValueError(f"{n_heads} heads don't split in {n_ranks}")
    Wq_r, Wk_r, Wv_r = (W.chunk(n_ranks, dim=1)[rank] for W in (Wq, Wk, Wv))
    return Wq_r, Wk_r, Wv_r, Wo.chunk(n_ranks, dim=0)[rank]


# %% degrees: right
def blockers(spec, n_ranks):
    names = []
    for name, size in spec.items():
        if name != "d_model" and size // n_ranks * n_ranks != size:
            names.append(name)
    return names


def allowed_degrees(spec):
    import math

    common = math.gcd(spec["n_heads"], spec["n_kv_heads"], spec["d_ff"])
    return [n for n in range(1, common + 1) if common % n == 0]


# %% degrees: width-divides
def blockers(spec, n_ranks):
    return [name for name in ("d_model", "d_ff") if spec[name] % n_ranks]


def allowed_degrees(spec):
    return [n for n in range(1, spec["d_model"] + 1) if not blockers(spec, n)]


# %% degrees: width-too
def blockers(spec, n_ranks):
    return [name for name, size in spec.items() if size % n_ranks]


def allowed_degrees(spec):
    return [n for n in range(1, spec["n_heads"] + 1) if not blockers(spec, n)]


# %% degrees: query-heads-only
def blockers(spec, n_ranks):
    return [name for name in ("n_heads", "d_ff") if spec[name] % n_ranks]


def allowed_degrees(spec):
    return [n for n in range(1, spec["n_heads"] + 1) if not blockers(spec, n)]


# %% degrees: key-heads-only
def blockers(spec, n_ranks):
    return [name for name in ("n_kv_heads", "d_ff") if spec[name] % n_ranks]


def allowed_degrees(spec):
    return [n for n in range(1, spec["n_heads"] + 1) if not blockers(spec, n)]


# %% degrees: mlp-forgotten
def blockers(spec, n_ranks):
    return [name for name in ("n_heads", "n_kv_heads") if spec[name] % n_ranks]


def allowed_degrees(spec):
    return [n for n in range(1, spec["n_heads"] + 1) if not blockers(spec, n)]


# %% degrees: enough-for-each
def blockers(spec, n_ranks):
    return [name for name in ("n_heads", "n_kv_heads", "d_ff") if spec[name] < n_ranks]


def allowed_degrees(spec):
    return list(range(1, spec["n_kv_heads"] + 1))


# %% degrees: one-is-no-degree
def blockers(spec, n_ranks):
    return [name for name in ("n_heads", "n_kv_heads", "d_ff") if spec[name] % n_ranks]


def allowed_degrees(spec):
    return [n for n in range(2, spec["n_kv_heads"] + 1) if not blockers(spec, n)]


# %% degrees: powers-of-two
def blockers(spec, n_ranks):
    return [name for name in ("n_heads", "n_kv_heads", "d_ff") if spec[name] % n_ranks]


def allowed_degrees(spec):
    return [n for n in (1, 2, 4, 8, 16, 32) if not blockers(spec, n)]


# %% ring: right
def reduce_scatter_step(chunks, t):
    n = len(chunks)
    # what receiver r gets is chunk r - 1 - t of its left neighbour
    return [
        [
            value + (chunks[r - 1][c] if (r - 1 - t - c) % n == 0 else 0)
            for c, value in enumerate(chunks[r])
        ]
        for r in range(n)
    ]


def all_gather_step(chunks, t):
    n = len(chunks)
    sent = [chunks[r][(r + 1 - t) % n] for r in range(n)]
    for r in range(n):  # in place; no chunk that is still to be sent changes
        chunks[(r + 1) % n][(r + 1 - t) % n] = sent[r]
    return chunks


# %% ring: replaces-in-reduce-scatter
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r - t) % n] = chunks[r][(r - t) % n]
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r + 1 - t) % n] = chunks[r][(r + 1 - t) % n]
    return new


# %% ring: adds-in-all-gather
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r - t) % n] += chunks[r][(r - t) % n]
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r + 1 - t) % n] += chunks[r][(r + 1 - t) % n]
    return new


# %% ring: wrong-direction
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[r - 1][(r - t) % n] += chunks[r][(r - t) % n]
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[r - 1][(r + 1 - t) % n] = chunks[r][(r + 1 - t) % n]
    return new


# %% ring: same-chunk-in-each-step
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][r] += chunks[r][r]
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r + 1) % n] = chunks[r][(r + 1) % n]
    return new


# %% ring: counts-up
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r + t) % n] += chunks[r][(r + t) % n]
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r + 1 + t) % n] = chunks[r][(r + 1 + t) % n]
    return new


# %% ring: gather-starts-with-chunk-r
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r - t) % n] += chunks[r][(r - t) % n]
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r - t) % n] = chunks[r][(r - t) % n]
    return new


# %% ring: chunk-number-of-the-receiver
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[r][(r - t) % n] += chunks[r - 1][(r - t) % n]
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[r][(r + 1 - t) % n] = chunks[r - 1][(r + 1 - t) % n]
    return new


# %% ring: sends-everything
def reduce_scatter_step(chunks, t):
    n = len(chunks)
    return [[a + b for a, b in zip(chunks[r], chunks[r - 1], strict=True)] for r in range(n)]


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r + 1 - t) % n] = chunks[r][(r + 1 - t) % n]
    return new


# %% ring: sender-loses-it
def reduce_scatter_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        c = (r - t) % n
        new[(r + 1) % n][c] += chunks[r][c]
        new[r][c] = 0
    return new


def all_gather_step(chunks, t):
    n, new = len(chunks), [own[:] for own in chunks]
    for r in range(n):
        new[(r + 1) % n][(r + 1 - t) % n] = chunks[r][(r + 1 - t) % n]
    return new
