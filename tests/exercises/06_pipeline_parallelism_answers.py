"""Answers to exercise 06: other right ones, and wrong ones that are no edit of the solution."""


# %% pipeline-bytes: right
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    D, total = spec["d_model"], 0
    for _boundary in range(n_stages - 1):
        for tokens in [seq_len] + [1] * (max_new_tokens - 1):  # of every pass
            total += tokens * D * batch_size * dtype_bytes
    one = D * batch_size * dtype_bytes
    return {"prefill": seq_len * one, "decode": one, "request": total}


# %% split-layers: right
def split_layers(n_layers, n_stages):
    if n_stages < 1 or n_stages > n_layers:
        raise ValueError(f"{n_layers} layers, {n_stages} stages")
    sizes = [0] * n_stages
    for layer in range(n_layers):
        sizes[layer % n_stages] += 1
    layers = iter(range(n_layers))
    return [tuple(next(layers) for _ in range(size)) for size in sizes]


# %% completion-times: right
def completion_times(n_requests, stage_s):
    # equal requests: they come out one behind the other, at the pace of the slowest stage
    return [sum(stage_s) + r * max(stage_s) for r in range(n_requests)]


# %% decode-times: right
def decode_times(n_requests, n_stages, n_steps):
    round_s = max(n_requests, n_stages)  # until a request's turn comes again
    return [[t * round_s + r + n_stages for t in range(n_steps)] for r in range(n_requests)]


# %% bubble: right
def bubble_fraction(n_requests, n_stages):
    area = n_stages * (n_requests + n_stages - 1)
    busy = n_requests * n_stages
    return (area - busy) / area


def requests_for(n_stages, max_percent):
    # 100 (s - 1) <= p (m + s - 1)
    return max(1, -((100 * (1 - n_stages)) // max_percent) - (n_stages - 1))


# %% schedule-problems: right
def schedule_problems(blocks, n_stages):
    problems = set()
    by_stage = sorted(blocks, key=lambda b: (b[0], b[3], b[4]))
    for i, other in enumerate(by_stage[1:]):
        one = by_stage[i]
        if one[0] == other[0] and other[3] < one[4]:
            problems.add("two at once")
    for a in blocks:
        for b in blocks:
            if a[1] != b[1] or b[3] >= a[4]:
                continue  # of other requests, or b starts when a is over
            if a[2] == b[2] and b[0] == a[0] + 1:
                problems.add("not left yet")
            if b[2] == a[2] + 1 and b[0] == 0 and a[0] == n_stages - 1:
                problems.add("no token yet")
    return sorted(problems)
