# ruff: noqa: F811, F821
"""Answers to exercise 05: other right ones, and wrong ones by the misconception they must show."""


# %% intensity-tables: right
def intensity(m, k, n, bytes_per_element):
    return 2 / (bytes_per_element * (1 / m + 1 / k + 1 / n))


def _rows(rows, keys, d_model, n_heads):
    shapes = {
        "linear": (rows, d_model, d_model),
        "attention": (rows, d_model / n_heads, keys),
        "mlp": (rows, d_model, 4 * d_model),
    }
    return {name: intensity(*shape, 2) for name, shape in shapes.items()}


def prefill_table(seq_len, d_model, n_heads):
    return _rows(seq_len, seq_len, d_model, n_heads)


def decode_table(past_len, d_model, n_heads):
    return _rows(1, past_len + 1, d_model, n_heads)


# %% intensity-tables: counts-macs
def intensity(m, k, n, bytes_per_element):
    flops = m * k * n
    return flops / (bytes_per_element * (m * k + k * n + m * n))


def prefill_table(seq_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(seq_len, d_model, d_model, 2),
        "attention": intensity(seq_len, h, seq_len, 2),
        "mlp": intensity(seq_len, d_model, 4 * d_model, 2),
    }


def decode_table(past_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(1, d_model, d_model, 2),
        "attention": intensity(1, h, past_len + 1, 2),
        "mlp": intensity(1, d_model, 4 * d_model, 2),
    }


# %% intensity-tables: per-element
def intensity(m, k, n, bytes_per_element):
    flops = 2 * m * k * n
    return flops / (m * k + k * n + m * n)


def prefill_table(seq_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(seq_len, d_model, d_model, 2),
        "attention": intensity(seq_len, h, seq_len, 2),
        "mlp": intensity(seq_len, d_model, 4 * d_model, 2),
    }


def decode_table(past_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(1, d_model, d_model, 2),
        "attention": intensity(1, h, past_len + 1, 2),
        "mlp": intensity(1, d_model, 4 * d_model, 2),
    }


# %% intensity-tables: forgets-result
def intensity(m, k, n, bytes_per_element):
    flops = 2 * m * k * n
    return flops / (bytes_per_element * (m * k + k * n))


def prefill_table(seq_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(seq_len, d_model, d_model, 2),
        "attention": intensity(seq_len, h, seq_len, 2),
        "mlp": intensity(seq_len, d_model, 4 * d_model, 2),
    }


def decode_table(past_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(1, d_model, d_model, 2),
        "attention": intensity(1, h, past_len + 1, 2),
        "mlp": intensity(1, d_model, 4 * d_model, 2),
    }


# %% intensity-tables: whole-width-heads
def intensity(m, k, n, bytes_per_element):
    flops = 2 * m * k * n
    return flops / (bytes_per_element * (m * k + k * n + m * n))


def prefill_table(seq_len, d_model, n_heads):
    h = d_model
    return {
        "linear": intensity(seq_len, d_model, d_model, 2),
        "attention": intensity(seq_len, h, seq_len, 2),
        "mlp": intensity(seq_len, d_model, 4 * d_model, 2),
    }


def decode_table(past_len, d_model, n_heads):
    h = d_model
    return {
        "linear": intensity(1, d_model, d_model, 2),
        "attention": intensity(1, h, past_len + 1, 2),
        "mlp": intensity(1, d_model, 4 * d_model, 2),
    }


# %% intensity-tables: attends-to-past-only
def intensity(m, k, n, bytes_per_element):
    flops = 2 * m * k * n
    return flops / (bytes_per_element * (m * k + k * n + m * n))


def prefill_table(seq_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(seq_len, d_model, d_model, 2),
        "attention": intensity(seq_len, h, seq_len, 2),
        "mlp": intensity(seq_len, d_model, 4 * d_model, 2),
    }


def decode_table(past_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(1, d_model, d_model, 2),
        "attention": intensity(1, h, past_len, 2),
        "mlp": intensity(1, d_model, 4 * d_model, 2),
    }


# %% intensity-tables: mlp-not-widened
def intensity(m, k, n, bytes_per_element):
    flops = 2 * m * k * n
    return flops / (bytes_per_element * (m * k + k * n + m * n))


def prefill_table(seq_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(seq_len, d_model, d_model, 2),
        "attention": intensity(seq_len, h, seq_len, 2),
        "mlp": intensity(seq_len, d_model, d_model, 2),
    }


def decode_table(past_len, d_model, n_heads):
    h = d_model // n_heads
    return {
        "linear": intensity(1, d_model, d_model, 2),
        "attention": intensity(1, h, past_len + 1, 2),
        "mlp": intensity(1, d_model, d_model, 2),
    }


# %% decode-batch: right
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    def reached(batch):
        moved = batch * d_in + d_in * d_out + batch * d_out
        return batch * d_in * d_out * bandwidth_gb_per_s >= peak_tflops * 1000 * moved

    if d_in * d_out * bandwidth_gb_per_s <= peak_tflops * 1000 * (d_in + d_out):
        return None
    batch = 1
    while not reached(batch):
        batch += 1
    return batch


# %% decode-batch: takes-the-ridge
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    return math.ceil(peak_tflops * 1000 / bandwidth_gb_per_s)


# %% decode-batch: counts-macs
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    ridge = peak_tflops * 1e12 / (bandwidth_gb_per_s * 1e9)
    for batch in range(1, 100_000):
        elements = batch * d_in + d_in * d_out + batch * d_out
        if batch * d_in * d_out / (2 * elements) >= ridge:
            return batch
    return None


# %% decode-batch: must-exceed
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    for batch in range(1, 100_000):
        elements = batch * d_in + d_in * d_out + batch * d_out
        if batch * d_in * d_out * bandwidth_gb_per_s > elements * peak_tflops * 1000:
            return batch
    return None


# %% decode-batch: tera-over-giga
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    ridge = peak_tflops / bandwidth_gb_per_s
    for batch in range(1, 100_000):
        elements = batch * d_in + d_in * d_out + batch * d_out
        if batch * d_in * d_out / elements >= ridge:
            return batch
    return None


# %% decode-batch: never-none
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    ridge = peak_tflops * 1000 / bandwidth_gb_per_s
    left = d_in * d_out - ridge * (d_in + d_out)
    return math.ceil(ridge * d_in * d_out / left) if left > 0 else math.ceil(ridge)


# %% server-size: right
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    vector_bits = spec["head_dim"] * kv_bits
    vectors = 2 * spec["n_layers"] * spec["n_kv_heads"] * n_users * context_len
    sizes = {
        "weights": spec["n_params"] * weight_bits / 8e9,
        "kv_cache": vectors * vector_bits / 8e9,
    }
    return {**sizes, "total": sum(sizes.values())}


def n_gpus(total_gb, gpu_gb, usable):
    n = 1
    while n * gpu_gb * usable < total_gb:
        n += 1
    return n


# %% server-size: query-heads
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    weights = spec["n_params"] * weight_bits / 8 / 1e9
    per_token = 2 * spec["n_layers"] * spec["n_heads"] * spec["head_dim"] * kv_bits / 8
    cache = per_token * context_len * n_users / 1e9
    return {"weights": weights, "kv_cache": cache, "total": weights + cache}


def n_gpus(total_gb, gpu_gb, usable):
    return math.ceil(total_gb / (gpu_gb * usable))


# %% server-size: keys-only
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    weights = spec["n_params"] * weight_bits / 8 / 1e9
    per_token = spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * kv_bits / 8
    cache = per_token * context_len * n_users / 1e9
    return {"weights": weights, "kv_cache": cache, "total": weights + cache}


def n_gpus(total_gb, gpu_gb, usable):
    return math.ceil(total_gb / (gpu_gb * usable))


# %% server-size: one-user
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    weights = spec["n_params"] * weight_bits / 8 / 1e9
    per_token = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * kv_bits / 8
    cache = per_token * context_len / 1e9
    return {"weights": weights, "kv_cache": cache, "total": weights + cache}


def n_gpus(total_gb, gpu_gb, usable):
    return math.ceil(total_gb / (gpu_gb * usable))


# %% server-size: gibibytes
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    weights = spec["n_params"] * weight_bits / 8 / 1024**3
    per_token = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * kv_bits / 8
    cache = per_token * context_len * n_users / 1024**3
    return {"weights": weights, "kv_cache": cache, "total": weights + cache}


def n_gpus(total_gb, gpu_gb, usable):
    return math.ceil(total_gb / (gpu_gb * usable))


# %% server-size: weights-for-each
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    weights = spec["n_params"] * weight_bits / 8 / 1e9 * n_users
    per_token = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * kv_bits / 8
    cache = per_token * context_len * n_users / 1e9
    return {"weights": weights, "kv_cache": cache, "total": weights + cache}


def n_gpus(total_gb, gpu_gb, usable):
    return math.ceil(total_gb / (gpu_gb * usable))


# %% server-size: rounds-down
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    weights = spec["n_params"] * weight_bits / 8 / 1e9
    per_token = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * kv_bits / 8
    cache = per_token * context_len * n_users / 1e9
    return {"weights": weights, "kv_cache": cache, "total": weights + cache}


def n_gpus(total_gb, gpu_gb, usable):
    return int(total_gb / (gpu_gb * usable))


# %% server-size: whole-gpu
def server_gb(spec, n_users, context_len, weight_bits, kv_bits):
    weights = spec["n_params"] * weight_bits / 8 / 1e9
    per_token = 2 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"] * kv_bits / 8
    cache = per_token * context_len * n_users / 1e9
    return {"weights": weights, "kv_cache": cache, "total": weights + cache}


def n_gpus(total_gb, gpu_gb, usable):
    return math.ceil(total_gb / (gpu_gb))


# %% users-that-fit: right
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib * 1024**2 - weights_gb * 10**9
    users = free // (kv_bytes_per_token * context_len)
    return int(users) if users > 0 else 0


# %% users-that-fit: gib-as-gb
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib / 1024 * 10**9 - weights_gb * 10**9
    users = free // (kv_bytes_per_token * context_len)
    return int(users) if users > 0 else 0


# %% users-that-fit: mib-as-mb
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib * 10**6 - weights_gb * 10**9
    users = free // (kv_bytes_per_token * context_len)
    return int(users) if users > 0 else 0


# %% users-that-fit: weights-in-gib
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib * 1024**2 - weights_gb * 1024**3
    users = free // (kv_bytes_per_token * context_len)
    return int(users) if users > 0 else 0


# %% users-that-fit: negative-users
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib * 1024**2 - weights_gb * 10**9
    users = free // (kv_bytes_per_token * context_len)
    return int(users)


# %% users-that-fit: forgets-weights
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib * 1024**2
    users = free // (kv_bytes_per_token * context_len)
    return int(users) if users > 0 else 0


# %% crossover: right
def crossover_length(spec, attention, batch_size, weight_bits, kv_bits):
    heads = spec["n_heads"] if attention == "mha" else spec["n_kv_heads"]
    heads = 1 if attention == "mqa" else heads
    weights = spec["n_params"] * weight_bits
    step = batch_size * 2 * spec["n_layers"] * heads * spec["head_dim"] * kv_bits
    length = weights // step
    while length * step <= weights:
        length += 1
    return length


# %% crossover: keys-only
def crossover_length(spec, attention, batch_size, weight_bits, kv_bits):
    heads = {"mha": spec["n_heads"], "gqa": spec["n_kv_heads"], "mqa": 1}[attention]
    token = spec["n_layers"] * heads * spec["head_dim"] * kv_bits * batch_size
    return spec["n_params"] * weight_bits // token + 1


# %% crossover: ignores-kind
def crossover_length(spec, attention, batch_size, weight_bits, kv_bits):
    heads = spec["n_kv_heads"]
    token = 2 * spec["n_layers"] * heads * spec["head_dim"] * kv_bits * batch_size
    return spec["n_params"] * weight_bits // token + 1


# %% crossover: not-yet-larger
def crossover_length(spec, attention, batch_size, weight_bits, kv_bits):
    heads = {"mha": spec["n_heads"], "gqa": spec["n_kv_heads"], "mqa": 1}[attention]
    token = 2 * spec["n_layers"] * heads * spec["head_dim"] * kv_bits * batch_size
    return spec["n_params"] * weight_bits // token


# %% crossover: bits-cancel
def crossover_length(spec, attention, batch_size, weight_bits, kv_bits):
    heads = {"mha": spec["n_heads"], "gqa": spec["n_kv_heads"], "mqa": 1}[attention]
    token = 2 * spec["n_layers"] * heads * spec["head_dim"] * batch_size
    return spec["n_params"] // token + 1


# %% crossover: ignores-batch
def crossover_length(spec, attention, batch_size, weight_bits, kv_bits):
    heads = {"mha": spec["n_heads"], "gqa": spec["n_kv_heads"], "mqa": 1}[attention]
    token = 2 * spec["n_layers"] * heads * spec["head_dim"] * kv_bits
    return spec["n_params"] * weight_bits // token + 1


# %% roofline: right
def attainable_flops(intensity, peak_flops, bandwidth):
    return peak_flops if intensity > peak_flops / bandwidth else intensity * bandwidth


def step_time_s(ops, peak_flops, bandwidth):
    seconds = 0.0
    for flops, n_bytes in ops:
        seconds += max(flops / peak_flops, n_bytes / bandwidth)
    return seconds


# %% roofline: takes-the-larger
def attainable_flops(intensity, peak_flops, bandwidth):
    return max(peak_flops, intensity * bandwidth)


def step_time_s(ops, peak_flops, bandwidth):
    seconds = 0.0
    for flops, n_bytes in ops:
        seconds += max(flops / peak_flops, n_bytes / bandwidth)
    return seconds


# %% roofline: adds-both
def attainable_flops(intensity, peak_flops, bandwidth):
    return peak_flops if intensity > peak_flops / bandwidth else intensity * bandwidth


def step_time_s(ops, peak_flops, bandwidth):
    seconds = 0.0
    for flops, n_bytes in ops:
        seconds += flops / peak_flops + n_bytes / bandwidth
    return seconds


# %% roofline: max-of-sums
def attainable_flops(intensity, peak_flops, bandwidth):
    return peak_flops if intensity > peak_flops / bandwidth else intensity * bandwidth


def step_time_s(ops, peak_flops, bandwidth):
    flops, n_bytes = (sum(op[i] for op in ops) for i in (0, 1))
    return max(flops / peak_flops, n_bytes / bandwidth)


# %% roofline: divides-by-no-flops
def attainable_flops(intensity, peak_flops, bandwidth):
    return peak_flops if intensity > peak_flops / bandwidth else intensity * bandwidth


def step_time_s(ops, peak_flops, bandwidth):
    return sum(f / attainable_flops(f / b, peak_flops, bandwidth) for f, b in ops)


# %% decode-batch: right
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    """A search with the function of task 1."""
    ridge = 1e3 * peak_tflops / bandwidth_gb_per_s
    if intensity(10**12, d_in, d_out, 2) < ridge:
        return None
    low, high = 0, 10**12
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if intensity(middle, d_in, d_out, 2) >= ridge else (middle, high)
    return high
