"""Hidden checks of exercise 07: AllReduce volumes, MLP and attention shards, degrees, the ring."""

from grader.checks import Case, Close, Exact, Task, between, normal

CLOSE = Close(rtol=1e-6, atol=1e-9)  # cases are float64


def volume_cases(rng):
    def case(n_layers, d_model, n_ranks, batch_size, n_new, dtype_bytes, label, seq_len=None):
        spec = {"n_layers": n_layers, "d_model": d_model, "d_ff": 3 * d_model}
        seq_len = seq_len or between(rng, 20, 900)
        return Case(spec, n_ranks, seq_len, batch_size, n_new, dtype_bytes, label=label)

    new = [between(rng, 8, 60) for _ in range(3)]
    return [
        case(30, 576, 3, 1, new[0], 2, "one prompt, three ranks"),
        case(32, 4096, 8, between(rng, 2, 9), new[1], 2, "a batch, eight ranks"),
        case(between(rng, 20, 40), 1024, 4, 5, 1, 2, "a single new token"),
        case(between(rng, 20, 40), 2048, 4, 3, new[2], 4, "float32"),
        case(5, 11, 7, 1, 3, 2, "a payload that the ranks don't divide", seq_len=30),
    ]


VOLUME = Task(
    grade_id="tp-bytes", entry="tp_bytes", cases=volume_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("one-all-reduce", "2 * batch_size", "batch_size",
         "counted one AllReduce a layer; there are two, after attention and after the MLP"),
        ("four-all-reduces", "2 * batch_size", "4 * batch_size",
         "counted four AllReduces a layer; two of them belong to the backward pass of training"),
        ("width-divided", 'spec["d_model"]', 'spec["d_model"] // n_ranks',
         "each rank puts in D / n elements a token here; its summand has the whole width D"),
        ("inner-width", 'spec["d_model"]', 'spec["d_ff"]', "counted with F; the hidden units are "
         "split and stay where they are, what is summed is D wide"),
        ("a-pass-for-each-token", "(max_new_tokens - 1)", "max_new_tokens",
         "counted max_new_tokens decode passes; the prefill gives the first token, so there is one "
         "fewer"),
        ("sends-the-past-again", "(max_new_tokens - 1) * decode_layer",
         "sum((seq_len + i) * decode_layer for i in range(1, max_new_tokens))",
         "a decode pass sends all tokens so far here; the past is in the cache, one new token "
         "moves"),
        ("one-layer", 'spec["n_layers"] * ', "", "the request's bytes are those of a single layer"),
        ("one-sequence", " * batch_size", "",
         "counted one sequence; each of the batch_size sequences has its own activations"),
        ("elements-for-bytes", " * dtype_bytes", "",
         "these are elements; each has dtype_bytes bytes"),
        ("payload-for-wire", "2 * (n_ranks - 1) / n_ranks * ", "",
         "rank_sends is the payload here; over a ring a rank sends 2(n - 1)/n of it"),
        ("half-of-the-ring", "2 * (n_ranks", "(n_ranks", "rank_sends is half of what it should be: "
         "n - 1 steps of reduce-scatter, and then n - 1 steps of all-gather"),
        ("whole-bytes", "(n_ranks - 1) / n_ranks * request", "(n_ranks - 1) * (request // n_ranks)",
         "S/n is rounded down before it is multiplied: multiply first, or divide with /"),
        ("all-ranks", " / n_ranks", "",
         "rank_sends is what all ranks send together; the question is about one of them"),
        ("sends-to-everyone", "2 * (n_ranks - 1) / n_ranks", "(n_ranks - 1)",
         "rank_sends counts the whole tensor to each of the others; in a ring a rank sends chunks "
         "of S/n, 2(n - 1) times, to one neighbour"),
    ])  # fmt: skip


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
    grade_id="mlp-shards", entry=("shard_mlp", "partial_mlp"), cases=mlp_cases, drive=use_mlp,
    compare=CLOSE, misconceptions=[
        ("bias-on-every-rank", " if rank == 0 else torch.zeros_like(b2)", "",
         "b2 is added by every rank, so that the sum holds it n times: give it to one rank and "
         "zeros to the others (or each an n-th)"),
        ("second-bias-forgotten", "b2 if rank == 0 else ", "", "b2 is in nobody's part"),
        ("first-bias-forgotten", " + b1_r)", ")",
         "b1 is not added; each rank adds its own columns' part, before relu"),
        ("bias-after-relu", "torch.relu(x @ W1_r + b1_r)", "torch.relu(x @ W1_r) + b1_r",
         "b1 is added after relu; it belongs inside: relu(x W1 + b1)"),
        ("rows-of-other-units", "W2[mine]", "W2[rank::n_ranks]",
         "the shapes are right, but a rank's rows of W2 are not those of its columns of W1: hidden "
         "unit f needs column f and row f on the same rank"),
        ("replicates", "slice(rank * width, (rank + 1) * width)", "slice(None)",
         "every rank holds the whole MLP, so nothing is saved and the sum is n times too large"),
        ("columns-twice", "W2[mine]", "W2.chunk(n_ranks, dim=1)[rank]",
         "W2 is split by columns, too: a rank has F/n hidden units and needs their ROWS of W2"),
        ("relu-forgotten", "torch.relu(x @ W1_r + b1_r)", "x @ W1_r + b1_r",
         "relu is missing; it stands between the matrices, on the rank's own hidden units"),
        ("relu-on-the-summand", "torch.relu(x @ W1_r + b1_r)", "x @ W1_r + b1_r",
         "hidden @ W2_r + b2_r", "torch.relu(hidden @ W2_r + b2_r)",
         "relu stands behind W2, on a summand that is not complete: it belongs between the "
         "matrices, where a rank's hidden units are whole"),
        ("relu-twice", "hidden @ W2_r + b2_r", "torch.relu(hidden @ W2_r + b2_r)",
         "relu also stands behind W2; the MLP has it between the matrices only"),
    ])  # fmt: skip


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
        case(1, 9, 5, 3, "three ranks, a single token"),
        case(3, 8, 4, 4, "four ranks"),
    ]


REDUCE = Task(
    grade_id="where-to-reduce", entry=("row_column_mlp", "counterexample"), cases=row_column_cases,
    drive=use_row_column, compare=CLOSE, misconceptions=[
        ("relu-before-the-sum", "[x_r @ W1_r for", "[torch.relu(x_r @ W1_r) for",
         "torch.relu(all_reduce(partial))", "all_reduce(partial)",
         "the bug is still there: relu bends each rank's summand before the sum is complete"),
        ("relu-gone", "torch.relu(all_reduce(partial))", "all_reduce(partial)",
         "relu is gone; it has to stand right behind the sum"),
        ("relu-at-the-end", "torch.relu(all_reduce(partial))", "all_reduce(partial)",
         "[hidden @ W2_r for", "[torch.relu(hidden @ W2_r) for",
         "relu stands behind W2; it has to stand right behind the sum, before W2"),
        ("never-sums", "torch.relu(all_reduce(partial))", "[torch.relu(part) for part in partial]",
         "hidden @ W2_r for W2_r in W2.chunk(n_ranks, dim=1)",
         "h @ W2_r for h, W2_r in zip(hidden, W2.chunk(n_ranks, dim=1), strict=True)",
         "all_reduce is never called: each rank goes on with its own summand of x W1, which is not "
         "the hidden layer"),
        ("sums-at-the-end", "    hidden =",
         "    return all_reduce([torch.relu(part) @ W2 for part in partial])\n    hidden =",
         "the sum comes at the end, as if W1 were split by columns; with rows each rank has a "
         "summand of every hidden unit, and relu needs the sum first"),
        ("sums-for-each-rank", "hidden = torch.relu(all_reduce(partial))", "hidden = None",
         "[hidden @ W2_r for", "[torch.relu(all_reduce(partial)) @ W2_r for",
         "all_reduce is called once for each rank; one call gives the hidden layer to all of them"),
        ("averages", "all_reduce(partial)", "all_reduce(partial) / n_ranks",
         "the sum is divided by the number of ranks; x W1 is the SUM of the parts"),
        ("sums-the-columns", "torch.cat(outputs, dim=1)", "sum(outputs)",
         "the outputs are added; each rank has its own COLUMNS of the result, which stand side by "
         "side"),
        ("no-counterexample", "3.0, -2.0", "1.0, 2.0", "for your a and b relu(a + b) is relu(a) + "
         "relu(b); take one positive and one negative number"),
    ])  # fmt: skip


def heads_cases(rng):
    def case(n_heads, n_kv_heads, H, rank, n_ranks, label, D=None):
        D = D or n_heads * H
        Wq, Wo = normal(rng, D, n_heads * H), normal(rng, n_heads * H, D)
        Wk, Wv = (normal(rng, D, n_kv_heads * H) for _ in range(2))
        return Case(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks, label=label)

    return [
        case(9, 3, 2, between(rng, 1, 3), 3, "grouped queries, three ranks"),
        case(8, 4, 2, 1, 2, "grouped queries, two ranks"),
        case(4, 4, 4, 2, 4, "as many key/value heads as query heads"),
        case(6, 2, 2, 0, 1, "a single rank"),
        case(6, 2, 3, 1, 2, "heads that together are wider than D", D=12),
        case(9, 3, 2, 1, 2, "ranks that divide neither number of heads"),
        case(8, 2, 2, 1, 4, "more ranks than key/value heads"),
    ]


HEADS = Task(
    grade_id="shard-heads", entry="shard_heads", cases=heads_cases, compare=Exact(),
    misconceptions=[
        ("out-by-columns", "Wo[q]", "Wo[:, q]", "W_o is split by columns; a rank has its own "
         "heads' z, n_H·H/n wide, and needs their ROWS of W_o"),
        ("out-not-split", "Wo[q]", "Wo",
         "W_o is whole on every rank; only the rows of the rank's own heads are used there"),
        ("queries-by-rows", "Wq[:, q], Wk[:, kv], Wv[:, kv]", "Wq[q], Wk[kv], Wv[kv]",
         "W_q, W_k and W_v are split by rows; a head is a group of COLUMNS here (x W)"),
        ("keys-not-split", "Wk[:, kv], Wv[:, kv]", "Wk, Wv", "every rank holds all keys and "
         "values; it needs those of its own heads only, and so does its cache"),
        ("keys-like-queries", "Wk[:, kv], Wv[:, kv]", "Wk[:, q], Wv[:, q]",
         "W_k and W_v are cut at the query heads' columns; there are fewer key/value heads, so "
         "their slices are narrower (and slices don't complain)"),
        ("heads-dealt", "slice(rank * q_width, (rank + 1) * q_width)",
         "torch.arange(Wq.shape[1]).reshape(n_heads, -1)[rank::n_ranks].flatten()",
         "the query heads are dealt like cards, so that a rank's queries miss the key/value heads "
         "that they share: neighbours stay together"),
        ("all-heads-dealt", "slice(rank * q_width, (rank + 1) * q_width)",
         "torch.arange(Wq.shape[1]).reshape(n_heads, -1)[rank::n_ranks].flatten()",
         "slice(rank * kv_width, (rank + 1) * kv_width)",
         "torch.arange(Wk.shape[1]).reshape(n_kv_heads, -1)[rank::n_ranks].flatten()",
         "the heads are dealt like cards; rank r has the r-th PART of them, neighbours in order"),
        ("columns-dealt",
         "slice(rank * q_width, (rank + 1) * q_width)", "slice(rank, None, n_ranks)",
         "single columns are dealt out, which cuts every head: a head's H columns stay together"),
        ("width-from-d", "Wq.shape[1] // n_ranks, Wk.shape[1] // n_ranks",
         "len(Wq) // n_ranks, len(Wq) * n_kv_heads // n_heads // n_ranks",
         "the heads' width is taken from D; W_q is (D, n_H·H), and n_H·H need not be D"),
        ("keys-for-values", "Wv[:, kv]", "Wk[:, kv]", "the values are cut out of W_k"),
        ("cuts-heads", "n_heads % n_ranks or n_kv_heads % n_ranks", "False",
         "numbers of ranks that don't divide the heads are not refused, so heads are cut: raise a "
         "ValueError"),
        ("key-heads-not-checked", " or n_kv_heads % n_ranks", "",
         "only the query heads are checked; n_ranks has to divide the key/value heads as well"),
    ])  # fmt: skip


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
    grade_id="degrees", entry=("blockers", "allowed_degrees"), cases=degrees_cases, compare=Exact(),
    misconceptions=[
        ("width-divides", '("n_heads", "n_kv_heads", "d_ff")', '("d_model", "d_ff")',
         'spec["n_heads"] + 1', "max(spec.values()) + 1", "looks at D instead of heads: a matrix "
         "could be cut anywhere, but attention is computed head by head, and a head is never cut"),
        ("width-too",
         '("n_heads", "n_kv_heads", "d_ff")', '("d_model", "n_heads", "n_kv_heads", "d_ff")',
         "D does not have to be divided: each rank's x and summand have the whole width"),
        ("query-heads-only", ' "n_kv_heads",', "",
         "the key/value heads are not looked at; they are shared out as well"),
        ("key-heads-only", '("n_heads", ', "(",
         "the names are not complete: the query heads can be in the way, too"),
        ("mlp-forgotten", ', "d_ff")', ")",
         "d_ff is not looked at: the MLP's F hidden units are shared out, too"),
        ("enough-for-each", "% n_ranks", "< n_ranks",
         "asks only whether each rank gets one; the sizes have to be DIVISIBLE"),
        ("one-is-no-degree", "range(1,", "range(2,",
         "allowed_degrees leaves out 1; one rank always works"),
        ("last-left-out", 'spec["n_heads"] + 1', 'spec["n_heads"]',
         "the largest degree is left out: range(1, n) ends before n"),
        ("powers-of-two", 'range(1, spec["n_heads"] + 1)', "[2**i for i in range(12)]",
         "allowed_degrees tries powers of two only; machines are often built so, models need not "
         "be (9 heads split in 3)"),
    ])  # fmt: skip


def use_ring(answer, chunks):
    """What the ranks hold after each step, and whether it left its argument as it was."""
    n, seen = len(chunks), []
    for step in (answer.reduce_scatter_step, answer.all_gather_step):
        for t in range(n - 1):
            before = [list(own) for own in chunks]
            new = [list(own) for own in step(chunks, t)]
            seen.append({"chunks": new, "its argument is unchanged": chunks == before})
            chunks = new
    return seen


def ring_cases(rng):
    def case(n):
        return Case(rng.integers(1, 1000, size=(n, n)).tolist(), label=f"{n} ranks")

    return [case(4), case(2), case(5)]


RING = Task(
    grade_id="ring", entry=("reduce_scatter_step", "all_gather_step"), cases=ring_cases,
    drive=use_ring, compare=Exact(), misconceptions=[
        ("replaces-in-reduce-scatter", "+= chunks", "= chunks",
         "in the reduce-scatter the receiver's own values are lost: it ADDS what comes in"),
        ("adds-in-all-gather", "] = chunks", "] += chunks", "in the all-gather the receiver adds a "
         "sum that is complete to its own part of it: it REPLACES"),
        ("wrong-direction", "(rank + 1) % n][c] +=", "(rank - 1) % n][c] +=",
         "(rank + 1) % n][c] =", "(rank - 1) % n][c] =",
         "everyone sends to rank - 1; the ring goes to rank + 1"),
        ("same-chunk-in-each-step", "(rank - t) % n", "rank", "(rank + 1 - t) % n",
         "(rank + 1) % n", "a rank sends the same chunk in every step (t is not used); it has to "
         "pass on what it received in the step before"),
        ("changes-its-argument",
         "[list(own) for own in chunks]\n    for rank in range(n):\n        c = (rank - t)",
         "chunks\n    for rank in range(n):\n        c = (rank - t)",
         "[list(own) for own in chunks]\n    for rank in range(n):\n        c = (rank + 1 - t)",
         "chunks\n    for rank in range(n):\n        c = (rank + 1 - t)",
         "the numbers are right, but the lists that were given have changed: copy each rank's own "
         "list. list(chunks) copies the outer one only"),
        ("counts-up", "(rank - t)", "(rank + t)", "(rank + 1 - t)", "(rank + 1 + t)",
         "the chunk's number grows with t; to pass on what came in before, it has to go down"),
        ("gather-starts-with-chunk-r", "(rank + 1 - t)", "(rank - t)",
         "the all-gather starts with chunk r, which is not complete: after the reduce-scatter rank "
         "r has the whole sum of chunk r + 1"),
        ("chunk-number-of-the-receiver", "(rank + 1 - t)", "(rank + 2 - t)", "(rank - t)",
         "(rank + 1 - t)", "the chunk is counted from the RECEIVER's number; rank r sends chunk r "
         "- t (and r + 1 - t)"),
        ("sends-everything",
         "        c = (rank - t) % n\n        new[(rank + 1) % n][c] += chunks[rank][c]",
         "        for c in range(n):\n            new[(rank + 1) % n][c] += chunks[rank][c]",
         "the reduce-scatter sends all chunks in every step; it is ONE from each rank, or the ring "
         "saves nothing and counts values twice"),
        ("sender-loses-it", "+= chunks[rank][c]", "+= chunks[rank][c]\n        new[rank][c] = 0",
         "the sender's chunk is 0 after the reduce-scatter's step; it sends a copy"),
    ])  # fmt: skip

TASKS = [VOLUME, MLP, REDUCE, HEADS, DEGREES, RING]
