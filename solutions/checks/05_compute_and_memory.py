"""Hidden checks of exercise 05: intensity tables, batch, server, units, crossover, roofline."""

import math
from fractions import Fraction

from grader.checks import Case, Close, Exact, Misconception, Task

CLOSE = Close(rtol=1e-9)


def between(rng, low, high):
    return int(rng.integers(low, high))


# --- Task 1: the two tables --------------------------------------------------------------------


def tables(flops_per_mac=2, element_bytes=None, output=1, heads=None, attended=1, width=4):
    """The three functions; each argument is one thing that can be got wrong."""

    def intensity(m, k, n, bytes_per_element):
        moved = m * k + k * n + output * m * n
        return flops_per_mac * m * k * n / ((element_bytes or bytes_per_element) * moved)

    def table(rows, kv_len, d_model, n_heads):
        head_dim = d_model // (heads or n_heads)
        return {
            "linear": intensity(rows, d_model, d_model, 2),
            "attention": intensity(rows, head_dim, kv_len, 2),
            "mlp": intensity(rows, d_model, width * d_model, 2),
        }

    return {
        "intensity": intensity,
        "prefill_table": lambda seq_len, d, n: table(seq_len, seq_len, d, n),
        "decode_table": lambda past_len, d, n: table(1, past_len + attended, d, n),
    }


def table_cases(rng):
    cases = [
        Case(*(between(rng, 2, 50) for _ in range(3)), width, entry="intensity")
        for width in (1, 2, 4)
    ]
    for entry in ("prefill_table", "decode_table"):
        for n_heads in (4, 8):
            length, head_dim = between(rng, 5, 300), between(rng, 8, 64)
            cases.append(Case(length, n_heads * head_dim, n_heads, entry=entry))
    return cases


# --- Task 2: when is decode compute bound? -----------------------------------------------------


def batches(flops_per_mac=2, ridge_scale=1, strict=False, never=None, activations=True):
    def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
        ridge = Fraction(peak_tflops) * 1000 / Fraction(bandwidth_gb_per_s) * ridge_scale
        needed = ridge * 2 / flops_per_mac
        if not activations:
            return math.ceil(needed)
        left = d_in * d_out - needed * (d_in + d_out)
        if left <= 0:
            return never(needed) if never else None
        exact = needed * d_in * d_out / left
        return math.floor(exact) + 1 if strict else math.ceil(exact)

    return compute_bound_batch


def batch_cases(rng):
    peak = between(rng, 4, 9)
    return [
        Case(4096, 4096, 312, 2039, label="an A100"),
        Case(512 * between(rng, 2, 9), 512 * between(rng, 10, 20), 989, 3350, label="an H100"),
        # the intensity reaches the ridge exactly: peak / 1 with equal sides 4 peak
        Case(4 * peak, 4 * peak, peak, 1000, label="a batch that reaches the ridge exactly"),
        Case(between(rng, 20, 40), between(rng, 20, 40), 312, 2039, label="a small matrix"),
    ]


# --- Task 3: a server for 100 users ------------------------------------------------------------


def servers(
    heads="n_kv_heads", copies=2, users=True, giga=10**9, rounding=math.ceil, all_of_it=False,
    weights_each=False,
):  # fmt: skip
    def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
        weights = spec["n_params"] * weight_bits / 8 / giga * (n_users if weights_each else 1)
        token = copies * spec["n_layers"] * spec[heads] * spec["head_dim"] * kv_bits / 8
        cache = token * context_len * (n_users if users else 1) / giga
        return {"weights": weights, "kv_cache": cache, "total": weights + cache}

    def n_gpus(total_gb, gpu_gb, usable):
        return rounding(total_gb / (gpu_gb if all_of_it else gpu_gb * usable))

    return {"server_gb": server_gb, "n_gpus": n_gpus}


def any_spec(rng):
    group, n_kv_heads, head_dim = between(rng, 2, 7), between(rng, 2, 9), between(rng, 30, 130)
    return {
        "n_params": between(rng, 10**9, 10**11),
        "n_layers": between(rng, 10, 90),
        "d_model": group * n_kv_heads * head_dim,
        "n_heads": group * n_kv_heads,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
    }


def server_cases(rng):
    cases = [
        Case(any_spec(rng), between(rng, 5, 200), between(rng, 999, 9999), *bits, entry="server_gb")
        for bits in ((16, 16), (4, 8))
    ]
    return [
        *cases,
        Case(between(rng, 210, 300) + 0.5, 80, 0.75, entry="n_gpus", label="n_gpus"),
        Case(120, 80, 0.5, entry="n_gpus", label="n_gpus that are just enough"),
        Case(between(rng, 5, 20), 24, 0.9, entry="n_gpus", label="one GPU"),
    ]


# --- Task 4: the error that costs seven percent ------------------------------------------------


def fitting(memory=2**20, gigabyte=10**9, weights=True, least=0):
    def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
        free = memory_mib * memory - (weights_gb * gigabyte if weights else 0)
        users = int(free // (kv_bytes_per_token * context_len))
        return users if least is None else max(least, users)

    return users_that_fit


def fitting_cases(rng):
    sizes = [between(rng, 20_000, 160_000) for _ in range(4)]
    cases = [
        Case(mib, between(rng, 4, 15) + 0.25, 1000 * between(rng, 9, 99), between(rng, 90, 900))
        for mib in sizes
    ]
    return [*cases, Case(8192, 16.5, 131_072, 8192, label="a GPU smaller than the weights")]


# --- Task 5: where the cache passes the weights ------------------------------------------------


def crossing(copies=2, kinds=True, larger=1, bits=True, batch=True):
    def crossover_length(spec, attention, batch_size, weight_bits, kv_bits):
        heads = {"mha": spec["n_heads"], "gqa": spec["n_kv_heads"], "mqa": 1}[attention]
        heads = heads if kinds else spec["n_kv_heads"]
        token = copies * spec["n_layers"] * heads * spec["head_dim"] * (batch_size if batch else 1)
        weights = spec["n_params"]
        if bits:
            token, weights = token * kv_bits, weights * weight_bits
        return weights // token + larger

    return crossover_length


def crossing_cases(rng):
    settings = [("gqa", 1, 16, 16), ("mha", 4, 16, 16), ("mqa", 3, 8, 16), ("gqa", 7, 4, 8)]
    return [Case(any_spec(rng), *setting) for setting in settings]


# --- Task 6: the roofline ----------------------------------------------------------------------


def roofs(pick=min, together=max, per_op=True, through_intensity=False):
    def attainable_flops(intensity, peak_flops, bandwidth):
        return pick(peak_flops, intensity * bandwidth)

    def step_time_s(ops, peak_flops, bandwidth):
        if through_intensity:
            return sum(f / min(peak_flops, f / b * bandwidth) for f, b in ops)
        if not per_op:
            return together(sum(f for f, _ in ops) / peak_flops, sum(b for _, b in ops) / bandwidth)
        return sum(together(f / peak_flops, b / bandwidth) for f, b in ops)

    return {"attainable_flops": attainable_flops, "step_time_s": step_time_s}


def both(a, b):
    return a + b


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


TASKS = [
    Task(
        grade_id="intensity-tables",
        entry=("intensity", "prefill_table", "decode_table"),
        points=3,
        cases=table_cases,
        reference=tables(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "counts-macs",
                tables(flops_per_mac=1),
                "half of what is asked: a multiplication and an addition are 2 FLOPs",
            ),
            Misconception(
                "per-element",
                tables(element_bytes=1),
                "this is FLOPs per element; divide by the bytes of the elements",
            ),
            Misconception(
                "forgets-result",
                tables(output=0),
                "the operands are read, but the result has to be written, too: m · n elements",
            ),
            Misconception(
                "whole-width-heads",
                tables(heads=1),
                "attention of ONE head: its width is d_model // n_heads, not d_model",
            ),
            Misconception(
                "attends-to-past-only",
                tables(attended=0),
                "in decode the new token attends to itself as well: past_len + 1 keys",
            ),
            Misconception(
                "mlp-not-widened",
                tables(width=1),
                "the MLP's W^1 is D × 4D: its result is four times as wide",
            ),
        ],
    ),
    Task(
        grade_id="decode-batch",
        entry="compute_bound_batch",
        points=4,
        cases=batch_cases,
        reference=batches(),
        compare=Exact(),
        misconceptions=[
            Misconception(
                "takes-the-ridge",
                batches(activations=False),
                "the ridge alone is not enough: inputs and results grow with the batch as well",
            ),
            Misconception(
                "counts-macs",
                batches(flops_per_mac=1),
                "a multiplication and an addition are 2 FLOPs; with one, the batch is too large",
            ),
            Misconception(
                "must-exceed",
                batches(strict=True),
                "reaching the ridge is enough; your batch is one too large where it is exact",
            ),
            Misconception(
                "tera-over-giga",
                batches(ridge_scale=Fraction(1, 1000)),
                "the ridge is a thousand times larger: T is 10¹², G is 10⁹",
            ),
            Misconception(
                "never-none",
                batches(never=math.ceil),
                "for a small matrix no batch reaches the ridge: return None",
            ),
        ],
    ),
    Task(
        grade_id="server-size",
        entry=("server_gb", "n_gpus"),
        points=3,
        cases=server_cases,
        reference=servers(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "query-heads",
                servers(heads="n_heads"),
                "keys and values are kept for n_kv_heads heads, not for the query heads",
            ),
            Misconception("keys-only", servers(copies=1), "values are cached as well as keys"),
            Misconception("one-user", servers(users=False), "every user has a cache of their own"),
            Misconception("gibibytes", servers(giga=2**30), "a GB is 10⁹ bytes; 2³⁰ is a GiB"),
            Misconception(
                "weights-for-each",
                servers(weights_each=True),
                "the weights are there once, for all users together",
            ),
            Misconception(
                "rounds-down",
                servers(rounding=math.floor),
                "what is left over needs a GPU, too: round up",
            ),
            Misconception(
                "whole-gpu",
                servers(all_of_it=True),
                "only the fraction `usable` of each GPU is free for weights and caches",
            ),
        ],
    ),
    Task(
        grade_id="users-that-fit",
        entry="users_that_fit",
        points=2,
        cases=fitting_cases,
        reference=fitting(),
        compare=Exact(),
        misconceptions=[
            Misconception(
                "gib-as-gb",
                fitting(memory=10**9 / 1024),
                "memory_mib / 1024 are GiB and not GB: the very error of the colleague",
            ),
            Misconception("mib-as-mb", fitting(memory=10**6), "a MiB has 2²⁰ bytes; 10⁶ are an MB"),
            Misconception(
                "weights-in-gib",
                fitting(gigabyte=2**30),
                "weights_gb is in GB: 10⁹ bytes each, not 2³⁰",
            ),
            Misconception(
                "negative-users",
                fitting(least=None),
                "where the weights don't fit there are 0 users, not a negative number",
            ),
            Misconception(
                "forgets-weights",
                fitting(weights=False),
                "the weights take their part of the memory first",
            ),
        ],
    ),
    Task(
        grade_id="crossover",
        entry="crossover_length",
        points=3,
        cases=crossing_cases,
        reference=crossing(),
        compare=Exact(),
        misconceptions=[
            Misconception("keys-only", crossing(copies=1), "a token leaves a key AND a value"),
            Misconception(
                "ignores-kind",
                crossing(kinds=False),
                "mha caches n_heads keys and values, mqa a single one; only gqa n_kv_heads",
            ),
            Misconception(
                "not-yet-larger",
                crossing(larger=0),
                "one token too early: there the cache is not LARGER than the weights yet",
            ),
            Misconception(
                "bits-cancel",
                crossing(bits=False),
                "weights and cache may have different bits: they don't cancel",
            ),
            Misconception(
                "ignores-batch", crossing(batch=False), "each of the sequences has a cache"
            ),
        ],
    ),
    Task(
        grade_id="roofline",
        entry=("attainable_flops", "step_time_s"),
        points=3,
        cases=roof_cases,
        reference=roofs(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "takes-the-larger",
                roofs(pick=max),
                "attainable is the SMALLER of peak and intensity × bandwidth",
            ),
            Misconception(
                "adds-both",
                roofs(together=both),
                "computing and reading overlap: the slower one counts, not their sum",
            ),
            Misconception(
                "max-of-sums",
                roofs(per_op=False),
                "the operations run one after the other: take the max within each, then the sum",
            ),
            Misconception(
                "divides-by-no-flops",
                {
                    "attainable_flops": roofs()["attainable_flops"],
                    "step_time_s": roofs(through_intensity=True)["step_time_s"],
                },
                "an operation of 0 FLOPs divides by zero; it still takes the time of its bytes",
            ),
        ],
    ),
]
