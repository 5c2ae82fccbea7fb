"""Hidden checks of exercise 07: AllReduce volumes, shards, a layout, the ring, a whole block."""

from grader.checks import Case, Close, Task, between, normal

VOLUME = Task(
    grade_id="tp-bytes", compare=Close(rtol=1e-9), cases=lambda rng: [
        Case({"n_layers": N, "d_model": D, "d_ff": 3 * D}, *others, label=label)
        for N, D, *others, label in (
            (30, 576, 3, between(rng, 20, 900), 1, between(rng, 8, 60), 8, "three ranks, float64"),
            (32, 4096, 8, between(rng, 20, 900), between(rng, 2, 9), 40, 2, "all of a batch"),
            (24, 1024, 4, between(rng, 20, 900), 5, 1, 2, "a single new token"),
            (6, 10, 2, 9, 2, 4, 2, "two ranks are a ring, too: 2(n - 1) steps"),
            (5, 11, 7, 30, 1, 3, 2, "a payload that the ranks don't divide"))], misconceptions=[
        ("2 * batch_size", {"batch_size", "4 * batch_size", "2"}),
        ("2 * batch_size", "2", "= seq_len *", "= batch_size * seq_len *", "a pass decodes ALL"),
        ('spec["d_model"]', {'spec["d_ff"]', 'spec["d_model"] / n_ranks'}),
        (" * dtype_bytes", {"", " * 2"}), ('request = spec["n_layers"] * ', {"request = "}),
        ("(max_new_tokens - 1)", {"max_new_tokens": "",
         "sum(range(seq_len + 1, seq_len + max_new_tokens))": "",
         "max(1, max_new_tokens - 1)": "a single new token takes no decode"}),
        ("= seq_len *", {"=": "", "= seq_len / n_ranks *": "",
         "= seq_len / batch_size *": "the prefill has batch_size prompts",
         "= (seq_len + max_new_tokens) *": "the prefill reads the prompt alone"}),
        ("= seq_len *", "= seq_len / batch_size *", "(prefill_layer", "(batch_size * prefill_layer",
         "prefill_layer, too, is that of a whole batch"),
        ("(prefill_layer + ", "(", "the prefill is a pass of the request, too"),
        ("decode_layer,\n", 'decode_layer * spec["n_layers"],\n', "prefill_layer,\n",
         'prefill_layer * spec["n_layers"],\n', "prefill_layer, decode_layer are ONE layer's"),
        ("2 * (n_ranks - 1) / n_ranks", {"1": "", "(n_ranks - 1) / n_ranks": "",
         "(n_ranks - 1)": "", "2 * (n_ranks - 1)": "", "4 / 3": "right for three ranks only",
         "2 / n_ranks": "a ring has 2(n - 1) steps, not two",
         "(n_ranks + 1) / n_ranks": "(n + 1)/n is right for three ranks only: 2(n - 1)/n",
         "2 * n_ranks / (n_ranks - 1)": "upside down: 2(n - 1)/n"}),
        ("/ n_ranks * request", {"* (request // n_ranks)", "/ n_ranks * request / batch_size"}),
    ])  # fmt: skip


def drawn(rng, *shapes):
    return [normal(rng, *shape) for shape in shapes]


def use_mlp(answer, x, W1, W2, b2, n_ranks):
    """All ranks after one another, and the sum that the AllReduce would make."""
    shapes, total, F = [], 0, len(W2)
    gate, in_front = W1[:, :F].T.tolist(), []
    for rank in range(n_ranks):
        shard = answer.shard_mlp(W1, W2, b2, rank, n_ranks)
        shapes.append([list(shard[i].shape) for i in (0, 1)])
        in_front.append([c in gate for c in shard[0].T.tolist()])
        total = total + answer.partial_mlp(x, *shard)
    return {"shapes of W1_r and W2_r": shapes, "columns of W_gate in front in W1_r": in_front,
            "sum over the ranks": total}  # fmt: skip


MLP = Task(
    grade_id="mlp-shards", entry=("shard_mlp", "partial_mlp"), drive=use_mlp, compare=Close(),
    cases=lambda rng: [
        Case(*drawn(rng, (L, D), (D, 2 * F), (F, D), (D,)), n_ranks, label=label)
        for L, D, F, n_ranks, label in (
            (3, 4, 6, 2, "two ranks: silu(gate) * up, not more, of the same hidden units"),
            (1, 5, 12, 3, "three ranks: three parts of each HALF"),
            (3, 4, 5, 1, "a single rank"))], misconceptions=[
        ("part.chunk(n_ranks, dim=1)[rank] for part in (gate, up)",
         {"W1.chunk(n_ranks, dim=1)[rank]": "", "part[:, rank::n_ranks] for part in (gate, "
         "up)": "the columns of W1 are of other hidden units than the rows of W2",
         "part.chunk(n_ranks, dim=1)[rank] for part in (up, gate)": "W_gate's columns come first"}),
        ("gate, up = W1", "up, gate = W1", "gate, up = (x", "up, gate = (x",
         "in W1_r, as in W1, W_gate's columns come first"),
        ("W2.chunk(n_ranks, dim=0)[rank]",
         {"W2[rank::n_ranks]": "the rows of W2 are of other hidden units than the columns of W1",
         "W2.chunk(n_ranks, dim=1)[rank]": "W1_r and W2_r don't fit: a rank needs COLUMNS of "
         "W_gate and W_up, (D, F/n) each, and ROWS of W2, (F/n, D)"}),
        (" if rank == 0 else torch.zeros_like(b2)", {""}),
        ("b2 if rank == 0 else torch.zeros_like(b2)", {"0 * b2": "",
         "b2 / 2": "half of b2 each: right with two ranks only",
         "b2 / n_ranks if rank == 0 else 0 * b2": "b2 is divided, and only one rank adds it",
         "b2 if rank == 1 else 0 * b2": "b2 is rank 1's: a single rank loses it"}),
        ("torch.nn.functional.silu(gate) * up", {"gate * torch.nn.functional.silu(up)": "",
         "torch.relu(gate) * up": "", "gate * up": "", "torch.nn.functional.silu(gate * up)": "",
         "torch.nn.functional.silu(gate) * torch.nn.functional.silu(up)":
         "silu is for the gate alone, not for up as well: silu(gate) * up",
         "torch.sigmoid(gate) * up": "silu(x) is x · sigmoid(x)",
         "torch.nn.functional.gelu(gate) * up": "silu, not gelu"}),
        ("chunk(n_ranks, dim=1)", "chunk(2, dim=1)", "chunk(n_ranks, dim=0)", "chunk(2, dim=0)",
         "W1 and W2 are cut in two, whatever n_ranks is"),
        ("chunk(n_ranks, dim=1)", "split(n_ranks, dim=1)", "chunk(n_ranks, dim=0)",
         "split(n_ranks, dim=0)", "split takes the SIZE of a part"),
        ("(x @ W1_r).chunk(2, dim=1)", "(x @ W1_r).unflatten(1, (-1, 2)).unbind(2)",
         "in W1_r all columns of W_gate come before those of W_up"),
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


REDUCE = Task(
    grade_id="where-to-reduce", entry=("row_column_mlp", "counterexample"), compare=Close(),
    cases=lambda rng: [
        Case(*drawn(rng, (L, D), (D, F), (F, D)), n_ranks, label=label) for L, D, F, n_ranks, label
        in ((5, 6, 4, 2, "two ranks"), (1, 6, 9, 3, "three ranks, one token"),
            (2, 6, 7, 3, "n divides D, and not F: cut W2 into COLUMNS"))],
    drive=use_row_column, misconceptions=[
        ("x_r @ W1_r f", {"torch.relu(x_r @ W1_r) f"}),
        ("torch.relu(all_reduce(partial))", {"torch.relu(sum(partial))", "all_reduce(partial)",
         "torch.relu(all_reduce(partial) / n_ranks)"}),
        ("hidden = torch.relu(all_reduce(partial))",
         "return all_reduce([torch.relu(part) @ W2 for part in partial])",
         "relu needs the sum first"),
        ("torch.relu(all", "(all", "torch.cat(outputs, dim=1)", {"torch.cat(outputs, 1).relu()"}),
        ("torch.cat(outputs, dim=1)", {"torch.cat(outputs)": "",
         "sum(outputs)": "outputs are columns: put them side by side",
         "all_reduce(outputs)": "a second all_reduce: put the outputs side by side",
         "torch.cat(outputs, dim=1).relu()": "relu comes after W2 once more"}),
        ("x_r @ W1_r for x_r", "x @ W1 / n_ranks for x_r",
         "every rank computes the whole x W1, not its part"),
        ("x.chunk(n_ranks, dim=1), W1.chunk(n_ranks",
         {"x.chunk(2, dim=1), W1.chunk(2": "x and W1 are cut in two, whatever n_ranks is",
         "x.split(n_ranks, dim=1), W1.split(n_ranks": "chunk, not split, which takes a size"}),
        ("return 3.0, -2.0", {"return 1.0, 2.0": "take a positive and a negative number",
         "pass": "in counterexample the return is missing"}),
    ])  # fmt: skip

HEADS = Task(
    grade_id="shard-heads", cases=lambda rng: [
        Case(*drawn(rng, (D, n_heads * H), *[(D, n_kv_heads * H)] * 2, (n_heads * H, D)), n_heads,
             n_kv_heads, rank, n_ranks, label=label)
        for D, n_heads, n_kv_heads, H, rank, n_ranks, label in (
            (18, 9, 3, 2, between(rng, 1, 3), 3, "grouped queries, three ranks"),
            (16, 4, 4, 4, 2, 4, "as many key/value heads as query heads"),
            (12, 6, 2, 3, 1, 2, "heads that together are wider than D"),
            (36, 12, 4, 3, 1, 3, "ranks that divide the query heads only: ValueError"),
            (16, 8, 4, 2, 1, 2, "several key/value heads for each rank: cut them in order"),
            (16, 6, 4, 2, 1, 4, "ranks that divide the key/value heads only: ValueError"),
            (16, 8, 2, 2, 1, 4, "more ranks than key/value heads"))], misconceptions=[
        ("Wo[q]", {"Wo.chunk(n_ranks, dim=1)[rank]": "a rank needs the ROWS of W_o of its heads",
         "Wo": "W_o is whole", "Wo[kv]": "W_o has rows for the QUERY heads"}),
        ("Wq[:, q], Wk[:, kv], Wv[:, kv]", {"Wq[:, q], Wk[:, kv], Wk[:, kv]": "",
         "Wq[q], Wk[kv], Wv[kv]": "a head is a group of COLUMNS of W_q, W_k and W_v (x W)",
         "Wq[:, q], Wk[:, q], Wv[:, q]": "W_k and W_v are cut at the query heads' columns",
         "Wq[:, q], Wk, Wv": "W_k and W_v are whole: a rank has its own heads only"}),
        ("slice(rank * q_width, (rank + 1) * q_width)", "slice(rank, None, n_ranks)",
         "slice(rank * kv_width, (rank + 1) * kv_width)", "slice(rank, None, n_ranks)",
         "a head's columns stay together, and the heads in order"),
        ("kv = slice(rank * kv_width, (rank + 1) * kv_width)", {
         "H = kv_width * n_ranks // n_kv_heads\n    kv = " + columns for columns in (
             "slice(rank * H, (rank + 1) * H)",
             "[h * H + i for h in range(rank, n_kv_heads, n_ranks) for i in range(H)]")}),
        ("Wq.shape[1]", "Wq.shape[0]", "Wk.shape[1]", "len(Wk) // n_heads * n_kv_heads",
         "a head's width is not always D / n_heads"),
        ("n_heads % n_ranks or ", "", "n_ranks has to divide n_heads, too"),
        (" or n_kv_heads % n_ranks", {"": "n_ranks has to divide BOTH numbers of heads",
         " and n_kv_heads % n_ranks": "ONE of the two is enough for an error: or",
         " or n_ranks > n_kv_heads": "at most n_kv_heads is not enough: n_ranks DIVIDES them"}),
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
    tiny = spec(3, 3, 3, 1e-8) | {"rest_bytes": 2.0}  # layers of 10 bytes
    return [
        *(Case(model, a100, *degrees, entry="step_s", label="a step")
          for model in (large, odd) for degrees in ((1, 1), (2, 1), (8, 1), (1, 3), (4, 2))),
        Case(tiny, a100 | {"bandwidth": 64.0}, 3, 1, entry="step_s", label="divide with /, not //"),
        *(Case(model, machine, target_s, entry="choose_layout", label="fewest GPUs, then seconds")
          for model in (large, gqa, odd) for machine in (a100, tight, tight | {"n_gpus": 3})
          for target_s in (0.0116, 0.0185, 0.036, 0.2)),
        *(Case(model, tight | change, target_s, entry="choose_layout", label=label)
          for model, change, target_s, label in (
              (large, {"memory_bytes": 18.25e9}, 0.2, "weights that fill the memory exactly"),
              (large, {"memory_bytes": 18e9}, 0.2, "a little less memory"),
              (tiny, {"memory_bytes": 5}, 0.2, "a part of a byte too much: divide with /, not //"),
              (large, {"start_s": 1e-3}, 1.0, "sums that are slow"),
              (spec(12, 6, 4, 69), {}, 0.0116, "heads of which tensor divides some only"),
              (spec(4, 4, 4, 40), {"memory_bytes": 11e9, "n_gpus": 1}, 0.2, "one layer per stage"),
              (spec(4, 4, 4, 15), {"bandwidth": 2**32}, 16e9 / 2**32, "exactly the target"))),
    ]  # fmt: skip


LAYOUT = Task(
    grade_id="layout", entry=("step_s", "choose_layout"), cases=layout_cases,
    compare=Close(rtol=1e-9), misconceptions=[
        ('/ tensor + spec["rest_bytes"])', {"/ tensor)",
         '/ (tensor * stages) + spec["rest_bytes"])', '/ tensor + spec["rest_bytes"] / tensor)'}),
        ('2 * spec["n_layers"] *', {'spec["n_layers"] *', '2 * spec["n_layers"] / stages *'}),
        ("+ 2 * (tensor - 1) *", {"+ (tensor - 1) *": "a sum has 2(tensor - 1) hops",
         "+ 2 * tensor *": "2(tensor - 1) hops, not 2 · tensor"}),
        (" if tensor > 1 else 0", "", "with tensor = 1 there is nothing to sum, and no start"),
        (" + messages_s", "", "the messages are missing"), ("stages * m", {"(stages - 1) * m"}),
        (' or spec["n_kv_heads"] % tensor', {""}),
        ('spec["n_heads"] % tensor or ', "", "tensor has to divide n_heads, too"),
        (' and spec["n_layers"] % stages == 0', "", "stages have to divide the layers"),
        ("/ (tensor * stages)", {"// (tensor * stages)": "divide with /, not //",
         "/ tensor": "a GPU holds its own stage's layers only",
         "/ stages": "tensor divides what a GPU holds, too"}),
        (' + spec["rest_bytes"]\n            s', "\n            s",
         "every GPU holds rest_bytes, whole"),
        ('n_bytes <= machine["memory_bytes"]', {"True": "the weights have to fit into the memory",
         'n_bytes < machine["memory_bytes"]': "weights that fill the memory exactly fit"}),
        (" and seconds <= target_s", {"": "the step has to meet the target",
         " and seconds < target_s": "exactly the target is met, too"}),
        ('(1, spec["n_layers"] + 1)',
         {'(1, spec["n_layers"])': "one layer per stage is allowed: range leaves out its end",
         '(1, machine["n_gpus"] + 1)': "there may be more stages than a machine has GPUs",
         '(1, machine["n_gpus"] // tensor + 1)': "only a tensor group is in ONE machine"}),
        ('range(1, machine["n_gpus"] + 1)',
         {'range(1, machine["n_gpus"])': "a group may be a whole machine: range leaves out its end",
         '[n for n in (1, 2, 4, 8) if n <= machine["n_gpus"]]': "tensor may be 3, too"}),
        ("(tensor * stages, seconds", {"(seconds, tensor * stages": "take the fewest GPUs",
         "(tensor * stages, -tensor": "the largest tensor is not always the fastest"}),
        ("min(good)[2] if", {"min(good, key=lambda g: g[0])[2] if": "of equals take the FASTEST",
         "max(good)[2] if": "the fewest GPUs: min, not max"}),
        (" if good else None", "", "where no layout is good the answer is None"),
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


RING = Task(
    grade_id="ring", entry=("reduce_scatter_step", "all_gather_step"), drive=use_ring,
    cases=lambda rng: [Case(rng.integers(1, 1000, (n, n)).tolist(), label=f"numbers modulo n = {n}")
                       for n in (4, 2, 5)], misconceptions=[
        ("+= chunks", {"= chunks"}), ("] = chunks", {"] += chunks"}),
        ("(rank - t)", {"(rank + 1 - t)": "reduce-scatter: in step t rank r sends chunk r - t",
         "(rank + t)": "reduce-scatter: rank r sends chunk r MINUS t"}),
        ("(rank + 1 - t)", {"(rank - t)": "all-gather: in step t rank r sends chunk r + 1 - t",
         "(rank + 1 + t)": "all-gather: chunk r + 1 MINUS t"}),
        ("(rank - t)", "(rank + 1 - t)", "+ 1 - t) % n\n        new[(rank + 1) % n][c] =",
         "- t) % n\n        new[(rank + 1) % n][c] =", "the two steps' chunks are exchanged"),
        ("(rank - t)", "rank", "(rank + 1 - t)", "(rank + 1)",
         "t is not used: each step passes on what came in the step before"),
        ("+ 1) % n][c] +", "- 1) % n][c] +", "+ 1) % n][c] =", {"- 1) % n][c] ="}),
        *((old, old.replace("c", "(c + 1) % n"), "a chunk keeps its number at both ends")
          for old in ("[c] +", "[c] =")),
        ("+= chunks[rank][c]", "+= chunks[rank][c]\n        new[rank][c] = 0",
         "the sender KEEPS what it sends"),
        (" = chunks[rank][c]\n    return new", " = 0", "all_gather_step has no return"),
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

    Wq, Wk, Wv, Wo, gate, up, down, b2 = matrices
    H, shapes, ranks = Wq.shape[1] // n_heads, [], []
    cut = [[W.chunk(n_ranks, dim=1) for W in (Wq, Wk, Wv, gate, up)],
           [W.chunk(n_ranks, dim=0) for W in (Wo, down)]]  # fmt: skip
    for (q, k, v, g, u), (o, d) in zip(zip(*cut[0]), zip(*cut[1])):  # noqa: B905
        mlp = (torch.cat([g, u], dim=1), d, b2 / (len(ranks) + 1))
        ranks.append({"Wq": q, "Wk": k, "Wv": v, "Wo": o, "mlp": mlp})
    norms = (lambda y: y / y.norm(dim=-1, keepdim=True), lambda y: y / (1 + y.abs().amax()))
    return {"y": answer.parallel_block(x, ranks, norms, attend, all_reduce), "summed": shapes,
            "entries of the ranks' dicts afterwards": [len(rank) for rank in ranks]}  # fmt: skip


BLOCK = Task(
    grade_id="block", entry="parallel_block", drive=use_block, compare=Close(),
    cases=lambda rng: [  # heads of two columns
        Case(*drawn(rng, (L, D)), drawn(rng, *[(D, D)] * 4, (D, F), (D, F), (F, D), (D,)), D // 2,
             n_ranks, label=f"{n_ranks} ranks")
        for L, D, F, n_ranks in ((4, 8, 6, 2), (1, 6, 9, 3))], misconceptions=[
        ('*rank["mlp"])', {'*rank.pop("mlp"))'}),
        ("(z @", "(x + z @", "x = x +", "x =", "the sum holds x n times: add it once, outside"),
        ("(z @", "(x / 2 + z @", "x = x +", "x =", "return x + all_reduce([",
         "return all_reduce([x / 2 + ", "each rank adds x / 2: right with two ranks only"),
        ("x = x + all", "x = all", "the first residual is missing"), ("return x +", {"return"}),
        ("x = x +", "x = h +", "return x +", "return h +", "add x (and x') itself, not its norm"),
        ("x = x +", "y = x +", "norms[1](x)", "norms[1](y)", "the second residual is x', not x"),
        ("h = norms[0](x)", {"h = x": "the norm before attention is missing",
         "h = norms[1](x)": "the norm before attention is norms[0]"}),
        ("h = norms[1](x)", {"h = h": "the MLP needs the norm of x', not of x",
         "h = x": "the MLP's norm is missing", "h = norms[0](x)": "the MLP's norm is norms[1]"}),
        ('h @ rank["Wk"], h @ rank["Wv"]', 'h @ rank["Wv"], h @ rank["Wk"]',
         "attend gets values as keys"),
        ('*rank["mlp"])', '*rank["mlp"][:2], 0)', "the b2_r are not in the summands"),
        ("all_reduce(partial)", {"sum(partial)": "",
         "all_reduce(partial) / len(ranks)": "all_reduce sums; don't divide by the ranks"}),
    ])  # fmt: skip
