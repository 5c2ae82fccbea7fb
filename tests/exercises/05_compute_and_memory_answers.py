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


# %% users-that-fit: right
def users_that_fit(memory_mib, weights_gb, kv_bytes_per_token, context_len):
    free = memory_mib * 1024**2 - weights_gb * 10**9
    users = free // (kv_bytes_per_token * context_len)
    return int(users) if users > 0 else 0


# %% request-times: right
def request_times(spec, device, prompt_len, n_new):
    n, total, first = spec["n_params"], 0.0, None
    for i in range(n_new):
        rows = prompt_len if i == 0 else 1
        elements = n
        if i > 0:
            past = prompt_len + i - 1
            elements += 2 * past * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
        total += max(2 * n * rows / device["peak"], 2 * elements / device["bandwidth"])
        first = total if first is None else first
    return {
        "ttft_s": first,
        "tpot_s": (total - first) / max(1, n_new - 1),
        "total_s": total,
    }


# %% utilisation: right
def utilisation(spec, device, batch_size, prompt_len, prefill_s, decode_s):
    n_tokens = batch_size * prompt_len
    computing_s = 2 * spec["n_params"] * n_tokens / device["peak"]
    elements = spec["n_params"]
    for _ in range(2):  # keys, values
        elements += n_tokens * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    reading_s = elements * 2 / device["bandwidth"]
    return {"mfu": computing_s / prefill_s, "mbu": reading_s / decode_s}


# %% cheapest-batch: right
def cheapest_batch(spec, device, context_len, dollars_per_hour, max_tpot_s):
    per_token = 4 * spec["n_layers"] * spec["n_kv_heads"] * spec["head_dim"]
    best = None
    for batch in range(1, 100_000):
        n_bytes = 2 * spec["n_params"] + batch * per_token * context_len
        computing_s = 2 * spec["n_params"] * batch / device["peak"]
        step_s = max(computing_s, n_bytes / device["bandwidth"])
        if n_bytes > device["memory"] or step_s > max_tpot_s:
            return best
        per_second = dollars_per_hour / 60 / 60
        best = {"batch": batch, "dollars_per_million": 1e6 * per_second * step_s / batch}
