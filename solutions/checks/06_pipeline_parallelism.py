"""Hidden checks of exercise 06: volumes, layers over stages, schedules, bubbles, broken rules."""

import itertools

from grader.checks import Case, Close, Exact, Misconception, Task


def between(rng, low, high):
    return int(rng.integers(low, high))


# --- Task 1: what crosses the boundaries ------------------------------------------------------


def volume_with(
    boundaries=lambda spec, n_stages: n_stages - 1,
    passes=lambda n_new: n_new - 1,
    width=lambda spec: spec["d_model"],
    batch=lambda batch: batch,
    element=lambda dtype_bytes: dtype_bytes,
    decode_tokens=lambda seq_len: 1,
    prefill_counts=1,
):
    """pipeline_bytes with one thing changed; unchanged it is the reference."""

    def pipeline_bytes(spec, n_stages, seq_len, batch_size, max_new_tokens, dtype_bytes):
        token = width(spec) * element(dtype_bytes) * batch(batch_size)
        prefill, decode = token * seq_len, token * decode_tokens(seq_len)
        total = prefill * prefill_counts + decode * passes(max_new_tokens)
        return {
            "request": total * boundaries(spec, n_stages),
            "decode": decode,
            "prefill": prefill,
        }

    return pipeline_bytes


def volume_cases(rng):
    def spec(n_layers, d_model):
        return {"n_layers": n_layers, "d_model": d_model, "d_ff": 3 * d_model}

    def case(spec, n_stages, batch_size, n_new, dtype_bytes, label):
        seq_len = between(rng, 20, 900)
        return Case(spec, n_stages, seq_len, batch_size, n_new, dtype_bytes, label=label)

    small, large = spec(30, 64 * between(rng, 5, 12)), spec(80, 128 * between(rng, 30, 64))
    return [
        case(small, 2, 1, between(rng, 8, 60), 2, "two stages, one prompt"),
        case(large, between(rng, 4, 9), between(rng, 2, 9), between(rng, 8, 60), 2, "a batch"),
        case(small, 5, between(rng, 3, 9), 1, 2, "a single new token"),
        case(large, 8, 3, between(rng, 8, 60), 4, "float32"),
    ]


VOLUME = Task(
    grade_id="pipeline-bytes",
    entry="pipeline_bytes",
    points=3,
    cases=volume_cases,
    reference=volume_with(),
    compare=Close(rtol=1e-9),
    misconceptions=[
        Misconception(
            "a-pass-for-each-token",
            volume_with(passes=lambda n_new: n_new),
            "counted max_new_tokens decode passes; the prefill gives the first token, and the last "
            "one is never put in, so there is one fewer",
        ),
        Misconception(
            "counts-stages",
            volume_with(boundaries=lambda spec, n_stages: n_stages),
            "counted a boundary for each stage; the last stage sends no activations on",
        ),
        Misconception(
            "every-layer-sends",
            volume_with(boundaries=lambda spec, n_stages: spec["n_layers"]),
            "counted every layer; inside a stage nothing is sent, only its last layer's output is",
        ),
        Misconception(
            "one-boundary",
            volume_with(boundaries=lambda spec, n_stages: 1),
            "the request's bytes are those of one boundary; there are n_stages - 1",
        ),
        Misconception(
            "sends-the-past-again",
            volume_with(decode_tokens=lambda seq_len: seq_len),
            "a decode pass sends the prompt's activations again here; each stage has its past in "
            "its cache, so only the new token's travel",
        ),
        Misconception(
            "inner-width",
            volume_with(width=lambda spec: spec["d_ff"]),
            "counted with F, the MLP's inner width; what goes from layer to layer is D wide",
        ),
        Misconception(
            "elements-for-bytes",
            volume_with(element=lambda dtype_bytes: 1),
            "these are elements; each has dtype_bytes bytes",
        ),
        Misconception(
            "always-fp16",
            volume_with(element=lambda dtype_bytes: 2),
            "always counted with 2 bytes an element; dtype_bytes says how large one is",
        ),
        Misconception(
            "one-sequence",
            volume_with(batch=lambda batch: 1),
            "counted one sequence; each of the batch_size sequences sends its own activations",
        ),
        Misconception(
            "prefill-forgotten",
            volume_with(prefill_counts=0),
            "the request's bytes are those of the decode passes alone; the prefill crosses the "
            "boundaries, too, and is the larger part",
        ),
    ],
)

# --- Task 2: split the layers -----------------------------------------------------------------


def refuse_bad(n_layers, n_stages):
    if n_stages < 1 or n_stages > n_layers:
        raise ValueError("n_stages")


def split_at(n_layers, sizes, first=0, extra=0):
    ends = list(itertools.accumulate(sizes, initial=first))
    return [list(range(a, b + extra)) for a, b in itertools.pairwise(ends)]


def split_with(sizes, check=refuse_bad, **how):
    def split_layers(n_layers, n_stages):
        check(n_layers, n_stages)
        return split_at(n_layers, sizes(n_layers, n_stages), **how)

    return split_layers


def larger_first(n, s):
    return [n // s + (i < n % s) for i in range(s)]


def dealt(n_layers, n_stages):
    refuse_bad(n_layers, n_stages)
    return [list(range(stage, n_layers, n_stages)) for stage in range(n_stages)]


def ceil_chunks(n_layers, n_stages):
    refuse_bad(n_layers, n_stages)
    size = -(-n_layers // n_stages)
    bounds = [(min(i * size, n_layers), min((i + 1) * size, n_layers)) for i in range(n_stages)]
    return [list(range(a, b)) for a, b in bounds]


def refuse_uneven(n_layers, n_stages):
    refuse_bad(n_layers, n_stages)
    if n_layers % n_stages:
        raise ValueError("uneven")


def refuse_zero_only(n_layers, n_stages):
    if n_stages < 1:
        raise ValueError("n_stages")


def split_cases(rng):
    n = between(rng, 2, 6)
    return [
        Case(6 * n, 3, label="an even split"),
        Case(7 * n + 5, 7, label="five layers left over"),
        Case(22, 6, label="four layers left over"),  # ceil chunks leave only 2 for the last one
        Case(between(rng, 5, 30), 1, label="a single stage"),
        Case(n + 3, n + 3, label="a layer for each stage"),
        Case(n, n + 2, label="more stages than layers"),
        Case(n, 0, label="no stage"),
    ]


SPLIT = Task(
    grade_id="split-layers",
    entry="split_layers",
    points=3,
    cases=split_cases,
    reference=split_with(larger_first),
    compare=Exact(),
    misconceptions=[
        Misconception(
            "dealt-like-cards",
            dealt,
            "the layers are dealt like cards; a stage needs consecutive ones, or each pass has to "
            "cross every boundary many times",
        ),
        Misconception(
            "drops-the-rest",
            split_with(lambda n, s: [n // s] * s),
            "if the layers don't divide, the last n_layers % n_stages of them are in no stage",
        ),
        Misconception(
            "rest-to-the-last",
            split_with(lambda n, s: [n // s] * (s - 1) + [n // s + n % s]),
            "the last stage gets all the layers that are left over, and everyone waits for it: "
            "spread them, one for each of the first stages",
        ),
        Misconception(
            "larger-last",
            split_with(lambda n, s: larger_first(n, s)[::-1]),
            "the larger stages come last; the last one has the output matrix as well, so they "
            "come first",
        ),
        Misconception(
            "rounds-up",
            ceil_chunks,
            "each stage takes n_layers / n_stages rounded up, so that too little remains for the "
            "last ones; sizes may differ by one only",
        ),
        Misconception(
            "counts-from-one",
            split_with(larger_first, first=1),
            "layers are counted from 0 to n_layers - 1",
        ),
        Misconception(
            "shared-layer",
            split_with(larger_first, extra=1),
            "each stage's end is one too far: its last layer is also the next one's first (a "
            "range's end is not part of it)",
        ),
        Misconception(
            "refuses-uneven",
            split_with(larger_first, check=refuse_uneven),
            "layers that don't divide are refused; here sizes may differ by one",
        ),
        Misconception(
            "empty-stages",
            split_with(larger_first, check=refuse_zero_only),
            "with more stages than layers some stages are empty: raise a ValueError",
        ),
    ],
)

# --- Task 3: fill and drain -------------------------------------------------------------------


def completion_with(first=sum, every=max, shift=0):
    def completion_times(n_requests, stage_s):
        return [first(stage_s) + (r + shift) * every(stage_s) for r in range(n_requests)]

    return completion_times


def completion_cases(rng):
    def stages(*low_high):
        return [between(rng, low, high) for low, high in low_high]

    return [
        Case(between(rng, 4, 9), [between(rng, 2, 9)] * 4, label="equal stages"),
        Case(4, stages((2, 4), (4, 6), (11, 19), (6, 9), (2, 5)), label="a slow stage inside"),
        Case(5, stages((20, 30), (2, 5), (6, 9)), label="a slow first stage"),
        Case(5, stages((2, 5), (6, 9), (20, 30)), label="a slow last stage"),
        Case(1, stages((2, 5), (6, 9), (10, 15)), label="a single request"),
        Case(3, stages((2, 9)), label="a single stage"),
    ]


COMPLETION = Task(
    grade_id="completion-times",
    entry="completion_times",
    points=3,
    cases=completion_cases,
    reference=completion_with(),
    compare=Close(rtol=1e-9),
    misconceptions=[
        Misconception(
            "one-after-the-other",
            completion_with(every=sum),
            "each request waits until the one before it has left the whole pipeline; it may enter "
            "a stage as soon as that stage is free",
        ),
        Misconception(
            "all-at-once",
            completion_with(every=lambda stage_s: 0),
            "all requests finish at the same time here; a stage does one thing at a time",
        ),
        Misconception(
            "pace-of-the-first",
            completion_with(every=lambda stage_s: stage_s[0]),
            "the first stage sets the pace here; if a later one is slower, requests queue there",
        ),
        Misconception(
            "pace-of-the-last",
            completion_with(every=lambda stage_s: stage_s[-1]),
            "the last stage sets the pace here; if another is slower, the last one has to wait",
        ),
        Misconception(
            "mean-pace",
            completion_with(every=lambda stage_s: sum(stage_s) / len(stage_s)),
            "one comes out every MEAN stage time here; the slowest stage sets the pace",
        ),
        Misconception(
            "all-as-slow-as-the-slowest",
            completion_with(first=lambda stage_s: len(stage_s) * max(stage_s)),
            "the first request takes the slowest stage's time in every stage; it waits for nobody "
            "and takes the sum",
        ),
        Misconception(
            "enters-the-last-stage",
            completion_with(first=lambda stage_s: sum(stage_s[:-1])),
            "these are the times of entering the last stage (if nobody waits there); a request is "
            "done when it leaves it",
        ),
        Misconception(
            "first-one-waits",
            completion_with(shift=1),
            "off by one request: the first one waits for nobody and leaves after the sum",
        ),
    ],
)

# --- Task 4: decode ---------------------------------------------------------------------------


def decode_with(
    period=max,
    end=lambda request, n_stages: request + n_stages,
    arrange=lambda rows: rows,
):
    """Everyone comes round once a period; what else can go wrong."""

    def decode_times(n_requests, n_stages, n_steps):
        round_s = period(n_requests, n_stages)
        return arrange(
            [
                [t * round_s + end(request, n_stages) for t in range(n_steps)]
                for request in range(n_requests)
            ]
        )

    return decode_times


def one_by_one(n_requests, n_stages, n_steps):
    return [[(r * n_steps + t + 1) * n_stages for t in range(n_steps)] for r in range(n_requests)]


def step_queue(n_requests, n_stages, n_steps):
    """All steps of request 0 enter stage 0 back to back, then those of request 1, ..."""
    return [[r * n_steps + t + n_stages for t in range(n_steps)] for r in range(n_requests)]


def decode_cases(rng):
    steps = [between(rng, 3, 8) for _ in range(5)]
    return [
        Case(1, between(rng, 3, 7), steps[0], label="a single request"),
        Case(3, between(rng, 5, 9), steps[1], label="fewer requests than stages"),
        Case(4, 4, steps[2], label="as many requests as stages"),
        Case(between(rng, 6, 9), 4, steps[3], label="more requests than stages"),
        Case(3, 1, steps[4], label="a single stage"),
        Case(3, 2, 1, label="a single step"),
    ]


DECODE = Task(
    grade_id="decode-times",
    entry="decode_times",
    points=4,
    cases=decode_cases,
    reference=decode_with(),
    compare=Exact(),
    misconceptions=[
        Misconception(
            "no-dependency",
            decode_with(period=lambda m, s: m),
            "with few requests a step enters stage 0 before its token is chosen: step t + 1 waits "
            "until step t has left the LAST stage",
        ),
        Misconception(
            "steps-back-to-back",
            step_queue,
            "all steps of a request enter stage 0 one behind the other; each needs the token of "
            "the step before, which is only known when that one has left the last stage",
        ),
        Misconception(
            "waits-for-stage-0-only",
            decode_with(period=lambda m, s: max(m, 2 if s > 1 else 1)),
            "a step goes on when the one before it has left stage 0 and one more stage; it has to "
            "leave all of them",
        ),
        Misconception(
            "stage-0-not-busy",
            decode_with(period=lambda m, s: s),
            "a request comes round every n_stages seconds here, however many there are; with more "
            "requests than stages it has to wait until stage 0 is free",
        ),
        Misconception(
            "runs-empty-each-step",
            decode_with(period=lambda m, s: m + s - 1),
            "the pipeline runs empty after each round of steps; request 0 may enter as soon as its "
            "own token is there",
        ),
        Misconception(
            "one-request-at-a-time",
            one_by_one,
            "each request (and each step) has the whole pipeline to itself; others may use the "
            "stages that it has left",
        ),
        Misconception(
            "entry-times",
            decode_with(end=lambda request, n_stages: request),
            "these are the times of entering stage 0; a step is done n_stages seconds later",
        ),
        Misconception(
            "leaves-stage-0",
            decode_with(end=lambda request, n_stages: request + 1),
            "these are the times of leaving stage 0; the token is there after the last stage",
        ),
        Misconception(
            "all-enter-together",
            decode_with(end=lambda request, n_stages: n_stages),
            "all requests enter stage 0 at the same time; request r waits r seconds there",
        ),
        Misconception(
            "steps-by-requests",
            decode_with(arrange=lambda rows: [list(column) for column in zip(*rows, strict=True)]),
            "the numbers are right, their order is not: one list for each REQUEST, of its steps",
        ),
    ],
)

# --- Task 5: how large is the bubble? ---------------------------------------------------------


def fewest(bubble, n_stages, max_percent):
    return next(m for m in itertools.count(1) if round(bubble(m, n_stages) * 100, 9) <= max_percent)


def bubble_fraction(n_requests, n_stages):
    return 1 - n_requests / (n_requests + n_stages - 1)


def requests_for(n_stages, max_percent):
    idle, allowed = (n_stages - 1) * (100 - max_percent), max_percent
    return max(1, -(-idle // allowed))


def both(bubble):
    """Who has a wrong formula uses it in both functions."""

    def wrong_requests(n_stages, max_percent):
        return fewest(bubble, n_stages, max_percent)

    return {"bubble_fraction": bubble, "requests_for": wrong_requests}


def only_requests(change):
    def wrong(n_stages, max_percent):
        exact = (n_stages - 1) * (100 - max_percent) / max_percent
        return change(exact)

    return {"requests_for": wrong}


def bubble_cases(rng):
    s = between(rng, 5, 9)
    fractions = [
        Case(1, s, label="a single request"),
        Case(between(rng, 10, 20), s, label="more requests than stages"),
        Case(3, s, label="fewer requests than stages"),
        Case(between(rng, 2, 9), 1, label="a single stage"),
    ]
    wanted = [
        Case(s, 35, entry="requests_for", label="about a third"),
        Case(8, 9, entry="requests_for", label="a small bubble"),  # 70.8
        Case(8, 65, entry="requests_for", label="a large bubble"),  # 3.8
        Case(s, 50, entry="requests_for", label="just allowed"),
        Case(1, 10, entry="requests_for", label="the requests of a single stage"),
    ]
    return [*fractions, *wanted]


BUBBLE = Task(
    grade_id="bubble",
    entry=("bubble_fraction", "requests_for"),
    points=2,
    cases=bubble_cases,
    reference={"bubble_fraction": bubble_fraction, "requests_for": requests_for},
    compare=Close(rtol=1e-9, atol=1e-9),
    misconceptions=[
        Misconception(
            "of-the-ideal-time",
            both(lambda m, s: (s - 1) / m),
            "this is the bubble in terms of the ideal time, as in papers on training; here it is a "
            "part of the whole chart, n_requests + n_stages - 1 steps",
        ),
        Misconception(
            "one-step-too-long",
            both(lambda m, s: s / (m + s)),
            "off by one: the first request needs n_stages steps, each further one a single step "
            "more, so the chart has n_requests + n_stages - 1",
        ),
        Misconception(
            "fill-only",
            both(lambda m, s: (s - 1) / 2 / (m + s - 1)),
            "only one of the triangles is counted: stages are idle while the pipeline fills AND "
            "while it drains",
        ),
        Misconception(
            "roles-swapped",
            both(lambda m, s: (m - 1) / (m + s - 1)),
            "requests and stages are swapped: more STAGES make more bubble, more requests less",
        ),
        Misconception(
            "busy-part",
            {"bubble_fraction": lambda m, s: m / (m + s - 1)},
            "bubble_fraction is the busy part; the bubble is the rest",
        ),
        Misconception(
            "rounds-down",
            only_requests(lambda exact: max(1, int(exact))),
            "requests_for rounds down: one request fewer than needed leaves a bubble that is too "
            "large",
        ),
        Misconception(
            "strictly-below",
            only_requests(lambda exact: int(exact) + 1),
            "a bubble of exactly max_percent is allowed; you ask for one request more",
        ),
        Misconception(
            "no-request",
            only_requests(lambda exact: -int(-exact // 1)),
            "a single stage needs no others to fill it, but the answer is 1 request or more",
        ),
    ],
)

# --- Task 6: find the bug in a schedule -------------------------------------------------------


def problems_with(
    overlap=lambda one, other: one[0] < other[1] and other[0] < one[1],
    pairs=lambda blocks: itertools.combinations(blocks, 2),
    enters=lambda start, left: start >= left,
    awaited=lambda request, step, last: [last[request, step - 1]],
    token_stage=lambda n_stages: n_stages - 1,
    rules=("two at once", "not left yet", "no token yet"),
    report=sorted,
):
    """schedule_problems with one thing changed; unchanged it is the reference."""

    def schedule_problems(blocks, n_stages):
        ends = {tuple(block[:3]): block[4] for block in blocks}
        last = {(r, t): ends[token_stage(n_stages), r, t] for _, r, t in ends}
        found = set()
        if any(a[0] == b[0] and overlap(a[3:], b[3:]) for a, b in pairs(blocks)):
            found.add("two at once")
        for stage, request, step, start_s, _ in blocks:
            if stage and not enters(start_s, ends[stage - 1, request, step]):
                found.add("not left yet")
            if not stage and step and start_s < max(awaited(request, step, last)):
                found.add("no token yet")
        return report(found & set(rules))

    return schedule_problems


def honest_blocks(n_requests, n_stages, n_steps, prefill_s):
    """First come, first served: a prefill of prefill_s and steps of 1 s in each stage."""
    free, token, blocks = [0] * n_stages, [0] * n_requests, []
    for step, request in itertools.product(range(n_steps), range(n_requests)):
        now, seconds = token[request], 1 if step else prefill_s
        for stage in range(n_stages):
            start = max(now, free[stage])
            now = free[stage] = start + seconds
            blocks.append((stage, request, step, start, now))
        token[request] = now
    return blocks


def mixed(rng, blocks):
    return [blocks[i] for i in rng.permutation(len(blocks))]


def problem_cases(rng):
    L = between(rng, 3, 6)
    good = honest_blocks(3, 3, 3, L)
    alone = [(0, 0, 0, 0, L), (1, 0, 0, L, 2 * L), (2, 0, 0, 2 * L, 3 * L)]
    other = [(s, 1, t, a + 90, b + 90) for s, _, t, a, b in alone]  # long after it
    step = [(s, 0, 1, 40 + s, 41 + s) for s in range(3)]

    # Step 1 starts when step 0 has left stage 0, or stage 1, and not the last one.
    too_soon = [(s, 0, 1, 2 * L + s, 2 * L + s + 1) for s in range(2)] + [(2, 0, 1, 50, 51)]
    crossing = [(0, 1, 0, L - 1, 2 * L - 1), (1, 1, 0, 60, 60 + L), (2, 1, 0, 70, 70 + L)]
    inside = [(0, 1, 0, 1, 2), (1, 1, 0, 60, 61), (2, 1, 0, 70, 71)]
    together = [(0, 1, 0, 0, L), *crossing[1:]]
    first = [(s, 1, 1, s, s + 1) for s in range(3)]  # long before request 1's prefill
    early = [*alone[:2], (2, 0, 0, 2 * L - 1, 3 * L - 1)]  # stage 1 ends at 2 L
    return [
        Case(mixed(rng, good), 3, label="a right schedule"),
        Case(mixed(rng, honest_blocks(5, 2, 3, 1)), 2, label="a right schedule, many requests"),
        Case([*alone, *other, *step], 3, label="a right schedule with pauses"),
        Case([alone[0], *crossing, *alone[1:]], 3, label="two blocks that cross"),
        Case([alone[0], *inside[1:], *alone[1:], inside[0]], 3, label="a block inside another"),
        Case(
            [*alone[:1], *together[1:], *alone[1:], together[0]], 3, label="two that start together"
        ),
        Case(mixed(rng, [*early, *other]), 3, label="a stage that starts too early"),
        Case(mixed(rng, [*alone, *too_soon]), 3, label="a step that starts too early"),
        Case(mixed(rng, [*other, *first]), 3, label="a step before its prefill"),
        Case([*early, *crossing, *too_soon], 3, label="everything wrong"),
    ]


PROBLEMS = Task(
    grade_id="schedule-problems",
    entry="schedule_problems",
    points=2,
    cases=problem_cases,
    reference=problems_with(),
    compare=Exact(),
    misconceptions=[
        Misconception(
            "overlap-not-checked",
            problems_with(rules=("not left yet", "no token yet")),
            "two blocks of one stage at the same time are not found",
        ),
        Misconception(
            "boundary-not-checked",
            problems_with(rules=("two at once", "no token yet")),
            "a pass that starts in a stage before it has left the one before is not found",
        ),
        Misconception(
            "token-not-checked",
            problems_with(rules=("two at once", "not left yet")),
            "a step that starts before its token is chosen is not found",
        ),
        Misconception(
            "token-after-stage-0",
            problems_with(token_stage=lambda n_stages: 0),
            "a step may start here when the one before it has left stage 0; its token is only "
            "there when it has left the LAST stage",
        ),
        Misconception(
            "waits-for-all-tokens",
            problems_with(
                awaited=lambda request, step, last: [
                    end for (_, t), end in last.items() if t == step - 1
                ]
            ),
            "a step waits for the tokens of ALL requests here; it needs its own only, so right "
            "schedules are called wrong",
        ),
        Misconception(
            "touching-is-overlap",
            problems_with(overlap=lambda one, other: one[0] <= other[1] and other[0] <= one[1]),
            "a block that starts when another one ends is called an overlap; that is the rule, not "
            "a problem",
        ),
        Misconception(
            "has-to-pause",
            problems_with(enters=lambda start, left: start > left),
            "a pass that enters a stage at the very moment at which it left the one before is "
            "called too early",
        ),
        Misconception(
            "same-start-only",
            problems_with(overlap=lambda one, other: one[0] == other[0]),
            "only blocks that START at the same time are found to overlap",
        ),
        Misconception(
            "neighbours-in-the-list",
            problems_with(pairs=lambda blocks: itertools.pairwise(blocks)),
            "only blocks that are neighbours in the list are compared; they come in any order",
        ),
        Misconception(
            "first-problem-only",
            problems_with(report=lambda found: sorted(found)[:1]),
            "only one of the broken rules is named; a schedule may break several",
        ),
    ],
)

TASKS = [VOLUME, SPLIT, COMPLETION, DECODE, BUBBLE, PROBLEMS]
