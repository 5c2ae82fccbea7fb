"""Hidden checks of exercise 07: AllReduce volumes, MLP and attention shards, degrees, the ring."""

import torch

from grader.checks import Case, Close, Exact, Misconception, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)  # cases are float64


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def between(rng, low, high):
    return int(rng.integers(low, high))


# --- Task 1: payload, and what a rank sends ---------------------------------------------------


def volume_with(
    per_layer=2,
    width=lambda spec, n: spec["d_model"],
    passes=lambda n_new: n_new - 1,
    layers=lambda spec: spec["n_layers"],
    batch=lambda batch: batch,
    element=lambda dtype_bytes: dtype_bytes,
    sends=lambda payload, n: payload * (2 * n - 2) / n,
):
    """tp_bytes with one thing changed; unchanged it is the reference."""

    def tp_bytes(spec, n_ranks, seq_len, batch_size, max_new_tokens, dtype_bytes):
        row = width(spec, n_ranks) * element(dtype_bytes)
        tokens = batch(batch_size) * (seq_len + passes(max_new_tokens))
        request = layers(spec) * per_layer * tokens * row
        return {
            "prefill_layer": per_layer * batch(batch_size) * seq_len * row,
            "decode_layer": per_layer * batch(batch_size) * row,
            "request": request,
            "rank_sends": sends(request, n_ranks),
        }

    return tp_bytes


def volume_cases(rng):
    def case(n_layers, d_model, n_ranks, batch_size, n_new, dtype_bytes, label):
        spec = {"n_layers": n_layers, "d_model": d_model, "d_ff": 3 * d_model}
        seq_len = between(rng, 20, 900)
        return Case(spec, n_ranks, seq_len, batch_size, n_new, dtype_bytes, label=label)

    new = [between(rng, 8, 60) for _ in range(3)]
    return [
        case(30, 576, 3, 1, new[0], 2, "one prompt, three ranks"),
        case(32, 4096, 8, between(rng, 2, 9), new[1], 2, "a batch, eight ranks"),
        case(between(rng, 20, 40), 1024, 4, 5, 1, 2, "a single new token"),
        case(between(rng, 20, 40), 2048, 4, 3, new[2], 4, "float32"),
    ]


VOLUME = Task(
    grade_id="tp-bytes",
    entry="tp_bytes",
    points=3,
    cases=volume_cases,
    reference=volume_with(),
    compare=Close(rtol=1e-9),
    misconceptions=[
        Misconception(
            "one-all-reduce",
            volume_with(per_layer=1),
            "counted one AllReduce a layer; there are two, after attention and after the MLP",
        ),
        Misconception(
            "four-all-reduces",
            volume_with(per_layer=4),
            "counted four AllReduces a layer; two of them belong to the backward pass of training",
        ),
        Misconception(
            "width-divided",
            volume_with(width=lambda spec, n: spec["d_model"] // n),
            "each rank puts in D / n elements a token here; its summand has the whole width D",
        ),
        Misconception(
            "inner-width",
            volume_with(width=lambda spec, n: spec["d_ff"]),
            "counted with F; the hidden units are split and stay where they are, what is summed is "
            "D wide",
        ),
        Misconception(
            "a-pass-for-each-token",
            volume_with(passes=lambda n_new: n_new),
            "counted max_new_tokens decode passes; the prefill gives the first token, so there is "
            "one fewer",
        ),
        Misconception(
            "one-layer",
            volume_with(layers=lambda spec: 1),
            "the request's bytes are those of a single layer",
        ),
        Misconception(
            "one-sequence",
            volume_with(batch=lambda batch: 1),
            "counted one sequence; each of the batch_size sequences has its own activations",
        ),
        Misconception(
            "elements-for-bytes",
            volume_with(element=lambda dtype_bytes: 1),
            "these are elements; each has dtype_bytes bytes",
        ),
        Misconception(
            "payload-for-wire",
            volume_with(sends=lambda payload, n: payload),
            "rank_sends is the payload here; over a ring a rank sends 2(n - 1)/n of it",
        ),
        Misconception(
            "half-of-the-ring",
            volume_with(sends=lambda payload, n: payload * (n - 1) / n),
            "rank_sends is half of what it should be: n - 1 steps of reduce-scatter, and then "
            "n - 1 steps of all-gather",
        ),
        Misconception(
            "all-ranks",
            volume_with(sends=lambda payload, n: 2 * (n - 1) * payload),
            "rank_sends is what all ranks send together; the question is about one of them",
        ),
        Misconception(
            "sends-to-everyone",
            volume_with(sends=lambda payload, n: (n - 1) * payload),
            "rank_sends counts the whole tensor to each of the others; in a ring a rank sends "
            "chunks of S/n, 2(n - 1) times, to one neighbour",
        ),
    ],
)

# --- Task 2: columns, then rows ---------------------------------------------------------------


def part(size, rank, n_ranks):
    return torch.arange(size).chunk(n_ranks)[rank]


def dealt(size, rank, n_ranks):
    return torch.arange(rank, size, n_ranks)


def everything(size, rank, n_ranks):
    return torch.arange(size)


def mlp_with(
    columns=part,
    rows=part,
    bias=lambda b2, rank, n_ranks: b2 / n_ranks,
    inner=torch.relu,
    outer=lambda y: y,
    second=lambda W2, mine, rank, n_ranks: W2[mine],
    use_b1=1,
):
    """Both functions with one thing changed; unchanged they are the reference."""

    def shard_mlp(W1, b1, W2, b2, rank, n_ranks):
        mine = columns(len(b1), rank, n_ranks)
        W2_r = second(W2, rows(len(b1), rank, n_ranks), rank, n_ranks)
        return W1[:, mine], b1[mine], W2_r, bias(b2, rank, n_ranks)

    def partial_mlp(x, W1_r, b1_r, W2_r, b2_r):
        return outer(inner(x @ W1_r + use_b1 * b1_r) @ W2_r + b2_r)

    return {"shard_mlp": shard_mlp, "partial_mlp": partial_mlp}


def use_mlp(answer, x, W1, b1, W2, b2, n_ranks):
    """All ranks after one another, and the sum that the AllReduce would make."""
    shapes, total = [], 0
    for rank in range(n_ranks):
        shard = answer.shard_mlp(W1, b1, W2, b2, rank, n_ranks)
        shapes.append([list(shard[i].shape) for i in (0, 2)])
        total = total + answer.partial_mlp(x, *shard)
    return {"shapes of W1_r and W2_r": shapes, "sum over the ranks": total}


def mlp_cases(rng):
    def case(seq_len, D, F, n_ranks, label):
        return Case(
            normal(rng, seq_len, D), normal(rng, D, F), normal(rng, F), normal(rng, F, D),
            normal(rng, D), n_ranks, label=label,
        )  # fmt: skip

    return [
        case(3, 4, 6, 2, "two ranks"),
        case(1, 5, 12, 3, "three ranks, one token"),
        case(4, 4, 8, 4, "four ranks"),
        case(3, 4, 5, 1, "a single rank"),
    ]


MLP = Task(
    grade_id="mlp-shards",
    entry=("shard_mlp", "partial_mlp"),
    points=4,
    cases=mlp_cases,
    reference=mlp_with(),
    drive=use_mlp,
    compare=CLOSE,
    misconceptions=[
        Misconception(
            "bias-on-every-rank",
            mlp_with(bias=lambda b2, rank, n_ranks: b2),
            "b2 is added by every rank, so that the sum holds it n times: give it to one rank and "
            "zeros to the others (or each an n-th)",
        ),
        Misconception(
            "second-bias-forgotten",
            mlp_with(bias=lambda b2, rank, n_ranks: 0 * b2),
            "b2 is in nobody's part",
        ),
        Misconception(
            "first-bias-forgotten",
            mlp_with(use_b1=0),
            "b1 is not added; each rank adds its own columns' part, before relu",
        ),
        Misconception(
            "rows-of-other-units",
            mlp_with(rows=dealt),
            "the shapes are right, but a rank's rows of W2 are not those of its columns of W1: "
            "hidden unit f needs column f and row f on the same rank",
        ),
        Misconception(
            "replicates",
            mlp_with(columns=everything, rows=everything),
            "every rank holds the whole MLP, so nothing is saved and the sum is n times too large",
        ),
        Misconception(
            "columns-twice",
            mlp_with(
                second=lambda W2, mine, rank, n_ranks: W2[:, part(W2.shape[1], rank, n_ranks)]
            ),
            "W2 is split by columns, too: a rank has F/n hidden units and needs their ROWS of W2",
        ),
        Misconception(
            "relu-forgotten",
            mlp_with(inner=lambda hidden: hidden),
            "relu is missing; it stands between the matrices, on the rank's own hidden units",
        ),
        Misconception(
            "relu-on-the-summand",
            mlp_with(inner=lambda hidden: hidden, outer=torch.relu),
            "relu stands behind W2, on a summand that is not complete: it belongs between the "
            "matrices, where a rank's hidden units are whole",
        ),
        Misconception(
            "relu-twice",
            mlp_with(outer=torch.relu),
            "relu also stands behind W2; the MLP has it between the matrices only",
        ),
    ],
)

# --- Task 3: where must the sum be? -----------------------------------------------------------


def row_column_with(
    before=lambda h: h,
    after=torch.relu,
    end=lambda y: y,
    reduce=lambda parts, all_reduce: all_reduce(parts),
    join=lambda outputs: torch.cat(outputs, dim=1),
):
    def row_column_mlp(x, W1, W2, n_ranks, all_reduce):
        width = x.shape[1] // n_ranks
        cuts = [slice(r * width, (r + 1) * width) for r in range(n_ranks)]
        hidden = after(reduce([before(x[:, cut] @ W1[cut]) for cut in cuts], all_reduce))
        return join([end(hidden @ W2[:, cut]) for cut in cuts])

    return row_column_mlp


def gathers_unfinished(x, W1, W2, n_ranks, all_reduce):
    width = x.shape[1] // n_ranks
    cuts = [slice(r * width, (r + 1) * width) for r in range(n_ranks)]
    return torch.cat([torch.relu(x[:, cut] @ W1[cut]) @ W2[:, cut] for cut in cuts], dim=1)


def sums_everything(x, W1, W2, n_ranks, all_reduce):
    width = x.shape[1] // n_ranks
    cuts = [slice(r * width, (r + 1) * width) for r in range(n_ranks)]
    return all_reduce([torch.relu(x[:, cut] @ W1[cut]) @ W2 for cut in cuts])


def use_row_column(answer, x, W1, W2, n_ranks):
    """The result, the number of sums and their shapes, and whether relu shows why."""
    shapes = []

    def all_reduce(parts):
        shapes.append([list(p.shape) for p in parts])
        return sum(parts)

    y = answer.row_column_mlp(x, W1, W2, n_ranks, all_reduce)
    a, b = answer.counterexample()
    differs = max(a + b, 0) != max(a, 0) + max(b, 0)
    return {"y": y, "all_reduce was given": shapes, "counterexample holds": bool(differs)}


def row_column_cases(rng):
    def case(seq_len, D, F, n_ranks, label):
        return Case(
            normal(rng, seq_len, D), normal(rng, D, F), normal(rng, F, D), n_ranks, label=label
        )

    return [
        case(5, 4, 6, 2, "two ranks"),
        case(4, 9, 5, 3, "three ranks"),
        case(3, 8, 4, 4, "four ranks"),
    ]


REDUCE = Task(
    grade_id="where-to-reduce",
    entry=("row_column_mlp", "counterexample"),
    points=3,
    cases=row_column_cases,
    reference={"row_column_mlp": row_column_with(), "counterexample": lambda: (-1.0, 5.0)},
    drive=use_row_column,
    compare=CLOSE,
    misconceptions=[
        Misconception(
            "relu-before-the-sum",
            {"row_column_mlp": row_column_with(before=torch.relu, after=lambda h: h)},
            "the bug is still there: relu bends each rank's summand before the sum is complete",
        ),
        Misconception(
            "relu-gone",
            {"row_column_mlp": row_column_with(after=lambda h: h)},
            "relu is gone; it has to stand right behind the sum",
        ),
        Misconception(
            "relu-at-the-end",
            {"row_column_mlp": row_column_with(after=lambda h: h, end=torch.relu)},
            "relu stands behind W2; it has to stand right behind the sum, before W2",
        ),
        Misconception(
            "never-sums",
            {"row_column_mlp": gathers_unfinished},
            "all_reduce is never called: each rank goes on with its own summand of x W1, which is "
            "not the hidden layer",
        ),
        Misconception(
            "sums-at-the-end",
            {"row_column_mlp": sums_everything},
            "the sum comes at the end, as if W1 were split by columns; with rows each rank has a "
            "summand of every hidden unit, and relu needs the sum first",
        ),
        Misconception(
            "averages",
            {"row_column_mlp": row_column_with(
                reduce=lambda parts, all_reduce: all_reduce(parts) / len(parts)
            )},
            "the sum is divided by the number of ranks; x W1 is the SUM of the parts",
        ),
        Misconception(
            "sums-the-columns",
            {"row_column_mlp": row_column_with(join=sum)},
            "the outputs are added; each rank has its own COLUMNS of the result, which stand side "
            "by side",
        ),
        Misconception(
            "no-counterexample",
            {"counterexample": lambda: (1.0, 2.0)},
            "for your a and b relu(a + b) is relu(a) + relu(b); take one positive and one negative "
            "number",
        ),
    ],
)  # fmt: skip

# --- Task 4: split attention by heads ---------------------------------------------------------


def refuse_both(n_heads, n_kv_heads, n_ranks):
    if any(n % n_ranks for n in (n_heads, n_kv_heads)):
        raise ValueError("n_ranks")


def refuse_query_heads(n_heads, n_kv_heads, n_ranks):
    if n_heads % n_ranks:
        raise ValueError("n_ranks")


def span(width, rank, n_ranks):
    return slice(rank * width // n_ranks, (rank + 1) * width // n_ranks)


def heads_with(
    check=refuse_both,
    q=lambda W, at: W[:, at],
    kv=lambda W, at, q_at: W[:, at],
    o=lambda W, at: W[at],
    q_at=lambda width, n_heads, rank, n_ranks: span(width, rank, n_ranks),
    values=lambda Wk, Wv: Wv,
):
    def shard_heads(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks):
        check(n_heads, n_kv_heads, n_ranks)
        mine = q_at(Wq.shape[1], n_heads, rank, n_ranks)
        shared = span(Wk.shape[1], rank, n_ranks)
        keys, vals = (kv(W, shared, mine) for W in (Wk, values(Wk, Wv)))
        return q(Wq, mine), keys, vals, o(Wo, mine)

    return shard_heads


def dealt_heads(width, n_heads, rank, n_ranks):
    H = width // n_heads
    return [h * H + i for h in range(rank, n_heads, n_ranks) for i in range(H)]


def interleaved(width, n_heads, rank, n_ranks):
    return slice(rank, None, n_ranks)


def heads_cases(rng):
    def case(n_heads, n_kv_heads, H, rank, n_ranks, label):
        D = n_heads * H
        Wq, Wo = normal(rng, D, D), normal(rng, D, D)
        Wk, Wv = (normal(rng, D, n_kv_heads * H) for _ in range(2))
        return Case(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks, label=label)

    return [
        case(9, 3, 2, between(rng, 1, 3), 3, "grouped queries, three ranks"),
        case(8, 4, 2, 1, 2, "grouped queries, two ranks"),
        case(4, 4, 4, 2, 4, "as many key/value heads as query heads"),
        case(6, 2, 2, 0, 1, "a single rank"),
        case(9, 3, 2, 1, 2, "ranks that divide neither number of heads"),
        case(8, 2, 2, 1, 4, "more ranks than key/value heads"),
    ]


HEADS = Task(
    grade_id="shard-heads",
    entry="shard_heads",
    points=3,
    cases=heads_cases,
    reference=heads_with(),
    compare=Exact(),
    misconceptions=[
        Misconception(
            "out-by-columns",
            heads_with(o=lambda W, at: W[:, at]),
            "W_o is split by columns; a rank has its own heads' z, n_H·H/n wide, and needs their "
            "ROWS of W_o",
        ),
        Misconception(
            "out-not-split",
            heads_with(o=lambda W, at: W),
            "W_o is whole on every rank; only the rows of the rank's own heads are used there",
        ),
        Misconception(
            "queries-by-rows",
            heads_with(q=lambda W, at: W[at], kv=lambda W, at, q_at: W[at]),
            "W_q, W_k and W_v are split by rows; a head is a group of COLUMNS here (x W)",
        ),
        Misconception(
            "keys-not-split",
            heads_with(kv=lambda W, at, q_at: W),
            "every rank holds all keys and values; it needs those of its own heads only, and so "
            "does its cache",
        ),
        Misconception(
            "keys-like-queries",
            heads_with(kv=lambda W, at, q_at: W[:, q_at]),
            "W_k and W_v are cut at the query heads' columns; there are fewer key/value heads, so "
            "their slices are narrower (and slices don't complain)",
        ),
        Misconception(
            "heads-dealt",
            heads_with(q_at=dealt_heads),
            "the query heads are dealt like cards, so that a rank's queries miss the key/value "
            "heads that they share: neighbours stay together",
        ),
        Misconception(
            "columns-dealt",
            heads_with(q_at=interleaved),
            "single columns are dealt out, which cuts every head: a head's H columns stay together",
        ),
        Misconception(
            "keys-for-values",
            heads_with(values=lambda Wk, Wv: Wk),
            "the values are cut out of W_k",
        ),
        Misconception(
            "cuts-heads",
            heads_with(check=lambda *heads: None),
            "numbers of ranks that don't divide the heads are not refused, so heads are cut: raise "
            "a ValueError",
        ),
        Misconception(
            "key-heads-not-checked",
            heads_with(check=refuse_query_heads),
            "only the query heads are checked; n_ranks has to divide the key/value heads as well",
        ),
    ],
)

# --- Task 5: why 9 heads don't split in 2 -----------------------------------------------------

SIZES = ("n_heads", "n_kv_heads", "d_ff")


def degrees_with(names=SIZES, blocks=lambda size, n: size % n, candidates=None, kept=lambda ok: ok):
    """Both functions with one thing changed; unchanged they are the reference."""

    def blockers(spec, n_ranks):
        return [name for name in spec if name in names and blocks(spec[name], n_ranks)]

    def allowed_degrees(spec):
        tried = candidates(spec) if candidates else range(1, max(spec.values()) + 1)
        return kept([n for n in tried if not blockers(spec, n)])

    return {"blockers": blockers, "allowed_degrees": allowed_degrees}


def degrees_cases(rng):
    def spec(D, n_heads, n_kv_heads, F):
        return {"d_model": D, "n_heads": n_heads, "n_kv_heads": n_kv_heads, "d_ff": F}

    smol = spec(576, 9, 3, 1536)
    llama = spec(4096, 32, 8, 128 * between(rng, 80, 120))
    odd = spec(1024, 24, 12, 6 * (2 * between(rng, 200, 300) + 1))  # 4 divides the heads, not F
    wide = spec(770, 12, 12, 12 * between(rng, 100, 200))  # 3 does not divide D
    many = [(spec, n) for spec, n in [(smol, 2), (llama, 8), (llama, 16), (odd, 4), (wide, 3),
                                      (odd, 24), (smol, 1), (llama, 3), (llama, 64)]]  # fmt: skip
    return [
        *(Case(spec, n, label="which sizes are in the way") for spec, n in many),
        *(Case(spec, entry="allowed_degrees", label="the degrees of a model")
          for spec in (smol, llama, odd, wide)),
    ]  # fmt: skip


DEGREES = Task(
    grade_id="degrees",
    entry=("blockers", "allowed_degrees"),
    points=2,
    cases=degrees_cases,
    reference=degrees_with(),
    compare=Exact(),
    misconceptions=[
        Misconception(
            "width-divides",
            degrees_with(names=("d_model", "d_ff")),
            "looks at D instead of heads: a matrix could be cut anywhere, but attention is "
            "computed head by head, and a head is never cut",
        ),
        Misconception(
            "width-too",
            degrees_with(names=("d_model", *SIZES)),
            "D does not have to be divided: each rank's x and summand have the whole width",
        ),
        Misconception(
            "query-heads-only",
            degrees_with(names=("n_heads", "d_ff")),
            "the key/value heads are not looked at; they are shared out as well",
        ),
        Misconception(
            "key-heads-only",
            degrees_with(names=("n_kv_heads", "d_ff")),
            "the names are not complete: the query heads can be in the way, too",
        ),
        Misconception(
            "mlp-forgotten",
            degrees_with(names=("n_heads", "n_kv_heads")),
            "d_ff is not looked at: the MLP's F hidden units are shared out, too",
        ),
        Misconception(
            "enough-for-each",
            degrees_with(blocks=lambda size, n: size < n),
            "asks only whether each rank gets one; the sizes have to be DIVISIBLE",
        ),
        Misconception(
            "one-is-no-degree",
            degrees_with(kept=lambda allowed: [n for n in allowed if n > 1]),
            "allowed_degrees leaves out 1; one rank always works",
        ),
        Misconception(
            "powers-of-two",
            degrees_with(candidates=lambda spec: [2**i for i in range(12)]),
            "allowed_degrees tries powers of two only; machines are often built so, models need "
            "not be (9 heads split in 3)",
        ),
    ],
)

# --- Task 6: the ring -------------------------------------------------------------------------


def step_with(chunk, merge, to=1, keeps=True):
    def step(chunks, t):
        n = len(chunks)
        new = [[*own] for own in chunks]
        for receiver in range(n):
            sender = (receiver - to) % n
            for c in chunk(sender, t, n):
                new[receiver][c] = merge(new[receiver][c], chunks[sender][c])
        if not keeps:
            for sender in range(n):
                for c in chunk(sender, t, n):
                    new[sender][c] = 0
        return new

    return step


def add(own, got):
    return own + got


def replace(own, got):
    return got


def scatter(chunk=lambda rank, t, n: [(rank - t) % n], merge=add, **how):
    return {"reduce_scatter_step": step_with(chunk, merge, **how)}


def gather(chunk=lambda rank, t, n: [(rank + 1 - t) % n], merge=replace, **how):
    return {"all_gather_step": step_with(chunk, merge, **how)}


def use_ring(answer, chunks):
    """What the ranks hold after the first step, after the reduce-scatter, and in the end."""
    n, seen = len(chunks), []
    for step in (answer.reduce_scatter_step, answer.all_gather_step):
        for t in range(n - 1):
            chunks = step([list(own) for own in chunks], t)
            seen.append([list(own) for own in chunks])
    return seen


def ring_cases(rng):
    def case(n):
        return Case(rng.integers(1, 1000, size=(n, n)).tolist(), label=f"{n} ranks")

    return [case(4), case(2), case(5)]


RING = Task(
    grade_id="ring",
    entry=("reduce_scatter_step", "all_gather_step"),
    points=4,
    cases=ring_cases,
    reference={**scatter(), **gather()},
    drive=use_ring,
    compare=Exact(),
    misconceptions=[
        Misconception(
            "replaces-in-reduce-scatter",
            scatter(merge=replace),
            "in the reduce-scatter the receiver's own values are lost: it ADDS what comes in",
        ),
        Misconception(
            "adds-in-all-gather",
            gather(merge=add),
            "in the all-gather the receiver adds a sum that is complete to its own part of it: it "
            "REPLACES",
        ),
        Misconception(
            "wrong-direction",
            {**scatter(to=-1), **gather(to=-1)},
            "everyone sends to rank - 1; the ring goes to rank + 1",
        ),
        Misconception(
            "same-chunk-in-each-step",
            {
                **scatter(chunk=lambda rank, t, n: [rank]),
                **gather(chunk=lambda rank, t, n: [(rank + 1) % n]),
            },
            "a rank sends the same chunk in every step (t is not used); it has to pass on what it "
            "received in the step before",
        ),
        Misconception(
            "counts-up",
            {
                **scatter(chunk=lambda rank, t, n: [(rank + t) % n]),
                **gather(chunk=lambda rank, t, n: [(rank + 1 + t) % n]),
            },
            "the chunk's number grows with t; to pass on what came in before, it has to go down",
        ),
        Misconception(
            "gather-starts-with-chunk-r",
            gather(chunk=lambda rank, t, n: [(rank - t) % n]),
            "the all-gather starts with chunk r, which is not complete: after the reduce-scatter "
            "rank r has the whole sum of chunk r + 1",
        ),
        Misconception(
            "chunk-number-of-the-receiver",
            {
                **scatter(chunk=lambda rank, t, n: [(rank + 1 - t) % n]),
                **gather(chunk=lambda rank, t, n: [(rank + 2 - t) % n]),
            },
            "the chunk is counted from the RECEIVER's number; rank r sends chunk r - t (and "
            "r + 1 - t)",
        ),
        Misconception(
            "sends-everything",
            scatter(chunk=lambda rank, t, n: range(n)),
            "the reduce-scatter sends all chunks in every step; it is ONE from each rank, or the "
            "ring saves nothing and counts values twice",
        ),
        Misconception(
            "sender-loses-it",
            scatter(keeps=False),
            "the sender's chunk is 0 after the reduce-scatter's step; it sends a copy",
        ),
    ],
)

TASKS = [VOLUME, MLP, REDUCE, HEADS, DEGREES, RING]
