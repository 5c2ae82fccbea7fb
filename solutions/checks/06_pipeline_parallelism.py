"""Hidden checks of exercise 06: a stage, schedules, chunks, a link, broken rules."""

import itertools

from grader.checks import Case, Close, Exact, Task, between


def use_run_stage(answer, stage, n_stages, prompts, n_new):
    """What run_stage does, in order: received 0, 100, ... and sent what compute returned."""
    log = []

    def receive():
        log.append("receive")
        return 100 * log.count("receive") - 100

    def compute(request, x):
        log.append(["compute", request, x])
        return len(log) - 2  # the first token may be 0

    tokens = answer.run_stage(stage, n_stages, prompts, n_new, receive, compute,
                              lambda y: log.append(["send", y]))  # fmt: skip
    return log, tokens


def run_stage_cases(rng):
    prompts = [[between(rng, 1, 99) for _ in range(n)] for n in (3, 1, 4)]
    return [
        Case(0, 2, prompts, [4, 2, 5], label="the first of two stages: it sees no tokens, so "
             "compare n_new with the step; remove nothing from a list while you loop over it"),
        Case(1, 2, prompts, [4, 2, 5], label="the last stage: a request's last token is not sent"),
        Case(1, 3, prompts, [2, 3, 1], label="a stage in the middle sends on everything"),
        Case(3, 4, prompts[:1], [1], label="one token, one request"),
    ]  # fmt: skip


RUN_STAGE = Task(
    grade_id="run-stage", entry="run_stage", cases=run_stage_cases, drive=use_run_stage,
    compare=Exact(), misconceptions=[
        ("stage == 0 and step == 0", {"False", "step == 0", "stage == 0"}),
        ("if is_last:", "if stage:", "only the LAST stage returns tokens"),
        ("[[] for _ in prompts]", {"[[]] * len(prompts)"}),
        ("step in range(max(n_new)):\n        for request, prompt in", "request, prompt in",
         "enumerate(prompts):", {"enumerate(prompts):\n        for step in range(max(n_new)):"}),
        ("step >= n_new[request]", {"False", "len(tokens[request]) == n_new[request]"}),
        ("max(n_new)", "n_new[0]", "the LONGEST request says how many steps"),
        ("continue", "break", "continue with the requests behind one that is done"),
        ("step >= n", {"step > n"}), ("not is_last or step + 1 < n_new[request]", {"True"}),
        ("not is_last or step", "step", "only the last stage keeps a last token; others send all"),
        ("step + 1 < n_new[request]", {"step + 1 < max(n_new)"}),
        (" or step + 1 < n_new[request]", {""}),
    ])  # fmt: skip


EVERY = "return [sum(stage_s) + r * {} for r in range(n_requests)]".format
COMPLETION = Task(
    grade_id="completion-times", entry="completion_times", cases=lambda rng: [
        Case(4, [3, 5, between(rng, 11, 19), 8, 4], label="a slow stage inside"),
        Case(5, [between(rng, 20, 30), 3, 7], label="a slow first stage: queue there, too"),
        Case(4, [3, 7, between(rng, 20, 30)], label="a slow last stage, which sets the pace"),
        Case(1, [2, 7, between(rng, 10, 15)], label="a single request"),
        Case(3, [between(rng, 2, 9)], label="a single stage"),
        Case(3, [0.25, 0.75, 0.5], label="parts of a second: the times are no ints"),
    ],
    compare=Close(rtol=1e-9), misconceptions=[
        ("now = 0", {"now = times[-1] if times else 0"}),
        *(("return times", EVERY(f"max(stage_s[{part}], default=stage_s[0])"),
           f"the {name} stage is left out of the maximum; it may be the slowest one")
          for name, part in (("first", "1:"), ("last", ":-1"))),
        ("free_s[stage] = now", {"free_s[stage] += seconds"}),
        ("max(now, free_s[stage])", {"now": "", "max(now, stage and free_s[stage])":
         "requests queue in front of stage 0 as well"}),
        *(("return times", EVERY(f"stage_s[{i}]"),
           f"the {name} stage sets the pace here; it is the SLOWEST that does, wherever it is")
          for name, i in (("first", 0), ("last", -1))),
        ("now = max(now, free_s[stage]) + seconds\n            free_s[stage] = now",
         {"free_s[stage] += seconds\n            now = max(now, free_s[stage])"}),
        ("free_s[stage])", {"free_s[min(stage + 1, len(stage_s) - 1)])"}),
    ])  # fmt: skip


EACH = "return [[{} for t in range(n_steps)] for r in range(n_requests)]".format
DECODE = Task(
    grade_id="decode-times", entry="decode_times", compare=Exact(), cases=lambda rng: [
        Case(1, between(rng, 3, 7), between(rng, 3, 8), label="one request: wait for each step"),
        Case(3, between(rng, 5, 9), between(rng, 3, 8),
             label="fewer requests than stages: each has a list, and waits for its own token only"),
        *(Case(between(rng, 7, 9), 3, n, label="more requests than stages: each step waits")
          for n in (2, between(rng, 3, 8))),
        Case(3, 1, 1, label="a single stage, a single step"),
    ], misconceptions=[
        ("max(token_there, stage_0_free)", {"stage_0_free"}), ("own[-1] if", {"own[0] if"}),
        ("return times", {EACH("r * n_steps + t + n_stages"), EACH("(t + 1) * n_stages + r"),
         EACH("n_stages + t * max(n_requests, n_stages)"),
         EACH("r // n_stages * n_stages * n_steps + r % n_stages + (t + 1) * n_stages"),
         EACH("times[r][t] - n_stages")}),
        ("return times", EACH("r + (t + 1) * n_stages + (t > 0) * max(0, n_requests - n_stages)"),
         "the wait for the other requests comes in EVERY step, not once"),
        *(("return times", EACH(f"r + n_stages + t * {groups} * n_stages"),
           f"the round trip is rounded {way} to full groups of n_stages; request by request is due")
          for way, groups in (("up", "-(-n_requests // n_stages)"),
                              ("down", "max(1, n_requests // n_stages)"))),
        ("for own in times:",
         {"stage_0_free = max((x[-1] for x in times if x), default=0)\n        for own in times:"}),
    ])  # fmt: skip


def chunk_cases(rng):
    def one(seq_len, chunk, n_stages, label):
        sizes = between(rng, 2, 9), between(rng, 1, 5)
        return Case(seq_len, chunk, n_stages, *sizes, entry="prefill_s", label=label)

    best = {"entry": "best_chunk", "label": "the best of ALL sizes: try each, to the smallest"}
    return [
        one(7 * between(rng, 5, 9), 7, 3, "chunks that divide the prompt"),
        one(41, 9, between(rng, 3, 6), "a shorter last chunk"),
        *(Case(n, 4, between(rng, 4, 8), 1, **best) for n in (60, 61)),
        Case(8, 2, 5, 1, **best),
        Case(8, 2, 1, 1, **best | {"label": "of equally good sizes the largest"}),
        *(Case(30, *sizes, **best) for sizes in ((1, 5, 2), (4, 0, 1))),  # the ends are the best
    ]


TIME = "prefill_s(seq_len, {}, n_stages, start_s, token_s)".format
CHUNKS = Task(
    grade_id="chunked-prefill", entry=("prefill_s", "best_chunk"), cases=chunk_cases,
    compare=Close(rtol=1e-9), misconceptions=[
        ("        now = 0\n", {"        now = free_s[-1]\n"}), ("max(now, free_s[stage])", {"now"}),
        ("max(now, free_s[stage])", "free_s[stage]",
         "the stages work on the same chunk at the same time; it has to leave the stage before"),
        ("max(now,", "max(now, stage > 0 and size < chunk and now or",
         "the short last chunk does not wait for the one in front of it; that one takes longer"),
        ("+ start_s + size", {"+ start_s * (first == 0) + size"}),
        ("min(chunk, seq_len - first)", {"chunk"}),
        ("range(0, seq_len, chunk)", "range(0, seq_len + 1, chunk)",
         "where the chunk size divides the prompt an empty chunk is sent behind the last one"),
        ("range(0, seq_len, chunk)", "range(0, seq_len - chunk + 1, chunk)",
         "    free_s = [0] * n_stages", {"    now, free_s = 0, [0] * n_stages"}),
        ("range(seq_len, 0, -1)", {
         "[k for k in range(seq_len, 0, -1) if seq_len % k == 0]":
         "best_chunk tries only sizes that divide the prompt; the last chunk may be shorter",
         "[k for k in range(seq_len, 0, -1) if k & (k - 1) == 0]": "it tries only powers of two",
         "range(1, seq_len + 1)": "of equally good sizes take the largest",
         f"range(seq_len, next((k for k in range(seq_len - 1, 0, -1) if {TIME('k')} > "
         f"{TIME('k + 1')}), 0), -1)":
         "the search stops at the first size that is slower; a smaller one may be best",
         f"range(next((k for k in range(1, seq_len) if {TIME('k + 1')} > {TIME('k')}), seq_len), "
         "0, -1)": "the search stops at the first size that is slower; a larger one may be best"}),
    ])  # fmt: skip


def mixed(rng, items):
    return [items[i] for i in rng.permutation(len(items))]


def link_cases(rng):
    links = [
        ("nvlink", 9e6, 1e-6, 2400), ("infiniband", 40, 3e-6, 400), ("ethernet", 10, 3e-5, 100),
        ("line", 5, 2e-3, 10), ("home", 1, 1e-2, 0.1), ("leased", 70, 2e-3, 2),
    ]  # fmt: skip

    def case(n_stages, most_first_s, most_token_s, label):
        d_model, seq_len = 128 * between(rng, 32, 40), between(rng, 900, 1100)
        times = (0.05, 0.007, most_first_s, most_token_s)
        return Case(mixed(rng, links), d_model, n_stages, seq_len, *times, label=label)

    return [
        case(2, 9.0, 9.0, "the cheapest will do"),
        case(2, 0.2, 9.0, "a slow link that is dear: the price alone says which is cheapest"),
        case(4, 9.0, 0.0073, "quick further tokens"),
        case(8, 0.0505, 9.0, "a quick first token, at any price: begin a minimum with infinity"),
        case(2, 0.049, 9.0, "a target below the computing"),
        *(Case([("a", 1, 0.5, gbit), ("b", 2, 0.5, gbit)][::order], D, 2, L, 1.0, 1.0, *most,
               label="exactly as fast as asked, which is allowed")  # nothing is rounded here
          for order, gbit, D, L, most in ((1, 8, 10_000, 50_000, (2.5, 9.0)),
                                          (-1, 8e12, 16, 4, (9.0, 2.0)))),
    ]  # fmt: skip


BY_PRICE = "sorted(links, key=lambda link: link[1])"
LINK = Task(
    grade_id="choose-link", entry="choose_link", cases=link_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("8 / (gbit_per_s", "1 / (gbit_per_s", "a byte has 8 bits: it takes 8 times as long"),
        ("1e9", "2**30", "giga is 10**9 on a datasheet of a link, not 2**30"),
        ("= n_stages - 1", {"= 1"}),
        ("(start_s + 2 * d", "(2 * d", "a token's activations have a start as well"),
        ("2 * d", "2 * seq_len * d", "a step sends one token, not the prompt"),
        ("+= start_s + 8 * byte_s", {"+= 0", "+= n_boundaries * (start_s + 8 * byte_s)"}),
        ("start_s + 2 * seq_len", "start_s + seq_len", "start_s + 2 * d_model",
         {"start_s + d_model"}),
        ("link: link[1]", {"link: -link[3]": "", "link: link[3]":
         "the slowest link is not always the cheapest: look at the price"}),
        (BY_PRICE, {BY_PRICE + "[:1]":
         "only the cheapest link is tried; where it is too slow, the next one may do",
         "links": "sort the links by price", "links[::-1]": "take the cheapest, not the last one"}),
        ("_boundaries * (start_s + 2 * seq", "_boundaries * (start_s / n_boundaries + 2 * seq",
         "_boundaries * (start_s + 2 * d_m", "_boundaries * (start_s / n_boundaries + 2 * d_m",
         "each boundary's message has a start, not all of them one together"),
        (" and token_s <= most_token_s", {""}), ("first_s <= most_first_s and ", {""}),
        ("<= most_f", "< most_f", "<= most_t", {"< most_t"}),
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


def problem_cases(rng):
    L = between(rng, 3, 6)
    alone = [(0, 0, 0, 0, L), (1, 0, 0, L, 2 * L), (2, 0, 0, 2 * L, 3 * L)]
    other = [(s, 1, t, a + 90, b + 90) for s, _, t, a, b in alone]  # long after it
    step = [(s, 0, 1, 40 + s, 41 + s) for s in range(3)]
    second = [(0, 0, 2, 42, 43), (1, 0, 2, 60, 61), (2, 0, 2, 61, 62)]  # its token: at 43
    # Step 1 enters stage 0, and only that, when step 0 has left stage 1 and not the last one.
    too_soon = [(0, 0, 1, 2 * L, 2 * L + 1), (1, 0, 1, 40, 41), (2, 0, 1, 50, 51)]
    crossing = [(0, 1, 0, L - 1, 2 * L - 1), (1, 1, 0, 60, 60 + L), (2, 1, 0, 70, 70 + L)]
    inside = [(0, 1, 0, 1, 2), (1, 1, 0, 60, 61), (2, 1, 0, 70, 71)]
    first = [(s, 1, 1, s, s + 1) for s in range(3)]  # long before request 1's prefill
    early = [*alone[:2], (2, 0, 0, 2 * L - 1, 3 * L - 1)]  # stage 1 ends at 2 L
    return [
        Case(mixed(rng, honest_blocks(3, 3, 3, L)), 3, label="a right schedule"),
        Case([alone[0], *step, *crossing, *alone[1:]], 3, label="blocks that cross: ask ALL pairs"),
        Case([alone[0], *inside[1:], *alone[1:], inside[0]], 3, label="a block inside another"),
        Case([*alone, (0, 1, 0, 0, L), *crossing[1:]], 3, label="two that start together"),
        Case(mixed(rng, [*early, *other]), 3, label="a stage that starts too early"),
        Case([alone[0], (1, 0, 0, L - 1, 2 * L - 1), alone[2]], 3, label="stage 1 too early"),
        Case([*alone, (0, 0, 1, L, L + 1), *too_soon[1:]], 3, label="a step much too early"),
        Case([*alone, (0, 0, 1, L - 1, L), *too_soon[1:]], 3, label="ONE request overlaps"),
        Case([*alone, *step, *second], 3, label="a second step that starts too early"),
        Case(mixed(rng, [*other, *first]), 3, label="a step before its prefill"),
        Case([*alone, step[0], (1, 0, 1, 0, 1), step[2]], 3, label="only stage 0 needs the token"),
        Case([*early, *crossing, *too_soon], 3, label="everything wrong"),
    ]


OVERLAP = "start_s < other_end_s and other_start_s < end_s"
PROBLEMS = Task(
    grade_id="schedule-problems", entry="schedule_problems", cases=problem_cases, compare=Exact(),
    misconceptions=[
        ("and overlap", "and False", "some overlaps are missed: compare each with all"),
        ("stage > 0 and", {"False and": "'not left yet' is not found, or not always",
         "stage == 1 and":
         "stages behind stage 1 are not compared with the stage directly BEFORE them"}),
        ("stage == 0 and step", "step", "only stage 0 needs the token: the rule is for it alone"),
        ("step > 0 and", {"False and": "'no token yet' is not found, or not always",
         "step == 1 and": "steps behind step 1 need a token, too"}),
        ("when[n_stages - 1,", {"when[0,": "", "when[1,": "the last stage is n_stages - 1, not 1"}),
        (OVERLAP, {"start_s <= other_end_s and other_start_s <= end_s": "",
         "start_s < other_start_s < end_s": "two blocks with the same start are not found",
         "start_s <= other_start_s < end_s <= other_end_s":
         "a block that is wholly inside another one of its stage is not found"}),
        ("other != (stage, request, step)", "other[1] != request",
         "steps of ONE request may overlap, too"),
    ])  # fmt: skip
