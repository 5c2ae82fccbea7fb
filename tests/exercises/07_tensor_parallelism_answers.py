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
    layers = {"prefill_layer": layer(seq_len), "decode_layer": layer(1)}
    return layers | {"request": request, "rank_sends": sent}


# %% mlp-shards: right
def shard_mlp(W1, W2, b2, rank, n_ranks):
    F = W2.size(0)
    units = [f for f in range(F) if f % n_ranks == rank]  # any units, if they belong together
    return W1[:, units + [F + f for f in units]], W2[units, :], b2 / n_ranks


def partial_mlp(x, W1_r, W2_r, b2_r):
    n_units = len(W2_r)
    gate, up = x @ W1_r[:, :n_units], x @ W1_r[:, n_units:]
    return (gate * torch.sigmoid(gate) * up) @ W2_r + b2_r


# %% where-to-reduce: right
def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
    size, summand = len(W1) // n_ranks, [0] * n_ranks
    for i in range(len(W1)):
        summand[i // size] = summand[i // size] + x[:, i : i + 1] @ W1[i : i + 1]
    hidden = all_reduce(summand).clamp(min=0)
    return torch.hstack([hidden @ column[:, None] for column in W2.T])


def counterexample():
    return -7, 7


# %% shard-heads: right
def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
    for n in (n_heads, n_kv_heads):
        if n % n_ranks != 0:
            raise ValueError(f"{n} heads over {n_ranks} ranks")
    Wq_r, Wk_r, Wv_r = (W.chunk(n_ranks, dim=1)[rank] for W in (Wq, Wk, Wv))
    return Wq_r, Wk_r, Wv_r, Wo.chunk(n_ranks, dim=0)[rank]


# %% layout: right
def step_s(spec, machine, tensor, stages):
    seconds = spec["rest_bytes"] / machine["bandwidth"]
    for _layer in range(spec["n_layers"]):
        seconds += spec["layers_bytes"] / spec["n_layers"] / tensor / machine["bandwidth"]
        if tensor > 1:
            seconds += 2 * machine["start_s"] + 4 * (tensor - 1) * machine["hop_s"]
    return seconds + (machine["message_s"] * stages if stages != 1 else 0)


def choose_layout(spec, machine, target_s):
    def n_gpus_and_seconds(layout):
        return layout[0] * layout[1], step_s(spec, machine, *layout)

    memory = machine["memory_bytes"] - spec["rest_bytes"]
    layouts = [
        (tensor, stages)
        for stages in [n for n in range(1, spec["n_layers"] + 1) if spec["n_layers"] % n == 0]
        for tensor in range(machine["n_gpus"], 0, -1)
        if spec["n_heads"] % tensor == 0 == spec["n_kv_heads"] % tensor
        and spec["layers_bytes"] / (tensor * stages) <= memory
        # the sums above round differently, and a target may be met exactly
        and step_s(spec, machine, tensor, stages) <= target_s * (1 + 1e-12)
    ]
    return min(layouts, key=n_gpus_and_seconds, default=None)


# %% ring: right
def reduce_scatter_step(chunks, t):
    n = len(chunks)
    # what receiver r gets is chunk r - 1 - t of its left neighbour
    return [[value + (chunks[r - 1][c] if (r - 1 - t - c) % n == 0 else 0)
             for c, value in enumerate(chunks[r])] for r in range(n)]  # fmt: skip


def all_gather_step(chunks, t):
    n = len(chunks)
    sent = [chunks[r][(r + 1 - t) % n] for r in range(n)]
    return [[sent[r - 1] if c == (r - t) % n else own for c, own in enumerate(chunks[r])]
            for r in range(n)]  # fmt: skip


# %% block: right
def parallel_block(x, ranks, norms, attend, all_reduce):
    def attention(rank):
        q, k, v = (norms[0](x) @ rank[name] for name in ("Wq", "Wk", "Wv"))
        return attend(q, k, v) @ rank["Wo"]

    middle = all_reduce([attention(rank) for rank in ranks]) + x
    return all_reduce([partial_mlp(norms[1](middle), *rank["mlp"]) for rank in ranks]) + middle
