"""Hidden checks of exercise 03: all heads of packed texts, block, naive FLOPs; RoPE and grouped
heads, a whole Llama."""

import torch

from grader.checks import Case, Close, Exact, Task, between, normal

CLOSE = Close(rtol=1e-5, atol=1e-7)  # cases are float64; an answer may compute its scale in float32


def heads(rng, seq_len, d_model, n_heads, label):
    """A case of each of the two functions that split and join heads."""
    X, Z = normal(rng, seq_len, d_model), normal(rng, n_heads, seq_len, d_model // n_heads)
    return (Case(X, n_heads, entry="partition_heads", label=f"partition, {label}"),
            Case(Z, entry="merge_heads", label=f"merge, {label}"))  # fmt: skip


def packed(rng, lengths, d_model, n_heads, label, shift=0.0):
    numbers = rng.permutation(len(lengths) + 5)[: len(lengths)]  # in any order
    text_of = torch.as_tensor(numbers.repeat(lengths))
    Q, K, V = (normal(rng, len(text_of), d_model, scale=1.5) for _ in range(3))
    args = Q + shift, K - shift, V, n_heads, text_of
    return Case(*args, entry="packed_attention", label=label)


PACKED_ATTENTION = Task(
    grade_id="packed-attention", entry=("partition_heads", "merge_heads", "packed_attention"),
    compare=CLOSE, cases=lambda rng: [
        *heads(rng, 5, 6, 2, "two heads"),
        *heads(rng, 6, 6, 3, "D equal to L"),
        *heads(rng, 1, 6, 3, "one token"),
        *heads(rng, 3, 4, 1, "one head"),
        packed(rng, [6], 8, 2, "a single text"),
        packed(rng, [2, 1, 3, 2, 4], 8, 4, "five texts"),
        packed(rng, [1, 1, 1], 6, 1, "texts of one token"),
        packed(rng, [4, 4], 8, 2, "as many tokens as columns"),
        packed(rng, [3, 3], 8, 2, "very low scores", shift=12.0),
    ],
    misconceptions=[
        ("X.reshape(seq_len, n_heads, -1).transpose(0, 1)", "X.reshape(n_heads, seq_len, -1)",
         "a reshape alone gives head 0 the first TOKENS: make it (L, n_H, H), then swap"),
        ("Z.transpose(0, 1).flatten(1)", "Z.reshape(Z.shape[1], -1)",
         "a reshape alone mixes tokens: swap back to (L, n_H, H), then flatten"),
        ("X.reshape(seq_len, n_heads, -1).transpose(0, 1)", "X.reshape(n_heads, seq_len, -1)",
         "Z.transpose(0, 1).flatten(1)", "Z.reshape(Z.shape[1], -1)",
         "both are a reshape alone, which mixes tokens inside the heads: transpose, too"),
        ("X.reshape(seq_len, n_heads, -1).transpose(0, 1)",
         "X.reshape(seq_len, -1, n_heads).permute(2, 0, 1)",
         "head i gets every n_H-th column; it owns H columns side by side"),
        ("(text_of[:, None] == text_of)", "torch.ones(len(Q), len(Q)).bool()",
         "texts see one another: a token attends to its own text only"),
        ("[:, None] == text_of", "[:, None] >= text_of",
         "a text sees earlier ones whose number is smaller: the numbers have to be EQUAL (==)"),
        (".tril()", "", "nothing is causal: tokens see the later ones of their own text"),
        ("tril()", "tril(-1)", "off by one: no token sees itself: tril() keeps the diagonal"),
        ("tril()", "tril(1)", "off by one: each token still sees the one right after it"),
        ("scores.masked_fill(~visible, -math.inf), dim=-1)", "scores, dim=-1) * visible",
         "masked after softmax, the rows no longer sum to 1: mask the scores"),
        ("-math.inf", "-100.0", "the hidden scores are not low enough: use -math.inf"),
        ("dim=-1", "dim=-2", "softmax runs over the queries: each row has to sum to 1, dim=-1"),
        ("sqrt(q.shape[-1])", "sqrt(Q.shape[-1])",
         "the scale is √D here; a head has width H: divide by √H"),
        (" / math.sqrt(q.shape[-1])", "", "the scores are not scaled: divide by √H before softmax"),
        ("math.sqrt(q.shape[-1])", "q.shape[-1]", "the scores are divided by H; it is √H"),
        ("X.reshape(seq_len, n_heads, -1).transpose(0, 1)",
         "X.reshape(seq_len, -1, n_heads).permute(2, 0, 1)", "Z.transpose(0, 1).flatten(1)",
         "Z.permute(1, 2, 0).flatten(1)",
         "both give a head every n_H-th column, and undo each other; it owns H side by side"),
        ("X.reshape(seq_len, n_heads, -1).transpose(0, 1)", "torch.stack(X.chunk(n_heads, dim=0))",
         "partition_heads splits the tokens (axis 0); a head gets ALL tokens, some columns"),
        ("tril()", "triu()",
         "the wrong triangle: tokens see what comes AFTER them, and the past is hidden"),
        ("-math.inf", "0.0",
         "the hidden scores were set to 0, and softmax makes exp(0) = 1 of that: set them to -inf"),
        ("q @ k.mT", "k @ q.mT",
         "these are the scores of K Q^T: row l belongs to the query of token l, Q_i K_i^T"),
        ("weights @ v)", "weights @ v)[text_of.argsort(stable=True)]",
         "the texts come out in the order of their numbers; each row belongs at its token's place"),
        (" / math.sqrt(q.shape[-1])", "", "    visible = (",
         "    q /= math.sqrt(q.shape[-1])\n    visible = (",
         "q /= ... changes the caller's Q, of which q is a view: q = q / ... makes a new tensor"),
        ("-1).transpose(0, 1)", "-1)",
         "partition_heads returns (L, n_H, H): one step is missing, the heads' axis comes first"),
    ])  # fmt: skip


def block(rng, seq_len, d_model, d_ff, n_heads, label):
    shapes = {"W_1": (d_model, d_ff), "W_2": (d_ff, d_model)}
    names = ("W_q", "W_k", "W_v", "W_o", "W_1", "W_2")
    W = {name: normal(rng, *shapes.get(name, (d_model, d_model))) for name in names}
    return Case(normal(rng, seq_len, d_model, scale=2) + 0.5, W, n_heads, label=label)


BLOCK = Task(
    grade_id="block", entry="transformer_block", compare=CLOSE,
    cases=lambda rng: [
        block(rng, 4, 6, 10, 2, "two heads"),
        block(rng, 1, 6, 9, 3, "a single token"),
        block(rng, 5, 4, 7, 1, "a single head"),
    ],
    misconceptions=[
        (' @ W["W_o"]', "", "W^O is missing: one more product mixes the merged heads, Z W^O"),
        ('torch.relu(norm(Out) @ W["W_1"])', 'norm(Out) @ W["W_1"]',
         "relu is missing: without it W^1 W^2 is one matrix"),
        ("Out = X + Z", "Out = Z", "return Out + A", "return A",
         "both residual connections are missing: Out = X + ..., X' = Out + ..."),
        ("return Out + A", "return A", "the second residual connection is missing"),
        ("= norm(X)", "= X", "norm(Out)", "Out",
         "both norms are missing: norm(X) before attention, norm(Out) before the MLP"),
        ("norm(Out)", "Out", "the second norm is missing: the MLP reads norm(Out)"),
        ("Out = X + Z", "Out = norm(X) + Z", "return Out", "return norm(Out)",
         "the residual connections add the normed rows; they add X and Out"),
        ("= norm(X)", "= X", "norm(Out)", "Out", 'X + Z @ W["W_o"]', 'norm(X + Z @ W["W_o"])',
         'Out + A @ W["W_2"]', 'norm(Out + A @ W["W_2"])',
         "the norms come behind the additions; here they come before attention and MLP"),
        ("W[name]", "W[name].T", 'W["W_o"]', 'W["W_o"].T',
         "the square matrices are transposed: it is X @ W"),
        ("merge_heads(attend(Q, K, V))", "attend(Q, K, V).reshape(X.shape)",
         "a reshape alone mixes the tokens of the heads: merge_heads"),
        ("partition_heads(Y, n_heads)", "partition_heads(Y, 1)",
         "attention ran as one head of width D: partition Q, K and V first"),
        ("torch.relu(norm", "F.gelu(norm",
         "gelu stands in the MLP; the lecture's block has relu there"),
        ('torch.relu(norm(Out) @ W["W_1"])', 'norm(Out) @ W["W_1"]', 'A @ W["W_2"]',
         'torch.relu(A @ W["W_2"])',
         "relu stands behind W^2; it belongs between W^1 and W^2, at the width F"),
        ("Out = X + Z", "Out = Z", "the first residual connection is missing: Out = X + Z W^O"),
        ("return Out", "return X",
         "the second residual connection adds X, and loses what attention gathered: add Out"),
        ("norm(Out)", "norm(X)",
         "the MLP reads X, beside attention instead of after it: it reads norm(Out)"),
    ])  # fmt: skip


NAIVE_FLOPS = Task(
    grade_id="naive-flops", entry="naive_flops", compare=Exact(), cases=lambda rng: [
        Case(3 * between(rng, 4, 9), 3, between(rng, 3, 20), 1, label="one new token"),
        Case(4 * between(rng, 3, 9), 4, between(rng, 3, 20), between(rng, 5, 30),
             label="several new tokens"),
        Case(between(rng, 3, 9), 1, 1, between(rng, 3, 9), label="a prompt of one token"),
        Case(4096, 32, between(rng, 300, 2000), 150, label="a real model's sizes"),
        Case(12, 2, between(rng, 3, 20), 0, label="no new token"),
    ],
    misconceptions=[
        ("return total", "return total // 2",
         "half of it: a multiply-add is 2 FLOPs, so 2·m·n·k per product"),
        ("range(prompt_len, prompt_len + n_new_tokens)", "[prompt_len] * n_new_tokens",
         "every pass was counted with the prompt's length; it grows, L, L + 1, …"),
        ("range(prompt_len, prompt_len + n_new_tokens)",
         "range(prompt_len + 1, prompt_len + n_new_tokens + 1)",
         "off by one: the first pass sees L tokens, the last one L + n - 1"),
        ("n_new_tokens):\n        q", "n_new_tokens + 1):\n        q",
         "one pass too many: n tokens take n passes"),
        ("total +=", "total =", "this is the last pass alone; add up all of them"),
        ("        qkv", "        rows = seq_len if seq_len == prompt_len else 1\n        qkv",
         "4 * (2 * seq_len", "4 * (2 * rows", "head = 2 * (2 * seq_len", "head = 2 * (2 * rows",
         "mlp = 2 * (2 * seq_len", "mlp = 2 * (2 * rows",
         "one row per step is what a KV cache would do; here all are computed again"),
        (" + n_heads * one_head", "", "rows 7 and 8 are missing: 2·L·L·H each, in every head"),
        ("head = 2 * (2", "head = (2", "attention has two products, Q_i K_i^T AND score_i V_i"),
        ("n_heads * one_head", "one_head", "rows 7 and 8 are counted for a single head"),
        ("seq_len * head_dim", "seq_len * d_model",
         "each head is counted as D wide; it has H = D / n_heads columns"),
        ("n_heads, 4 * d_model", "n_heads, d_model", "the MLP is 4D wide inside, not D"),
        ("4 * (2", "3 * (2", "row 10 is missing: four products have a D×D matrix, Q, K, V and Out"),
        ("range(prompt_len, prompt_len + n_new_tokens)",
         "range(prompt_len, prompt_len + min(n_new_tokens, 1))",
         "this is the first pass alone, over the prompt; each new token takes a pass"),
        ("mlp = 2 * (2", "mlp = (2",
         "only one of the MLP's two products is counted, rows 11 AND 13"),
        ("2 * (2 * seq_len * seq_len", "2 * (seq_len * (seq_len + 1)",
         "the scores are counted as a triangle; they are computed whole, L×L, and then masked"),
        ("(2 * seq_len * d_model * d_model)", "(seq_len * d_model * (2 * d_model - 1))",
         "2 * (2 * seq_len * seq_len * head_dim)",
         "seq_len * (seq_len * (2 * head_dim - 1) + head_dim * (2 * seq_len - 1))",
         "2 * (2 * seq_len * d_model * d_ff)",
         "seq_len * (d_ff * (2 * d_model - 1) + d_model * (2 * d_ff - 1))",
         "counted with k - 1 additions for k products; here a product costs 2·m·n·k"),
    ])  # fmt: skip


def grouped(rng, n_heads, n_kv_heads, seq_len, head_dim, label):
    Q, K, V = (normal(rng, n, seq_len, head_dim, scale=1.5)
               for n in (n_heads, n_kv_heads, n_kv_heads))  # fmt: skip
    return Case(Q, K, V, normal(rng, head_dim // 2).abs() + 0.1, label=label)


GROUPED_ATTENTION = Task(
    grade_id="grouped-attention", entry="grouped_attention", compare=CLOSE,
    cases=lambda rng: [
        grouped(rng, 6, 2, 4, 8, "six query heads, two key heads"),
        grouped(rng, 4, 1, 6, 4, "one key head for all"),
        grouped(rng, 3, 3, 4, 6, "a key head for each query head"),
        grouped(rng, 4, 2, 1, 4, "a single token"),
        grouped(rng, 2, 1, 3, 2, "heads of one pair"),
    ],
    misconceptions=[
        ("Y.repeat_interleave(len(Q) // len(V), dim=0)", "Y.repeat(len(Q) // len(V), 1, 1)",
         "neighbouring query heads share a key head, 0 0 1 1: repeat_interleave"),
        ("(turn(K), V)", "(turn(K), turn(V))",
         "the values are turned too: only queries and keys are"),
        ("(turn(K), V)", "(K, V)",
         "the keys are not turned, so a score depends on where the query is"),
        ("attend(turn(Q)", "attend(Q",
         "the queries are not turned, so a score depends on where the key is"),
        ("x1 * cos - x2 * sin, x2 * cos + x1 * sin", "x1, x2",
         "nothing is turned: RoPE is missing"),
        ("x1 * cos - x2 * sin, x2 * cos + x1 * sin", "x1 * cos + x2 * sin, x2 * cos - x1 * sin",
         "turned the other way: it is -sin in the first half, +sin in the second"),
        ("(x1 * cos - x2 * sin, x2", "(x1 := x1 * cos - x2 * sin, x2",
         "the second half was computed from the NEW first half: keep the old x1"),
        ("(x1 * cos - x2 * sin, x2", "(x1.copy_(x1 * cos - x2 * sin), x2",
         "the first half was overwritten in place, then used; the caller's tensors change"),
        ("* inv_freq", "* 1e4 ** (-torch.arange(Q.shape[-1] // 2) / (Q.shape[-1] // 2))",
         "inv_freq is not used: the angles are those of base 10000"),
        ("x.chunk(2, dim=-1)", "(x[..., ::2], x[..., 1::2])",
         "the pairs are neighbours; the partner of number i is number i + H/2"),
        ("len(Q) // len(V)", "2 if len(V) < len(Q) else 1",
         "a group is fixed to two query heads; it has n_H / n_KV"),
        ("* inv_freq", "* inv_freq[0]",
         "all pairs are turned by the first one's angle: pair i has inv_freq[i]"),
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
    grade_id="llama-logits", entry="llama_logits",
    compare=Close(rtol=1e-4, atol=1e-5), cases=lambda rng: [
        llama(rng, 2, 4, 2, 4, 16, 5, "two layers"),
        llama(rng, 3, 3, 1, 6, 18, 4, "three layers, one key head"),
        llama(rng, 1, 2, 2, 4, 8, 1, "one layer, one token"),
        llama(rng, 2, 4, 4, 6, 16, 6, "heads that are wider together than D"),
    ],
    misconceptions=[
        (" * weight", "", "the norms have no weight: each column is multiplied by a learned one"),
        ("torch.rsqrt(", "1 / (", "the norm divides by the mean square, not by its root"),
        (" + eps", "", "the norm does not use eps: mean(x²) + eps, under the root"),
        ("x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)",
         "F.layer_norm(x, x.shape[-1:], eps=eps)",
         "LayerNorm subtracts the mean; RMSNorm only divides"),
        ('rms_norm(x, W["model.norm.weight"])', "x", "the last norm is missing, before lm_head"),
        ("x = x + F.linear(F", "x = F.linear(F", "the MLP replaces the stream; it is added to it"),
        ('h = rms_norm(x, W[at + "post_attention_layernorm.weight"])', "h = x",
         "the MLP reads the stream as it is, not normed"),
        ("F.silu(gate) * up", "gate * F.silu(up)", "silu belongs to gate_proj, not to up_proj"),
        ("F.silu(gate)", "F.relu(gate)", "the gate is silu, not relu"),
        ("F.silu(gate) * up", "F.silu(up)", "the gate is missing: silu(gate) · up"),
        ("(-torch", "(torch", "the angles grow: it is base to the power of MINUS 2i/H"),
        ("post_attention_layernorm", "input_layernorm",
         "the norm before the MLP has a weight of its own"),
        ("base ** (-torch.arange(0, Q.shape[-1], 2) / Q.shape[-1])",
         "base ** (-torch.arange(0, x.shape[1] // n_heads, 2) / (x.shape[1] // n_heads))",
         "a head's width need not be D / n_heads: q_proj has n_heads · H outputs"),
        ("{i}", "0", "every layer runs with the weights of layer 0"),
        ("lm_head.weight", "model.embed_tokens.weight",
         "the logits come from the embedding matrix; this model has lm_head.weight"),
        ("x = x + F.linear(z", "x = F.linear(z",
         "attention replaces the stream; it is added to it"),
        ('h = rms_norm(x, W[at + "input_layernorm.weight"])', "h = x",
         "attention reads the stream as it is: it reads a normed copy"),
        ('h = rms_norm(x, W[at + "post_attention_layernorm.weight"])', "pass",
         "the MLP reads attention's copy; it needs a new one, of the sum, normed anew"),
        ("x = x + F.linear(z", "old, x = x, x + F.linear(z", 'rms_norm(x, W[at + "post',
         'rms_norm(old, W[at + "post',
         "the MLP reads the stream from BEFORE attention; it reads what attention was added to"),
        ("2) / Q.shape[-1])", "2) / x.shape[-1])",
         "the exponent is divided by D; it is -2i/H, with the width of a head"),
        ("base ** (", "1e4 ** (", "the base of RoPE is fixed to 10000: take `base`"),
        ("x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)",
         "x / (x.pow(2).mean(dim=-1, keepdim=True).sqrt() + eps)",
         "ε is added to the root; it belongs under it, to the mean of the squares"),
        ("torch.arange(0, Q.shape[-1], 2)", "torch.arange(Q.shape[-1] // 2)",
         "pair i has the exponent -i/H; it is -2i/H"),
    ])  # fmt: skip

TASKS = [PACKED_ATTENTION, BLOCK, NAIVE_FLOPS, GROUPED_ATTENTION, LLAMA_LOGITS]
