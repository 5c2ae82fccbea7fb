"""Answers to exercise 05: other right ones, and wrong ones that are no edit of the solution."""


# %% decode-batch: right
def compute_bound_batch(d_in, d_out, peak_tflops, bandwidth_gb_per_s):
    done, moved = d_in * d_out * bandwidth_gb_per_s, peak_tflops * 1000 * (d_in + d_out)
    batch = done > moved or None
    while batch and batch * done < batch * moved + peak_tflops * 1000 * d_in * d_out:
        batch += 1
    return batch and int(batch)
