# ruff: noqa: F821
"""Answers to exercise 07: other right ones, and wrong ones that are no edit of the solution."""


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


# %% mlp-shards: right
def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
    F = W1.size(1)
    units = [f for f in range(F) if f % n_ranks == rank]  # any units, if they belong together
    return W1[:, units], b1[units], W2[units, :], b2 / n_ranks


def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
    return (x @ W1_r + b1_r).clamp(min=0) @ W2_r + b2_r


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


# %% shard-heads: right
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    for n in (n_heads, n_kv_heads):
        if n % n_ranks != 0:
            raise ValueError(f"{n} heads over {n_ranks} ranks")
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
    return [[sent[r - 1] if c == (r - t) % n else own for c, own in enumerate(chunks[r])]
            for r in range(n)]  # fmt: skip
