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
