"""Answers to exercise 05: other right ones, and wrong ones that are no edit of the solution."""


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
