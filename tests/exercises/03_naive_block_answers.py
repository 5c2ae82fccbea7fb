# ruff: noqa: F811, F821
"""Answers to exercise 03: other right ones, and wrong ones that are no edit of the solution."""


# %% attention-head: right
def attention_head(Q, K, V, head, n_heads):
    q, k, v = (X.chunk(n_heads, dim=-1)[head] for X in (Q, K, V))
    return F.scaled_dot_product_attention(q, k, v)


# %% causal-mask: right
def causal_weights(scores):
    weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True)).tril()
    return weights / weights.sum(dim=-1, keepdim=True)


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


# %% naive-flops: right
def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    first, end, D = prompt_len, prompt_len + n_new_tokens, d_model

    def up_to(n):  # sums of L and of L² for L below n
        return n * (n - 1) // 2, (n - 1) * n * (2 * n - 1) // 6

    (a, b), (c, d) = up_to(end), up_to(first)
    return 24 * D * D * (a - c) + 4 * D * (b - d)


# %% grouped-attention: right
def grouped_attention(Q, K, V, inv_freq):
    def turn(heads):  # a pair as one complex number, turned by a factor of length 1
        half = heads.shape[-1] // 2
        z = torch.complex(heads[..., :half], heads[..., half:])
        angles = torch.arange(heads.shape[1]).outer(inv_freq)
        z = z * torch.polar(torch.ones_like(angles), angles)
        return torch.cat((z.real, z.imag), dim=-1)

    group = Q.shape[0] // K.shape[0]
    heads = [attend(turn(Q[[i]]), turn(K[[i // group]]), V[[i // group]]) for i in range(len(Q))]
    return torch.cat(heads)


# %% llama-logits: right
def llama_logits(token_ids, W, n_layers, n_heads, n_kv_heads, base, eps):
    x = F.embedding(token_ids, W["model.embed_tokens.weight"])
    for i in range(n_layers):
        w = {
            name.split(f"model.layers.{i}.")[1].removesuffix(".weight"): tensor
            for name, tensor in W.items()
            if name.startswith(f"model.layers.{i}.")
        }
        h = F.rms_norm(x, x.shape[-1:], w["input_layernorm"], eps)
        q, k, v = (F.linear(h, w[f"self_attn.{name}_proj"]) for name in "qkv")
        width = q.shape[1] // n_heads
        q, k, v = (y.unflatten(1, (-1, width)).transpose(0, 1) for y in (q, k, v))
        angles = torch.tensor([base ** (-2 * j / width) for j in range(width // 2)], dtype=x.dtype)
        z = grouped_attention(q, k, v, angles).transpose(0, 1).reshape(len(x), -1)
        x = x + F.linear(z, w["self_attn.o_proj"])
        h = F.rms_norm(x, x.shape[-1:], w["post_attention_layernorm"], eps)
        gate = F.silu(F.linear(h, w["mlp.gate_proj"]))
        x = x + F.linear(gate * F.linear(h, w["mlp.up_proj"]), w["mlp.down_proj"])
    return F.linear(F.rms_norm(x, x.shape[-1:], W["model.norm.weight"], eps), W["lm_head.weight"])
