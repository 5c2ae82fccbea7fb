"""Hidden checks of exercise 10: temperature, top-k, top-p, a draw, the order, the strategies."""

import math

from grader.checks import Case, Close, Exact, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)


def distribution(rng, size, flat=1.0):
    probs = [round(p, 4) for p in rng.dirichlet([flat] * size).tolist()]
    probs[0] += 1 - sum(probs)
    return probs


TEMPERATURE = Task(
    grade_id="temperature", entry="softmax", compare=CLOSE, watch=("mutated",),
    cases=lambda rng: [
        Case(rng.normal(0, 2, 6).tolist(), 0.7),
        Case(rng.normal(0, 2, 9).tolist(), 1.8),
        Case([1000.0, 999.0, -math.inf], 0.5, label="huge logits"),
        Case([-15000.0, -15002.0, -math.inf], 2.0, label="very small logits"),
        Case([0.0, -2000.0, -1500.0], 1.0, label="logits far apart"),
        Case([0.0, -800.0], 1000.0, label="a high temperature"),
    ],
    misconceptions=[
        ("multiplies", ") / temperature)", ") * temperature)",
         "divide the logits by the temperature"),
        ("divides-probabilities", ") / temperature) for", ")) for",
         "w / sum(weights)", "w / sum(weights) / temperature",
         "the temperature divides the logits, before the softmax, not the probabilities"),
        ("no-temperature", ") / temperature) for", ")) for",
         "the temperature has no effect: it divides the logits. Behind exp it cancels"),
        ("overflows", "(x - highest)", "x",
         "exp of a large logit overflows: subtract the largest logit first"),
        ("powers-of-probabilities",
         "    weights = [math.exp((x - highest) / temperature) for x in logits]",
         "    weights = [math.exp(x - highest) for x in logits]\n    weights = [(w / "
         "sum(weights)) ** (1 / temperature) for w in weights]",
         "softmax came first, and the temperature acts on its probabilities: one that has "
         "become 0.0 stays 0 at every temperature. Divide the logits"),
        ("subtracts-undivided", "(x - highest) / temperature", "x / temperature - highest",
         "the largest logit is subtracted without being divided by the temperature, so that "
         "exp still overflows when it is cold"),
        ("not-normalised", "w / sum(weights)", "w", "divide by the sum: probabilities sum to 1"),
        ("drops-impossible", "for x in logits]", "for x in logits if x > -math.inf]",
         "a token that is impossible is left out; it stays in the list, with probability 0"),
        ("subtracts-the-mean", "highest = max(logits)",
         "highest = sum(x for x in logits if x > -math.inf) / sum(x > -math.inf for x in logits)",
         "subtract the LARGEST: with the mean, exp overflows where logits are far apart"),
        ("rounded", "[w / sum(weights) for", "[round(w / sum(weights), 4) for",
         "the probabilities are rounded; return them as they are"),
    ])  # fmt: skip

TOP_K = Task(
    grade_id="top-k", entry="top_k", compare=CLOSE, watch=("mutated",),
    cases=lambda rng: [
        Case(distribution(rng, 7), 3),
        Case(distribution(rng, 12), 5),
        Case([0.1, 0.2, 0.4, 0.2, 0.1], 2, label="ties"),
        Case([0.25, 0.25, 0.125, 0.375], 3, label="ties above the k-th"),
        Case([0.25, 0.375, 0.375], 1, label="two likeliest tokens"),
        Case([0.3, 0.301, 0.399], 2, label="nearly equal"),
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
        ("distinct-values", "sorted(probs, reverse=True)[min(k, len(probs)) - 1]",
         "sorted(set(probs), reverse=True)[: min(k, len(probs))][-1]", "a set holds equal "
         "probabilities once, so that too many tokens are kept: the k-th of ALL tokens decides"),
        ("divides-by-the-k-largest", "sum(kept)", "sum(sorted(probs)[::-1][:k])", "the ties are "
         "kept, but left out of the sum that you divide by: the result sums to more than 1"),
        ("nearly-equal", "p >= smallest", "p >= smallest - 0.01",
         "tokens that are only nearly as likely as the k-th are kept"),
        ("one-for-k-1", "p >= smallest else 0.0 for p in probs]",
         "p >= smallest and (k > 1 or i == probs.index(smallest)) else 0.0 for i, p in "
         "enumerate(probs)]",
         "k = 1 is no special case: two tokens that are equally likely are both kept"),
    ])  # fmt: skip

TOP_P = Task(
    grade_id="top-p", entry="top_p", compare=CLOSE, watch=("mutated",),
    cases=lambda rng: [
        Case(distribution(rng, 8), 0.8),
        Case(distribution(rng, 20, flat=0.4), 0.92),
        Case([0.05, 0.15, 0.5, 0.3], 0.6, label="the token that crosses p"),
        Case([0.1, 0.7, 0.2], 0.5, label="one token holds more than p"),
        Case([0.125, 0.5, 0.25, 0.125], 0.75, label="exactly p"),
        Case([0.05, 0.7, 0.2, 0.05], 0.9, label="exactly p, but for rounding"),  # .7 + .2 < .9
        Case([0.2, 0.2, 0.2, 0.2, 0.2], 0.5, label="equal tokens"),
        Case([0.2, 0.5, 0.3], 0.0, label="p = 0"),
        Case([0.496, 0.3, 0.104, 0.1], 0.8, label="a sum that stays below p"),  # .796
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
        ("too-much-slack", "total >= p - 1e-12", "round(total, 2) >= p", "too much slack: a sum of "
         ".796 is no .8. Rounding errors of floats are far smaller, about 1e-16"),
        ("divided-by-p", "q / total if", "q / p if",
         "what is kept is divided by p; divide by the sum of what is kept"),
        ("keeps-ties", "    return [q",
         "    kept = [t for t, q in enumerate(probs) if q >= probs[token]]\n"
         "    total = sum(probs[t] for t in kept)\n    return [q",
         "ties are all kept, as in top-k; here the smaller ids come first, and the rest is cut"),
    ])  # fmt: skip


def draw_cases(rng):
    probs = [0.125, 0.0, 0.5, 0.25, 0.125]
    return [
        *(Case(probs, u, label="a boundary") for u in (0.0, 0.125, 0.625)),
        *(Case(probs, u, label="beside a boundary") for u in (0.124, 0.6249, 0.6251)),
        *(Case(distribution(rng, 6), round(float(rng.uniform(0.5, 0.999)), 4)) for _ in range(6)),
        Case([0.0, 1.0], 0.0, label="an impossible first token"),
        # the sum of ten times 0.1 is this very u in floating point
        Case([0.1] * 10 + [0.0], 0.9999999999999999, label="u just below 1"),
    ]


DRAW = Task(
    grade_id="draw", entry="draw", cases=draw_cases, compare=Exact(), watch=("mutated",),
    misconceptions=[
        ("likeliest", "    end = 0.0", "    return probs.index(max(probs))",
         "this is always the likeliest token: u does not matter to it"),
        ("all-alike", "    end = 0.0", "    return int(u * len(probs))",
         "the tokens are as wide as their probabilities, not all alike"),
        ("sorted-first",
         "enumerate(probs):", "sorted(enumerate(probs), key=lambda pair: -pair[1]):",
         "the tokens lie in the order of their ids: don't sort"),
        ("closed-above", "u < end", "u <= end",
         "an interval ends BEFORE the sum that includes the token: u < sum, not u <= sum"),
        ("closed-if-possible", "u < end", "u <= end and p > 0",
         "at a boundary this is the token that ends there; the one that BEGINS there counts"),
        ("not-summed", "end += p", "end = p",
         "u is compared with each probability alone; sum them up from the left"),
        ("likeliest-behind", "max(token for token, p in enumerate(probs) if p > 0)",
         "probs.index(max(probs))", "behind the last end comes the last possible token"),
        ("falls-through",
         "    return max(token for token, p in enumerate(probs) if p > 0)  # rounding left a "
         "gap before 1", "",
         "nothing is returned for a u behind the last end: the sum of the floats may stop a "
         "little short of 1. Return the last token that is possible"),
        ("last-id", "max(token for token, p in enumerate(probs) if p > 0)", "len(probs) - 1",
         "for a u behind the last end the last id is returned, even where that token has "
         "probability 0"),
    ])  # fmt: skip

ORDER = Task(
    grade_id="order", entry="sampling_distribution", compare=CLOSE, watch=("mutated",),
    cases=lambda rng: [
        *(Case(rng.normal(0, 2.5, n).tolist(), temperature, 0.85)
          for n, temperature in ((12, 2.0), (20, 0.6), (9, 1.5))),
        Case([0.0, 0.1, 0.05], 0.1, 0.85, label="a low temperature"),
        Case([0.5, 0.0, 1.0], 1.5, 0.0, label="p = 0"),
        Case([0.0, math.log(2), 0.0], 1.0, 0.5, label="exactly p"),
        Case([1.0] * 5, 0.7, 0.5, label="equal tokens"),
        Case([0.0] * 10, 2.0, 0.8, label="exactly p, but for rounding"),  # 8 times .1 is below .8
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
        ("no-slack", "p - 1e-12", "p", "a sum of floats may stop just short of p, as in task 3: "
         "allow a little slack here, too"),
        ("must-exceed", "total >= p - 1e-12", "total > p + 1e-12",
         "a sum of exactly p is enough, as in task 3: one token too many is kept"),
        ("multiplies", "x / temperature", "x * temperature", "DIVIDE the logits by temperature"),
        ("none-for-p-0", "        kept.add(token)\n        total += probs[token]\n",
         "        if total >= p - 1e-12:\n            break\n"
         "        kept.add(token)\n        total += probs[token]\n",
         "with p = 0 nothing is kept; one token always is, as in task 3"),
        ("divided-by-p", "q / total if", "q / p if",
         "what is kept is divided by p; divide by its sum"),
        ("softmax-again", "    return [q / total if",
         "    total = sum(math.exp(probs[token]) for token in kept)\n    return [math.exp(q) "
         "/ total if",
         "softmax was taken again, of the probabilities that are kept; divide them by their "
         "sum"),
        ("temperature-twice", "    return [q / total if",
         "    probs = [q ** (1 / temperature) for q in probs]\n    total = sum(probs[token] "
         "for token in kept)\n    return [q / total if",
         "the temperature acts twice, before the cut and once more on what is kept"),
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
        ("beams-are-lost", '"beam sampling"', '"sampling"',
         "with do_sample and num_beams together there are beams, and they draw"),
        ("no-default-k", 'keeps": 50', 'keeps": 0',
         "do_sample=True alone has a default that surprises: top_k is 50"),
        ("temperature-samples", '=0.7)": "greedy"', '=0.7)": "sampling"',
         "a temperature changes nothing where nothing is drawn: still greedy"),
        ("top-p-samples", 'k=0)": "greedy"', 'k=0)": "sampling"',
         "top_p changes nothing where nothing is drawn: still greedy"),
    ])  # fmt: skip

TASKS = [TEMPERATURE, TOP_K, TOP_P, DRAW, ORDER, STRATEGIES]
