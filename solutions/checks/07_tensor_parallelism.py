"""Hidden checks of exercise 07: AllReduce volumes, shards, a layout, the ring, a whole block."""

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
        ("inner-width", 'spec["d_model"]', 'spec["d_ff"]', "counted with F; the hidden units are "
         "split and stay where they are, what is summed is D wide"),
        ("sends-the-past-again", "(max_new_tokens - 1) * decode_layer",
         "sum((seq_len + i) * decode_layer for i in range(1, max_new_tokens))",
         "a decode pass sends all tokens so far here; the past is in the cache, one new token "
         "moves"),
        ("payload-for-wire", "2 * (n_ranks - 1) / n_ranks * ", "",
         "rank_sends is the payload here; over a ring a rank sends 2(n - 1)/n of it"),
        ("half-of-the-ring", "2 * (n_ranks", "(n_ranks", "rank_sends is half of what it should be: "
         "n - 1 steps of reduce-scatter, and then n - 1 steps of all-gather"),
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
    def case(L, D, F, n_ranks, label):
        tensors = (normal(rng, *shape) for shape in ((L, D), (D, 2 * F), (F, D), (D,)))
        return Case(*tensors, n_ranks, label=label)

    return [
        case(3, 4, 6, 2, "two ranks"),
        case(1, 5, 12, 3, "three ranks, one token"),
        case(4, 4, 8, 4, "four ranks"),
        case(3, 4, 5, 1, "a single rank"),
    ]


MLP = Task(
    grade_id="mlp-shards", entry=("shard_mlp", "partial_mlp"), cases=mlp_cases, drive=use_mlp,
    compare=CLOSE, misconceptions=[
        ("joined-matrix-cut", "mine = [part.chunk(n_ranks, dim=1)[rank] for part in (gate, up)]",
         "mine = [W1.chunk(n_ranks, dim=1)[rank]]", "W1 is cut as it is, so that the first ranks "
         "have columns of W_gate only: cut each of its two halves by itself"),
        ("bias-on-every-rank", " if rank == 0 else torch.zeros_like(b2)", "",
         "b2 is added by every rank, so that the sum holds it n times: give it to one rank and "
         "zeros to the others (or each an n-th)"),
        ("rows-of-other-units", "W2.chunk(n_ranks, dim=0)[rank]", "W2[rank::n_ranks]",
         "the shapes are right, but a rank's rows of W2 are not those of its hidden units: unit f "
         "needs column f of W_gate and of W_up, and row f, on the same rank"),
        ("columns-twice", "W2.chunk(n_ranks, dim=0)[rank]", "W2.chunk(n_ranks, dim=1)[rank]",
         "W2 is split by columns, too: a rank has F/n hidden units and needs their ROWS of W2"),
        ("silu-on-up", "torch.nn.functional.silu(gate) * up", "gate * torch.nn.functional.silu(up)",
         "silu is applied to x W_up; it belongs to the gate"),
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
        ("sums-at-the-end", "    hidden =",
         "    return all_reduce([torch.relu(part) @ W2 for part in partial])\n    hidden =",
         "the sum comes at the end, as if W1 were split by columns; with rows each rank has a "
         "summand of every hidden unit, and relu needs the sum first"),
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
        ("queries-by-rows", "Wq[:, q], Wk[:, kv], Wv[:, kv]", "Wq[q], Wk[kv], Wv[kv]",
         "W_q, W_k and W_v are split by rows; a head is a group of COLUMNS here (x W)"),
        ("keys-like-queries", "Wk[:, kv], Wv[:, kv]", "Wk[:, q], Wv[:, q]",
         "W_k and W_v are cut at the query heads' columns; there are fewer key/value heads, so "
         "their slices are narrower (and slices don't complain)"),
        ("key-heads-not-checked", " or n_kv_heads % n_ranks", "",
         "only the query heads are checked; n_ranks has to divide the key/value heads as well"),
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
          for target_s in (0.005, 0.0116, 0.0185, 0.036, 0.2)),
        *(Case(model, tight | change, target_s, entry="choose_layout", label="a border")
          for model, change, target_s in (
              (large, {"memory_bytes": 18.25e9}, 0.2), (large, {"memory_bytes": 18e9}, 0.2),
              (spec(4, 4, 4, 40), {"memory_bytes": 11e9, "n_gpus": 1}, 0.2),
              (spec(4, 4, 4, 15), {"bandwidth": 2**32}, 16e9 / 2**32))),
    ]  # fmt: skip


LAYOUT = Task(
    grade_id="layout", entry=("step_s", "choose_layout"), cases=layout_cases,
    compare=Close(rtol=1e-9), misconceptions=[
        ("stages-divide-the-time", '["layers_bytes"] / tensor +',
         '["layers_bytes"] / (tensor * stages) +', "the reading is divided by the stages, too; a "
         "token goes through all stages in turn, and only memory is divided"),
        ("rest-is-divided", '/ tensor + spec["rest_bytes"])', '+ spec["rest_bytes"]) / tensor',
         "rest_bytes are divided; every rank reads the whole embedding and output matrix"),
        ("no-way-back", "stages * machine", "(stages - 1) * machine",
         "the chosen token has to go back to stage 0: one message more"),
        ("cuts-key-heads", ' or spec["n_kv_heads"] % tensor', "",
         "tensor has to divide the KV heads as well"),
        ("uneven-stages", ' and spec["n_layers"] % stages == 0', "",
         "stages that don't divide the layers are not refused"),
        ("memory-of-all", " / (tensor * stages) + spec", " / tensor + spec",
         "each GPU has only its stage's layers: the memory is divided by tensor and by stages"),
        ("fastest", "(tensor * stages, seconds,", "(seconds, tensor * stages,",
         "this is the fastest layout; the one with the fewest GPUs is asked for"),
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
    def case(L, n_heads, F, n_ranks, label):
        D = 2 * n_heads
        shapes = [*[(D, D)] * 4, (D, F), (D, F), (F, D)]
        matrices = [normal(rng, *shape) for shape in shapes]
        return Case(normal(rng, L, D), matrices, n_heads, n_ranks, label=label)

    return [case(4, 4, 6, 2, "two ranks"), case(1, 3, 9, 3, "three ranks, one token")]


BLOCK = Task(
    grade_id="block", entry="parallel_block", cases=block_cases, drive=use_block, compare=CLOSE,
    misconceptions=[
        ("residual-on-each-rank", 'partial.append(z @ rank["Wo"])',
         'partial.append(x + z @ rank["Wo"])', "x = x + all_reduce(partial)",
         "x = all_reduce(partial)", "x is part of each rank's summand, so the sum holds it n "
         "times: add the residual once, outside"),
        ("first-residual-missing", "x = x + all_reduce", "x = all_reduce",
         "the first residual is missing"),
        ("second-residual-missing", "return x + all_reduce", "return all_reduce",
         "the second residual is missing"),
        ("norm-of-the-input", "h = norms[1](x)\n", "\n",
         "the MLP gets the attention's normed input; it needs the norm of x'"),
        ("sum-not-reduced", "x + all_reduce(partial)", "x + sum(partial)",
         "the partial sums are added without all_reduce: ranks are different processes"),
    ])  # fmt: skip

TASKS = [VOLUME, MLP, REDUCE, HEADS, LAYOUT, RING, BLOCK]
