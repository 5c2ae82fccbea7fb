"""Hidden checks of exercise 05: intensity tables, batch, server, units, crossover, roofline."""

from grader.checks import Case, Close, Exact, Task, between

CLOSE = Close(rtol=1e-9)


def table_cases(rng):
    cases = [
        Case(*(between(rng, 2, 50) for _ in range(3)), width, entry="intensity")
        for width in (1, 2, 4)
    ]
    for entry in ("prefill_table", "decode_table"):
        for n_heads in (4, 8):
            length, head_dim = between(rng, 5, 300), between(rng, 8, 64)
            cases.append(Case(length, n_heads * head_dim, n_heads, entry=entry, label=entry))
    return cases


INTENSITY_TABLES = Task(
    grade_id="intensity-tables", entry=("intensity", "prefill_table", "decode_table"),
    cases=table_cases, compare=CLOSE, misconceptions=[
        ("counts-macs", "return 2 * m", "return m",
         "half of what is asked: a multiplication and an addition are 2 FLOPs"),
        ("per-element", "(bytes_per_element * elements)", "elements",
         "this is FLOPs per element; divide by the bytes of the elements"),
        ("forgets-result", " + m * n  #", "  #",
         "the operands are read, but the result has to be written, too: m · n elements"),
        ("whole-width-heads", "    h = d_model // n_heads", "    h = d_model",
         "keys = d_model // n_heads", "keys = d_model",
         "attention of ONE head: its width is d_model // n_heads, not d_model"),
        ("attends-to-past-only", "past_len + 1", "past_len",
         "in decode the new token attends to itself as well: past_len + 1 keys"),
        ("mlp-not-widened",
         'seq_len), ("mlp", d_model, 4 * d_model)', 'seq_len), ("mlp", d_model, d_model)',
         'keys), ("mlp", d_model, 4 * d_model)', 'keys), ("mlp", d_model, d_model)',
         "the MLP's W^1 is D × 4D: its result is four times as wide"),
    ])  # fmt: skip


def batch_cases(rng):
    peak = between(rng, 4, 9)
    return [
        Case(4096, 4096, 312, 2039, label="an A100"),
        Case(512 * between(rng, 2, 9), 512 * between(rng, 10, 20), 989, 3350, label="an H100"),
        # the intensity reaches the ridge exactly: peak / 1 with equal sides 4 peak
        Case(4 * peak, 4 * peak, peak, 1000, label="a batch that reaches the ridge exactly"),
        Case(2 * peak, 2 * peak, peak, 1000, label="a ridge that is never quite reached"),
        Case(between(rng, 20, 40), between(rng, 20, 40), 312, 2039, label="a small matrix"),
        Case(401, 401, 200, 1000, label="a batch of tens of thousands"),
    ]


DECODE_BATCH = Task(
    grade_id="decode-batch", entry="compute_bound_batch", cases=batch_cases, compare=Exact(),
    misconceptions=[
        ("takes-the-ridge", "    left =", "    return math.ceil(ridge)\n    left =",
         "the ridge alone is not enough: inputs and results grow with the batch as well"),
        ("counts-macs", "* 10**12", "* 2 * 10**12",
         "a multiplication and an addition are 2 FLOPs; with one, the batch is too large"),
        ("must-exceed",
         "math.ceil(ridge * d_in * d_out / left)", "math.floor(ridge * d_in * d_out / left) + 1",
         "reaching the ridge is enough; your batch is one too large where it is exact"),
        ("gives-up", "return math.ceil(ridge * d_in * d_out / left)",
         "batch = math.ceil(ridge * d_in * d_out / left)\n    return batch if batch < 10_000 else "
         "None", "the search ends too early: the batch may be large. Only the limit for B → ∞, "
         "d_in · d_out / (d_in + d_out), says that there is none"),
        ("tera-over-giga", "* 10**12 / (bandwidth_gb_per_s * 10**9)", "/ bandwidth_gb_per_s",
         "the ridge is a thousand times larger: T is 10¹², G is 10⁹"),
        ("negative-batch", "left <= 0", "left == 0",
         "the formula gives a negative batch for a small matrix: no batch reaches the ridge, None"),
        ("never-none", "return None", "return math.ceil(ridge)",
         "for a small matrix no batch reaches the ridge: return None"),
    ])  # fmt: skip


def any_spec(rng):
    group, n_kv_heads, head_dim = between(rng, 2, 7), between(rng, 2, 9), between(rng, 30, 130)
    return {
        "n_params": between(rng, 10**9, 10**11),
        "n_layers": between(rng, 10, 90),
        "d_model": group * n_kv_heads * (head_dim + 8),  # D / n_H is not H
        "n_heads": group * n_kv_heads,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
    }


def server_cases(rng):
    cases = [
        Case(any_spec(rng), between(rng, 5, 200), between(rng, 999, 9999), *bits, entry="server_gb")
        for bits in ((16, 16), (4, 16))
    ]
    return [
        *cases,
        Case(between(rng, 210, 300) + 0.5, 80, 0.75, entry="n_gpus", label="n_gpus"),
        Case(120, 80, 0.5, entry="n_gpus", label="n_gpus that are just enough"),
        Case(between(rng, 5, 20), 24, 0.9, entry="n_gpus", label="one GPU"),
    ]


SERVER_SIZE = Task(
    grade_id="server-size", entry=("server_gb", "n_gpus"), cases=server_cases, compare=CLOSE,
    misconceptions=[
        ("query-heads", "n_kv_heads", "n_heads",
         "keys and values are kept for n_kv_heads heads, not for the query heads"),
        ("width-from-d", 'spec["head_dim"]', '(spec["d_model"] // spec["n_heads"])',
         "a head is head_dim wide; d_model / n_heads need not be the same"),
        ("keys-only", "= 2 * spec", "= spec", "values are cached as well as keys"),
        ("weight-bits-for-cache", "kv_bits / 8", "weight_bits / 8",
         "the cache is counted with the bits of the weights; its own are kv_bits"),
        ("one-user", " * n_users", "", "every user has a cache of their own"),
        ("gibibytes", "weight_bits / 8 / 10**9", "weight_bits / 8 / 2**30",
         "kv_bits / 8 / 10**9", "kv_bits / 8 / 2**30", "a GB is 10⁹ bytes; 2³⁰ is a GiB"),
        ("weights-for-each", "* weight_bits", "* n_users * weight_bits",
         "the weights are there once, for all users together"),
        ("rounds-down", "math.ceil", "math.floor", "what is left over needs a GPU, too: round up"),
        ("one-more-than-full", "math.ceil(total_gb / (gpu_gb * usable))",
         "int(total_gb // (gpu_gb * usable)) + 1",
         "where the GPUs are just filled, no further one is needed: math.ceil"),
        ("whole-gpu", "(gpu_gb * usable)", "gpu_gb",
         "only the fraction `usable` of each GPU is free for weights and caches"),
    ])  # fmt: skip


def fitting_cases(rng):
    sizes = [between(rng, 20_000, 160_000) for _ in range(4)]
    cases = [
        Case(mib, between(rng, 4, 15) + 0.25, 1000 * between(rng, 9, 99), between(rng, 90, 900))
        for mib in sizes
    ]
    return [
        *cases,
        Case(8192, 16.5, 131_072, 8192, label="a GPU smaller than the weights"),
        Case(15_625, 4, 12_396, 10_000, label="room for nearly one user more"),  # 99.9
    ]


USERS_THAT_FIT = Task(
    grade_id="users-that-fit", entry="users_that_fit", cases=fitting_cases, compare=Exact(),
    misconceptions=[
        ("gib-as-gb", "* 2**20", "/ 1024 * 10**9",
         "memory_mib / 1024 are GiB and not GB: the very error of the colleague"),
        ("mib-as-mb", "2**20", "10**6", "a MiB has 2²⁰ bytes; 10⁶ are an MB"),
        ("weights-in-gib", "weights_gb * 10**9", "weights_gb * 2**30",
         "weights_gb is in GB: 10⁹ bytes each, not 2³⁰"),
        ("negative-users",
         "max(0, int(free_bytes // bytes_of_a_user))", "int(free_bytes // bytes_of_a_user)",
         "where the weights don't fit there are 0 users, not a negative number"),
        ("rounds", "int(free_bytes // bytes_of_a_user)", "round(free_bytes / bytes_of_a_user)",
         "a user whose cache fits in part does not fit: round down"),
        ("forgets-weights", " - weights_gb * 10**9", "",
         "the weights take their part of the memory first"),
    ])  # fmt: skip


def crossing_cases(rng):
    settings = [("gqa", 1, 16, 16), ("mha", 4, 16, 16), ("mqa", 3, 8, 16), ("gqa", 7, 4, 8)]
    spec = any_spec(rng)
    spec["n_params"] = 999 * 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    equal = Case(spec, "gqa", 1, 16, 16, label="caches just as large as the weights")
    return [*(Case(any_spec(rng), *setting) for setting in settings), equal]


CROSSOVER = Task(
    grade_id="crossover", entry="crossover_length", cases=crossing_cases, compare=Exact(),
    misconceptions=[
        ("keys-only", "= 2 * spec", "= spec", "a token leaves a key AND a value"),
        ("ignores-kind", '{"mha": spec["n_heads"], "gqa": spec["n_kv_heads"], "mqa": 1}[attention]',
         'spec["n_kv_heads"]',
         "mha caches n_heads keys and values, mqa a single one; only gqa n_kv_heads"),
        ("group-size", '"gqa": spec["n_kv_heads"]', '"gqa": spec["n_heads"] // spec["n_kv_heads"]',
         "gqa counts how many query heads share a key here; what is cached are n_kv_heads of them"),
        ("not-yet-larger", ") + 1", ")",
         "one token too early: there the cache is not LARGER than the weights yet"),
        ("rounds-up", 'spec["n_params"] * weight_bits // (elements * kv_bits * batch_size) + 1',
         'math.ceil(spec["n_params"] * weight_bits / (elements * kv_bits * batch_size))',
         "where both are equal the cache is not LARGER yet: the next length is the first"),
        ("width-from-d", 'spec["head_dim"]', '(spec["d_model"] // spec["n_heads"])',
         "a head is head_dim wide; d_model / n_heads need not be the same"),
        ("bits-cancel", " * weight_bits", "", " * kv_bits", "",
         "weights and cache may have different bits: they don't cancel"),
        ("ignores-batch", " * batch_size", "", "each of the sequences has a cache"),
    ])  # fmt: skip


def roof_cases(rng):
    peak, bandwidth = between(rng, 50, 90) * 1e12, between(rng, 1, 4) * 1e12
    compute = (between(rng, 500, 900) * 1e12, 1e12)
    memory = (1e12, between(rng, 10, 40) * 1e12)
    return [
        Case(between(rng, 1, 10), peak, bandwidth, entry="attainable_flops", label="left"),
        Case(between(rng, 100, 900), peak, bandwidth, entry="attainable_flops", label="right"),
        Case([compute, memory], peak, bandwidth, entry="step_time_s", label="two operations"),
        Case(
            [memory, compute, memory], peak, bandwidth, entry="step_time_s",
            label="three operations",
        ),
        Case([(0, 3e12)], peak, bandwidth, entry="step_time_s", label="an operation of 0 FLOPs"),
    ]  # fmt: skip


ROOFLINE = Task(
    grade_id="roofline", entry=("attainable_flops", "step_time_s"), cases=roof_cases, compare=CLOSE,
    misconceptions=[
        ("takes-the-larger", "min(peak", "max(peak",
         "attainable is the SMALLER of peak and intensity × bandwidth"),
        ("adds-both",
         "max(flops / peak_flops, n_bytes / bandwidth)", "flops / peak_flops + n_bytes / bandwidth",
         "computing and reading overlap: the slower one counts, not their sum"),
        ("max-of-sums",
         "sum(max(flops / peak_flops, n_bytes / bandwidth) for flops, n_bytes in ops)",
         "max(sum(f for f, _ in ops) / peak_flops, sum(b for _, b in ops) / bandwidth)",
         "the operations run one after the other: take the max within each, then the sum"),
        ("skips-copies", "for flops, n_bytes in ops)", "for flops, n_bytes in ops if flops)",
         "an operation of 0 FLOPs is left out; it takes the time of its bytes"),
        ("divides-by-no-flops", "max(flops / peak_flops, n_bytes / bandwidth)",
         "flops / attainable_flops(flops / n_bytes, peak_flops, bandwidth)",
         "an operation of 0 FLOPs divides by zero; it still takes the time of its bytes"),
    ])  # fmt: skip

TASKS = [INTENSITY_TABLES, DECODE_BATCH, SERVER_SIZE, USERS_THAT_FIT, CROSSOVER, ROOFLINE]
