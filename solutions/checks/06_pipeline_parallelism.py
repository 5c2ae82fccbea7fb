"""Hidden checks of exercise 06: volumes, layers over stages, schedules, bubbles, broken rules."""

import itertools

from grader.checks import Case, Close, Exact, Task, between


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
    grade_id="pipeline-bytes", entry="pipeline_bytes", cases=volume_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("a-pass-for-each-token", "(max_new_tokens - 1)", "max_new_tokens",
         "counted max_new_tokens decode passes; the prefill gives the first token, and the last "
         "one is never put in, so there is one fewer"),
        ("counts-stages", "(n_stages - 1)", "n_stages",
         "counted a boundary for each stage; the last stage sends no activations on"),
        ("every-layer-sends", "(n_stages - 1)", 'spec["n_layers"]',
         "counted every layer; inside a stage nothing is sent, only its last layer's output is"),
        ("one-boundary", "(n_stages - 1) * ", "",
         "the request's bytes are those of one boundary; there are n_stages - 1"),
        ("sends-the-past-again", "dtype_bytes  #", "dtype_bytes * seq_len  #", "seq_len * decode",
         "decode", "a decode pass sends the prompt's activations again here; each stage has its "
         "past in its cache, so only the new token's travel"),
        ("inner-width", 'spec["d_model"]', 'spec["d_ff"]',
         "counted with F, the MLP's inner width; what goes from layer to layer is D wide"),
        ("elements-for-bytes", " * dtype_bytes", "",
         "these are elements; each has dtype_bytes bytes"),
        ("always-fp16", "* dtype_bytes", "* 2",
         "always counted with 2 bytes an element; dtype_bytes says how large one is"),
        ("one-sequence", "batch_size * spec", "spec",
         "counted one sequence; each of the batch_size sequences sends its own activations"),
        ("prefill-forgotten", "= prefill + ", "= ", "the request's bytes are those of the decode "
         "passes alone; the prefill crosses the boundaries, too, and is the larger part"),
        ("no-cache", "(max_new_tokens - 1) * decode",
         "sum(seq_len + i for i in range(1, max_new_tokens)) * decode",
         "each decode pass sends all tokens so far; the stages have caches, so that one "
         "token for each sequence is sent"),
        ("batch-in-the-request-only", '"prefill": prefill, "decode": decode,',
         '"prefill": prefill // batch_size, "decode": decode // batch_size,',
         "the request counts the whole batch, prefill and decode one sequence of it; all "
         "three are of the batch"),
        ("decode-without-batch", "prefill = seq_len * decode",
         "prefill = seq_len * decode\n    decode //= batch_size",
         "a decode pass counts one token in all; each of the batch_size sequences has a new "
         "token"),
    ])  # fmt: skip


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
    grade_id="split-layers", entry="split_layers", cases=split_cases, compare=Exact(),
    misconceptions=[
        ("dealt-like-cards", "range(first, end)", "range(stage, n_layers, n_stages)",
         "the layers are dealt like cards; a stage needs consecutive ones, or each pass has to "
         "cross every boundary many times"),
        ("drops-the-rest", " + (stage < n_larger)", "",
         "if the layers don't divide, the last n_layers % n_stages of them are in no stage"),
        ("rest-to-the-last", "(stage < n_larger)", "n_larger * (stage == n_stages - 1)",
         "the last stage gets all the layers that are left over, and everyone waits for it: spread "
         "them, one for each of the first stages"),
        ("larger-last", "stage < n_larger", "stage >= n_stages - n_larger",
         "the larger stages come last; the last one has the output matrix as well, so they come "
         "first"),
        ("rounds-up", "first + size + (stage < n_larger)",
         "min(first + size + (n_larger > 0), n_layers)", "each stage takes n_layers / n_stages "
         "rounded up, so that too little remains for the last ones; sizes may differ by one only"),
        ("counts-from-one", "[], 0", "[], 1", "layers are counted from 0 to n_layers - 1"),
        ("shared-layer", "(first, end)", "(first, end + 1)", "each stage's end is one too far: its "
         "last layer is also the next one's first (a range's end is not part of it)"),
        ("refuses-uneven", "<= n_layers:", "<= n_layers or n_layers % n_stages:",
         "layers that don't divide are refused; here sizes may differ by one"),
        ("empty-stages", "<= n_stages <= n_layers", "<= n_stages",
         "with more stages than layers some stages are empty: raise a ValueError"),
    ])  # fmt: skip


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
    grade_id="completion-times", entry="completion_times", cases=completion_cases,
    compare=Close(rtol=1e-9), misconceptions=[
        ("one-after-the-other", "now = 0", "now = times[-1] if times else 0",
         "each request waits until the one before it has left the whole pipeline; it may enter a "
         "stage as soon as that stage is free"),
        ("all-at-once", "max(now, free_s[stage])", "now",
         "all requests finish at the same time here; a stage does one thing at a time"),
        ("pace-of-the-first",
         "return times", "return [sum(stage_s) + r * stage_s[0] for r in range(n_requests)]",
         "the first stage sets the pace here; if a later one is slower, requests queue there"),
        ("pace-of-the-last",
         "return times", "return [sum(stage_s) + r * stage_s[-1] for r in range(n_requests)]",
         "the last stage sets the pace here; if another is slower, the last one has to wait"),
        ("mean-pace", "return times",
         "return [sum(stage_s) * (1 + r / len(stage_s)) for r in range(n_requests)]",
         "one comes out every MEAN stage time here; the slowest stage sets the pace"),
        ("all-as-slow-as-the-slowest",
         "return times", "return [(len(stage_s) + r) * max(stage_s) for r in range(n_requests)]",
         "the first request takes the slowest stage's time in every stage; it waits for nobody and "
         "takes the sum"),
        ("enters-the-last-stage", "return times", "return [time - stage_s[-1] for time in times]",
         "these are the times of entering the last stage (if nobody waits there); a request is "
         "done when it leaves it"),
        ("first-one-waits", "return times", "return [time + max(stage_s) for time in times]",
         "off by one request: the first one waits for nobody and leaves after the sum"),
        ("never-waits-for-arrival",
         "now = max(now, free_s[stage]) + seconds\n            free_s[stage] = now",
         "free_s[stage] += seconds\n            now = max(now, free_s[stage])",
         "each stage begins before the request is there: it waits for BOTH, that the stage "
         "is free and that the request has left the stage before"),
        ("stage-between-stays-empty", "free_s[stage])", "free_s[min(stage + 1, len(stage_s) - 1)])",
         "a request waits until the one before has left the NEXT stage; it may enter as soon "
         "as this one is free"),
    ])  # fmt: skip


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
    grade_id="decode-times", entry="decode_times", cases=decode_cases, compare=Exact(),
    misconceptions=[
        ("no-dependency", "max(token_there, stage_0_free)", "stage_0_free",
         "with few requests a step enters stage 0 before its token is chosen: step t + 1 waits "
         "until step t has left the LAST stage"),
        ("steps-back-to-back", "return times",
         "return [[r * n_steps + t + n_stages for t in range(n_steps)] for r in range(n_requests)]",
         "all steps of a request enter stage 0 one behind the other; each needs the token of the "
         "step before, which is only known when that one has left the last stage"),
        ("waits-for-stage-0-only", "own[-1] if", "own[-1] - n_stages + min(n_stages, 2) if",
         "a step goes on when the one before it has left stage 0 and one more stage; it has to "
         "leave all of them"),
        ("stage-0-not-busy", "return times",
         "return [[(t + 1) * n_stages + r for t in range(n_steps)] for r in range(n_requests)]",
         "a request comes round every n_stages seconds here, however many there are; with more "
         "requests than stages it has to wait until stage 0 is free"),
        ("runs-empty-each-step", "        for own in times:",
         "        stage_0_free = max((own[-1] for own in times if own), default=0)\n        for "
         "own in times:", "the pipeline runs empty after each round of steps; request 0 may enter "
         "as soon as its own token is there"),
        ("one-request-at-a-time", "return times",
         "return [[(r * n_steps + t + 1) * n_stages for t in range(n_steps)] for r in "
         "range(n_requests)]", "each request (and each step) has the whole pipeline to itself; "
         "others may use the stages that it has left"),
        ("entry-times",
         "return times", "return [[time - n_stages for time in own] for own in times]",
         "these are the times of entering stage 0; a step is done n_stages seconds later"),
        ("leaves-stage-0",
         "return times", "return [[time - n_stages + 1 for time in own] for own in times]",
         "these are the times of leaving stage 0; the token is there after the last stage"),
        ("all-enter-together",
         "return times", "return [[time - r for time in own] for r, own in enumerate(times)]",
         "all requests enter stage 0 at the same time; request r waits r seconds there"),
        ("steps-by-requests",
         "return times", "return [list(row) for row in zip(*times, strict=True)]",
         "the numbers are right, their order is not: one list for each REQUEST, of its steps"),
        ("lowest-first", "    return times",
         "    ready, times, now = [0] * n_requests, [[] for _ in range(n_requests)], 0\n    "
         "while any(len(own) < n_steps for own in times):\n        waiting = [r for r in "
         "range(n_requests) if len(times[r]) < n_steps and ready[r] <= now]\n        for r "
         "in waiting[:1]:\n            ready[r] = now + n_stages\n            "
         "times[r].append(ready[r])\n        now += 1\n    return times",
         "the lowest request that is ready overtakes others that have waited longer: first "
         "come, first served"),
        ("token-takes-a-second", "own[-1] if own", "own[-1] + 1 if own",
         "a second passes between a token and the next step; the step may enter at once"),
        ("one-batch", "    return times",
         "    return [[n_stages * (t + 1) for t in range(n_steps)] for _ in "
         "range(n_requests)]",
         "all requests pass a stage together, as one batch; here a stage does one step of "
         "ONE request at a time"),
    ])  # fmt: skip


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
        Case(10, 60, entry="requests_for", label="just allowed, but for rounding"),  # 6
        Case(1, 10, entry="requests_for", label="the requests of a single stage"),
    ]
    return [*fractions, *wanted]


BUBBLE = Task(
    grade_id="bubble", entry=("bubble_fraction", "requests_for"), cases=bubble_cases,
    compare=Close(rtol=1e-9, atol=1e-9), misconceptions=[
        ("of-the-ideal-time", "/ (n_requests + n_stages - 1)", "/ n_requests",
         "* (n_requests + n_stages - 1)", "* n_requests",
         "this is the bubble in terms of the ideal time, as in papers on training; here it is a "
         "part of the whole chart, n_requests + n_stages - 1 steps"),
        ("one-step-too-long",
         "(n_stages - 1) / (n_requests + n_stages - 1)", "n_stages / (n_requests + n_stages)",
         "(n_stages - 1) > max_percent * (n_requests + n_stages - 1)",
         "n_stages > max_percent * (n_requests + n_stages)",
         "off by one: the first request needs n_stages steps, each further one a single step more, "
         "so the chart has n_requests + n_stages - 1"),
        ("fill-only", "(n_stages - 1) /", "(n_stages - 1) / 2 /", "while 100", "while 50",
         "only one of the triangles is counted: stages are idle while the pipeline fills AND while "
         "it drains"),
        ("roles-swapped", "(n_stages - 1) /", "(n_requests - 1) /",
         "(n_stages - 1) >", "(n_requests - 1) >",
         "requests and stages are swapped: more STAGES make more bubble, more requests less"),
        ("busy-part", "(n_stages - 1) /", "n_requests /",
         "bubble_fraction is the busy part; the bubble is the rest"),
        ("rounds-down",
         "return n_requests", "return max(1, (n_stages - 1) * (100 - max_percent) // max_percent)",
         "requests_for rounds down: one request fewer than needed leaves a bubble that is too "
         "large"),
        ("strictly-below", "(n_stages - 1) >", "(n_stages - 1) >=",
         "a bubble of exactly max_percent is allowed; you ask for one request more"),
        ("no-request", "n_requests = 1", "n_requests = 0",
         "a single stage needs no others to fill it, but the answer is 1 request or more"),
        ("rounded-up-by-floats", "return n_requests",
         "return max(1, math.ceil((n_stages - 1) * (1 / (max_percent / 100) - 1)))",
         "the formula is right, but its floats are a little above a whole number at times, "
         "and ceil makes one more of it: compare whole numbers"),
        ("percent-for-a-fraction", "while 100 *", "while",
         "the bubble is a fraction, max_percent is in percent: one of them times 100"),
    ])  # fmt: skip


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

    late = [(0, 1, 0, 20, 20 + L), (1, 1, 0, 30, 30 + L), (2, 1, 0, 41, 41 + L)]
    second = [(0, 0, 2, 42, 43), (1, 0, 2, 60, 61), (2, 0, 2, 61, 62)]  # its token: at 43
    jumping = [step[0], (1, 0, 1, 2 * L, 2 * L + 1), (2, 0, 1, 50, 51)]
    # Step 1 enters stage 0, and only that, when step 0 has left stage 1 and not the last one.
    too_soon = [(0, 0, 1, 2 * L, 2 * L + 1), (1, 0, 1, 40, 41), (2, 0, 1, 50, 51)]
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
        Case(
            [alone[0], (1, 0, 0, L - 1, 2 * L - 1), alone[2]], 3, label="stage 1 starts too early"
        ),
        Case(mixed(rng, [*alone, *too_soon]), 3, label="a step that starts too early"),
        Case(
            [*alone, (0, 0, 1, L, L + 1), *too_soon[1:]],
            3,
            label="a step that starts much too early",
        ),
        Case([*alone, *step, *second], 3, label="a second step that starts too early"),
        Case([*alone, *step, *late], 3, label="two at once in the last stage"),
        Case([*alone, *jumping], 3, label="a stage that starts long before the one in front of it"),
        Case(mixed(rng, [*other, *first]), 3, label="a step before its prefill"),
        Case([*early, *crossing, *too_soon], 3, label="everything wrong"),
    ]


PROBLEMS = Task(
    grade_id="schedule-problems", entry="schedule_problems", cases=problem_cases, compare=Exact(),
    misconceptions=[
        ("overlap-not-checked", "and overlap", "and False",
         "two blocks of one stage at the same time are not found"),
        ("boundary-not-checked", "stage > 0 and", "False and",
         "a pass that starts in a stage before it has left the one before is not found"),
        ("token-not-checked", "step > 0 and", "False and",
         "a step that starts before its token is chosen is not found"),
        ("token-after-stage-0", "when[n_stages - 1,", "when[0,",
         "a step may start here when the one before it has left stage 0; its token is only there "
         "when it has left the LAST stage"),
        ("token-when-it-starts", "step - 1][1]", "step - 1][0]", "a step may start here when the "
         "one before it has ENTERED the last stage; its token is there when it has left it"),
        ("token-a-moment-late", "start_s < when[n_stages", "start_s <= when[n_stages",
         "a step that starts at the very moment at which its token is there is called too early"),
        ("stage-0-only", "if other[0] == stage and", "if other[0] == stage == 0 and",
         "overlaps are found in stage 0 only; every stage does one thing at a time"),
        ("waits-for-all-tokens", "when[n_stages - 1, request, step - 1][1]",
         "max(when[n_stages - 1, r, t][1] for _, r, t in when if t == step - 1)",
         "a step waits for the tokens of ALL requests here; it needs its own only, so right "
         "schedules are called wrong"),
        ("touching-is-overlap", "start_s < other_end_s and other_start_s < end_s",
         "start_s <= other_end_s and other_start_s <= end_s", "a block that starts when another "
         "one ends is called an overlap; that is the rule, not a problem"),
        ("has-to-pause", "start_s < when[stage", "start_s <= when[stage",
         "a pass that enters a stage at the very moment at which it left the one before is called "
         "too early"),
        ("misses-contained", "start_s < other_end_s and other_start_s < end_s",
         "start_s <= other_start_s < end_s <= other_end_s",
         "a block that lies wholly inside another one of its stage is not found"),
        ("first-step-only", "step > 0 and", "step == 1 and",
         "only the step after the prefill is checked; every step waits for its token"),
        ("same-start-only",
         "start_s < other_end_s and other_start_s < end_s", "start_s == other_start_s",
         "only blocks that START at the same time are found to overlap"),
        ("neighbours-in-the-list",
         "        for other, (other_start_s, other_end_s) in when.items():",
         "        after = list(when)[list(when).index((stage, request, step)) + 1 :]\n        for "
         "other, (other_start_s, other_end_s) in [(key, when[key]) for key in after[:1]]:",
         "only blocks that are neighbours in the list are compared; they come in any order"),
        ("first-problem-only", "sorted(broken)", "sorted(broken)[:1]",
         "only one of the broken rules is named; a schedule may break several"),
        ("named-for-each", "broken = set()", "broken = []", 'broken.add("two at once")',
         'broken.append("two at once")',
         "overlap = start_s < other_end_s and other_start_s < end_s",
         "overlap = start_s <= other_start_s < end_s", 'broken.add("not left yet")',
         'broken.append("not left yet")', 'broken.add("no token yet")',
         'broken.append("no token yet")',
         "a rule is named as often as it is broken; each name comes once"),
        ("neighbours-of-sorted-tuples",
         "        for other, (other_start_s, other_end_s) in when.items():",
         "        order = sorted(when)\n        i = order.index((stage, request, step))\n    "
         "    for other in order[i + 1 : i + 2]:\n            other_start_s, other_end_s = "
         "when[other]", "overlap = start_s < other_end_s and other_start_s < end_s",
         "overlap = other_start_s < end_s",
         "the blocks of a stage are compared in the order of requests and steps; that is not "
         "the order in which they start"),
    ])  # fmt: skip

TASKS = [VOLUME, SPLIT, COMPLETION, DECODE, BUBBLE, PROBLEMS]
