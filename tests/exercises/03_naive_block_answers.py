# ruff: noqa: F811, F821
"""Answers to exercise 03: other right ones, and wrong ones by the misconception they show."""


# %% attention-head: right
def attention_head(Q, K, V, head, n_heads):
    q, k, v = (X.chunk(n_heads, dim=-1)[head] for X in (Q, K, V))
    return F.scaled_dot_product_attention(q, k, v)


# %% attention-head: right
def attention_head(Q, K, V, head, n_heads):
    H = Q.shape[1] // n_heads
    first, last = head * H, (head + 1) * H
    rows = []
    for q in Q[:, first:last]:
        weights = torch.exp(K[:, first:last] @ q / H**0.5)
        rows.append(weights / weights.sum() @ V[:, first:last])
    return torch.stack(rows)


# %% attention-head: scale-of-the-model
def attention_head(Q, K, V, head, n_heads):
    D = Q.shape[1]
    H = D // n_heads
    q, k, v = (X[:, head * H : head * H + H] for X in (Q, K, V))
    return F.softmax(q @ k.T * D**-0.5, dim=1) @ v


# %% attention-head: no-scale
def attention_head(Q, K, V, head, n_heads):
    q, k, v = (X.chunk(n_heads, dim=-1)[head] for X in (Q, K, V))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


# %% attention-head: divides-by-h
def attention_head(Q, K, V, head, n_heads):
    H = Q.shape[1] // n_heads
    q, k, v = (X.split(H, dim=1)[head] for X in (Q, K, V))
    return F.softmax((q / H) @ k.T, dim=1) @ v


# %% attention-head: scales-after-softmax
def attention_head(Q, K, V, head, n_heads):
    q, k, v = (X.chunk(n_heads, dim=-1)[head] for X in (Q, K, V))
    weights = F.softmax(q @ k.T, dim=-1) / math.sqrt(k.shape[-1])
    return weights @ v


# %% attention-head: softmax-over-queries
def attention_head(Q, K, V, head, n_heads):
    q, k, v = (X.chunk(n_heads, dim=-1)[head] for X in (Q, K, V))
    scores = torch.einsum("lh,sh->ls", q, k) / math.sqrt(q.shape[-1])
    return F.softmax(scores, dim=0) @ v


# %% attention-head: q-and-k-swapped
def attention_head(Q, K, V, head, n_heads):
    q, k, v = (X.chunk(n_heads, dim=-1)[head] for X in (Q, K, V))
    return F.scaled_dot_product_attention(k, q, v)


# %% attention-head: k-not-transposed
def attention_head(Q, K, V, head, n_heads):
    H = Q.shape[1] // n_heads
    q, k, v = (X.split(H, dim=1)[head] for X in (Q, K, V))
    scores = torch.matmul(q, k) / H**0.5
    return F.softmax(scores, dim=-1) @ v


# %% attention-head: softmax-after-v
def attention_head(Q, K, V, head, n_heads):
    H = Q.shape[1] // n_heads
    q, k, v = (X.split(H, dim=1)[head] for X in (Q, K, V))
    return F.softmax(q @ k.T @ v / H**0.5, dim=-1)


# %% attention-head: no-softmax
def attention_head(Q, K, V, head, n_heads):
    H = Q.shape[1] // n_heads
    q, k, v = (X.split(H, dim=1)[head] for X in (Q, K, V))
    return q @ (k.T @ v) / H**0.5


# %% attention-head: returns-scores
def attention_head(Q, K, V, head, n_heads):
    H = Q.shape[1] // n_heads
    q, k = (X.split(H, dim=1)[head] for X in (Q, K))
    return F.softmax(q @ k.T / H**0.5, dim=-1)


# %% attention-head: columns-overlap
def attention_head(Q, K, V, head, n_heads):
    H = Q.shape[1] // n_heads
    q, k, v = (X.narrow(1, head, H) for X in (Q, K, V))
    return F.scaled_dot_product_attention(q, k, v)


# %% attention-head: every-nth-column
def attention_head(Q, K, V, head, n_heads):
    q, k, v = (X.reshape(len(X), -1, n_heads)[..., head] for X in (Q, K, V))
    return F.scaled_dot_product_attention(q, k, v)


# %% causal-mask: right
def causal_weights(scores):
    L = scores.shape[-1]
    hidden = torch.full((L, L), -math.inf, dtype=scores.dtype).triu(diagonal=1)
    return F.softmax(scores + hidden, dim=-1)


# %% causal-mask: right
def causal_weights(scores):
    weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True)).tril()
    return weights / weights.sum(dim=-1, keepdim=True)


# %% causal-mask: right
def causal_weights(scores):
    places = torch.arange(scores.shape[1])
    scores = scores.clone()
    scores[:, places[:, None] < places] = -1e9
    return scores.softmax(2)


# %% causal-mask: no-mask
def causal_weights(scores):
    weights = torch.exp(scores)
    return weights / weights.sum(dim=-1, keepdim=True)


# %% causal-mask: hides-itself
def causal_weights(scores):
    places = torch.arange(scores.shape[1])
    return scores.masked_fill(places >= places[:, None], float("-inf")).softmax(-1)


# %% causal-mask: sees-the-next
def causal_weights(scores):
    places = torch.arange(scores.shape[1])
    return scores.masked_fill(places > places[:, None] + 1, float("-inf")).softmax(-1)


# %% causal-mask: mask-after-softmax
def causal_weights(scores):
    return torch.tril(F.softmax(scores, dim=-1))


# %% causal-mask: zero-scores
def causal_weights(scores):
    return F.softmax(torch.tril(scores), dim=-1)


# %% causal-mask: only-the-future
def causal_weights(scores):
    L = scores.shape[-1]
    keep = torch.triu(torch.ones(L, L), diagonal=1)
    return F.softmax(scores.masked_fill(keep == 0, -math.inf), dim=-1)


# %% causal-mask: hides-the-past
def causal_weights(scores):
    L = scores.shape[-1]
    hidden = torch.full((L, L), -math.inf, dtype=scores.dtype).tril(-1)
    return F.softmax(scores + hidden, dim=-1)


# %% causal-mask: zero-times-infinity
def causal_weights(scores):
    L = scores.shape[-1]
    mask = torch.triu(torch.ones(L, L, dtype=scores.dtype), 1) * float("-inf")
    return F.softmax(scores + mask, dim=-1)


# %% causal-mask: softmax-over-queries
def causal_weights(scores):
    L = scores.shape[-1]
    hidden = torch.full((L, L), -math.inf, dtype=scores.dtype).triu(1)
    return F.softmax(scores + hidden, dim=1)


# %% causal-mask: changes-the-scores
def causal_weights(scores):
    for i in range(scores.shape[1]):
        scores[:, i, i + 1 :] = -math.inf
    return F.softmax(scores, dim=-1)


# %% split-merge: right
def partition_heads(X, n_heads):
    L, D = X.shape
    return X.view(L, n_heads, D // n_heads).permute(1, 0, 2)


def merge_heads(Z):
    n_heads, L, H = Z.shape
    return Z.permute(1, 0, 2).reshape(L, n_heads * H)


# %% split-merge: right
def partition_heads(X, n_heads):
    H = X.shape[1] // n_heads
    return torch.stack([X[:, i * H : (i + 1) * H] for i in range(n_heads)])


def merge_heads(Z):
    return torch.hstack(list(Z))


# %% split-merge: partition-by-reshape
def partition_heads(X, n_heads):
    L, D = X.shape
    return X.view(n_heads, L, D // n_heads)


def merge_heads(Z):
    return torch.cat([*Z], dim=1)


# %% split-merge: merge-by-reshape
def partition_heads(X, n_heads):
    return torch.stack(X.split(X.shape[1] // n_heads, dim=1))


def merge_heads(Z):
    n_heads, L, H = Z.shape
    return Z.contiguous().view(L, n_heads * H)


# %% split-merge: both-by-reshape
def partition_heads(X, n_heads):
    L, D = X.shape
    return X.reshape(n_heads, L, D // n_heads)


def merge_heads(Z):
    n_heads, L, H = Z.shape
    return Z.reshape(L, n_heads * H)


# %% split-merge: partition-interleaved
def partition_heads(X, n_heads):
    return torch.stack([X[:, i::n_heads] for i in range(n_heads)])


def merge_heads(Z):
    return torch.cat([*Z], dim=1)


# %% split-merge: merge-interleaved
def partition_heads(X, n_heads):
    return torch.stack(X.chunk(n_heads, dim=1))


def merge_heads(Z):
    return torch.stack([*Z], dim=-1).flatten(1)


# %% split-merge: both-interleaved
def partition_heads(X, n_heads):
    return X.T.reshape(-1, n_heads, len(X)).permute(1, 2, 0)


def merge_heads(Z):
    X = torch.empty(Z.shape[1], Z.shape[0] * Z.shape[2], dtype=Z.dtype)
    for i, head in enumerate(Z):
        X[:, i :: len(Z)] = head
    return X


# %% split-merge: heads-in-the-middle
def partition_heads(X, n_heads):
    return X.view(X.shape[0], n_heads, -1)


def merge_heads(Z):
    return torch.cat([*Z], dim=1)


# %% split-merge: width-before-tokens
def partition_heads(X, n_heads):
    return X.T.reshape(n_heads, -1, X.shape[0])


def merge_heads(Z):
    return torch.cat([*Z], dim=1)


# %% split-merge: splits-the-tokens
def partition_heads(X, n_heads):
    return torch.stack(torch.chunk(X, n_heads))


def merge_heads(Z):
    return torch.cat([*Z], dim=1)


# %% split-merge: merges-below
def partition_heads(X, n_heads):
    return torch.stack(X.chunk(n_heads, dim=1))


def merge_heads(Z):
    return torch.cat([*Z])


# %% split-merge: adds-the-heads
def partition_heads(X, n_heads):
    return torch.stack(X.chunk(n_heads, dim=1))


def merge_heads(Z):
    total = torch.zeros_like(Z[0])
    for head in Z:
        total = total + head
    return total


# %% block: right
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = X + merge_heads(heads) @ W["W_o"]
    return X + F.relu(norm(X) @ W["W_1"]) @ W["W_2"]


# %% block: right
def transformer_block(X, W, n_heads):
    qkv = norm(X) @ torch.cat([W["W_q"], W["W_k"], W["W_v"]], dim=1)  # (L, 3D)
    Q, K, V = qkv.chunk(3, dim=1)
    H = X.shape[1] // n_heads
    out = X.clone()
    for i in range(n_heads):
        columns = slice(i * H, (i + 1) * H)
        z = attend(Q[None, :, columns], K[None, :, columns], V[None, :, columns])[0]
        out += z @ W["W_o"][columns]  # a merge, then W^O: the sum over the heads
    return out + norm(out).matmul(W["W_1"]).clamp_min(0) @ W["W_2"]


# %% block: forgets-w-o
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = X + merge_heads(heads)
    return X + F.relu(norm(X) @ W["W_1"]) @ W["W_2"]


# %% block: forgets-relu
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = X + merge_heads(heads) @ W["W_o"]
    return X + norm(X) @ (W["W_1"] @ W["W_2"])


# %% block: relu-at-the-end
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = X + merge_heads(heads) @ W["W_o"]
    return X + F.relu(norm(X) @ W["W_1"] @ W["W_2"])


# %% block: no-residuals
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    Y = norm(merge_heads(heads) @ W["W_o"])
    return F.relu(Y @ W["W_1"]) @ W["W_2"]


# %% block: no-residual-of-attention
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = merge_heads(heads) @ W["W_o"]
    return X + F.relu(norm(X) @ W["W_1"]) @ W["W_2"]


# %% block: no-residual-of-mlp
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = X + merge_heads(heads) @ W["W_o"]
    return F.relu(norm(X) @ W["W_1"]) @ W["W_2"]


# %% block: adds-x-again
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    Out = X + merge_heads(heads) @ W["W_o"]
    return X + F.relu(norm(Out) @ W["W_1"]) @ W["W_2"]


# %% block: mlp-reads-x
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    return X + merge_heads(heads) @ W["W_o"] + F.relu(Y @ W["W_1"]) @ W["W_2"]


# %% block: no-norms
def transformer_block(X, W, n_heads):
    heads = attend(*(partition_heads(X @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = X + merge_heads(heads) @ W["W_o"]
    return X + F.relu(X @ W["W_1"]) @ W["W_2"]


# %% block: no-norm-before-mlp
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(Y @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = X + merge_heads(heads) @ W["W_o"]
    return X + F.relu(X @ W["W_1"]) @ W["W_2"]


# %% block: norms-the-stream
def transformer_block(X, W, n_heads):
    X = norm(X)
    heads = attend(*(partition_heads(X @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = norm(X + merge_heads(heads) @ W["W_o"])
    return X + F.relu(X @ W["W_1"]) @ W["W_2"]


# %% block: post-norm
def transformer_block(X, W, n_heads):
    heads = attend(*(partition_heads(X @ W[f"W_{c}"], n_heads) for c in "qkv"))
    X = norm(X + merge_heads(heads) @ W["W_o"])
    X = X + F.relu(X @ W["W_1"]) @ W["W_2"]
    return norm(X)


# %% block: transposes-the-weights
def transformer_block(X, W, n_heads):
    Y = norm(X)
    heads = attend(*(partition_heads(F.linear(Y, W[f"W_{c}"]), n_heads) for c in "qkv"))
    X = X + F.linear(merge_heads(heads), W["W_o"])
    return X + F.relu(norm(X) @ W["W_1"]) @ W["W_2"]


# %% block: one-wide-head
def transformer_block(X, W, n_heads):
    Y = norm(X)
    z = attend(*((Y @ W[f"W_{c}"])[None] for c in "qkv"))[0]
    X = X + z @ W["W_o"]
    return X + F.relu(norm(X) @ W["W_1"]) @ W["W_2"]


# %% naive-flops: right
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    first, end, D = prompt_len, prompt_len + n_new_tokens, d_model

    def up_to(n):  # sums of L and of L² for L below n
        return n * (n - 1) // 2, (n - 1) * n * (2 * n - 1) // 6

    (a, b), (c, d) = up_to(end), up_to(first)
    return 24 * D * D * (a - c) + 4 * D * (b - d)


# %% naive-flops: right
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    def product(m, k, n):
        return 2 * m * k * n

    D, H, total = d_model, d_model // n_heads, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 4 * product(L, D, D) + product(L, D, 4 * D) + product(L, 4 * D, D)
        for _ in range(n_heads):
            total += product(L, H, L) + product(L, L, H)
    return total


# %% naive-flops: counts-macs
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 4 * L * D * D + 2 * L * L * D + 8 * L * D * D
    return total


# %% naive-flops: length-stands-still
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, L, total = d_model, prompt_len, 0
    for _ in range(n_new_tokens):
        total += 24 * L * D * D + 4 * L * L * D
    return total


# %% naive-flops: one-too-long
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, L, total = d_model, prompt_len, 0
    for _ in range(n_new_tokens):
        L += 1
        total += 24 * L * D * D + 4 * L * L * D
    return total


# %% naive-flops: one-pass-too-many
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for step in range(n_new_tokens + 1):
        L = prompt_len + step
        total += 24 * L * D * D + 4 * L * L * D
    return total


# %% naive-flops: last-pass-only
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, flops = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        flops = 24 * L * D * D + 4 * L * L * D
    return flops


# %% naive-flops: first-pass-only
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    if n_new_tokens == 0:
        return 0
    return 24 * prompt_len * d_model**2 + 4 * prompt_len**2 * d_model


# %% naive-flops: counts-with-a-cache
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total, rows, kv_len = d_model, 0, prompt_len, prompt_len
    for _ in range(n_new_tokens):
        total += 24 * rows * D * D + 4 * rows * kv_len * D
        rows, kv_len = 1, kv_len + 1
    return total


# %% naive-flops: forgets-attention
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    n_rows = sum(range(prompt_len, prompt_len + n_new_tokens))
    return n_rows * 12 * d_model * d_model * 2


# %% naive-flops: forgets-one-attention-product
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 8 * L * D * D + n_heads * 2 * L * L * (D // n_heads) + 16 * L * D * D
    return total


# %% naive-flops: one-head-only
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, H, total = d_model, d_model // n_heads, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 8 * L * D * D + 4 * L * L * H + 16 * L * D * D
    return total


# %% naive-flops: heads-of-full-width
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 8 * L * D * D + n_heads * 4 * L * L * D + 16 * L * D * D
    return total


# %% naive-flops: narrow-mlp
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 6 * 2 * L * D * D + 4 * L * L * D
    return total


# %% naive-flops: half-an-mlp
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 4 * 2 * L * D * D + 4 * L * L * D + 2 * L * D * 4 * D
    return total


# %% naive-flops: forgets-out
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 3 * 2 * L * D * D + 4 * L * L * D + 2 * 2 * L * D * 4 * D
    return total


# %% naive-flops: causal-half
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    D, total = d_model, 0
    for L in range(prompt_len, prompt_len + n_new_tokens):
        total += 24 * L * D * D
        for position in range(L):
            total += 4 * (position + 1) * D
    return total
