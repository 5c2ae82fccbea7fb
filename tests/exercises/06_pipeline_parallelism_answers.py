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
    first = start_s + min(chunk, seq_len) * token_s
    return -(-seq_len // chunk) * start_s + seq_len * token_s + (n_stages - 1) * first


def best_chunk(seq_len, *sizes):
    times = [(prefill_s(seq_len, k, *sizes), -k) for k in range(1, seq_len + 1)]
    return -min(times)[1]


# %% choose-link: right
def choose_link(links, d_model, n_stages, seq_len, prefill_s, decode_s, most_first_s, most_token_s):
    found = []
    for name, price, start_s, gbit_per_s in links:
        sent = [start_s + 8 * n / gbit_per_s / 1e9 for n in (2 * seq_len * d_model, 2 * d_model, 8)]
        first_s = prefill_s + (n_stages - 1) * sent[0]
        token_s = decode_s + (n_stages - 1) * sent[1] + sent[2]
        if first_s <= most_first_s and token_s <= most_token_s:
            found.append((price, name, first_s, token_s))
    return min(found)[1:] if found else None


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
