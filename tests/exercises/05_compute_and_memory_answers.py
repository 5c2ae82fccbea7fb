"""Answers to exercise 05: other right ones, and wrong ones that are no edit of the solution."""


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


# %% users-that-fit: right
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib * 1024**2 - weights_gb * 10**9
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


# %% roofline: right
def attainable_flops(intensity, peak_flops, bandwidth):
    return peak_flops if intensity > peak_flops / bandwidth else intensity * bandwidth


def step_time_s(ops, peak_flops, bandwidth):
    seconds = 0.0
    for flops, n_bytes in ops:
        seconds += max(flops / peak_flops, n_bytes / bandwidth)
    return seconds
