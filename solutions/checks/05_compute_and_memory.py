"""Hidden checks of exercise 05: tables, batch, request, units, utilisation, price."""

from grader.checks import Case, Close, Exact, Task, between

CLOSE = Close(rtol=1e-9)
CACHE = [
    ("= 4 * spec", "= 2 * spec", "a token leaves a key AND a value, with 2 bytes per element"),
    ('["n_layers"] *', '["n_layers"] ** 0 *', "each of the n_layers has a cache"),
    ('["n_kv_heads"] *', '["n_kv_heads"] ** 0 *',
     "a token leaves a key and a value for each of the n_kv_heads"),
]  # fmt: skip
TOY = {"n_params": 1000, "n_layers": 1, "n_kv_heads": 1, "head_dim": 25}  # of the visible tests


INTENSITY_TABLES = Task(
    grade_id="intensity-tables", entry=("intensity", "prefill_table", "decode_table"),
    compare=CLOSE, cases=lambda rng: [
        *(Case(*(between(rng, 2, 50) for _ in range(3)), width, entry="intensity",
               label="intensity, FP16" if width == 2 else "intensity, not FP16")
          for width in (2, 4)),
        *(Case(between(rng, 5, 300), n_heads * between(rng, 8, 64), n_heads, entry=entry,
               label=f"{entry}: {rows} in every product, heads are d_model // n_heads wide")
          for entry, rows in (("prefill_table", "seq_len rows"), ("decode_table", "one row"))
          for n_heads in (4, 8)),
    ], misconceptions=[
        ("return 2 * m", {"return m"}), ("(bytes_per_element * elements)", {"elements"}),
        (" + m * n  #", {"  #"}), ("m * k + k * n + m * n", {"k * n"}),
        ("(bytes_per_element * el", {"(2 * el"}),
        ('("linear", d_model, d_model), ("attention", h, seq',
         '("linear", d_model, 3 * d_model), ("attention", h, seq',
         '("linear", d_model, d_model), ("attention", h, k',
         {'("linear", d_model, 3 * d_model), ("attention", h, k'}),
        ("    h = d_model // n_heads", "    h = d_model", "keys = d_model // n_heads",
         {"keys = d_model"}),
        ("intensity(1, k, n, 2)",
         {'intensity(1 if name == "attention" else past_len + 1, k, n, 2)'}),
        ("past_len + 1", {"past_len"}),
        ('seq_len), ("mlp", d_model, 4 * d_model)', 'seq_len), ("mlp", d_model, d_model)',
         'keys), ("mlp", d_model, 4 * d_model)', {'keys), ("mlp", d_model, d_model)'}),
        ("    h = d_model // n_heads", {"    h = d_model // seq_len"}),
        ("keys = d_model // n_heads", {"keys = d_model // past_len"}),
        ("return {name: intensity(seq_len, k, n, 2) for",
         {"return {name: intensity(seq_len, k, n, 2) / (1 + (name == 'attention')) for"}),
    ])  # fmt: skip


DECODE_BATCH = Task(
    grade_id="decode-batch", entry="compute_bound_batch", compare=Exact(), cases=lambda rng: [
        Case(4096, 4096, 312, 2039, label="an A100: FLOPs and bytes of B rows"),
        Case(320, 320, 312, 2039, label="an A100, and a narrow matrix"),
        Case(512 * between(rng, 2, 9), 512 * between(rng, 10, 20), 989, 3350, label="D′ above D"),
        Case(20, 20, 5, 1000, label="a batch that reaches the ridge exactly"),
        Case(14, 14, 7, 1000, label="a limit that is exactly the ridge: None"),
        Case(between(rng, 20, 40), between(rng, 20, 40), 312, 2039, label="no batch will do: None"),
        Case(401, 401, 200, 1000, label="a batch of tens of thousands"),
    ], misconceptions=[
        ("    left =", {"    return math.ceil(ridge)\n    left =", "    d_out = d_in\n    left ="}),
        ("* 10**12", {"* 2 * 10**12"}),
        ("math.ceil(ridge * d_in * d_out / left)", {"math.floor(ridge * d_in * d_out / left) + 1"}),
        ("10**12 / (", "10**12 // (", "the ridge is no whole number"),
        ("ridge * (d_in + d_out)", {"ridge * d_in"}),
        *((name, "if left <= 0", f"if left <= 0 or ridge * d_in * d_out / left > {most}",
           f"the search ends too early, at {most} at most: only the limit for B → ∞ says None")
          for name, most in (("gives-up", 10_000), ("gives-up-at-thousands", 3000))),
        ("* 10**12 / (bandwidth_gb_per_s * 10**9)", {"/ bandwidth_gb_per_s"}),
        ("left <= 0", "left < 0", "at a limit of exactly the ridge it is None, too"),
        ("left <= 0", {"left == 0"}), ("return None", {"return math.ceil(ridge)"}),
        ("math.ceil(ridge * d_in * d_out / left)", "max(1, round(ridge * d_in * d_out / left))",
         "rounded to the nearest batch; the next smaller one does not reach the ridge: round up"),
    ])  # fmt: skip


def any_spec(rng):
    sizes = {"n_layers": between(rng, 10, 90), "n_kv_heads": between(rng, 2, 9)}
    return {"n_params": between(rng, 10**9, 10**11), **sizes, "head_dim": between(rng, 30, 130)}


def any_device(rng):
    return {"peak": between(rng, 100, 999) * 10**12, "bandwidth": between(rng, 300, 4000) * 10**9,
            "memory": between(rng, 300, 400) * 10**9}  # fmt: skip


REQUEST_TIMES = Task(
    grade_id="request-times", entry="request_times", compare=CLOSE, cases=lambda rng: [
        Case(any_spec(rng), any_device(rng), between(rng, 2000, 9000), between(rng, 30, 90),
             label="a long prompt: steps read a cache that grows"),
        Case(any_spec(rng), any_device(rng), between(rng, 2, 9), 2, label="a short prompt"),
        Case(any_spec(rng), any_device(rng), between(rng, 99, 9999), 1, label="no step: tpot_s 0"),
        Case(any_spec(rng), {**any_device(rng), "peak": 10**11}, between(rng, 5, 50), 9,
             label="slow computing: a step takes the longer of computing and reading ALL bytes"),
        Case(TOY, {"peak": 600, "bandwidth": 1000, "memory": 10**5}, 10, 12,
             label="steps of which some read longer than they compute"),
    ], misconceptions=[
        ("range(n_new - 1)", {"range(n_new)"}), *CACHE,
        ("sum(steps) / len(steps)", "(steps[0] + steps[-1]) / 2", "+ sum(steps)}",
         "+ tpot_s * len(steps)}",
         "some steps are compute bound, so they don't grow evenly: add them"),
        ("sum(steps) / len(steps)", "pass_s(1, weights + per_token * (prompt_len + n_new / 2 - 1))",
         "+ sum(steps)}", "+ tpot_s * len(steps)}",
         "one maximum was taken for a mean step; each step has its own, max(compute, read)"),
        ("sum(steps) / len(steps) if", {"(ttft_s + sum(steps)) / n_new if"}),
        ("(prompt_len + i)", {"prompt_len", "(prompt_len + i + 1)"}),
        (" + per_token * (prompt_len + i)", {""}),
        ('max(flops / device["peak"], n_bytes / device["bandwidth"])',
         {'flops / device["peak"] + n_bytes / device["bandwidth"]'}),
        ("flops = 2 * spec", {"flops = spec"}),
        ("weights = 2 *", "weights =", "weights are FP16, too: 2 bytes per parameter"),
        ("(prompt_len + i)", "i", "the cache holds the prompt as well"),
        ("[pass_s(1, weights", {"[pass_s(0, weights"}),
        ("weights + per_token * (prompt_len + i))", {
         'weights) + per_token * (prompt_len + i) / device["bandwidth"]'}),
    ])  # fmt: skip


USERS_THAT_FIT = Task(
    grade_id="users-that-fit", entry="users_that_fit", compare=Exact(), cases=lambda rng: [
        Case(8192, 16.5, 131_072, 8192, label="a GPU smaller than the weights"),
        Case(15_900, 16, 10_000, 1000, label="weights that just fit: compare "
             "and compute in bytes, and round nothing but the users"),  # 16.67 GB, 15.5 GiB
        Case(20_000, 20, 10**6, 1000, label="weights that fit, but no user"),  # 20.97 GB
        Case(1_953_125, 0, 200_000, 10_000, label="no weights, and room filled exactly"),  # 2048 GB
        Case(15_625, 4, 12_396, 10_000, label="room for nearly one user more"),  # 99.9
        *(Case(mib, between(rng, 4, 15) + 0.25, 1000 * between(rng, 9, 99), between(rng, 90, 900),
               label="room for many: convert exactly, and round nothing but the users")
          for mib in (24_564, 81_920, 143_771)),
    ], misconceptions=[
        (" - weights_gb * 10**9", "", "* context_len", {"* context_len + weights_gb * 10**9"}),
        ("* 2**20", {"/ 1024 * 10**18 / 2**30", "/ 1024 * 10**9"}),
        ("2**20", {"10**6"}), ("weights_gb * 10**9", {"weights_gb * 2**30"}),
        ("max(0, int(free_bytes // bytes_of_a_user))", {"int(free_bytes // bytes_of_a_user)"}),
        ("kv_bytes_per_token *", "2 * kv_bytes_per_token *", "kv_bytes_per_token holds both"),
        ("int(free_bytes // bytes_of_a_user)", {
         "int(-(-free_bytes // bytes_of_a_user))": "rounded up: the last user does not fit",
         "round(free_bytes / bytes_of_a_user)":
         "a user whose cache fits in part does not fit: round down"}),
        (" - weights_gb * 10**9", {""}),
        ("* 2**20", {"// 1024 * 2**30": "memory_mib // 1024 cuts off a part of a GiB"}),
    ])  # fmt: skip


def measured(rng, batch_size, label, **slower):
    seconds = between(rng, 50, 900) / 10, between(rng, 5, 90) / 100
    device, prompt_len = {**any_device(rng), **slower}, between(rng, 100, 4000)
    return Case(any_spec(rng), device, batch_size, prompt_len, *seconds, label=label)


UTILISATION = Task(
    grade_id="utilisation", entry="utilisation", compare=CLOSE, cases=lambda rng: [
        measured(rng, 1, "one sequence"),
        measured(rng, between(rng, 20, 90), "a batch: every prompt is computed, every cache read"),
        measured(rng, 2, "a slow processor: an MFU above 1 stays, MBU is of bytes", peak=10**11),
        measured(rng, 3, "a slow memory: MFU counts FLOPs alone", bandwidth=10**9),
    ], misconceptions=[
        ('flops / prefill_s / device["peak"]',
         'max(flops / device["peak"], 2 * spec["n_params"] / device["bandwidth"]) / prefill_s',
         'n_bytes / decode_s / device["bandwidth"]',
         {'max(n_bytes / device["bandwidth"], flops / prompt_len / device["peak"]) / decode_s'}),
        (" * batch_size * prompt_len\n    per", {" * prompt_len\n    per"}),
        ("n_bytes = 2 * spec", {"n_bytes = 2 * batch_size * spec", "n_bytes = spec"}),
        (" + per_token * batch_size * prompt_len", {""}), *CACHE,
        ('prefill_s / device["peak"]', {'prefill_s / device["bandwidth"]'}),
        ("per_token * batch_size", {"per_token"}),
        ("flops / prefill_s", {"flops / (prefill_s + decode_s)"}),
        ("n_bytes / decode_s", {"n_bytes / (prefill_s + decode_s)"}),
        ("flops = 2 * spec", {"flops = spec"}),
        ('decode_s / device["bandwidth"]', {'decode_s / device["peak"]'}),
        ("mfu = flops", "mfu = 100 * flops", "n_bytes / decode_s", {"100 * n_bytes / decode_s"}),
        ("+ per_token * batch_size * prompt_len", {"+ per_token * batch_size * (prompt_len + 1)"}),
        ('n_bytes / decode_s / device["bandwidth"]', {'n_bytes / device["memory"]'}),
    ])  # fmt: skip


def batch_price_cases(rng):
    spec, device = any_spec(rng), any_device(rng)
    cache = 4 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * 1000
    full = {**device, "memory": 2 * spec["n_params"] + between(rng, 20, 60) * cache}
    enough = {**device, "memory": 2 * spec["n_params"] + 3000 * cache}
    slow = {**enough, "peak": 10**12}
    one_s, some_s = ((2 * spec["n_params"] + n * cache) / device["bandwidth"] for n in (1, 20.4))
    compute_s = 2 * spec["n_params"] / 10**12  # of a sequence on the slow device
    return [
        Case(spec, full, 1000, 2.5, 1e6, label="a memory that is filled exactly"),
        Case(spec, enough, 1000, 1.5, some_s, label="a step takes at most max_tpot_s"),
        Case(spec, slow, 1000, 3.5, 18.5 * compute_s, label="computing is slower than reading"),
        Case(spec, enough, 1000, 1.5, 1e6, label="thousands: search while one more is possible"),
        Case(spec, full, 1000, 2.5, one_s / 2, label="a step of one is too slow: None"),
        Case(spec, {**full, "memory": spec["n_params"]}, 1000, 2.5, 1e6,
             label="weights that don't fit: None, though a formula may give a batch below 0"),
        Case(TOY, {"peak": 10**6, "bandwidth": 1000, "memory": 10**6}, 10, 3.6, 8.0,
             label="a step that takes exactly max_tpot_s"),
    ]  # fmt: skip


def use_cheapest_batch(answer, *args):
    """What is returned, and whether its batch is a whole number by its type."""
    got = answer.cheapest_batch(*args)
    if not isinstance(got, dict):
        return got
    return {**got, "the batch is an int": hasattr(got.get("batch"), "__index__")}


CHEAPEST_BATCH = Task(
    grade_id="cheapest-batch", entry="cheapest_batch", cases=batch_price_cases, compare=CLOSE,
    drive=use_cheapest_batch, misconceptions=[
        ("* step_s(batch) / batch", {"* step_s(batch)", "* max_tpot_s / batch",
         '* (weights + cache * batch) / device["bandwidth"] / batch'}),
        (" and step_s(batch) <= max_tpot_s", {""}),
        ("return weights + cache * batch <=", {"return cache * batch <="}),
        ("batch, weights + cache * batch", "batch, (weights + cache) * batch",
         "return weights + cache * batch <=", {"return (weights + cache) * batch <="}),
        ('<= device["memory"]', {'< device["memory"]'}), *CACHE,
        ("while is_possible", "while batch < 256 and is_possible",
         "the search ends too early: a batch may have thousands of sequences"),
        ('"batch": batch,', {'"batch": float(batch),'}),
        ("dollars_per_hour / 3600", {"dollars_per_hour"}), ("return None", {"batch = 1"}),
        ("if batch == 0:", "batch = max(batch, 1)\n    if step_s(1) > max_tpot_s:",
         "None, too, where the weights and one cache don't fit"),
        ('max(flops / device["peak"], n_bytes / device["bandwidth"])', "n_bytes / "
         'device["bandwidth"]', "with many sequences computing may take longer than reading"),
        ("step_s(batch) <= max_tpot_s", "step_s(batch) < max_tpot_s", "exactly max_tpot_s will do"),
        ("/ 3600", "/ 60", "these are the seconds of a minute, not of an hour"),
        (" * context_len", " * (context_len + 1)", "the step's own token is not in the caches"),
    ])  # fmt: skip
