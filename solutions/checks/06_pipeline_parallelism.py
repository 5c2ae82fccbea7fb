"""Hidden checks of exercise 06: a stage, schedules, chunks, a link, broken rules."""

import itertools

from grader.checks import Case, Close, Exact, Task, between


def use_run_stage(answer, stage, n_stages, prompts, n_new):
    """What run_stage does, in order: received 100, 101, ... and sent what compute returned."""
    log = []

    def receive():
        log.append("receive")
        return 99 + log.count("receive")

    def compute(request, x):
        log.append(["compute", request, x])
        return 1000 + len(log)

    tokens = answer.run_stage(
        stage, n_stages, prompts, n_new, receive, compute, lambda y: log.append(["send", y])
    )
    return log, tokens


def run_stage_cases(rng):
    prompts = [[between(rng, 1, 99) for _ in range(n)] for n in (3, 1, 4)]
    return [
        Case(0, 2, prompts, [4, 2, 5], label="the first of two stages"),
        Case(1, 2, prompts, [4, 2, 5], label="the last of two stages"),
        Case(1, 3, prompts, [2, 3, 1], label="a stage in the middle"),
        Case(3, 4, prompts[:1], [1], label="one token for one request, the last stage"),
        Case(0, 4, prompts[:1], [1], label="one token for one request, the first stage"),
    ]


RUN_STAGE = Task(
    grade_id="run-stage", entry="run_stage", cases=run_stage_cases, drive=use_run_stage,
    compare=Exact(), misconceptions=[
        ("receives-first", "stage == 0 and step == 0", "False",
         "stage 0 waits for a message before its first passes: nobody has sent one yet, and the "
         "pipeline hangs. It has the prompts itself"),
        ("all-stages-read-the-prompt", "stage == 0 and step == 0", "step == 0",
         "every stage computes on the prompts; all but stage 0 receive embeddings"),
        ("the-prompt-again", "stage == 0 and step == 0", "stage == 0",
         "stage 0 computes the prompt in every step: from the second on its input is the token "
         "that comes back"),
        ("request-by-request", "    for step in range(max(n_new)):\n        for request, prompt in "
         "enumerate(prompts):", "    for request, prompt in enumerate(prompts):\n        for step "
         "in range(max(n_new)):", "a request is finished before the next one begins, so that one "
         "stage works at a time; in each step all requests have their turn"),
        ("all-as-long-as-the-longest", "step >= n_new[request]", "step >= max(n_new)",
         "requests that have all their tokens are computed on; leave them out"),
        ("one-pass-too-many", "step >= n_new[request]", "step > n_new[request]",
         "a request gets one token too many: the prefill gives the first one already"),
        ("sends-the-last-token", "not is_last or step + 1 < n_new[request]", "True",
         "the last token of a request is sent back, and stage 0 never receives it"),
        ("keeps-every-token", "not is_last or step + 1 < n_new[request]", "not is_last",
         "the last stage sends no token back, and stage 0 waits for one for ever"),
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
        ("stage-0-not-busy", "return times",
         "return [[(t + 1) * n_stages + r for t in range(n_steps)] for r in range(n_requests)]",
         "a request comes round every n_stages seconds here, however many there are; with more "
         "requests than stages it has to wait until stage 0 is free"),
        ("runs-empty-each-step", "        for own in times:",
         "        stage_0_free = max((own[-1] for own in times if own), default=0)\n        for "
         "own in times:", "the pipeline runs empty after each round of steps; request 0 may enter "
         "as soon as its own token is there"),
        ("entry-times",
         "return times", "return [[time - n_stages for time in own] for own in times]",
         "these are the times of entering stage 0; a step is done n_stages seconds later"),
    ])  # fmt: skip


def chunk_cases(rng):
    def one(seq_len, chunk, n_stages, label):
        sizes = between(rng, 2, 9), between(rng, 1, 5)
        return Case(seq_len, chunk, n_stages, *sizes, entry="prefill_s", label=label)

    return [
        one(7 * between(rng, 5, 9), 7, 3, "chunks that divide the prompt"),
        one(41, 9, between(rng, 3, 6), "a shorter last chunk"),
        one(12, 50, 3, "a chunk longer than the prompt"),
        one(5, 1, 4, "chunks of one token"),
        Case(60, 4, between(rng, 4, 8), 1, entry="best_chunk", label="the best of many"),
        Case(8, 2, 1, 1, entry="best_chunk", label="two that are equally good"),
        Case(30, 1, 5, 2, entry="best_chunk", label="a single stage"),
        Case(30, 4, 0, 1, entry="best_chunk", label="starts that cost nothing"),
    ]


CHUNKS = Task(
    grade_id="chunked-prefill", entry=("prefill_s", "best_chunk"), cases=chunk_cases,
    compare=Close(rtol=1e-9), misconceptions=[
        ("one-after-the-other", "        now = 0\n", "        now = free_s[-1]\n",
         "a chunk enters stage 0 only when the one before has left the LAST stage; it may enter "
         "when stage 0 is free, since it waits for no token"),
        ("never-waits", "max(now, free_s[stage])", "now",
         "chunks overtake one another: a stage takes one chunk at a time"),
        ("all-stages-at-once", "max(now, free_s[stage])", "free_s[stage]",
         "the stages work on the same chunk at the same time; it has to leave the stage before"),
        ("one-start-for-the-prompt", "+ start_s + size * token_s",
         "+ start_s * (first == 0) + size * token_s",
         "each chunk has a start of its own: a stage reads its weights for every pass"),
        ("full-last-chunk", "min(chunk, seq_len - first)", "chunk",
         "the last chunk is counted as a full one; it has only the tokens that are left"),
        ("drops-the-rest", "range(0, seq_len, chunk)", "range(0, seq_len - chunk + 1, chunk)",
         "    free_s = [0] * n_stages", "    now, free_s = 0, [0] * n_stages",
         "the tokens that fill no whole chunk are left out"),
        ("smallest-of-equals", "range(seq_len, 0, -1)", "range(1, seq_len + 1)",
         "of several chunk sizes that are equally good best_chunk gives the smallest; asked is the "
         "largest"),
    ])  # fmt: skip


def link_cases(rng):
    links = [
        ("nvlink", 90, 1e-6, 2400), ("infiniband", 40, 3e-6, 400), ("ethernet", 10, 3e-5, 100),
        ("line", 5, 2e-3, 10), ("home", 1, 1e-2, 0.1),
    ]  # fmt: skip

    def case(n_stages, most_first_s, most_token_s, label, links=links):
        d_model, seq_len = 128 * between(rng, 32, 40), between(rng, 900, 1100)
        links = [links[i] for i in rng.permutation(len(links))]
        times = (0.05, 0.007, most_first_s, most_token_s)
        return Case(links, d_model, n_stages, seq_len, *times, label=label)

    return [
        case(2, 9.0, 9.0, "the cheapest will do"),
        case(2, 0.5, 0.02, "a long start is allowed"),
        case(4, 0.06, 9.0, "a quick first token"),
        case(4, 9.0, 0.0073, "quick further tokens"),
        case(8, 0.0505, 0.0072, "both"),
        case(2, 0.049, 9.0, "a target below the computing"),
        Case([("a", 1, 0.5, 8), ("b", 2, 0.25, 8)], 10_000, 2, 50_000, 1.0, 1.0, 2.5, 9.0,
             label="exactly as fast as asked"),  # 1 GB at 1 GB/s: no way of rounding differs
        Case([("b", 2, 0.5, 8), ("a", 1, 0.5, 8)], 4096, 3, 3, 1.0, 1.0, 99.0, 99.0,
             label="two that are equally fast"),
    ]  # fmt: skip


LINK = Task(
    grade_id="choose-link", entry="choose_link", cases=link_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("bits-for-bytes", "8 / (gbit_per_s", "1 / (gbit_per_s",
         "the bandwidth is in gigabits per second: a byte takes eight times as long as a bit"),
        ("one-boundary", "n_boundaries = n_stages - 1", "n_boundaries = 1",
         "one boundary is counted; n_stages stages have n_stages - 1"),
        ("no-start-of-a-token", "(start_s + 2 * d_model", "(2 * d_model",
         "a token's activations have no start; for such short messages it is the longest part"),
        ("no-way-back", "token_s += start_s + 8 * byte_s", "token_s += 0",
         "the token id's way back to stage 0 is missing"),
        ("back-over-all-stages", "token_s += start_s", "token_s += n_boundaries * start_s",
         "the token id passes every stage on its way back; it is one message to stage 0"),
        ("elements-for-bytes", "start_s + 2 * seq_len", "start_s + seq_len",
         "start_s + 2 * d_model", "start_s + d_model", "FP16: an element has 2 bytes"),
        ("fastest-first", "key=lambda link: link[1]", "key=lambda link: -link[3]",
         "the fastest link is taken; asked is the cheapest that is fast enough"),
        ("first-token-only", " and token_s <= most_token_s", "",
         "the limit for further tokens is not checked"),
        ("further-tokens-only", "first_s <= most_first_s and ", "",
         "the limit for the first token is not checked"),
        ("strictly-below", "<= most_first_s", "< most_first_s", "exactly the limit is allowed"),
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
        Case([*alone, *together], 3, label="two that start together"),
        Case(mixed(rng, [*early, *other]), 3, label="a stage that starts too early"),
        Case([alone[0], (1, 0, 0, L - 1, 2 * L - 1), alone[2]], 3, label="stage 1 too early"),
        Case(mixed(rng, [*alone, *too_soon]), 3, label="a step that starts too early"),
        Case([*alone, (0, 0, 1, L, L + 1), *too_soon[1:]], 3, label="a step much too early"),
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
        ("touching-is-overlap", "start_s < other_end_s and other_start_s < end_s",
         "start_s <= other_end_s and other_start_s <= end_s", "a block that starts when another "
         "one ends is called an overlap; that is the rule, not a problem"),
        ("misses-contained", "start_s < other_end_s and other_start_s < end_s",
         "start_s <= other_start_s < end_s <= other_end_s",
         "a block that lies wholly inside another one of its stage is not found"),
    ])  # fmt: skip

TASKS = [RUN_STAGE, COMPLETION, DECODE, CHUNKS, LINK, PROBLEMS]
