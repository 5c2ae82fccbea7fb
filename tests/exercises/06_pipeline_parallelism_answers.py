# ruff: noqa: F811, F821
"""Answers to exercise 06: other right ones, and wrong ones by the misconception they show."""


# %% pipeline-bytes: right
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    D, total = spec["d_model"], 0
    for _boundary in range(n_stages - 1):
        for tokens in [seq_len] + [1] * (max_new_tokens - 1):  # of every pass
            total += tokens * D * batch_size * dtype_bytes
    one = D * batch_size * dtype_bytes
    return {"prefill": seq_len * one, "decode": one, "request": total}


# %% pipeline-bytes: a-pass-for-each-token
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_model"] * dtype_bytes
    prefill = decode * seq_len
    request = (n_stages - 1) * (prefill + decode * max_new_tokens)
    return {"prefill": prefill, "decode": decode, "request": request}


# %% pipeline-bytes: counts-stages
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_model"] * dtype_bytes
    request = n_stages * decode * (seq_len + max_new_tokens - 1)
    return {"prefill": decode * seq_len, "decode": decode, "request": request}


# %% pipeline-bytes: every-layer-sends
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_model"] * dtype_bytes
    request = spec["n_layers"] * decode * (seq_len + max_new_tokens - 1)
    return {"prefill": decode * seq_len, "decode": decode, "request": request}


# %% pipeline-bytes: one-boundary
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_model"] * dtype_bytes
    request = decode * (seq_len + max_new_tokens - 1)
    return {"prefill": decode * seq_len, "decode": decode, "request": request}


# %% pipeline-bytes: sends-the-past-again
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    a_pass = batch_size * seq_len * spec["d_model"] * dtype_bytes
    return {
        "prefill": a_pass,
        "decode": a_pass,
        "request": (n_stages - 1) * max_new_tokens * a_pass,
    }


# %% pipeline-bytes: inner-width
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_ff"] * dtype_bytes
    request = (n_stages - 1) * decode * (seq_len + max_new_tokens - 1)
    return {"prefill": decode * seq_len, "decode": decode, "request": request}


# %% pipeline-bytes: elements-for-bytes
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_model"]
    request = (n_stages - 1) * decode * (seq_len + max_new_tokens - 1)
    return {"prefill": decode * seq_len, "decode": decode, "request": request}


# %% pipeline-bytes: always-fp16
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = 2 * spec["d_model"] * batch_size
    request = (n_stages - 1) * decode * (seq_len + max_new_tokens - 1)
    return {
        "prefill": 2 * seq_len * spec["d_model"] * batch_size,
        "decode": decode,
        "request": request,
    }


# %% pipeline-bytes: one-sequence
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = spec["d_model"] * dtype_bytes
    request = (n_stages - 1) * decode * (seq_len + max_new_tokens - 1)
    return {"prefill": decode * seq_len, "decode": decode, "request": request}


# %% pipeline-bytes: prefill-forgotten
def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
    decode = batch_size * spec["d_model"] * dtype_bytes
    request = sum(decode for _ in range(max_new_tokens - 1)) * (n_stages - 1)
    return {"prefill": decode * seq_len, "decode": decode, "request": request}


# %% split-layers: right
def split_layers(n_layers, n_stages):
    if n_stages < 1 or n_stages > n_layers:
        raise ValueError(f"{n_layers} layers, {n_stages} stages")
    sizes = [0] * n_stages
    for layer in range(n_layers):
        sizes[layer % n_stages] += 1
    layers = iter(range(n_layers))
    return [tuple(next(layers) for _ in range(size)) for size in sizes]


# %% split-layers: dealt-like-cards
def split_layers(n_layers, n_stages):
    if not 0 < n_stages <= n_layers:
        raise ValueError("stages")
    stages = [[] for _ in range(n_stages)]
    for layer in range(n_layers):
        stages[layer % n_stages].append(layer)
    return stages


# %% split-layers: drops-the-rest
def split_layers(n_layers, n_stages):
    if not 0 < n_stages <= n_layers:
        raise ValueError("stages")
    size = n_layers // n_stages
    return [list(range(i * size, i * size + size)) for i in range(n_stages)]


# %% split-layers: rest-to-the-last
def split_layers(n_layers, n_stages):
    if not 0 < n_stages <= n_layers:
        raise ValueError("stages")
    size = n_layers // n_stages
    stages = [list(range(i * size, i * size + size)) for i in range(n_stages)]
    stages[-1] += range(n_stages * size, n_layers)
    return stages


# %% split-layers: larger-last
def split_layers(n_layers, n_stages):
    if not 0 < n_stages <= n_layers:
        raise ValueError("stages")
    size, rest = divmod(n_layers, n_stages)
    ends, first = [], 0
    for i in range(n_stages):
        ends.append((first, first + size + (i >= n_stages - rest)))
        first = ends[-1][1]
    return [list(range(a, b)) for a, b in ends]


# %% split-layers: rounds-up
def split_layers(n_layers, n_stages):
    if not 0 < n_stages <= n_layers:
        raise ValueError("stages")
    size = math.ceil(n_layers / n_stages)
    layers = list(range(n_layers))
    return [layers[i * size : (i + 1) * size] for i in range(n_stages)]


# %% split-layers: counts-from-one
def split_layers(n_layers, n_stages):
    if not 0 < n_stages <= n_layers:
        raise ValueError("stages")
    size, rest = divmod(n_layers, n_stages)
    stages, layer = [], 1
    for i in range(n_stages):
        n = size + 1 if i < rest else size
        stages.append(list(range(layer, layer + n)))
        layer += n
    return stages


# %% split-layers: shared-layer
def split_layers(n_layers, n_stages):
    if not 0 < n_stages <= n_layers:
        raise ValueError("stages")
    size, rest = divmod(n_layers, n_stages)
    stages, layer = [], 0
    for i in range(n_stages):
        n = size + 1 if i < rest else size
        stages.append(list(range(layer, layer + n + 1)))
        layer += n
    return stages


# %% split-layers: refuses-uneven
def split_layers(n_layers, n_stages):
    if n_stages < 1 or n_layers % n_stages:
        raise ValueError("does not divide")
    size = n_layers // n_stages
    return [list(range(i * size, (i + 1) * size)) for i in range(n_stages)]


# %% split-layers: empty-stages
def split_layers(n_layers, n_stages):
    if n_stages <= 0:
        raise ValueError("no stage")
    size, rest = divmod(n_layers, n_stages)
    stages, layer = [], 0
    for i in range(n_stages):
        n = size + 1 if i < rest else size
        stages.append(list(range(layer, layer + n)))
        layer += n
    return stages


# %% completion-times: right
def completion_times(n_requests, stage_s):
    # equal requests: they come out one behind the other, at the pace of the slowest stage
    return [sum(stage_s) + r * max(stage_s) for r in range(n_requests)]


# %% completion-times: one-after-the-other
def completion_times(n_requests, stage_s):
    times, now = [], 0
    for _ in range(n_requests):
        now += sum(stage_s)
        times.append(now)
    return times


# %% completion-times: all-at-once
def completion_times(n_requests, stage_s):
    return [sum(stage_s)] * n_requests


# %% completion-times: pace-of-the-first
def completion_times(n_requests, stage_s):
    times = []
    for r in range(n_requests):
        now = r * stage_s[0]
        for seconds in stage_s:
            now += seconds
        times.append(now)
    return times


# %% completion-times: pace-of-the-last
def completion_times(n_requests, stage_s):
    times = [sum(stage_s)]
    while len(times) < n_requests:
        times.append(times[-1] + stage_s[-1])
    return times


# %% completion-times: mean-pace
def completion_times(n_requests, stage_s):
    s = len(stage_s)
    return [(s + r) * sum(stage_s) / s for r in range(n_requests)]


# %% completion-times: all-as-slow-as-the-slowest
def completion_times(n_requests, stage_s):
    return [(len(stage_s) + r) * max(stage_s) for r in range(n_requests)]


# %% completion-times: enters-the-last-stage
def completion_times(n_requests, stage_s):
    free_s = [0] * len(stage_s)
    times = []
    for _ in range(n_requests):
        now = 0
        for stage, seconds in enumerate(stage_s):
            start = max(now, free_s[stage])
            now = free_s[stage] = start + seconds
        times.append(start)
    return times


# %% completion-times: first-one-waits
def completion_times(n_requests, stage_s):
    return [sum(stage_s) + r * max(stage_s) for r in range(1, n_requests + 1)]


# %% decode-times: right
def decode_times(n_requests, n_stages, n_steps):
    round_s = max(n_requests, n_stages)  # until a request's turn comes again
    return [[t * round_s + r + n_stages for t in range(n_steps)] for r in range(n_requests)]


# %% decode-times: right
def decode_times(n_requests, n_stages, n_steps):
    waiting = [(0, r) for r in range(n_requests)]  # since when, who
    times, now = [[] for _ in range(n_requests)], 0
    while waiting:
        ready, r = min(waiting)
        waiting.remove((ready, r))
        now = max(now, ready)
        times[r].append(now + n_stages)
        if len(times[r]) < n_steps:
            waiting.append((now + n_stages, r))
        now += 1
    return times


# %% decode-times: no-dependency
def decode_times(n_requests, n_stages, n_steps):
    times, start = [[] for _ in range(n_requests)], 0
    for _ in range(n_steps):
        for own in times:
            own.append(start + n_stages)
            start += 1
    return times


# %% decode-times: steps-back-to-back
def decode_times(n_requests, n_stages, n_steps):
    times, start = [], 0
    for _ in range(n_requests):
        times.append([start + t + n_stages for t in range(n_steps)])
        start += n_steps
    return times


# %% decode-times: waits-for-stage-0-only
def decode_times(n_requests, n_stages, n_steps):
    free, ready = 0, [0] * n_requests
    times = [[] for _ in range(n_requests)]
    for _ in range(n_steps):
        for r in range(n_requests):
            start = max(free, ready[r])
            free, ready[r] = start + 1, start + min(2, n_stages)
            times[r].append(start + n_stages)
    return times


# %% decode-times: stage-0-not-busy
def decode_times(n_requests, n_stages, n_steps):
    return [[r + (t + 1) * n_stages for t in range(n_steps)] for r in range(n_requests)]


# %% decode-times: runs-empty-each-step
def decode_times(n_requests, n_stages, n_steps):
    times, begin = [[] for _ in range(n_requests)], 0
    for _ in range(n_steps):
        for r, own in enumerate(times):
            own.append(begin + r + n_stages)
        begin = times[-1][-1]
    return times


# %% decode-times: one-request-at-a-time
def decode_times(n_requests, n_stages, n_steps):
    times, now = [], 0
    for _ in range(n_requests):
        own = []
        for _ in range(n_steps):
            now += n_stages
            own.append(now)
        times.append(own)
    return times


# %% decode-times: entry-times
def decode_times(n_requests, n_stages, n_steps):
    round_s = max(n_requests, n_stages)
    return [[t * round_s + r for t in range(n_steps)] for r in range(n_requests)]


# %% decode-times: leaves-stage-0
def decode_times(n_requests, n_stages, n_steps):
    round_s = max(n_requests, n_stages)
    return [[t * round_s + (r + 1) for t in range(n_steps)] for r in range(n_requests)]


# %% decode-times: all-enter-together
def decode_times(n_requests, n_stages, n_steps):
    round_s = max(n_requests, n_stages)
    return [[t * round_s + n_stages for t in range(n_steps)]] * n_requests


# %% decode-times: steps-by-requests
def decode_times(n_requests, n_stages, n_steps):
    round_s = max(n_requests, n_stages)
    return [[t * round_s + r + n_stages for r in range(n_requests)] for t in range(n_steps)]


# %% bubble: right
def bubble_fraction(n_requests, n_stages):
    area = n_stages * (n_requests + n_stages - 1)
    busy = n_requests * n_stages
    return (area - busy) / area


def requests_for(n_stages, max_percent):
    # 100 (s - 1) <= p (m + s - 1)
    return max(1, -((100 * (1 - n_stages)) // max_percent) - (n_stages - 1))


# %% bubble: of-the-ideal-time
def bubble_fraction(n_requests, n_stages):
    return (n_stages - 1) / n_requests


def requests_for(n_stages, max_percent):
    return max(1, math.ceil(100 * (n_stages - 1) / max_percent))


# %% bubble: one-step-too-long
def bubble_fraction(n_requests, n_stages):
    return 1 - n_requests / (n_requests + n_stages)


def requests_for(n_stages, max_percent):
    return math.ceil(n_stages * (100 - max_percent) / max_percent)


# %% bubble: fill-only
def bubble_fraction(n_requests, n_stages):
    triangle = n_stages * (n_stages - 1) / 2
    return triangle / (n_stages * (n_requests + n_stages - 1))


def requests_for(n_stages, max_percent):
    n_requests = 1
    while 100 * bubble_fraction(n_requests, n_stages) > max_percent:
        n_requests += 1
    return n_requests


# %% bubble: roles-swapped
def bubble_fraction(n_requests, n_stages):
    return (n_requests - 1) / (n_stages + n_requests - 1)


def requests_for(n_stages, max_percent):
    n_requests = 1
    while 100 * bubble_fraction(n_requests, n_stages) > max_percent:
        n_requests += 1
    return n_requests


# %% bubble: busy-part
def bubble_fraction(n_requests, n_stages):
    return n_requests * n_stages / (n_stages * (n_requests + n_stages - 1))


def requests_for(n_stages, max_percent):
    return max(1, math.ceil((n_stages - 1) * (100 - max_percent) / max_percent))


# %% bubble: rounds-down
def bubble_fraction(n_requests, n_stages):
    return (n_stages - 1) / (n_requests + n_stages - 1)


def requests_for(n_stages, max_percent):
    return max(1, (n_stages - 1) * (100 - max_percent) // max_percent)


# %% bubble: strictly-below
def bubble_fraction(n_requests, n_stages):
    return (n_stages - 1) / (n_requests + n_stages - 1)


def requests_for(n_stages, max_percent):
    n_requests = 1
    while 100 * (n_stages - 1) >= max_percent * (n_requests + n_stages - 1):
        n_requests += 1
    return n_requests


# %% bubble: no-request
def bubble_fraction(n_requests, n_stages):
    return (n_stages - 1) / (n_requests + n_stages - 1)


def requests_for(n_stages, max_percent):
    return math.ceil((n_stages - 1) * (100 - max_percent) / max_percent)


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


# %% schedule-problems: overlap-not-checked
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for (s, r, t), (start, _) in when.items():
        if s > 0 and start < when[s - 1, r, t][1]:
            problems.add("not left yet")
        if s == 0 and t > 0 and start < when[n_stages - 1, r, t - 1][1]:
            problems.add("no token yet")
    return sorted(problems)


# %% schedule-problems: boundary-not-checked
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for (s, r, t), (start, end) in when.items():
        for (s2, r2, t2), (start2, end2) in when.items():
            if s == s2 and (r, t) != (r2, t2) and start < end2 and start2 < end:
                problems.add("two at once")
        if s == 0 and t > 0 and start < when[n_stages - 1, r, t - 1][1]:
            problems.add("no token yet")
    return sorted(problems)


# %% schedule-problems: token-not-checked
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for (s, r, t), (start, end) in when.items():
        for (s2, r2, t2), (start2, end2) in when.items():
            if s == s2 and (r, t) != (r2, t2) and start < end2 and start2 < end:
                problems.add("two at once")
        if s > 0 and start < when[s - 1, r, t][1]:
            problems.add("not left yet")
    return sorted(problems)


# %% schedule-problems: token-after-stage-0
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for (s, r, t), (start, end) in when.items():
        for (s2, r2, t2), (start2, end2) in when.items():
            if s == s2 and (r, t) != (r2, t2) and start < end2 and start2 < end:
                problems.add("two at once")
        if s > 0 and start < when[s - 1, r, t][1]:
            problems.add("not left yet")
        if s == 0 and t > 0 and start < when[0, r, t - 1][1]:
            problems.add("no token yet")
    return sorted(problems)


# %% schedule-problems: waits-for-all-tokens
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for (s, r, t), (start, end) in when.items():
        for (s2, r2, t2), (start2, end2) in when.items():
            if s == s2 and (r, t) != (r2, t2) and start < end2 and start2 < end:
                problems.add("two at once")
            if s == 0 and s2 == n_stages - 1 and t2 == t - 1 and start < end2:
                problems.add("no token yet")
        if s > 0 and start < when[s - 1, r, t][1]:
            problems.add("not left yet")
    return sorted(problems)


# %% schedule-problems: touching-is-overlap
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for (s, r, t), (start, end) in when.items():
        for (s2, r2, t2), (start2, end2) in when.items():
            if s == s2 and (r, t) != (r2, t2) and start <= end2 and start2 <= end:
                problems.add("two at once")
        if s > 0 and start < when[s - 1, r, t][1]:
            problems.add("not left yet")
        if s == 0 and t > 0 and start < when[n_stages - 1, r, t - 1][1]:
            problems.add("no token yet")
    return sorted(problems)


# %% schedule-problems: has-to-pause
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for (s, r, t), (start, end) in when.items():
        for (s2, r2, t2), (start2, end2) in when.items():
            if s == s2 and (r, t) != (r2, t2) and start < end2 and start2 < end:
                problems.add("two at once")
        if s > 0 and start <= when[s - 1, r, t][1]:
            problems.add("not left yet")
        if s == 0 and t > 0 and start < when[n_stages - 1, r, t - 1][1]:
            problems.add("no token yet")
    return sorted(problems)


# %% schedule-problems: same-start-only
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    starts = [(s, start) for s, _, _, start, _ in blocks]
    if len(set(starts)) < len(starts):
        problems.add("two at once")
    for (s, r, t), (start, _) in when.items():
        if s > 0 and start < when[s - 1, r, t][1]:
            problems.add("not left yet")
        if s == 0 and t > 0 and start < when[n_stages - 1, r, t - 1][1]:
            problems.add("no token yet")
    return sorted(problems)


# %% schedule-problems: neighbours-in-the-list
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    problems = set()
    for i in range(len(blocks) - 1):
        s, _, _, start, end = blocks[i]
        s2, _, _, start2, end2 = blocks[i + 1]
        if s == s2 and start < end2 and start2 < end:
            problems.add("two at once")
    for (s, r, t), (start, _) in when.items():
        if s > 0 and start < when[s - 1, r, t][1]:
            problems.add("not left yet")
        if s == 0 and t > 0 and start < when[n_stages - 1, r, t - 1][1]:
            problems.add("no token yet")
    return sorted(problems)


# %% schedule-problems: first-problem-only
def schedule_problems(blocks, n_stages):
    when = {(s, r, t): (a, b) for s, r, t, a, b in blocks}
    for (s, r, t), (start, _) in when.items():
        if s == 0 and t > 0 and start < when[n_stages - 1, r, t - 1][1]:
            return ["no token yet"]
    for (s, r, t), (start, _) in when.items():
        if s > 0 and start < when[s - 1, r, t][1]:
            return ["not left yet"]
    for (s, r, t), (start, end) in when.items():
        for (s2, r2, t2), (start2, end2) in when.items():
            if s == s2 and (r, t) != (r2, t2) and start < end2 and start2 < end:
                return ["two at once"]
    return []
