"""Hidden checks of exercise 10: temperature, top-k, top-p, a draw, the order, the strategies."""

import math

from grader.checks import Case, Close, Exact, Misconception, Raises, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)
SLACK = 1e-12


def distribution(rng, size, flat=1.0):
    probs = [round(p, 4) for p in rng.dirichlet([flat] * size).tolist()]
    probs[0] += 1 - sum(probs)
    return probs


def weights_to_probs(weights):
    total = sum(weights)
    return [w / total for w in weights]


# --- Task 1: temperature -----------------------------------------------------------------------


def softmax(logits, temperature):
    top = max(logits)
    return weights_to_probs([math.exp((x - top) / temperature) for x in logits])


def multiplied(logits, temperature):
    return softmax([x * temperature for x in logits], 1.0)


def divided_after(logits, temperature):
    return [p / temperature for p in softmax(logits, 1.0)]


def ignored(logits, temperature):
    return softmax(logits, 1.0)


def plain_exp(logits, temperature):
    return weights_to_probs([math.exp(x / temperature) for x in logits])


def temperature_cases(rng):
    return [
        Case(rng.normal(0, 2, 6).tolist(), 0.7),
        Case(rng.normal(0, 2, 9).tolist(), 1.8),
        Case([1000.0, 999.0, -math.inf], 0.5, label="huge logits"),
        Case([-1500.0, -1502.0], 2.0, label="very small logits"),
    ]


# --- Tasks 2 and 3: filters --------------------------------------------------------------------


def top_ks(renormalise=True, ties=True, strict=False):
    def top_k(probs, k):
        order = sorted(range(len(probs)), key=lambda i: -probs[i])
        k = min(k, len(probs))
        limit = probs[order[k - 1]]
        if strict:
            kept = {i for i in order if probs[i] > limit} or {order[0]}
        else:
            kept = {i for i in order if probs[i] >= limit} if ties else set(order[:k])
        left = [p if i in kept else 0.0 for i, p in enumerate(probs)]
        return weights_to_probs(left) if renormalise else left

    return top_k


def smallest(probs, k):
    limit = sorted(probs)[min(k, len(probs)) - 1]
    return weights_to_probs([p if p <= limit else 0.0 for p in probs])


def top_k_cases(rng):
    return [
        Case(distribution(rng, 7), 3),
        Case(distribution(rng, 12), 5),
        Case([0.1, 0.2, 0.4, 0.2, 0.1], 2, label="ties"),
        Case(distribution(rng, 3), 50, label="k above the vocabulary"),
    ]


def nuclei(crossing=True, renormalise=True, by_index=False, each=False):
    def top_p(probs, p):
        order = list(range(len(probs)))
        if not by_index:
            order.sort(key=lambda i: -probs[i])
        kept, total = [], 0.0
        for i in order:
            total += probs[i]
            if total >= p - SLACK:
                kept += [i] if crossing or not kept else []
                break
            kept.append(i)
        if each:
            kept = [i for i in order if probs[i] >= p] or [max(order, key=lambda i: probs[i])]
        left = [q if i in kept else 0.0 for i, q in enumerate(probs)]
        return weights_to_probs(left) if renormalise else left

    return top_p


def top_p_cases(rng):
    return [
        Case(distribution(rng, 8), 0.8),
        Case(distribution(rng, 20, flat=0.4), 0.92),
        Case([0.05, 0.15, 0.5, 0.3], 0.6, label="the token that crosses p"),
        Case([0.1, 0.7, 0.2], 0.5, label="one token holds more than p"),
        Case([0.125, 0.5, 0.25, 0.125], 0.75, label="exactly p"),
    ]


# --- Task 4: a draw ----------------------------------------------------------------------------


def draw(probs, u):
    for i in range(len(probs)):
        if probs[i] > 0 and u < math.fsum(probs[: i + 1]):
            return i
    return max(i for i, p in enumerate(probs) if p > 0)


def sorted_first(probs, u):
    order = sorted(range(len(probs)), key=lambda i: -probs[i])
    return order[draw([probs[i] for i in order], u)]


def closed_above(probs, u):
    end = 0.0
    for i, p in enumerate(probs):
        end += p
        if u <= end:
            return i
    return len(probs) - 1


def draw_cases(rng):
    probs = [0.125, 0.0, 0.5, 0.25, 0.125]
    return [
        *(Case(probs, u, label="a boundary") for u in (0.0, 0.125, 0.625)),
        *(Case(distribution(rng, 6), round(float(rng.uniform(0.5, 0.999)), 4)) for _ in range(6)),
        Case([0.0, 1.0], 0.0, label="an impossible first token"),
    ]


# --- Task 5: the right order -------------------------------------------------------------------


def in_order(logits, temperature, p):
    return nuclei()(softmax(logits, temperature), p)


def cut_first(logits, temperature, p):
    kept = nuclei()(softmax(logits, 1.0), p)
    left = [x if q > 0 else -math.inf for x, q in zip(logits, kept, strict=True)]
    return softmax(left, temperature)


def no_cut(logits, temperature, p):
    return softmax(logits, temperature)


def no_temperature(logits, temperature, p):
    return nuclei()(softmax(logits, 1.0), p)


def not_renormalised(logits, temperature, p):
    return nuclei(renormalise=False)(softmax(logits, temperature), p)


def order_cases(rng):
    return [
        Case(rng.normal(0, 2.5, n).tolist(), t, 0.85) for n, t in ((12, 2.0), (20, 0.6), (9, 1.5))
    ]


ANSWERS = {
    "()": "greedy",
    "(temperature=0.7)": "greedy",
    "(do_sample=True, top_k=1)": "greedy",
    "(do_sample=True)": "sampling",
    "(num_beams=4)": "beam search",
    "(num_beams=4, do_sample=True)": "beam sampling",
    "(top_p=0.9, top_k=0)": "greedy",
    "tokens that (do_sample=True) keeps": 50,
}


def mistaken(**changes):
    """Answers with some of them changed; the names stand for the calls."""
    calls = {
        "temperature": "(temperature=0.7)",
        "top_k": "(do_sample=True, top_k=1)",
        "both": "(num_beams=4, do_sample=True)",
        "top_p": "(top_p=0.9, top_k=0)",
        "k": "tokens that (do_sample=True) keeps",
    }
    return ANSWERS | {calls[name]: value for name, value in changes.items()}


TASKS = [
    Task(
        grade_id="temperature",
        entry="softmax",
        points=3,
        cases=temperature_cases,
        reference=softmax,
        compare=CLOSE,
        misconceptions=[
            Misconception("multiplies", multiplied, "divide the logits by the temperature"),
            Misconception(
                "divides-probabilities", divided_after,
                "the temperature divides the logits, before the softmax, not the probabilities",
            ),
            Misconception("no-temperature", ignored, "this is the softmax without temperature"),
            Misconception(
                "overflows", plain_exp,
                "exp of a large logit overflows: subtract the largest logit first",
            ),
        ],
    ),
    Task(
        grade_id="top-k",
        entry="top_k",
        points=3,
        cases=top_k_cases,
        reference=top_ks(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "not-renormalised", top_ks(renormalise=False),
                "what is kept must sum to 1 again: divide by its sum",
            ),
            Misconception(
                "drops-ties", top_ks(ties=False), "tokens as likely as the k-th are kept as well"
            ),
            Misconception(
                "one-too-few", top_ks(strict=True),
                "the k-th token itself is kept: compare with >= and not with >",
            ),
            Misconception("k-unlikeliest", smallest, "these are the k UNlikeliest tokens"),
            Misconception(
                "k-above-vocabulary", Raises("IndexError"),
                "k may be larger than the vocabulary: then everything is kept",
            ),
        ],
    ),
    Task(
        grade_id="top-p",
        entry="top_p",
        points=4,
        cases=top_p_cases,
        reference=nuclei(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "stops-before-p", nuclei(crossing=False),
                "the token that crosses p belongs to the nucleus",
            ),
            Misconception(
                "not-renormalised", nuclei(renormalise=False),
                "what is kept must sum to 1 again: divide by its sum",
            ),
            Misconception(
                "unsorted", nuclei(by_index=True),
                "the LIKELIEST tokens come first: sort by probability before summing",
            ),
            Misconception(
                "each-above-p", nuclei(each=True),
                "p is compared with the sum so far, not with each token's probability",
            ),
        ],
    ),
    Task(
        grade_id="draw",
        entry="draw",
        points=2,
        cases=draw_cases,
        reference=draw,
        compare=Exact(),
        misconceptions=[
            Misconception(
                "likeliest", lambda probs, u: probs.index(max(probs)),
                "this is always the likeliest token: u does not matter to it",
            ),
            Misconception(
                "all-alike", lambda probs, u: int(u * len(probs)),
                "the tokens are as wide as their probabilities, not all alike",
            ),
            Misconception(
                "sorted-first", sorted_first, "the tokens lie in the order of their ids: don't sort"
            ),
            Misconception(
                "closed-above", closed_above,
                "an interval ends BEFORE the sum that includes the token: u < sum, not u <= sum",
            ),
        ],
    ),
    Task(
        grade_id="order",
        entry="sampling_distribution",
        points=3,
        cases=order_cases,
        reference=in_order,
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "cuts-first", cut_first,
                "the colleague's order: the nucleus has to be cut AFTER the temperature",
            ),
            Misconception("no-cut", no_cut, "the nucleus is not cut at all"),
            Misconception("no-temperature", no_temperature, "the temperature does nothing here"),
            Misconception(
                "not-renormalised", not_renormalised, "what is kept must sum to 1 again"
            ),
        ],
    ),
    Task(
        grade_id="strategies",
        entry="answers",
        points=2,
        reference=ANSWERS,
        compare=Exact(),
        misconceptions=[
            Misconception(
                "settings-alone-sample", mistaken(temperature="sampling", top_p="sampling"),
                "temperature and top_p do nothing without do_sample=True: still greedy",
            ),
            Misconception(
                "top-k-1-samples", mistaken(top_k="sampling"),
                "with top_k = 1 there is one token to draw from: greedy",
            ),
            Misconception(
                "beams-win", mistaken(both="beam search"),
                "beams and do_sample together draw within the beam search",
            ),
            Misconception(
                "no-default-k", mistaken(k=0),
                "do_sample=True alone has a default that surprises: top_k is 50",
            ),
        ],
    ),
]  # fmt: skip
