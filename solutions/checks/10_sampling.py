"""Hidden checks of exercise 10: temperature, top-k, top-p, a draw, the order, the strategies."""

import math

from grader.checks import Case, Close, Exact, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)


def distribution(rng, size, flat=1.0):
    probs = [round(p, 4) for p in rng.dirichlet([flat] * size).tolist()]
    probs[0] += 1 - sum(probs)
    return probs


TEMPERATURE = Task(
    grade_id="temperature", entry="softmax", compare=CLOSE,
    cases=lambda rng: [
        Case(rng.normal(0, 2, 6).tolist(), 0.7),
        Case(rng.normal(0, 2, 9).tolist(), 1.8),
        Case([1000.0, 999.0, -math.inf], 0.5, label="huge logits"),
        Case([-1500.0, -1502.0], 2.0, label="very small logits"),
    ],
    misconceptions=[
        ("multiplies", ") / temperature)", ") * temperature)",
         "divide the logits by the temperature"),
        ("divides-probabilities", ") / temperature) for", ")) for",
         "w / sum(weights)", "w / sum(weights) / temperature",
         "the temperature divides the logits, before the softmax, not the probabilities"),
        ("no-temperature", ") / temperature) for", ")) for",
         "this is the softmax without temperature"),
        ("overflows", "(x - highest)", "x",
         "exp of a large logit overflows: subtract the largest logit first"),
    ])  # fmt: skip

TOP_K = Task(
    grade_id="top-k", entry="top_k", compare=CLOSE,
    cases=lambda rng: [
        Case(distribution(rng, 7), 3),
        Case(distribution(rng, 12), 5),
        Case([0.1, 0.2, 0.4, 0.2, 0.1], 2, label="ties"),
        Case(distribution(rng, 3), 50, label="k above the vocabulary"),
    ],
    misconceptions=[
        ("not-renormalised", "[p / sum(kept) for p in kept]", "kept",
         "what is kept must sum to 1 again: divide by its sum"),
        ("drops-ties", "p >= smallest else 0.0 for p in probs]",
         "sum(q > p for q in probs) + probs[:i].count(p) < k else 0.0 for i, p in "
         "enumerate(probs)]", "tokens as likely as the k-th are kept as well"),
        ("one-too-few", "p >= smallest", "p > smallest",
         "the k-th token itself is kept: compare with >= and not with >"),
        ("k-unlikeliest", "reverse=True", "reverse=False", "p >=", "p <=",
         "these are the k UNlikeliest tokens"),
        ("k-above-vocabulary", "min(k, len(probs))", "k",
         "k may be larger than the vocabulary: then everything is kept"),
    ])  # fmt: skip

TOP_P = Task(
    grade_id="top-p", entry="top_p", compare=CLOSE,
    cases=lambda rng: [
        Case(distribution(rng, 8), 0.8),
        Case(distribution(rng, 20, flat=0.4), 0.92),
        Case([0.05, 0.15, 0.5, 0.3], 0.6, label="the token that crosses p"),
        Case([0.1, 0.7, 0.2], 0.5, label="one token holds more than p"),
        Case([0.125, 0.5, 0.25, 0.125], 0.75, label="exactly p"),
        Case([0.05, 0.7, 0.2, 0.05], 0.9, label="exactly p, but for rounding"),  # .7 + .2 < .9
        Case([0.2, 0.2, 0.2, 0.2, 0.2], 0.5, label="equal tokens"),
        Case([0.2, 0.5, 0.3], 0.0, label="p = 0"),
    ],
    misconceptions=[
        ("stops-before-p", "            break",
         "            if len(kept) > 1:\n                kept.remove(token)\n"
         "                total -= probs[token]\n            break",
         "the token that crosses p belongs to the nucleus"),
        ("not-renormalised", "q / total if", "q if",
         "what is kept must sum to 1 again: divide by its sum"),
        ("no-slack", "p - 1e-12", "p",
         "a sum of floats may stop just short of p, as .7 + .2 is below .9: allow a little slack"),
        ("must-exceed", "total >= p - 1e-12", "total > p + 1e-12",
         "a sum of exactly p is enough: one token too many is kept there"),
        ("none-for-p-0", "        kept.add(token)\n        total += probs[token]\n",
         "        if total >= p - 1e-12:\n            break\n"
         "        kept.add(token)\n        total += probs[token]\n",
         "with p = 0 nothing is kept, and the sum that you divide by is 0: one token always is"),
        ("larger-id-first", "key=lambda token: -probs[token]",
         "key=lambda token: (-probs[token], -token)",
         "of equal tokens the smaller id comes first: sorting in reverse turns them round"),
        ("unsorted", "for token in order", "for token in range(len(probs))",
         "the LIKELIEST tokens come first: sort by probability before summing"),
        ("each-above-p", "    return [q",
         "    kept = {token for token in order if probs[token] >= p} or {order[0]}\n"
         "    total = sum(probs[token] for token in kept)\n    return [q",
         "p is compared with the sum so far, not with each token's probability"),
    ])  # fmt: skip


def draw_cases(rng):
    probs = [0.125, 0.0, 0.5, 0.25, 0.125]
    return [
        *(Case(probs, u, label="a boundary") for u in (0.0, 0.125, 0.625)),
        *(Case(distribution(rng, 6), round(float(rng.uniform(0.5, 0.999)), 4)) for _ in range(6)),
        Case([0.0, 1.0], 0.0, label="an impossible first token"),
        # the sum of ten times 0.1 is this very u in floating point
        Case([0.1] * 10 + [0.0], 0.9999999999999999, label="u just below 1"),
    ]


DRAW = Task(
    grade_id="draw", entry="draw", cases=draw_cases, compare=Exact(), misconceptions=[
        ("likeliest", "    end = 0.0", "    return probs.index(max(probs))",
         "this is always the likeliest token: u does not matter to it"),
        ("all-alike", "    end = 0.0", "    return int(u * len(probs))",
         "the tokens are as wide as their probabilities, not all alike"),
        ("sorted-first",
         "enumerate(probs):", "sorted(enumerate(probs), key=lambda pair: -pair[1]):",
         "the tokens lie in the order of their ids: don't sort"),
        ("closed-above", "u < end", "u <= end",
         "an interval ends BEFORE the sum that includes the token: u < sum, not u <= sum"),
    ])  # fmt: skip

ORDER = Task(
    grade_id="order", entry="sampling_distribution", compare=CLOSE,
    cases=lambda rng: [
        *(Case(rng.normal(0, 2.5, n).tolist(), temperature, 0.85)
          for n, temperature in ((12, 2.0), (20, 0.6), (9, 1.5))),
        Case([0.0, math.log(2), 0.0], 1.0, 0.5, label="exactly p"),
        Case([1.0] * 5, 0.7, 0.5, label="equal tokens"),
    ],
    misconceptions=[
        ("cuts-first", "x / temperature", "x", "    return [q",
         "    probs = [math.exp(x / temperature) for x in logits]\n"
         "    total = sum(probs[token] for token in kept)\n    return [q",
         "the colleague's order: the nucleus has to be cut AFTER the temperature"),
        ("larger-id-first", "key=lambda token: -probs[token]",
         "key=lambda token: (-probs[token], -token)",
         "of equal tokens the smaller id comes first, as in task 3"),
        ("no-cut", "if total >= p - 1e-12", "if False", "the nucleus is not cut at all"),
        ("no-temperature", "x / temperature", "x", "the temperature does nothing here"),
        ("not-renormalised", "q / total if", "q if", "what is kept must sum to 1 again"),
    ])  # fmt: skip

STRATEGIES = Task(
    grade_id="strategies", entry="answers", compare=Exact(), misconceptions=[
        ("settings-alone-sample", '=0.7)": "greedy"', '=0.7)": "sampling"',
         'k=0)": "greedy"', 'k=0)": "sampling"',
         "temperature and top_p do nothing without do_sample=True: still greedy"),
        ("top-k-1-samples", 'k=1)": "greedy"', 'k=1)": "sampling"',
         "with top_k = 1 there is one token to draw from: greedy"),
        ("beams-win", '"beam sampling"', '"beam search"',
         "beams and do_sample together draw within the beam search"),
        ("no-default-k", 'keeps": 50', 'keeps": 0',
         "do_sample=True alone has a default that surprises: top_k is 50"),
    ])  # fmt: skip

TASKS = [TEMPERATURE, TOP_K, TOP_P, DRAW, ORDER, STRATEGIES]
