"""Hidden checks of exercise 03: all heads of packed texts, block, naive FLOPs; RoPE and grouped
heads, a whole Llama."""

import torch

from grader.checks import Case, Close, Exact, Task, between, normal

CLOSE = Close(rtol=1e-5, atol=1e-7)  # cases are float64; an answer may compute its scale in float32


def packed_cases(rng):
    shapes = [(5, 6, 2), (4, 12, 3), (6, 6, 3), (2, 8, 4), (1, 6, 3), (3, 4, 1)]
    labels = ["two heads", "three heads", "D equal to L", "few tokens", "one token", "one head"]
    cases = []
    for (seq_len, d_model, n_heads), label in zip(shapes, labels, strict=True):
        X, head_dim = normal(rng, seq_len, d_model), d_model // n_heads
        Z = normal(rng, n_heads, seq_len, head_dim)
        cases.append(Case(X, n_heads, entry="partition_heads", label=f"partition, {label}"))
        cases.append(Case(Z, entry="merge_heads", label=f"merge, {label}"))

    def packed(lengths, d_model, n_heads, label, shift=0.0):
        numbers = rng.permutation(len(lengths) + 5)[: len(lengths)]  # in any order
        text_of = torch.as_tensor(numbers.repeat(lengths))
        Q, K, V = (normal(rng, len(text_of), d_model, scale=1.5) for _ in range(3))
        Q, K = Q + shift, K - shift
        return Case(Q, K, V, n_heads, text_of, entry="packed_attention", label=label)

    return [
        *cases,
        packed([6], 8, 2, "a single text"),
        packed([3, 4], 12, 3, "two texts"),
        packed([2, 1, 3, 2, 4], 8, 4, "five texts"),
        packed([1, 1, 1], 6, 1, "texts of one token"),
        packed([4, 4], 8, 2, "as many tokens as columns"),
        packed([1], 6, 3, "a single token"),
        packed([3, 3], 8, 2, "very low scores", shift=12.0),
    ]


PACKED_ATTENTION = Task(
    grade_id="packed-attention", entry=("partition_heads", "merge_heads", "packed_attention"),
    cases=packed_cases, compare=CLOSE, watch=("mutated",), misconceptions=[
        ("partition-by-reshape",
         "X.reshape(seq_len, n_heads, -1).transpose(0, 1)", "X.reshape(n_heads, seq_len, -1)",
         "partition_heads is a reshape alone: it cuts the memory into n_H runs, so head 0 gets the "
         "first TOKENS. reshape to (L, n_H, H), then swap the front axes"),
        ("merge-by-reshape", "Z.transpose(0, 1).flatten(1)", "Z.reshape(Z.shape[1], -1)",
         "merge_heads is a reshape alone: rows of the result hold one head's numbers of several "
         "tokens. Swap the front axes back to (L, n_H, H), then flatten"),
        ("both-by-reshape", "X.reshape(seq_len, n_heads, -1).transpose(0, 1)",
         "X.reshape(n_heads, seq_len, -1)", "Z.transpose(0, 1).flatten(1)",
         "Z.reshape(Z.shape[1], -1)", "both are a reshape alone. They undo each other, so a round "
         "trip looks right, but inside the heads tokens are mixed up: each needs a transpose"),
        ("partition-interleaved", "X.reshape(seq_len, n_heads, -1).transpose(0, 1)",
         "X.reshape(seq_len, -1, n_heads).permute(2, 0, 1)",
         "partition_heads gives head i every n_H-th column; head i owns H columns side by side: "
         "reshape to (L, n_H, H), not (L, H, n_H)"),
        ("both-interleaved", "X.reshape(seq_len, n_heads, -1).transpose(0, 1)",
         "X.reshape(seq_len, -1, n_heads).permute(2, 0, 1)",
         "Z.transpose(0, 1).flatten(1)", "Z.permute(1, 2, 0).flatten(1)",
         "both give a head every n_H-th column. They undo each other, but these are not the "
         "columns that the weights were trained for: a head owns H columns side by side"),
        ("splits-the-tokens", "X.reshape(seq_len, n_heads, -1).transpose(0, 1)",
         "torch.stack(X.chunk(n_heads, dim=0))", "partition_heads splits the tokens (axis 0); "
         "every head gets ALL tokens and some of the columns: split the last axis"),
        ("one-long-text", "(text_of[:, None] == text_of)", "torch.ones(len(Q), len(Q)).bool()",
         "texts see one another: a token attends to earlier tokens of its own text only"),
        ("earlier-texts", "== text_of", "<= text_of", "texts see one another where their numbers "
         "are in order; a number is a name, so compare with =="),
        ("no-mask", ".tril()", "",
         "nothing is causal: tokens see the later ones of their own text"),
        ("hides-itself", "tril()", "tril(-1)", "off by one: no token sees itself, and the first "
         "one of a text sees nothing at all (nan). tril() keeps the diagonal"),
        ("sees-the-next", "tril()", "tril(1)", "off by one: each token still sees the one right "
         "after it, the very one that is to be predicted. tril() ends at the diagonal"),
        ("hides-the-past", "tril()", "triu()", "the wrong triangle: tokens see what comes AFTER "
         "them, and the past is hidden. The column must not be larger than the row"),
        ("mask-after-softmax", "torch.softmax(scores.masked_fill(~visible, -math.inf), dim=-1)",
         "torch.softmax(scores, dim=-1) * visible", "the mask came after softmax: hidden tokens "
         "have weight 0, but the rows no longer sum to 1. Mask the scores, then softmax"),
        ("zero-scores", "-math.inf", "0.0", "the hidden scores were set to 0, and softmax makes "
         "exp(0) = 1 of that: set them to -inf"),
        ("mask-not-low-enough", "-math.inf", "-100.0", "the hidden scores are low, but not low "
         "enough: where the others are lower still, a token attends to them. Use -math.inf"),
        ("softmax-over-queries", "dim=-1", "dim=-2", "softmax runs over the queries: each COLUMN "
         "sums to 1. Each token shares out its own attention, so each row has to: dim=-1"),
        ("scale-of-the-model", "sqrt(q.shape[-1])", "sqrt(Q.shape[-1])", "the scale is √D here; "
         "each head has width H, and it computes the dot products: divide by √H"),
        ("no-scale", " / math.sqrt(q.shape[-1])", "",
         "the scores are not scaled: divide Q_i K_i^T by √H before softmax"),
        ("divides-by-h", "math.sqrt(q.shape[-1])", "q.shape[-1]",
         "the scores are divided by H; it is its square root, √H"),
        ("q-and-k-swapped", "q @ k.mT", "k @ q.mT", "these are the scores of K Q^T: row l "
         "belongs to the query of token l, so Q stands in front, Q_i K_i^T"),
        ("two-tokens", "flatten(1)", "reshape(2, -1)",
         "merge_heads is written for the two tokens of a visible test; take L from the shape"),
        ("heads-in-the-middle", "-1).transpose(0, 1)", "-1)",
         "partition_heads returns (L, n_H, H): one step is missing, the heads' axis comes first"),
        ("width-before-tokens", "-1).transpose(0, 1)", "-1).permute(1, 2, 0)",
         "partition_heads returns (n_H, H, L), each head transposed; wanted is (n_H, L, H)"),
    ])  # fmt: skip


def block_cases(rng):
    def case(seq_len, d_model, d_ff, n_heads, label):
        shapes = {"W_1": (d_model, d_ff), "W_2": (d_ff, d_model)}
        names = ("W_q", "W_k", "W_v", "W_o", "W_1", "W_2")
        W = {name: normal(rng, *shapes.get(name, (d_model, d_model))) for name in names}
        X = normal(rng, seq_len, d_model, scale=2) + 0.5
        return Case(X, W, n_heads, label=label)

    return [
        case(4, 6, 10, 2, "two heads"),
        case(6, 8, 32, 4, "an MLP four times as wide"),
        case(1, 6, 9, 3, "a single token"),
        case(5, 4, 7, 1, "a single head"),
    ]


BLOCK = Task(
    grade_id="block", entry="transformer_block", cases=block_cases, compare=CLOSE,
    watch=("mutated",), misconceptions=[
        ("forgets-w-o", ' @ W["W_o"]', "",
         "W^O is missing: the merged heads are mixed by one more product, Z W^O"),
        ("forgets-relu", 'torch.relu(norm(Out) @ W["W_1"])', 'norm(Out) @ W["W_1"]',
         "relu is missing: without it W^1 W^2 is one matrix, and the MLP is no more than that"),
        ("gelu", "torch.relu(norm", "F.gelu(norm",
         "gelu stands in the MLP; the lecture's block has relu there"),
        ("relu-at-the-end", 'torch.relu(norm(Out) @ W["W_1"])', 'norm(Out) @ W["W_1"]',
         'A @ W["W_2"]', 'torch.relu(A @ W["W_2"])',
         "relu stands behind W^2; it belongs between W^1 and W^2, at the width F"),
        ("no-residuals", "Out = X + Z", "Out = Z", "return Out + A", "return A",
         "both residual connections are missing: Out = X + ..., X' = Out + ..."),
        ("no-residual-of-attention", "Out = X + Z", "Out = Z",
         "the first residual connection is missing: Out = X + Z W^O"),
        ("no-residual-of-mlp", "return Out + A", "return A",
         "the second residual connection is missing: X' = Out + what the MLP gives"),
        ("adds-x-again", "return Out", "return X", "the second residual connection adds X, so what "
         "attention gathered is lost from the stream: add Out"),
        ("mlp-reads-x", "norm(Out)", "norm(X)",
         "the MLP reads X, beside attention instead of after it: it reads norm(Out)"),
        ("values-not-normed", "normed @ W[name]", '(X if name == "W_v" else normed) @ W[name]',
         "the values are made from X; Q, K and V all read norm(X)"),
        ("norms-the-second-stream", "return Out", "return norm(Out)",
         "the second residual connection adds norm(Out); it adds Out, as it was before the norm"),
        ("no-norms", "= norm(X)", "= X", "norm(Out)", "Out",
         "both norms are missing: attention reads norm(X), the MLP norm(Out)"),
        ("no-norm-before-mlp", "norm(Out)", "Out",
         "the second norm is missing: the MLP reads norm(Out)"),
        ("norms-the-stream", "Out = X + Z", "Out = norm(X) + Z", "return Out", "return norm(Out)",
         "the residual connections add the normed rows; they add what was there BEFORE the norm, X "
         "and Out (was a name overwritten, X = norm(X)?)"),
        ("post-norm", "= norm(X)", "= X", "norm(Out)", "Out", 'X + Z @ W["W_o"]',
         'norm(X + Z @ W["W_o"])', 'Out + A @ W["W_2"]', 'norm(Out + A @ W["W_2"])',
         "the norms stand behind the additions (post-norm, as in the first transformer); here they "
         "stand in front of attention and of the MLP"),
        ("transposes-the-weights", "W[name]", "W[name].T", 'W["W_o"]', 'W["W_o"].T',
         "the square matrices are transposed (torch.nn.functional.linear does that): here X is "
         "multiplied from the right, X @ W"),
        ("one-wide-head", "partition_heads(Y, n_heads)", "partition_heads(Y, 1)",
         "attention ran as one head of width D: partition Q, K and V into n_heads first"),
    ])  # fmt: skip


def flops_cases(rng):
    def case(head_dim, n_heads, prompt_len, n_new, label):
        return Case(head_dim * n_heads, n_heads, prompt_len, n_new, label=label)

    return [
        case(between(rng, 3, 9), between(rng, 2, 6), between(rng, 3, 20), 1, "one new token"),
        case(between(rng, 3, 9), 4, between(rng, 3, 20), between(rng, 5, 30), "several new tokens"),
        case(between(rng, 3, 9), 1, 1, between(rng, 3, 9), "a prompt of one token"),
        case(128, 32, between(rng, 300, 2000), between(rng, 50, 200), "a real model's sizes"),
        case(between(rng, 3, 9), 2, between(rng, 3, 20), 0, "no new token"),
    ]


NAIVE_FLOPS = Task(
    grade_id="naive-flops", entry="naive_flops", cases=flops_cases, compare=Exact(),
    misconceptions=[
        ("counts-macs", "return total", "return total // 2",
         "half of it: these are multiply-adds (MACs). Each is 2 FLOPs, so 2·m·n·k a product"),
        ("length-stands-still",
         "range(prompt_len, prompt_len + n_new_tokens)", "[prompt_len] * n_new_tokens",
         "every pass was counted with the prompt's length; the passes grow, L, L + 1, L + 2, …"),
        ("one-too-long", "range(prompt_len, prompt_len + n_new_tokens)",
         "range(prompt_len + 1, prompt_len + n_new_tokens + 1)", "off by one: the first pass sees "
         "the prompt only, L tokens, and the last new token is never put in: L to L + n - 1"),
        ("one-pass-too-many", "n_new_tokens):\n        q", "n_new_tokens + 1):\n        q",
         "one pass too many: n tokens take n passes, the first of them over the prompt"),
        ("last-pass-only", "total +=", "total =",
         "this is the last pass alone; add up all of them"),
        ("first-pass-only", "range(prompt_len, prompt_len + n_new_tokens)",
         "range(prompt_len, prompt_len + min(n_new_tokens, 1))",
         "this is the first pass alone, over the prompt; each new token takes a pass"),
        ("counts-with-a-cache", "        qkv",
         "        rows = seq_len if seq_len == prompt_len else 1\n        qkv", "4 * (2 * seq_len",
         "4 * (2 * rows", "head = 2 * (2 * seq_len", "head = 2 * (2 * rows",
         "mlp = 2 * (2 * seq_len", "mlp = 2 * (2 * rows", "this counts one row a step after the "
         "first pass, which is what a KV cache would do; the naive loop computes all rows again"),
        ("forgets-attention", " + n_heads * one_head", "",
         "rows 7 and 8 are missing: Q_i K_i^T and score_i V_i, 2·L·L·H each, in every head"),
        ("forgets-one-attention-product", "head = 2 * (2", "head = (2",
         "half of the attention is counted: there are two products, Q_i K_i^T AND score_i V_i, "
         "and both are computed whole, masked or not"),
        ("one-head-only", "n_heads * one_head", "one_head",
         "rows 7 and 8 are counted for a single head; there are n_heads of them"),
        ("heads-of-full-width", "seq_len * head_dim", "seq_len * d_model",
         "each head is counted as D wide; it has H = D / n_heads columns, so all heads together "
         "cost as much as one of width D"),
        ("narrow-mlp", "n_heads, 4 * d_model", "n_heads, d_model",
         "the MLP is counted as D wide inside; it is 4D wide, (L×D)(D×4D) and (L×4D)(4D×D)"),
        ("half-an-mlp", "mlp = 2 * (2", "mlp = (2",
         "only one of the MLP's two products is counted, rows 11 AND 13"),
        ("forgets-out", "4 * (2", "3 * (2",
         "row 10 is missing: there are four products with a D×D matrix, for Q, K, V and Out"),
        ("causal-half", "2 * (2 * seq_len * seq_len * head_dim)",
         "2 * seq_len * (seq_len + 1) * head_dim", "the scores are counted as a triangle; the "
         "table computes them whole, L×L, and masks them afterwards"),
    ])  # fmt: skip


def grouped_cases(rng):
    def case(n_heads, n_kv_heads, seq_len, head_dim, label):
        Q = normal(rng, n_heads, seq_len, head_dim, scale=1.5)
        K, V = (normal(rng, n_kv_heads, seq_len, head_dim, scale=1.5) for _ in range(2))
        inv_freq = normal(rng, head_dim // 2).abs() + 0.1
        return Case(Q, K, V, inv_freq, label=label)

    return [
        case(6, 3, 5, 4, "six query heads, three key heads"),
        case(6, 2, 4, 8, "six query heads, two key heads"),
        case(4, 1, 6, 4, "one key head for all"),
        case(3, 3, 4, 6, "a key head for each query head"),
        case(4, 2, 1, 4, "a single token"),
        case(2, 1, 3, 2, "heads of one pair"),
    ]


GROUPED_ATTENTION = Task(
    grade_id="grouped-attention", entry="grouped_attention", cases=grouped_cases, compare=CLOSE,
    watch=("mutated",), misconceptions=[
        ("repeats-in-turn", "Y.repeat_interleave(len(Q) // len(V), dim=0)",
         "Y.repeat(len(Q) // len(V), 1, 1)", "the key heads come in turn, 0 1 2 0 1 2; "
         "neighbouring query heads share one, 0 0 1 1 2 2: repeat_interleave"),
        ("turns-values", "(turn(K), V)", "(turn(K), turn(V))",
         "the values are turned too: only queries and keys are"),
        ("keys-not-turned", "(turn(K), V)", "(K, V)", "the keys are not turned, so a score depends "
         "on where the query is, and not on the distance"),
        ("queries-not-turned", "attend(turn(Q)", "attend(Q", "the queries are not turned, so a "
         "score depends on where the key is, and not on the distance"),
        ("no-positions", "x1 * cos - x2 * sin, x2 * cos + x1 * sin", "x1, x2",
         "nothing is turned: RoPE is missing"),
        ("turns-backwards", "x1 * cos - x2 * sin, x2 * cos + x1 * sin",
         "x1 * cos + x2 * sin, x2 * cos - x1 * sin",
         "the pairs are turned the other way: it is -sin in the first half, +sin in the second"),
        ("pairs-of-neighbours", "x.chunk(2, dim=-1)", "(x[..., ::2], x[..., 1::2])",
         "the pairs are neighbours, (x_0, x_1); here the partner of number i is number i + H/2"),
        ("no-turn-but-a-stretch", "x1 * cos - x2 * sin, x2 * cos + x1 * sin",
         "x1 * cos - x2 * sin, x2 * cos - x1 * sin",
         "this is no rotation, lengths change: the second half is x2 cos + x1 sin"),
        ("half-overwritten", "return torch.cat((x1 * cos - x2 * sin,",
         "x1 = x1 * cos - x2 * sin\n        return torch.cat((x1,",
         "the second half is made from the turned first half: keep the old x_i"),
        ("groups-of-two", "len(Q) // len(V)", "2 if len(V) < len(Q) else 1",
         "a group is fixed to two query heads; it has n_H / n_KV"),
        ("one-angle-for-all", "* inv_freq", "* inv_freq[0]",
         "all pairs are turned by the angle of the first one: pair i has inv_freq[i]"),
    ])  # fmt: skip


def llama_cases(rng):
    def case(n_layers, n_heads, n_kv_heads, head_dim, d_model, seq_len, label):
        d_ff, vocab_size = d_model + 3, 11
        q, kv = n_heads * head_dim, n_kv_heads * head_dim
        W = {
            "model.embed_tokens": normal(rng, vocab_size, d_model),
            "model.norm": normal(rng, d_model),
            "lm_head": normal(rng, vocab_size, d_model),
        }
        shapes = {"input_layernorm": (d_model,), "post_attention_layernorm": (d_model,),
                  "self_attn.q_proj": (q, d_model), "self_attn.k_proj": (kv, d_model),
                  "self_attn.v_proj": (kv, d_model), "self_attn.o_proj": (d_model, q),
                  "mlp.gate_proj": (d_ff, d_model), "mlp.up_proj": (d_ff, d_model),
                  "mlp.down_proj": (d_model, d_ff)}  # fmt: skip
        for i in range(n_layers):
            W |= {f"model.layers.{i}.{name}": normal(rng, *shape, scale=0.5)
                  for name, shape in shapes.items()}  # fmt: skip
        W = {f"{name}.weight": tensor for name, tensor in W.items()}
        token_ids = torch.as_tensor(rng.integers(0, vocab_size, seq_len))
        base, eps = float(rng.integers(50, 900)), 0.01
        return Case(token_ids, W, n_layers, n_heads, n_kv_heads, base, eps, label=label)

    return [
        case(2, 4, 2, 4, 16, 5, "two layers"),
        case(3, 3, 1, 6, 18, 4, "three layers, one key head"),
        case(1, 2, 2, 4, 8, 1, "one layer, one token"),
        case(2, 4, 4, 6, 16, 6, "heads that are wider together than D"),
    ]


LLAMA_LOGITS = Task(
    grade_id="llama-logits", entry="llama_logits", cases=llama_cases, watch=("mutated",),
    compare=Close(rtol=1e-4, atol=1e-5), misconceptions=[
        ("norm-without-weight", " * weight", "",
         "the norms have no weight: each column of the normed row is multiplied by a learned one"),
        ("norm-without-root", "torch.rsqrt(", "1 / (",
         "the norm divides by the mean square; it is its root"),
        ("norm-without-eps", " + eps", "",
         "ε is missing in the norm: mean(x²) + ε, under the root"),
        ("layer-norm", "x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)",
         "F.layer_norm(x, x.shape[-1:], eps=eps)",
         "this is LayerNorm, which subtracts the mean; RMSNorm only divides"),
        ("no-last-norm", 'rms_norm(x, W["model.norm.weight"])', "x",
         "the last norm is missing, between the last layer and lm_head"),
        ("no-residual-of-attention", "x = x + F.linear(z", "x = F.linear(z",
         "attention replaces the stream; it is added to it"),
        ("no-residual-of-mlp", "x = x + F.linear(F", "x = F.linear(F",
         "the MLP replaces the stream; it is added to it"),
        ("mlp-not-normed", 'h = rms_norm(x, W[at + "post_attention_layernorm.weight"])', "h = x",
         "the MLP reads the stream as it is: it reads a normed copy"),
        ("attention-not-normed", 'h = rms_norm(x, W[at + "input_layernorm.weight"])', "h = x",
         "attention reads the stream as it is: it reads a normed copy"),
        ("mlp-reads-the-old-copy", 'h = rms_norm(x, W[at + "post_attention_layernorm.weight"])',
         "pass", "the MLP reads the copy that attention has read; it needs a new one, of the "
         "stream to which attention was added, with its own norm"),
        ("gate-and-up-swapped", "F.silu(gate) * up", "gate * F.silu(up)",
         "silu is applied to up_proj; it belongs to gate_proj"),
        ("relu", "F.silu(gate)", "F.relu(gate)", "the gate is a relu; here it is silu"),
        ("no-gate", "F.silu(gate) * up", "F.silu(up)", "the gate is missing: silu(gate) · up"),
        ("base-upside-down", "(-torch", "(torch",
         "the angles grow from pair to pair: it is base to the power of MINUS 2i/H"),
        ("base-10000", "base ** (", "1e4 ** (", "the base of RoPE is fixed to 10000: take `base`"),
        ("one-norm-per-layer", "post_attention_layernorm", "input_layernorm",
         "the norm before the MLP has the weight of the one before attention; it has its own"),
        ("width-from-d", "base ** (-torch.arange(0, Q.shape[-1], 2) / Q.shape[-1])",
         "base ** (-torch.arange(0, x.shape[1] // n_heads, 2) / (x.shape[1] // n_heads))",
         "a head's width need not be D / n_heads: q_proj has n_heads · H outputs"),
        ("heads-from-d", "[token_ids]  # (L, D)", "[token_ids]\n    n_heads, n_kv_heads = (len(W["
         'f"model.layers.0.self_attn.{c}_proj.weight"]) * n_heads // x.shape[1] for c in "qk")',
         "q_proj is cut into heads of width D / n_heads; there are n_heads, however wide"),
        ("angles-of-half", "torch.arange(0, Q.shape[-1], 2)", "torch.arange(Q.shape[-1] // 2)",
         "pair i has the exponent -i/H; it is -2i/H"),
        ("first-layer-only", "{i}", "0", "every layer runs with the weights of layer 0"),
        ("eps-outside-the-root", "x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)",
         "x / (x.pow(2).mean(dim=-1, keepdim=True).sqrt() + eps)",
         "ε is added to the root; it belongs under it, to the mean of the squares"),
        ("tied-head", "lm_head.weight", "model.embed_tokens.weight",
         "the logits come from the embedding matrix, as with tied weights; this model has an "
         "output matrix of its own, lm_head.weight"),
    ])  # fmt: skip

TASKS = [PACKED_ATTENTION, BLOCK, NAIVE_FLOPS, GROUPED_ATTENTION, LLAMA_LOGITS]
