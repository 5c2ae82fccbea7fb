"""Answers to exercise 06: other right ones, and wrong ones that are no edit of the solution."""


# %% run-stage: right
def run_stage(stage, n_stages, prompts, n_new, receive, compute, send):
    left, tokens = list(n_new), [[] for _ in prompts]
    while any(left):
        for r in [r for r, n in enumerate(left) if n]:
            y = compute(r, prompts[r] if stage == 0 and left[r] == n_new[r] else receive())
            left[r] -= 1
            if stage == n_stages - 1:
                tokens[r] += [y]
            if stage < n_stages - 1 or left[r]:
                send(y)
    return tokens


# %% chunked-prefill: right
def prefill_s(seq_len, chunk, n_stages, start_s, token_s):
    # No chunk is longer than the first, which nobody holds up: the others follow it without a gap.
    first = start_s + min(chunk, seq_len) * token_s
    return -(-seq_len // chunk) * start_s + seq_len * token_s + (n_stages - 1) * first


def best_chunk(seq_len, *sizes):
    times = [(prefill_s(seq_len, k, *sizes), -k) for k in range(1, seq_len + 1)]
    return -min(times)[1]


# %% schedule-problems: right
def schedule_problems(blocks, n_stages):
    problems = set()
    for a in blocks:
        for b in [b for b in blocks if b is not a and b[3] < a[4]]:  # starts before a is over
            if b[0] == a[0] and a[3] < b[4]:
                problems.add("two at once")
            if a[1:3] == b[1:3] and b[0] == a[0] + 1:
                problems.add("not left yet")
            if a[1] == b[1] and b[2] == a[2] + 1 and (b[0], a[0]) == (0, n_stages - 1):
                problems.add("no token yet")
    return sorted(problems)
