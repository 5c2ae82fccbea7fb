"""Hidden checks of exercise 03: one head, causal mask, partition and merge, block, naive FLOPs."""

import math

import torch
import torch.nn.functional as F

from grader.checks import Case, Close, Exact, Misconception, Task

CLOSE = Close(rtol=1e-5, atol=1e-7)  # cases are float64; an answer may compute its scale in float32


def normal(rng, *shape, scale=1.0):
    return torch.from_numpy(rng.normal(scale=scale, size=shape))


# --- Task 1: one attention head ---------------------------------------------------------------


def attention_head(Q, K, V, head, n_heads):
    Q, K, V = (X.unflatten(-1, (n_heads, -1))[:, head] for X in (Q, K, V))  # (L, H)
    return F.scaled_dot_product_attention(Q[None], K[None], V[None])[0]


def block_of_columns(X, head, n_heads):
    head_dim = X.shape[-1] // n_heads
    return X[:, head * head_dim : (head + 1) * head_dim]


def head_with(scores, *, columns=block_of_columns, softmax=lambda s: s.softmax(-1)):
    """A head with one thing changed; scores(q, k, d_model) are (L, L)."""

    def wrong(Q, K, V, head, n_heads):
        q, k, v = (columns(X, head, n_heads) for X in (Q, K, V))
        return softmax(scores(q, k, Q.shape[-1])) @ v

    return wrong


def scaled(q, k, d_model):
    return q @ k.T / math.sqrt(q.shape[-1])


def softmax_after_v(Q, K, V, head, n_heads):
    q, k, v = (block_of_columns(X, head, n_heads) for X in (Q, K, V))
    return (scaled(q, k, None) @ v).softmax(-1)


def only_scores(Q, K, V, head, n_heads):
    q, k = (block_of_columns(X, head, n_heads) for X in (Q, K))
    return scaled(q, k, None).softmax(-1)


def scaled_too_late(Q, K, V, head, n_heads):
    unscaled = head_with(lambda q, k, d: q @ k.T)(Q, K, V, head, n_heads)
    return unscaled / math.sqrt(Q.shape[-1] // n_heads)


def head_cases(rng):
    def case(seq_len, d_model, head, n_heads, label):
        Q, K, V = (normal(rng, seq_len, d_model, scale=1.5) for _ in range(3))
        return Case(Q, K, V, head, n_heads, label=label)

    return [
        case(5, 8, 1, 2, "the second of two heads"),
        case(6, 12, 0, 3, "the first head"),
        case(7, 12, 3, 4, "the last head"),
        case(4, 8, 1, 2, "as many tokens as a head is wide"),
        case(3, 4, 0, 1, "a single head"),
        case(1, 6, 2, 3, "a single token"),
    ]


ATTENTION_HEAD = Task(
    grade_id="attention-head",
    entry="attention_head",
    points=3,
    cases=head_cases,
    reference=attention_head,
    compare=CLOSE,
    misconceptions=[
        Misconception(
            "scale-of-the-model",
            head_with(lambda q, k, d_model: q @ k.T / math.sqrt(d_model)),
            "the scale is √D here; each head has width H, and it is the head that computes the dot "
            "products: divide by √H",
        ),
        Misconception(
            "no-scale",
            head_with(lambda q, k, d_model: q @ k.T),
            "the scores are not scaled: divide Q_i K_i^T by √H before softmax",
        ),
        Misconception(
            "divides-by-h",
            head_with(lambda q, k, d_model: q @ k.T / q.shape[-1]),
            "the scores are divided by H; it is its square root, √H",
        ),
        Misconception(
            "scales-after-softmax",
            scaled_too_late,
            "√H divides the weights, after softmax, so that they no longer sum to 1: divide the "
            "scores, before it",
        ),
        Misconception(
            "softmax-over-queries",
            head_with(scaled, softmax=lambda s: s.softmax(0)),
            "softmax runs over the queries (dim=0): each COLUMN sums to 1. Each token shares out "
            "its own attention, so each row has to: dim=-1",
        ),
        Misconception(
            "q-and-k-swapped",
            head_with(lambda q, k, d_model: scaled(k, q, d_model)),
            "these are the scores of K Q^T: row l belongs to the query of token l, so Q stands in "
            "front, Q_i K_i^T",
        ),
        Misconception(
            "k-not-transposed",
            head_with(lambda q, k, d_model: q @ k / math.sqrt(q.shape[-1])),
            "K_i is not transposed: (L, H) times (L, H) fits only by chance, where L equals H. "
            "Q_i @ K_i.T is (L, H) times (H, L)",
        ),
        Misconception(
            "softmax-after-v",
            softmax_after_v,
            "softmax comes after the product with V_i; it makes weights of the SCORES, and the "
            "values are then averaged with them",
        ),
        Misconception(
            "no-softmax",
            head_with(scaled, softmax=lambda s: s),
            "softmax is missing: scores are any real numbers, weights are positive and sum to 1",
        ),
        Misconception(
            "returns-scores",
            only_scores,
            "these are the weights, (L, L); they still have to be multiplied by V_i",
        ),
        Misconception(
            "columns-overlap",
            head_with(scaled, columns=lambda X, i, n: X[:, i : i + X.shape[-1] // n]),
            "head i starts at column i, so that the heads overlap; it starts at column i·H",
        ),
        Misconception(
            "every-nth-column",
            head_with(scaled, columns=lambda X, i, n: X[:, i::n]),
            "the head took every n_H-th column; its H columns stand side by side, from i·H on",
        ),
    ],
)

# --- Task 2: the causal mask ------------------------------------------------------------------


def causal_weights(scores):
    rows = []
    for position in range(scores.shape[-1]):
        seen = scores[:, position, : position + 1].softmax(-1)  # (n_H, position + 1)
        rows.append(F.pad(seen, (0, scores.shape[-1] - position - 1)))
    return torch.stack(rows, dim=1)


def above(scores, diagonal=1):
    return torch.ones(scores.shape[-2:], dtype=torch.bool).triu(diagonal)


def masked_softmax(diagonal=1, fill=-math.inf, dim=-1):
    return lambda scores: scores.masked_fill(above(scores, diagonal), fill).softmax(dim)


def only_the_future(scores):
    return scores.masked_fill(~above(scores), -math.inf).softmax(-1)


def zero_times_infinity(scores):
    return (scores + above(scores) * -math.inf).softmax(-1)


def changes_the_scores(scores):
    scores.masked_fill_(above(scores), -math.inf)
    return scores.softmax(-1)


def mask_cases(rng):
    return [
        Case(normal(rng, 2, 4, 4), label="two heads, four tokens"),
        Case(normal(rng, 3, 3, 3), label="as many heads as tokens"),
        Case(normal(rng, 1, 6, 6, scale=3), label="a single head"),
        Case(normal(rng, 2, 1, 1), label="a single token"),
        Case(normal(rng, 4, 2, 2), label="two tokens"),
    ]


CAUSAL_MASK = Task(
    grade_id="causal-mask",
    entry="causal_weights",
    points=3,
    cases=mask_cases,
    reference=causal_weights,
    compare=CLOSE,
    watch=("mutated",),
    misconceptions=[
        Misconception(
            "no-mask",
            lambda scores: scores.softmax(-1),
            "nothing is masked: tokens attend to what comes after them",
        ),
        Misconception(
            "hides-itself",
            masked_softmax(diagonal=0),
            "off by one: the diagonal is masked too, so no token sees itself and the first one "
            "sees nothing at all (nan). triu(1) starts above the diagonal",
        ),
        Misconception(
            "sees-the-next",
            masked_softmax(diagonal=2),
            "off by one: each token still sees the one right after it, the very one that is to be "
            "predicted. triu(1) starts right above the diagonal",
        ),
        Misconception(
            "mask-after-softmax",
            lambda scores: scores.softmax(-1).masked_fill(above(scores), 0),
            "the mask came after softmax: the future has weight 0, but the rows no longer sum to "
            "1. Mask the scores, then softmax",
        ),
        Misconception(
            "zero-scores",
            masked_softmax(fill=0.0),
            "the future's scores were set to 0, and softmax makes exp(0) = 1 of that: set them to "
            "-inf",
        ),
        Misconception(
            "only-the-future",
            only_the_future,
            "the wrong triangle: tokens see only what comes AFTER them. Hide the upper triangle, "
            "where the column is larger than the row",
        ),
        Misconception(
            "hides-the-past",
            lambda scores: scores.masked_fill(above(scores).T, -math.inf).softmax(-1),
            "upside down: tokens see themselves and what comes after them, the past is hidden. "
            "Hide the upper triangle instead of the lower one",
        ),
        Misconception(
            "zero-times-infinity",
            zero_times_infinity,
            "all nan: a mask of zeros and ones was multiplied by -inf, and 0 · -inf is nan. Use "
            "masked_fill",
        ),
        Misconception(
            "softmax-over-queries",
            masked_softmax(dim=-2),
            "softmax runs over the queries (dim=-2 or 1); over the last axis, each ROW sums to 1",
        ),
        Misconception(
            "changes-the-scores",
            changes_the_scores,
            "right, but the caller's scores were changed in place: masked_fill returns a new "
            "tensor, masked_fill_ and scores[...] = do not",
        ),
    ],
)

# --- Task 3: partition and merge --------------------------------------------------------------


def partition_heads(X, n_heads):
    return torch.stack(X.chunk(n_heads, dim=-1))


def merge_heads(Z):
    return torch.cat(list(Z), dim=-1)


def partition_by_reshape(X, n_heads):
    return X.reshape(n_heads, len(X), -1)


def merge_by_reshape(Z):
    return Z.reshape(Z.shape[1], -1)


def partition_interleaved(X, n_heads):
    return X.reshape(len(X), -1, n_heads).permute(2, 0, 1)


def merge_interleaved(Z):
    return Z.permute(1, 2, 0).flatten(1)


def split_cases(rng):
    shapes = [(5, 6, 2), (4, 12, 3), (6, 6, 3), (2, 8, 4), (1, 6, 3), (3, 4, 1)]
    labels = ["two heads", "three heads", "D equal to L", "few tokens", "one token", "one head"]
    cases = []
    for (seq_len, d_model, n_heads), label in zip(shapes, labels, strict=True):
        X, head_dim = normal(rng, seq_len, d_model), d_model // n_heads
        Z = normal(rng, n_heads, seq_len, head_dim)
        cases.append(Case(X, n_heads, entry="partition_heads", label=f"partition, {label}"))
        cases.append(Case(Z, entry="merge_heads", label=f"merge, {label}"))
    return cases


SPLIT_MERGE = Task(
    grade_id="split-merge",
    entry=("partition_heads", "merge_heads"),
    points=3,
    cases=split_cases,
    reference={"partition_heads": partition_heads, "merge_heads": merge_heads},
    compare=Exact(),
    misconceptions=[
        Misconception(
            "partition-by-reshape",
            {"partition_heads": partition_by_reshape},
            "partition_heads is a reshape alone: it cuts the memory into n_H runs, so head 0 gets "
            "the first TOKENS. reshape to (L, n_H, H), then swap the front axes",
        ),
        Misconception(
            "merge-by-reshape",
            {"merge_heads": merge_by_reshape},
            "merge_heads is a reshape alone: rows of the result hold one head's numbers of several "
            "tokens. Swap the front axes back to (L, n_H, H), then flatten",
        ),
        Misconception(
            "both-by-reshape",
            {"partition_heads": partition_by_reshape, "merge_heads": merge_by_reshape},
            "both are a reshape alone. They undo each other, so a round trip looks right, but "
            "inside the heads tokens are mixed up: each needs a transpose",
        ),
        Misconception(
            "partition-interleaved",
            {"partition_heads": partition_interleaved},
            "partition_heads gives head i every n_H-th column; head i owns H columns side by side: "
            "reshape to (L, n_H, H), not (L, H, n_H)",
        ),
        Misconception(
            "merge-interleaved",
            {"merge_heads": merge_interleaved},
            "merge_heads shuffles the heads like cards, one number of each in turn; head 0's H "
            "numbers come first, then head 1's",
        ),
        Misconception(
            "both-interleaved",
            {"partition_heads": partition_interleaved, "merge_heads": merge_interleaved},
            "both give a head every n_H-th column. They undo each other, but these are not the "
            "columns that the weights were trained for: a head owns H columns side by side",
        ),
        Misconception(
            "heads-in-the-middle",
            {"partition_heads": lambda X, n_heads: X.unflatten(-1, (n_heads, -1))},
            "partition_heads returns (L, n_H, H): one step is missing, the heads' axis comes first",
        ),
        Misconception(
            "width-before-tokens",
            {"partition_heads": lambda X, n: X.reshape(len(X), n, -1).permute(1, 2, 0)},
            "partition_heads returns (n_H, H, L), each head transposed; wanted is (n_H, L, H)",
        ),
        Misconception(
            "splits-the-tokens",
            {"partition_heads": lambda X, n_heads: torch.stack(X.chunk(n_heads, dim=0))},
            "partition_heads splits the tokens (axis 0); every head gets ALL tokens and some of "
            "the columns: split the last axis",
        ),
        Misconception(
            "merges-below",
            {"merge_heads": lambda Z: Z.flatten(0, 1)},
            "merge_heads puts the heads below one another, (n_H·L, H); they stand side by side, as "
            "columns of the same token",
        ),
        Misconception(
            "adds-the-heads",
            {"merge_heads": lambda Z: Z.sum(dim=0)},
            "merge_heads adds the heads up; merging is concatenation, the width is n_H·H again",
        ),
    ],
)

# --- Task 4: the whole block ------------------------------------------------------------------


def norm(X):
    centred = X - X.mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-5)


def attention(X, W, n_heads):
    """Causal attention of all heads, merged, without W^O."""
    Q, K, V = (X @ W[name] for name in ("W_q", "W_k", "W_v"))
    heads = []
    for i in range(n_heads):
        q, k, v = (block_of_columns(Y, i, n_heads) for Y in (Q, K, V))
        heads.append(causal_weights(scaled(q, k, None)[None])[0] @ v)
    return torch.cat(heads, dim=-1)


def transformer_block(X, W, n_heads):
    Out = X + attention(norm(X), W, n_heads) @ W["W_o"]
    return Out + (norm(Out) @ W["W_1"]).clamp(min=0) @ W["W_2"]


def block_with(
    norm_1=norm, norm_2=norm, w_o=lambda Z, W: Z @ W["W_o"], relu=F.relu, relu_2=lambda Y: Y,
    add_1=lambda X, Z: X + Z, add_2=lambda X, Out, Y: Out + Y, reads=lambda X, Out: Out,
):  # fmt: skip
    """A block with one thing changed."""

    def wrong(X, W, n_heads):
        Out = add_1(X, w_o(attention(norm_1(X), W, n_heads), W))
        Y = relu_2(relu(norm_2(reads(X, Out)) @ W["W_1"]) @ W["W_2"])
        return add_2(X, Out, Y)

    return wrong


def same(X):
    return X


def post_norm(X, W, n_heads):
    Out = norm(X + attention(X, W, n_heads) @ W["W_o"])
    return norm(Out + F.relu(Out @ W["W_1"]) @ W["W_2"])


def transposed(X, W, n_heads):
    square = {name: W[name].T for name in ("W_q", "W_k", "W_v", "W_o")}
    return transformer_block(X, {**W, **square}, n_heads)


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
    grade_id="block",
    entry="transformer_block",
    points=4,
    cases=block_cases,
    reference=transformer_block,
    compare=CLOSE,
    misconceptions=[
        Misconception(
            "forgets-w-o",
            block_with(w_o=lambda Z, W: Z),
            "W^O is missing: the merged heads are mixed by one more product, Z W^O",
        ),
        Misconception(
            "forgets-relu",
            block_with(relu=same),
            "relu is missing: without it W^1 W^2 is one matrix, and the MLP is no more than that",
        ),
        Misconception(
            "relu-at-the-end",
            block_with(relu=same, relu_2=F.relu),
            "relu stands behind W^2; it belongs between W^1 and W^2, at the width F",
        ),
        Misconception(
            "no-residuals",
            block_with(add_1=lambda X, Z: Z, add_2=lambda X, Out, Y: Y),
            "both residual connections are missing: Out = X + ..., X' = Out + ...",
        ),
        Misconception(
            "no-residual-of-attention",
            block_with(add_1=lambda X, Z: Z),
            "the first residual connection is missing: Out = X + Z W^O",
        ),
        Misconception(
            "no-residual-of-mlp",
            block_with(add_2=lambda X, Out, Y: Y),
            "the second residual connection is missing: X' = Out + what the MLP gives",
        ),
        Misconception(
            "adds-x-again",
            block_with(add_2=lambda X, Out, Y: X + Y),
            "the second residual connection adds X, so what attention gathered is lost from the "
            "stream: add Out",
        ),
        Misconception(
            "mlp-reads-x",
            block_with(reads=lambda X, Out: X),
            "the MLP reads X, beside attention instead of after it: it reads norm(Out)",
        ),
        Misconception(
            "no-norms",
            block_with(norm_1=same, norm_2=same),
            "both norms are missing: attention reads norm(X), the MLP norm(Out)",
        ),
        Misconception(
            "no-norm-before-mlp",
            block_with(norm_2=same),
            "the second norm is missing: the MLP reads norm(Out)",
        ),
        Misconception(
            "norms-the-stream",
            block_with(add_1=lambda X, Z: norm(X) + Z, add_2=lambda X, Out, Y: norm(Out) + Y),
            "the residual connections add the normed rows; they add what was there BEFORE the "
            "norm, X and Out (was a name overwritten, X = norm(X)?)",
        ),
        Misconception(
            "post-norm",
            post_norm,
            "the norms stand behind the additions (post-norm, as in the first transformer); here "
            "they stand in front of attention and of the MLP",
        ),
        Misconception(
            "transposes-the-weights",
            transposed,
            "the square matrices are transposed (torch.nn.functional.linear does that): here X is "
            "multiplied from the right, X @ W",
        ),
        Misconception(
            "one-wide-head",
            lambda X, W, n_heads: transformer_block(X, W, 1),
            "attention ran as one head of width D: partition Q, K and V into n_heads first",
        ),
    ],
)

# --- Task 5: what n naive steps cost ----------------------------------------------------------


def naive_flops(d_model, n_heads, prompt_len, n_new_tokens):
    lengths = range(prompt_len, prompt_len + n_new_tokens)
    return 24 * sum(lengths) * d_model**2 + 4 * sum(n * n for n in lengths) * d_model


def count(one_pass, first=0, passes=range):
    """A sum over passes; one_pass(seq_len, d_model, n_heads) are the FLOPs of one."""

    def wrong(d_model, n_heads, prompt_len, n_new_tokens):
        steps = passes(n_new_tokens)
        return sum(one_pass(prompt_len + first + i, d_model, n_heads) for i in steps)

    return wrong


def whole(L, D, n_heads):
    return 24 * L * D**2 + 4 * L**2 * D


def with_a_cache(d_model, n_heads, prompt_len, n_new_tokens):
    steps = range(1, n_new_tokens)
    decode = sum(24 * d_model**2 + 4 * (prompt_len + i) * d_model for i in steps)
    return decode + whole(prompt_len, d_model, n_heads) * (n_new_tokens > 0)


def flops_cases(rng):
    def case(head_dim, n_heads, prompt_len, n_new, label):
        return Case(head_dim * n_heads, n_heads, prompt_len, n_new, label=label)

    def between(low, high):
        return int(rng.integers(low, high))

    return [
        case(between(3, 9), between(2, 6), between(3, 20), 1, "one new token"),
        case(between(3, 9), between(2, 6), between(3, 20), between(5, 30), "several new tokens"),
        case(between(3, 9), 1, 1, between(3, 9), "a prompt of one token"),
        case(128, 32, between(300, 2000), between(50, 200), "a real model's sizes"),
        case(between(3, 9), 2, between(3, 20), 0, "no new token"),
    ]


NAIVE_FLOPS = Task(
    grade_id="naive-flops",
    entry="naive_flops",
    points=3,
    cases=flops_cases,
    reference=naive_flops,
    compare=Close(rtol=1e-9),
    misconceptions=[
        Misconception(
            "counts-macs",
            count(lambda L, D, n: whole(L, D, n) // 2),
            "half of it: these are multiply-adds (MACs). Each is 2 FLOPs, so 2·m·n·k a product",
        ),
        Misconception(
            "length-stands-still",
            lambda d, n_heads, L, n_new: n_new * whole(L, d, n_heads),
            "every pass was counted with the prompt's length; the passes grow, L, L + 1, L + 2, …",
        ),
        Misconception(
            "one-too-long",
            count(whole, first=1),
            "off by one: the first pass sees the prompt only, L tokens, and the last new token is "
            "never put in: L to L + n - 1",
        ),
        Misconception(
            "one-pass-too-many",
            count(whole, passes=lambda n: range(n + 1)),
            "one pass too many: n tokens take n passes, the first of them over the prompt",
        ),
        Misconception(
            "last-pass-only",
            lambda d, n_heads, L, n_new: whole(L + n_new - 1, d, n_heads) * (n_new > 0),
            "this is the last pass alone; add up all of them",
        ),
        Misconception(
            "first-pass-only",
            count(whole, passes=lambda n: range(min(n, 1))),
            "this is the first pass alone, over the prompt; each new token takes a pass",
        ),
        Misconception(
            "counts-with-a-cache",
            with_a_cache,
            "this counts one row a step after the first pass, which is what a KV cache would do; "
            "the naive loop computes all rows again",
        ),
        Misconception(
            "forgets-attention",
            count(lambda L, D, n: 24 * L * D**2),
            "rows 7 and 8 are missing: Q_i K_i^T and score_i V_i, 2·L·L·H each, in every head",
        ),
        Misconception(
            "forgets-one-attention-product",
            count(lambda L, D, n: 24 * L * D**2 + 2 * L**2 * D),
            "only one of the two attention products is counted: there are Q_i K_i^T AND "
            "score_i V_i",
        ),
        Misconception(
            "one-head-only",
            count(lambda L, D, n: 24 * L * D**2 + 4 * L**2 * (D // n)),
            "rows 7 and 8 are counted for a single head; there are n_heads of them",
        ),
        Misconception(
            "heads-of-full-width",
            count(lambda L, D, n: 24 * L * D**2 + 4 * L**2 * D * n),
            "each head is counted as D wide; it has H = D / n_heads columns, so all heads together "
            "cost as much as one of width D",
        ),
        Misconception(
            "narrow-mlp",
            count(lambda L, D, n: 12 * L * D**2 + 4 * L**2 * D),
            "the MLP is counted as D wide inside; it is 4D wide, (L×D)(D×4D) and (L×4D)(4D×D)",
        ),
        Misconception(
            "half-an-mlp",
            count(lambda L, D, n: 16 * L * D**2 + 4 * L**2 * D),
            "only one of the MLP's two products is counted, rows 11 AND 13",
        ),
        Misconception(
            "forgets-out",
            count(lambda L, D, n: 22 * L * D**2 + 4 * L**2 * D),
            "row 10 is missing: there are four products with a D×D matrix, for Q, K, V and Out",
        ),
        Misconception(
            "causal-half",
            count(lambda L, D, n: 24 * L * D**2 + 2 * L * (L + 1) * D),
            "the scores are counted as a triangle; the table computes them whole, L×L, and masks "
            "them afterwards",
        ),
    ],
)

TASKS = [ATTENTION_HEAD, CAUSAL_MASK, SPLIT_MERGE, BLOCK, NAIVE_FLOPS]
