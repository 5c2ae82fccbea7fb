"""Hidden checks of exercise 03: heads of packed texts, block, FLOPs, RoPE and groups, a Llama."""

import torch

from grader.checks import Case, Close, Exact, Task, between, normal

CLOSE = Close(rtol=1e-5, atol=1e-7)  # cases are float64; an answer may compute its scale in float32


def heads(rng, seq_len, d_model, n_heads, label):
    """A case of each of the two functions that split and join heads."""
    X, Z = normal(rng, seq_len, d_model), normal(rng, n_heads, seq_len, d_model // n_heads)
    return (Case(X, n_heads, entry="partition_heads", label=f"partition, {label}: all tokens"),
            Case(Z, entry="merge_heads", label=f"merge, {label}: heads side by side"))  # fmt: skip


def packed(rng, lengths, d_model, n_heads, label, shift=0.0, zeros=(), last=1.0):
    numbers = 3 * rng.permutation(len(lengths))  # in any order
    text_of = torch.as_tensor(numbers.repeat(lengths))
    Q, K, V = (normal(rng, len(text_of), d_model, scale=1.5) for _ in range(3))
    Q[zeros, :], K[-1] = 0.0, last * K[-1]
    return Case(Q + shift, K - shift, V, n_heads, text_of, entry="packed_attention", label=label)


PACKED_ATTENTION = Task(
    grade_id="packed-attention", entry=("partition_heads", "merge_heads", "packed_attention"),
    compare=CLOSE, cases=lambda rng: [
        *heads(rng, 5, 6, 2, "two heads"),
        *heads(rng, 6, 6, 3, "D equal to L"),
        *heads(rng, 1, 6, 3, "one token"),
        *heads(rng, 3, 4, 1, "one head"),
        *(packed(rng, [n], 8, 2, "a single text, number 0") for n in (6, 1)),
        packed(rng, [1, 1, 1], 6, 1, "three texts of one token, each sees itself alone"),
        packed(rng, [4, 4], 8, 2, "texts of one length, with as many tokens as columns"),
        packed(rng, [2, 1, 3, 2, 4], 8, 4, "several lengths, in their order; a number is a name"),
        packed(rng, [3, 3], 8, 2, "very low scores: hide by -inf; exp is 0.0: softmax", shift=24.0),
        packed(rng, [4, 3], 8, 2, "visible scores of exactly 0: hide by the mask, not by value",
               zeros=[2, 5]),
        packed(rng, [3, 4], 8, 2, "a huge hidden score: hide BEFORE softmax, whose rest is 0.0",
               last=1e5),
    ], misconceptions=[
        ("X.reshape(seq_len, n_heads, -1).transpose(0, 1)", {"X.reshape(n_heads, seq_len, -1)",
         "X.reshape(seq_len, -1, n_heads).permute(2, 0, 1)"}),
        ("X.reshape(seq_len, n_heads, -1).transpose(0, 1)", "X.reshape(n_heads, seq_len, -1)",
         "Z.transpose(0, 1).flatten(1)", {"Z.reshape(Z.shape[1], -1)"}),
        ("Z.transpose(0, 1).flatten(1)", {"Z.reshape(Z.shape[1], -1)"}),
        ("(text_of[:, None] == text_of)", {"torch.ones(len(Q), len(Q)).bool()": "",
         "(text_of[:, None] >= text_of)": "a text sees those with a smaller number: use ==",
         "((text_of[:, None] == text_of[0]) == (text_of == text_of[0]))":
         "only two texts are kept apart, the first and the rest; there may be more"}),
        (".tril()", {"", ".tril(1)", ".triu()"}),
        (".tril()", ".tril(-1)", "off by one: no token sees itself: tril() keeps the diagonal"),
        ("scores.masked_fill(~visible, -math.inf), dim=-1)", {"scores, dim=-1) * visible"}),
        ("-math.inf", {"0.0"}),
        ("scores.masked_fill(~visible", "(scores * visible).masked_fill(scores * visible == 0",
         "a visible score that is 0 was hidden, too: a score of 0 is a score; hide by the mask"),
        ("dim=-1", {"dim=-2"}),
        (" / math.sqrt(q.shape[-1])", {
         "": "the scores are not scaled: divide them by √H",
         " / math.sqrt(Q.shape[-1])": "divided by √D; a head has width H, so √H",
         " / math.sqrt(n_heads)": "divided by √n_H, the number of heads; it is √H, their width",
         " / math.sqrt(q.shape[1])": "q.shape[1] is the number of tokens, L; H is q.shape[-1]",
         " / q.shape[-1]": "divided by H, or twice by √H; divide by √H once"}),
        ("q @ k.mT", {"k @ q.mT"}),
    ])  # fmt: skip


def block(rng, seq_len, d_model, d_ff, n_heads, label):
    shapes = {"W_1": (d_model, d_ff), "W_2": (d_ff, d_model)}
    names = ("W_q", "W_k", "W_v", "W_o", "W_1", "W_2")
    W = {name: normal(rng, *shapes.get(name, (d_model, d_model))) for name in names}
    W = dict(sorted(W.items())) if n_heads == 1 else W
    return Case(normal(rng, seq_len, d_model, scale=2) + 0.5, W, n_heads, label=label)


BLOCK = Task(
    grade_id="block", entry="transformer_block", compare=CLOSE,
    cases=lambda rng: [
        block(rng, 4, 6, 26, 2, "two heads: go row by row through the table, and keep X"),
        block(rng, 1, 6, 9, 3, "a single token"),
        block(rng, 4, 6, 7, 3, "three heads: n_heads is an argument, and F any width"),
        block(rng, 5, 4, 7, 1, "matrices in another order in the dict: their names count"),
    ], misconceptions=[
        (' @ W["W_o"]', "", "W^O is missing: one more product mixes the merged heads, Z W^O"),
        ('torch.relu(norm(Out) @ W["W_1"])', {'norm(Out) @ W["W_1"]': "",
         'F.gelu(norm(Out) @ W["W_1"])': "this is gelu; the MLP of this block has relu"}),
        ('torch.relu(norm(Out) @ W["W_1"])', 'norm(Out) @ W["W_1"]', 'A @ W["W_2"]',
         {'torch.relu(A @ W["W_2"])'}),
        ("Out = X + Z", "Out = Z", "return Out + A", {"return A"}),
        ("Out = X + Z", {"Out = Z", "Out = norm(X) + Z"}),
        ("return Out", {"return 0", "return X", "return norm(Out)"}),
        ("= norm(X)", "= X", "norm(Out)", "Out", "both norms are missing, norm(X) and norm(Out)"),
        ("norm(Out)", {"Out", "norm(X)"}),
        ("Out = X + Z", "Out = norm(X) + Z", "return Out", {"return norm(Out)"}),
        ("= norm(X)", "= X", "norm(Out)", "Out", 'X + Z @ W["W_o"]', 'norm(X + Z @ W["W_o"])',
         'Out + A @ W["W_2"]', {'norm(Out + A @ W["W_2"])'}),
        ("W[name]", "W[name].T", 'W["W_o"]', 'W["W_o"].T', "the matrices are transposed: X @ W"),
        ("merge_heads(attend(Q, K, V))", "attend(Q, K, V).reshape(X.shape)",
         "a reshape alone mixes the tokens of the heads: merge_heads"),
        ("partition_heads(Y, n_heads)", "partition_heads(Y, 1)",
         "one head of width D: partition first"),
        ("attend(Q, K, V)", {
         "attend(Q, V, K)": "keys and values are exchanged: attend(Q, K, V)",
         "attend(K, Q, V)": "queries and keys are exchanged: attend(Q, K, V)"}),
    ])  # fmt: skip


NAIVE_FLOPS = Task(
    grade_id="naive-flops", compare=Exact(), cases=lambda rng: [
        *(Case(3 * between(rng, 4, 9), 3, between(rng, 3, 20), n, label=label) for n, label in [
            (0, "no new token"), (1, "one new token"), (2, "two: a pass over L, one over L + 1"),
            (between(rng, 5, 30), "several new tokens: add passes, each longer by one token")]),
        Case(between(rng, 3, 9), 1, 1, between(rng, 3, 9), label="a prompt of one token"),
        Case(4096, 32, between(rng, 300, 2000), 150, label="a real model's sizes: whole numbers"),
    ], misconceptions=[
        ("return total", {"return total // 2"}),
        ("range(prompt_len, prompt_len + n_new_tokens)", {"[prompt_len] * n_new_tokens",
         "range(prompt_len + 1, prompt_len + n_new_tokens + 1)", "range(prompt_len, prompt_len + "
         "n_new_tokens + 1)", "range(prompt_len, prompt_len + min(n_new_tokens, 1))"}),
        ("        qkv", "        rows = seq_len if seq_len == prompt_len else 1\n        qkv",
         "4 * (2 * seq_len", "4 * (2 * rows", "head = 2 * (2 * seq_len", "head = 2 * (2 * rows",
         "mlp = 2 * (2 * seq_len", "mlp = 2 * (2 * rows",
         "one row per step is what a cache would do; here all are computed"),
        ("n_heads * one_head", {"0": "", "one_head": "rows 7 and 8 are counted for a single head"}),
        ("head = 2 * (2", {"head = (2"}),
        ("seq_len * head_dim", "seq_len * d_model", "a head is D / n_heads wide, not D"),
        ("2 * (2 * seq_len * seq_len", {"2 * (seq_len * (seq_len + 1)"}),
    ])  # fmt: skip


def grouped(rng, n_heads, n_kv_heads, seq_len, head_dim, label):
    Q, K, V = (normal(rng, n, seq_len, head_dim, scale=1.5)
               for n in (n_heads, n_kv_heads, n_kv_heads))  # fmt: skip
    return Case(Q, K, V, normal(rng, head_dim // 2).abs() + 0.1, label=label)


GROUPED_ATTENTION = Task(
    grade_id="grouped-attention", compare=CLOSE,
    cases=lambda rng: [
        grouped(rng, 3, 3, 4, 8, "no groups: RoPE alone, of queries and keys, pairs (i, i + H/2)"),
        grouped(rng, 6, 2, 4, 8, "two key heads: neighbours share, keys as values; other angles"),
        grouped(rng, 4, 1, 6, 4, "one key head for all"),
        grouped(rng, 4, 2, 1, 4, "a single token"),
        grouped(rng, 2, 1, 3, 2, "heads of one pair"),
    ], misconceptions=[
        ("Y.repeat_interleave(len(Q) // len(V), dim=0)", {
         "Y.repeat(len(Q) // len(V), 1, 1)": "",
         "Y[torch.arange(len(Q)) * len(V) // len(Q) if Y is V else torch.arange(len(Q)) % len(V)]":
         "the keys are shared as 0 1 2 0 1 2; neighbours share a key head AND its value head"}),
        ("Y.repeat_interleave(len(Q) // len(V), dim=0)", "Y.repeat_interleave(2 if len(V) < len(Q) "
         "else 1, dim=0)", "a group has n_H / n_KV heads, not always two"),
        ("(turn(K), V)", {
         "(turn(K), turn(V))": "the values are turned too: only queries and keys are",
         "(K, V)": "the keys are not turned, so a score depends on where the query is"}),
        ("attend(turn(Q)", "attend(Q", "the queries are not turned; only keys are"),
        ("x1 * cos - x2 * sin, x2 * cos + x1 * sin", {
         "x1, x2": "nothing is turned: RoPE is missing",
         "x1 * cos + x2 * sin, x2 * cos - x1 * sin":
         "turned the other way: the first half has -sin",
         "x1 := x1 * cos - x2 * sin, x2 * cos + x1 * sin":
         "the second half needs the OLD first half"}),
        ("* inv_freq", {
         "* 1e4 ** (-torch.arange(Q.shape[-1] // 2) / (Q.shape[-1] // 2))":
         "base 10000 was taken, not inv_freq",
         "* inv_freq[0]": "all pairs are turned by the first one's angle: pair i has inv_freq[i]"}),
        ("x.chunk(2, dim=-1)", "(x[..., ::2], x[..., 1::2])",
         "i is paired with its neighbour, not with i + H/2"),
    ])  # fmt: skip


def llama(rng, n_layers, n_heads, n_kv_heads, head_dim, d_model, seq_len, label):
    d_ff, q, kv = d_model + 3, n_heads * head_dim, n_kv_heads * head_dim
    shapes = {"input_layernorm": (d_model,), "post_attention_layernorm": (d_model,),
              "self_attn.q_proj": (q, d_model), "self_attn.k_proj": (kv, d_model),
              "self_attn.v_proj": (kv, d_model), "self_attn.o_proj": (d_model, q),
              "mlp.gate_proj": (d_ff, d_model), "mlp.up_proj": (d_ff, d_model),
              "mlp.down_proj": (d_model, d_ff)}  # fmt: skip
    W = {f"model.layers.{i}.{name}.weight": normal(rng, *shape, scale=0.5)
         for i in range(n_layers) for name, shape in shapes.items()}  # fmt: skip
    W["model.norm.weight"] = normal(rng, d_model)
    W |= {f"{name}.weight": normal(rng, 11, d_model) for name in ("model.embed_tokens", "lm_head")}
    token_ids, base = torch.as_tensor(rng.integers(0, 11, seq_len)), float(between(rng, 50, 900))
    return Case(token_ids, W, n_layers, n_heads, n_kv_heads, base, 0.01, label=label)


LLAMA_LOGITS = Task(
    grade_id="llama-logits",
    compare=Close(rtol=1e-4, atol=1e-5), cases=lambda rng: [
        llama(rng, 1, 2, 2, 4, 8, 1, "one layer, one token: norms, MLP, what is added to what"),
        llama(rng, 2, 4, 2, 4, 16, 5, "two layers, several tokens: RoPE, its base, the heads"),
        llama(rng, 3, 3, 1, 6, 18, 4, "three layers, one key head"),
        llama(rng, 2, 4, 4, 6, 16, 6, "heads that are wider together than D: H from q_proj"),
        llama(rng, 12, 1, 1, 2, 4, 2, "twelve layers: model.layers.1. is not model.layers.10."),
    ], misconceptions=[
        (" * weight", "", "the norms have no weight: each column is multiplied by a learned one"),
        ("x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)", {
         "x / (x.pow(2).mean(dim=-1, keepdim=True) + eps)": "the mean square lacks its root",
         "x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True))": "eps is missing: mean(x²) + eps",
         "x * torch.rsqrt(x.pow(2).mean() + eps)": "each token has its own mean square: dim=-1",
         "F.layer_norm(x, x.shape[-1:], eps=eps)": "LayerNorm subtracts a mean; RMSNorm does not",
         "x / (x.pow(2).mean(dim=-1, keepdim=True).sqrt() + eps)": "ε belongs UNDER the root"}),
        ('rms_norm(x, W["model.norm.weight"])', "x", "the last norm is missing, before lm_head"),
        ("x = x + F.linear(F", {"x = F.linear(F": "the MLP replaces x; add its result to x",
         "x = h + F.linear(F": "the MLP's result is added to the NORMED copy; add it to x"}),
        ("x = x + F.linear(z", {"x = F.linear(z": "attention replaces x; add its result to x",
         "x = h + F.linear(z": "attention's result is added to the NORMED copy; add it to x"}),
        ('h = rms_norm(x, W[at + "post_attention_layernorm.weight"])', {
         "h = x": "the MLP reads the stream as it is, not normed",
         "pass": "the MLP reads attention's copy; it needs a new one, of the sum, normed anew"}),
        ("x = x + F.linear(z", "y, x = x, x + F.linear(z",
         'rms_norm(x, W[at + "post_attention', 'rms_norm(y, W[at + "post_attention',
         "the MLP reads the x from before attention: it reads x AFTER attention's sum, normed"),
        ('h = rms_norm(x, W[at + "input_layernorm.weight"])', "h = x",
         "attention reads the stream not normed"),
        ("F.silu(gate) * up", {
         "gate * F.silu(up)": "silu belongs to gate_proj, not to up_proj",
         "F.relu(gate) * up": "the gate is silu, not relu",
         "F.silu(gate * up)": "silu of the product: it is of the gate alone, silu(gate) · up",
         "F.silu(up)": "the gate is missing: silu(gate) · up"}),
        ("post_attention_layernorm", "input_layernorm", "the MLP's norm has another weight"),
        ("base ** (-torch.arange(0, Q.shape[-1], 2) / Q.shape[-1])", {
         "base ** (torch.arange(0, Q.shape[-1], 2) / Q.shape[-1])":
         "the angles grow: the power is MINUS 2i/H",
         "base ** (-torch.arange(0, x.shape[1] // n_heads, 2) / (x.shape[1] // n_heads))":
         "a head's width need not be D / n_heads: q_proj has n_heads · H outputs",
         "base ** (-torch.arange(0, Q.shape[-1], 2) / x.shape[-1])":
         "it is -2i/H, not divided by D",
         "1e4 ** (-torch.arange(0, Q.shape[-1], 2) / Q.shape[-1])": "the base is not always 10000",
         "base ** (-torch.arange(Q.shape[-1] // 2) / Q.shape[-1])": "it is -2i/H, not -i/H"}),
        ("{i}", "0", "every layer runs with the weights of layer 0"),
        ("lm_head.weight", "model.embed_tokens.weight",
         "the logits come from lm_head, not the embeddings"),
    ])  # fmt: skip
