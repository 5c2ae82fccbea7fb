"""Answers to exercise 06: other right ones, and wrong ones that are no edit of the solution."""


# %% run-stage: right
def run_stage(stage, n_stages, prompts, n_new, receive, compute, send):
    requests = range(len(prompts))
    left, tokens = list(n_new), [[] for _ in requests]
    if stage == 0:
        inputs = [lambda prompt=prompt: prompt for prompt in prompts]
    else:
        inputs = [receive for _ in requests]
    while any(left):
        for r in [r for r in requests if left[r]]:
            y = compute(r, inputs[r]())
            inputs[r], left[r] = receive, left[r] - 1
            if stage < n_stages - 1:
                send(y)
                continue
            tokens[r] += [y]
            if left[r]:
                send(y)
    return tokens


# %% completion-times: right
def completion_times(n_requests, stage_s):
    # equal requests: they come out one behind the other, at the pace of the slowest stage
    return [sum(stage_s) + r * max(stage_s) for r in range(n_requests)]


# %% decode-times: right
def decode_times(n_requests, n_stages, n_steps):
    round_s = max(n_requests, n_stages)  # until a request's turn comes again
    return [[t * round_s + r + n_stages for t in range(n_steps)] for r in range(n_requests)]


# %% chunked-prefill: right
def prefill_s(seq_len, chunk, n_stages, start_s, token_s):
    # No chunk is longer than the first, which nobody holds up: the others follow it without a gap.
    n_chunks = -(-seq_len // chunk)
    first = start_s + min(chunk, seq_len) * token_s
    return n_chunks * start_s + seq_len * token_s + (n_stages - 1) * first


def best_chunk(seq_len, n_stages, start_s, token_s):
    best = 1
    for chunk in range(2, seq_len + 1):
        sizes = (n_stages, start_s, token_s)
        if prefill_s(seq_len, chunk, *sizes) <= prefill_s(seq_len, best, *sizes):
            best = chunk
    return best


# %% choose-link: right
def choose_link(links, d_model, n_stages, seq_len, prefill_s, decode_s, most_first_s, most_token_s):
    def times(start_s, gbit_per_s):
        def message_s(n_bytes):
            return start_s + n_bytes * 8 / gbit_per_s / 1e9

        first_s = prefill_s + (n_stages - 1) * message_s(seq_len * d_model * 2)
        token_s = decode_s + (n_stages - 1) * message_s(d_model * 2) + message_s(8)
        return first_s, token_s

    found = [(price, name, *times(*link)) for name, price, *link in links]
    found = [link for link in found if link[2] <= most_first_s and link[3] <= most_token_s]
    return min(found)[1:] if found else None


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
