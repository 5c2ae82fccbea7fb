"""Hidden checks of exercise 07: AllReduce volumes, shards, a layout, the ring, a whole block."""

from grader.checks import Case, Close, Exact, Task, between, normal


def volume_cases(rng):
    def case(n_layers, d_model, n_ranks, batch_size, n_new, dtype_bytes, label, seq_len=None):
        spec = {"n_layers": n_layers, "d_model": d_model, "d_ff": 3 * d_model}
        seq_len = seq_len or between(rng, 20, 900)
        return Case(spec, n_ranks, seq_len, batch_size, n_new, dtype_bytes, label=label)

    new = [between(rng, 8, 60) for _ in range(2)]
    return [
        case(30, 576, 3, 1, new[0], 8, "one prompt, three ranks, float64"),
        case(32, 4096, 8, between(rng, 2, 9), new[1], 2, "a batch, eight ranks"),
        case(between(rng, 20, 40), 1024, 4, 5, 1, 2, "a single new token"),
        case(5, 11, 7, 1, 3, 2, "a payload that the ranks don't divide", seq_len=30),
    ]


VOLUME = Task(
    grade_id="tp-bytes", entry="tp_bytes", cases=volume_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("one-all-reduce", "2 * batch_size", "batch_size", "a layer has TWO AllReduces, not one"),
        ("inner-width", 'spec["d_model"]', 'spec["d_ff"]', "what is summed is D wide, not F"),
        ("sends-past", "(max_new_tokens - 1)", "sum(range(seq_len + 1, seq_len + max_new_tokens))",
         "a decode pass sends its one new token only; the past is in the cache"),
        ("one-pass", "(max_new", "max(1, max_new", "a single new token takes no decode pass"),
        ("prompt", "= seq_len *", "= seq_len / batch_size *", "the prefill has batch_size prompts"),
        ("payload", "2 * (n_ranks - 1) / n_ranks * ", "", "rank_sends is the whole payload here"),
        ("half-of-the-ring", "2 * (n", "(n", "reduce-scatter AND all-gather take n - 1 steps each"),
        ("three", "2 * (n_ranks - 1) / n_ranks", "4 / 3", "4/3 is right for three ranks only"),
        ("whole-chunks", "/ n_ranks * request", "* (request // n_ranks)", "divide with /, not //"),
    ])  # fmt: skip


def use_mlp(answer, x, W1, W2, b2, n_ranks):
    """All ranks after one another, and the sum that the AllReduce would make."""
    shapes, total = [], 0
    for rank in range(n_ranks):
        shard = answer.shard_mlp(W1, W2, b2, rank, n_ranks)
        shapes.append([list(shard[i].shape) for i in (0, 1)])
        total = total + answer.partial_mlp(x, *shard)
    return {"shapes of W1_r and W2_r": shapes, "sum over the ranks": total}


def mlp_cases(rng):
    sizes = [(3, 4, 6, 2, "two ranks"), (1, 5, 12, 3, "three ranks, one token"),
             (3, 4, 5, 1, "a single rank")]  # fmt: skip
    return [Case(*(normal(rng, *shape) for shape in ((L, D), (D, 2 * F), (F, D), (D,))), n_ranks,
                 label=label) for L, D, F, n_ranks, label in sizes]  # fmt: skip


MLP = Task(
    grade_id="mlp-shards", entry=("shard_mlp", "partial_mlp"), cases=mlp_cases, drive=use_mlp,
    compare=Close(), watch=("mutated",), misconceptions=[
        ("joined-matrix-cut", "part.chunk(n_ranks, dim=1)[rank] for part in (gate, up)",
         "W1.chunk(n_ranks, dim=1)[rank]", "cut each half of W1, W_gate and W_up, by itself"),
        ("bias-on-every-rank", " if rank == 0 else torch.zeros_like(b2)", "",
         "every rank adds b2, so that the sum holds it n times: one rank adds it, or each an n-th"),
        ("bias-of-rank-1", "rank == 0", "rank == 1", "b2 is rank 1's: a single rank loses it"),
        ("bias-halved", "b2 if rank == 0 else torch.zeros_like(b2)", "b2 / 2",
         "each rank adds half of b2: that is right with two ranks only"),
        ("rows-of-other-units", "W2.chunk(n_ranks, dim=0)[rank]", "W2[rank::n_ranks]",
         "the shapes are right, but unit f needs column f of W_gate, of W_up, and row f of W2"),
        ("columns-twice", "W2.chunk(n_ranks, dim=0)[rank]", "W2.chunk(n_ranks, dim=1)[rank]",
         "W2 is split by columns, too: a rank has F/n hidden units and needs their ROWS of W2"),
        ("silu-on-up", "torch.nn.functional.silu(gate) * up", "gate * torch.nn.functional.silu(up)",
         "silu is applied to x W_up; it belongs to the gate"),
        ("relu", "torch.nn.functional.silu", "torch.relu", "the gate goes through silu, not relu"),
    ])  # fmt: skip


def use_row_column(answer, x, W1, W2, n_ranks):
    """The result, what was summed, whether no summand is zero or twice there, and the numbers."""
    shapes, own = [], []

    def all_reduce(parts):
        shapes.append([list(p.shape) for p in parts])
        own.append(len({float(p.abs().sum()) for p in parts if p.any()}) == n_ranks)
        return sum(parts)

    y = answer.row_column_mlp(x, W1, W2, n_ranks, all_reduce)
    if (pair := answer.counterexample()) is not None:
        a, b = pair
        pair = bool(max(a + b, 0) != max(a, 0) + max(b, 0))
    return {"y": y, "all_reduce was given": shapes, "each rank its own summand": own,
            "counterexample": pair}  # fmt: skip


def row_column_cases(rng):
    sizes = [(5, 6, 4, 2, "two ranks"), (1, 6, 9, 3, "three ranks, a single token")]
    return [Case(*(normal(rng, *shape) for shape in ((L, D), (D, F), (F, D))), n_ranks, label=label)
            for L, D, F, n_ranks, label in sizes]  # fmt: skip


REDUCE = Task(
    grade_id="where-to-reduce", entry=("row_column_mlp", "counterexample"), cases=row_column_cases,
    drive=use_row_column, compare=Close(), misconceptions=[
        ("relu-too-early", "x_r @ W1_r f", "torch.relu(x_r @ W1_r) f", "torch.relu(all", "(all",
         "the bug is still there: relu bends each rank's summand before the sum is complete"),
        ("sums-at-the-end", "hidden = torch.relu(all_reduce(partial))",
         "return all_reduce([torch.relu(part) @ W2 for part in partial])",
         "the sum comes at the end; with rows of W1 relu needs the sum first"),
        ("sums", "torch.cat(outputs, dim=1)", "sum(outputs)", "outputs are columns, side by side"),
        ("nothing-is-split", "x_r @ W1_r for x_r", "x @ W1 / n_ranks for x_r",
         "every rank computes the whole x W1; it has only its columns of x and rows of W1"),
        ("two-ranks", "x.chunk(n_ranks, dim=1), W1.chunk(n_ranks", "x.chunk(2, dim=1), W1.chunk(2",
         "x and W1 are cut in two, whatever n_ranks is"),
        ("parts-of-n", "x.chunk(n_ranks, dim=1), W1.chunk(n_ranks", "x.split(n_ranks, dim=1), "
         "W1.split(n_ranks", "split takes the SIZE of a part; chunk takes the number of parts"),
        ("no-counterexample", "3.0, -2.0", "1.0, 2.0", "take one positive and one negative number"),
        ("no-return", "return 3.0, -2.0", "pass", "in counterexample the return is missing"),
    ])  # fmt: skip


def heads_cases(rng):
    def case(n_heads, n_kv_heads, H, rank, n_ranks, label, D=None):
        D = D or n_heads * H
        Wq, Wo = normal(rng, D, n_heads * H), normal(rng, n_heads * H, D)
        Wk, Wv = (normal(rng, D, n_kv_heads * H) for _ in range(2))
        return Case(Wq, Wk, Wv, Wo, n_heads, n_kv_heads, rank, n_ranks, label=label)

    return [
        case(9, 3, 2, between(rng, 1, 3), 3, "grouped queries, three ranks"),
        case(4, 4, 4, 2, 4, "as many key/value heads as query heads"),
        case(6, 2, 3, 1, 2, "heads that together are wider than D", D=12),
        case(12, 4, 3, 1, 3, "ranks that divide the query heads only"),
        case(8, 2, 2, 1, 4, "more ranks than key/value heads"),
    ]


HEADS = Task(
    grade_id="shard-heads", entry="shard_heads", cases=heads_cases, compare=Exact(),
    misconceptions=[
        ("out-by-columns", "Wo[q]", "Wo[:, q]", "a rank needs the ROWS of W_o of its own heads"),
        ("queries-by-rows", "Wq[:, q], Wk[:, kv], Wv[:, kv]", "Wq[q], Wk[kv], Wv[kv]",
         "W_q, W_k and W_v are split by rows; a head is a group of COLUMNS here (x W)"),
        ("keys-like-queries", "Wk[:, kv], Wv[:, kv]", "Wk[:, q], Wv[:, q]",
         "W_k and W_v are cut at the query heads' columns; there are fewer key/value heads"),
        ("width-from-D", "Wq.shape[1]", "Wq.shape[0]", "Wk.shape[1]",
         "len(Wk) // n_heads * n_kv_heads", "a head's width is not always D / n_heads"),
        ("key-heads", " or n_kv_heads % n_ranks", "", "n_ranks has to divide n_kv_heads as well"),
        ("only-too-many-ranks", "or n_kv_heads % n_ranks", "or n_ranks > n_kv_heads",
         "n_ranks at most n_kv_heads is not enough: it has to DIVIDE them"),
    ])  # fmt: skip


def layout_cases(rng):
    def spec(n_layers, n_heads, n_kv_heads, gigabytes):
        return {"n_layers": n_layers, "n_heads": n_heads, "n_kv_heads": n_kv_heads,
                "layers_bytes": gigabytes * 1e9, "rest_bytes": 1e9}  # fmt: skip

    a100 = {"n_gpus": 8, "memory_bytes": 80e9, "bandwidth": 2e12, "start_s": 4e-6, "hop_s": 5e-7,
            "message_s": between(rng, 10, 90) * 1e-6}  # fmt: skip
    tight = a100 | {"memory_bytes": 24e9}
    large, gqa = spec(80, 64, 8, 138), spec(80, 64, 2, 138)
    odd = spec(30, 9, 3, between(rng, 60, 70))
    return [
        *(Case(model, a100, *degrees, entry="step_s", label="a step")
          for model in (large, odd) for degrees in ((1, 1), (2, 1), (8, 1), (1, 3), (4, 2))),
        *(Case(model, machine, target_s, entry="choose_layout", label="the smallest layout")
          for model in (large, gqa, odd) for machine in (a100, tight, tight | {"n_gpus": 3})
          for target_s in (0.0116, 0.0185, 0.036, 0.2)),
        *(Case(model, tight | change, target_s, entry="choose_layout", label="a border")
          for model, change, target_s in (
              (large, {"memory_bytes": 18.25e9}, 0.2), (large, {"memory_bytes": 18e9}, 0.2),
              (spec(4, 4, 4, 40), {"memory_bytes": 11e9, "n_gpus": 1}, 0.2),
              (spec(4, 4, 4, 15), {"bandwidth": 2**32}, 16e9 / 2**32))),
    ]  # fmt: skip


LAYOUT = Task(
    grade_id="layout", entry=("step_s", "choose_layout"), cases=layout_cases,
    compare=Close(rtol=1e-9), misconceptions=[
        ("stages-divide-the-time", '"] / tensor +', '"] / (tensor * stages) +',
         "the reading is divided by stages, too; a token goes through all of them in turn"),
        ("rest-is-divided", '/ tensor + spec["rest_bytes"])', '+ spec["rest_bytes"]) / tensor',
         "rest_bytes are divided; every rank reads the whole embedding and output matrix"),
        ("no-way-back", "stages * m", "(stages - 1) * m", "the token goes back to stage 0, too"),
        ("heads", ' or spec["n_kv_heads"] % tensor', "", "tensor has to divide n_kv_heads, too"),
        ("uneven", ' and spec["n_layers"] % stages == 0', "", "stages have to divide the layers"),
        ("memory", "/ (tensor * stages)", "/ tensor", "a GPU holds its own stage's layers only"),
        ("memory-without-rest", ' + spec["rest_bytes"]\n            s', "\n            s",
         "rest_bytes take memory as well: every GPU holds them whole"),
        ("memory-not-full", "n_bytes <=", "n_bytes <", "weights that fill the memory exactly fit"),
        ("below-the-target", "seconds <=", "seconds <", "exactly the target is met, too"),
        ("all-in-one-machine", "if fits", 'if tensor * stages <= machine["n_gpus"] and fits',
         "only a group, tensor GPUs, has to fit into one machine; stages may be in others"),
        ("stages-in-one-machine", '(1, spec["n_layers"] + 1)', '(1, machine["n_gpus"] + 1)',
         "there may be more stages than one machine has GPUs: up to one for each layer"),
        ("fast", "(tensor * stages, seconds", "(seconds, tensor * stages", "take the fewest GPUs"),
    ])  # fmt: skip


def use_ring(answer, chunks):
    """What the ranks hold after each step, and whether it left its argument as it was."""
    n, seen = len(chunks), []
    for step in (answer.reduce_scatter_step, answer.all_gather_step):
        for t in range(n - 1):
            before, new = [list(own) for own in chunks], step(chunks, t)
            if new is None:
                return f"nothing from {step.__name__}"
            new = [list(own) for own in new]
            seen.append({"chunks": new, "its argument is unchanged": chunks == before})
            chunks = new
    return seen


LISTS = "[list(own) for own in chunks]"
COPY = (LISTS + "\n    for rank in range(n):\n        c = (rank - t)",)
COPY_2 = (LISTS + "\n    for rank in range(n):\n        c = (rank + 1 - t)",)
RING = Task(
    grade_id="ring", entry=("reduce_scatter_step", "all_gather_step"), drive=use_ring,
    cases=lambda rng: [Case(rng.integers(1, 1000, (n, n)).tolist(), label=f"{n} ranks")
                       for n in (4, 2, 5)],
    compare=Exact(), misconceptions=[
        ("replaces-in-scatter", "+= chunks", "= chunks", "the reduce-scatter ADDS what comes in"),
        ("gathers-the-wrong-chunk", "rank + 1 - t", "rank - t", "all-gather: rank r has r + 1 - t"),
        ("adds-in-gather", "] = chunks", "] += chunks", "the all-gather REPLACES, it adds nothing"),
        ("wrong-direction", "+ 1) % n][c] +", "- 1) % n][c] +", "+ 1) % n][c] =", "- 1) % n][c] =",
         "everyone sends to rank - 1; the ring goes to rank + 1"),
        ("same-chunk-in-each-step", "(rank - t)", "rank", "(rank + 1 - t)", "(rank + 1)",
         "every step sends the same chunk (t is not used); pass on what came in the step before"),
        ("sender-loses-it", "+= chunks[rank][c]", "+= chunks[rank][c]\n        new[rank][c] = 0",
         "the sender has lost its chunk: it KEEPS what it sends"),
        ("always-three-ranks", *COPY, COPY[0].replace("(n)", "(n := 3)"), *COPY_2,
         COPY_2[0].replace("(n)", "(n := 3)"), "the ring has three ranks, however many there are"),
        ("return", " = chunks[rank][c]\n    return new", " = 0", "all_gather_step has no return"),
        ("changes-its-argument", *COPY, COPY[0].replace(LISTS, "chunks"), *COPY_2,
         COPY_2[0].replace(LISTS, "chunks"), "copy each rank's list; list(chunks) is not enough"),
    ])  # fmt: skip


def use_block(answer, x, matrices, n_heads, n_ranks):
    """A block over the ranks, and what it summed; the parts are cut here."""
    import torch

    def attend(q, k, v):
        q, k, v = (y.unflatten(1, (-1, H)).transpose(0, 1) for y in (q, k, v))
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(0, 1).flatten(1)

    def all_reduce(parts):
        shapes.append([list(part.shape) for part in parts])
        return sum(parts)

    Wq, Wk, Wv, Wo, gate, up, down = matrices
    H, shapes, ranks = Wq.shape[1] // n_heads, [], []
    cut = [[W.chunk(n_ranks, dim=1) for W in (Wq, Wk, Wv, gate, up)],
           [W.chunk(n_ranks, dim=0) for W in (Wo, down)]]  # fmt: skip
    for (q, k, v, g, u), (o, d) in zip(zip(*cut[0]), zip(*cut[1])):  # noqa: B905
        mlp = (torch.cat([g, u], dim=1), d, torch.zeros_like(x[0]))
        ranks.append({"Wq": q, "Wk": k, "Wv": v, "Wo": o, "mlp": mlp})
    norms = (lambda y: y / y.norm(dim=-1, keepdim=True), lambda y: y / (1 + y.abs().amax()))
    return {"y": answer.parallel_block(x, ranks, norms, attend, all_reduce), "summed": shapes}


def block_cases(rng):
    def case(L, D, F, n_ranks, label):  # heads of two columns
        matrices = [normal(rng, *shape) for shape in (*[(D, D)] * 4, (D, F), (D, F), (F, D))]
        return Case(normal(rng, L, D), matrices, D // 2, n_ranks, label=label)

    return [case(4, 8, 6, 2, "two ranks"), case(1, 6, 9, 3, "three ranks, one token")]


BLOCK = Task(
    grade_id="block", entry="parallel_block", cases=block_cases, drive=use_block, compare=Close(),
    watch=("mutated",), misconceptions=[
        ("residual-on-each-rank", "(z @", "(x + z @", "x = x +", "x =",
         "every rank's summand has x, so the sum holds it n times: add it once, outside"),
        ("half-of-x-each", "(z @", "(x / 2 + z @", "x = x +", "x =", "return x + all_reduce([",
         "return all_reduce([x / 2 + ", "each rank adds x / 2: that is right with two ranks only"),
        ("no-first-residual", "x = x + all", "x = all", "the first residual is missing"),
        ("no-second-residual", "return x +", "return", "the second residual is missing"),
        ("residual-of-the-norm", "x = x +", "x = h +", "return x +", "return h +",
         "the residual is the norm's result; it is x itself (and x') that is added"),
        ("second-residual-of-x", "x = x +", "y = x +", "norms[1](x)", "norms[1](y)",
         "the second residual adds x; it is x' that is added there"),
        ("norm-of-the-input", "h = norms[1](x)\n", "\n", "the MLP needs the norm of x', not of x"),
        ("both-norms-of-x", "h = norms[0](x)", "h, later = norms[0](x), norms[1](x)",
         "h = norms[1](x)", "h = later", "the second norm is of the input x; it takes x'"),
        ("post-norm", "h = norms[0](x)", "h = x", "x = x + all_reduce(partial)",
         "x = norms[0](x + all_reduce(partial))", "h = norms[1](x)", "h = x", "return x",
         "return norms[1](x", "in ranks])", "in ranks]))",
         "the norms come after the residuals; Llama's come before attention and before the MLP"),
        ("one-norm-twice", "norms[1]", "norms[0]", "the norm before the MLP is norms[1]"),
        ("no-first-norm", "h = norms[0](x)", "h = x", "the norm before attention is missing"),
        ("keys-for-values", 'h @ rank["Wk"], h @ rank["Wv"]', 'h @ rank["Wv"], h @ rank["Wk"]',
         "attend gets the values as keys: the order is q, k, v"),
        ("sum-not-reduced", "all_reduce(partial)", "sum(partial)", "all_reduce adds between ranks"),
    ])  # fmt: skip

TASKS = [VOLUME, MLP, REDUCE, HEADS, LAYOUT, RING, BLOCK]
