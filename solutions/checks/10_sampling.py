"""Hidden checks of exercise 10: temperature, top-k, top-p, different tokens, a sampler."""

import math

import torch

from grader.checks import Case, Close, Exact, Probe, Task, between


def distribution(rng, size, flat=1.0):
    probs = [round(p, 4) for p in rng.dirichlet([flat] * size).tolist()]
    probs[0] += 1 - sum(probs)
    return probs


TEMPERATURE = Task(
    grade_id="temperature", entry="softmax", compare=Close(), watch=("mutated",),
    cases=lambda rng: [
        *(Case(rng.normal(0, 2, n).tolist(), t) for n, t in ((6, 0.7), (9, 1.8))),
        Case([1000.0, 999.0, -math.inf], 0.5, label="huge logits"),
        Case([-15000.0, -15002.0, -math.inf], 2.0, label="very small logits"),
        Case([0.0, -800.0], 1000.0, label="a high temperature"),
        Case([-3.0], 0.5, label="a single token"),
    ],
    misconceptions=[
        ("multiplies", ") / temperature)", ") * temperature)", "divide by the temperature"),
        ("no-effect", ") / temperature)", "))", "the temperature has no effect: divide BEFORE exp"),
        ("overflows", "(x - highest)", "x", "exp overflows: subtract the largest logit first"),
        ("highest-undivided", "(x - highest) / temperature", "x / temperature - highest",
         "the logits are divided, the largest one that you subtract is not: exp may overflow"),
        ("powers-of-probabilities", "exp((x - highest) / t", "exp(x - highest) ** (1 / t",
         "one that has become 0.0 stays 0 at every temperature: divide the logits, before exp"),
        ("not-normalised", "w / sum(weights)", "w", "divide by the sum: probabilities sum to 1"),
        ("drops-impossible", "x in logits]", "x in logits if x > -math.inf]",
         "a token that is impossible is left out; it stays in the list, with probability 0"),
    ])  # fmt: skip

TOP_K = Task(
    grade_id="top-k", entry="top_k", compare=Close(), watch=("mutated",),
    cases=lambda rng: [
        *(Case(distribution(rng, n), k) for n, k in ((7, 3), (12, 5))),
        Case([0.1, 0.2, 0.4, 0.2, 0.1], 2, label="ties"),
        Case([0.25, 0.25, 0.125, 0.375], 3, label="ties above the k-th"),
        Case([0.25, 0.375, 0.375], 1, label="two likeliest tokens"),
        Case([0.3, 0.301, 0.399], 2, label="nearly equal"),
        Case(distribution(rng, 3), 50, label="k above the vocabulary"),
    ],
    misconceptions=[
        ("not-renormalised", "p / sum(kept) for", "p for", "divide by the sum of what is kept"),
        ("drops-ties", "p >= smallest else 0.0 for p in probs]",
         "sum(q > p for q in probs) + probs[:i].count(p) < k else 0.0 for i, p in "
         "enumerate(probs)]", "tokens as likely as the k-th are kept as well"),
        ("one-too-few", "p >= smallest", "p > smallest", "the k-th itself is kept: >=, not >"),
        ("k-above-vocabulary", "min(k, len(probs))", "k", "a k above the vocabulary keeps all"),
        ("distinct-values", "sorted(probs, reverse=True)[min(k, len(probs)) - 1]",
         "sorted(set(probs))[-k:][0]", "a set holds equal ones once: the k-th of ALL decides"),
    ])  # fmt: skip

TOP_P = Task(
    grade_id="top-p", entry="top_p", compare=Close(), watch=("mutated",),
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
        ("stops-before-p", "order:\n", "order:\n        if kept and total + probs[token] > p + "
         "1e-12:\n            break\n", "the token that crosses p belongs to the nucleus"),
        ("not-renormalised", "q / total if", "q if", "divide by the sum of what is kept"),
        ("no-slack", "p - 1e-12", "p",
         "a sum of floats may stop just short of p, as .7 + .2 is below .9: allow a little slack"),
        ("must-exceed", "total >= p - 1e-12", "total > p + 1e-12",
         "a sum of exactly p is enough: one token too many is kept there"),
        ("none-for-p-0", "    for token in order:", "    for token in order if p else []:",
         "with p = 0 nothing is kept, and the sum that you divide by is 0: one token always is"),
        ("larger-id-first", "key=lambda token: -probs[token]", "key=lambda token: (-probs[token], "
         "-token)", "of equal tokens the smaller id comes first: sorting in reverse turns them"),
        ("keeps-equal-ones", "    return [", "    kept = {t for t in order if probs[t] >= "
         "probs[token]}\n    total = sum(probs[t] for t in kept)\n    return [",
         "tokens as likely as the last one are all kept; only the smaller ids belong to it"),
        ("unsorted", "in order", "in range(len(probs))", "the LIKELIEST tokens come first: sort"),
    ])  # fmt: skip


DIFFERENT = Task(
    grade_id="draw", entry="draw_different", compare=Exact(), watch=("mutated",),
    cases=lambda rng: [
        *(Case([0.125, 0.0, 0.5, 0.25, 0.125], [u], label="a boundary") for u in (0.0, 0.125)),
        Case([0.25, 0.5, 0.25], [0.25, 0.5], label="a boundary in each round"),
        *(Case(distribution(rng, 6), rng.uniform(0, 0.999, 4).round(4).tolist()) for _ in range(6)),
        Case([0.0, 0.5, 0.5], [0.0, 0.25], label="an impossible first token"),
        # the sum of ten times 0.1 is this very u in floating point
        Case([0.1] * 10 + [0.0], [0.9999999999999999], label="u just below 1"),
        Case([0.35, 0.2, 0.3, 0.15, 0.0], [0.0, 0.9999999999999999], label="u just below 1, again"),
        Case([0.5, 0.5], [], label="no number"),
    ],
    misconceptions=[
        ("with-replacement", "        left[token] = 0.0\n", "",
         "a token can be drawn twice: take it out when it was drawn"),
        ("not-renormalised", " / total", "", "after the first draw the probabilities sum to "
         "less than 1: divide them by their sum"),
        ("closed-above", "u < end", "u <= end",
         "an interval ends BEFORE the sum that includes the token: u < sum, not u <= sum"),
        ("ids-move", "left[token] = 0.0", "del left[token]", "a token that was drawn is removed "
         "from the list, so the ids behind it move up by one: set its probability to 0"),
        ("likeliest-first", "enumerate(left) if", "sorted(enumerate(left), key=lambda pair: "
         "-pair[1]) if", "the tokens lie in the order of their ids: don't sort"),
        ("last-id", "[token for token, p in enumerate(left) if p > 0]", "range(len(left))",
         "a u behind the last end draws the last id, even if that is impossible or was drawn"),
        ("changes-probs", "list(probs), []", "probs, []", "probs is changed: work on a copy"),
    ])  # fmt: skip


def model(n_tokens, decimals, ids):
    """Logits that depend on the whole text, token 0 impossible; of few decimals there are ties."""
    import torch

    places = torch.arange(1, ids.shape[1] + 1)
    text = (ids * places).sum(1, keepdim=True)  # (B, 1)
    angle = 1.7 * text + 0.9 * torch.arange(n_tokens) ** 2
    logits = (3 * torch.sin(angle.double())).round(decimals=decimals).float()  # (B, V)
    return logits.index_fill(1, torch.tensor([0]), -torch.inf)


def sample_cases(rng):
    def case(n_rows, n_tokens, label, *args, decimals=6, **settings):
        ids = torch.from_numpy(rng.integers(0, n_tokens, (n_rows, 3)))
        seed = between(rng, 0, 999)
        return Case(Probe(model, n_tokens, decimals), ids, *args, seed, label=label, **settings)

    return [
        case(5, 12, "no filter", 6),
        case(30, 12, "a temperature", 4, temperature=1.7),
        *(case(30, 12, "top-k", 4, top_k=k) for k in (4, 1)),
        case(30, 9, "ties in top-k", 3, top_k=3, decimals=0),
        case(3, 12, "k above the vocabulary", 3, top_k=50),
        case(30, 12, "top-p", 4, top_p=0.8),
        case(30, 12, "p = 0", 2, top_p=0.0),
        case(30, 12, "all settings", 4, temperature=2.5, top_k=8, top_p=0.7),
        case(30, 5, "texts that end", 40, eos=2),
        case(1, 4, "a single text that ends", 40, eos=1),
        case(4, 12, "no new token", 0),
    ]


SAMPLE = Task(
    grade_id="sample", entry="sample", cases=sample_cases, compare=Exact(),
    watch=("mutated", "n_calls"), misconceptions=[
        ("seed-in-each-step", "generator=generator", "generator=generator.manual_seed(seed)",
         "the generator is made anew in each step, so that every step uses the same numbers"),
        ("top-p-before-temperature", "next_logits(ids) / temperature", "next_logits(ids)",
         "logits.softmax(-1), 1", "(logits / temperature).softmax(-1), 1",
         "the temperature acts last; it comes first, before the filters"),
        ("top-p-before-top-k", "        if top_k", "        full = logits\n        if top_k",
         "logits.sort(", "full.sort(", "top-k comes first: top-p counts what it has left"),
        ("prompt-has-ended", "torch.zeros(len(ids), dtype=torch.bool)", "(ids == eos).any(1)",
         "an eos in the prompt does not end a row: only one that was drawn does"),
        ("skips-ended", "tokens = torch.multinomial(logits", "tokens = torch.full((len(ids), 1), "
         "eos)\n        tokens[~ended] = torch.multinomial(logits[~ended]", "draw for rows that "
         "have ended, too, and then replace it: else the others get other random numbers"),
        ("crossing-token", "cut[:, -1] = False", "cut[:, :-1] = cut[:, 1:].clone()\n"
         "        cut[:, -1] = False", "the token that crosses p belongs to the nucleus"),
        ("empties-the-nucleus", "        cut[:, -1] = False\n", "",
         "p = 0 cuts every token: the likeliest one always stays"),
        ("wrong-places", "cut.scatter(-1, order, cut)", "cut",
         "cut is in the order of the sorted logits: bring it back into the order of the ids"),
        ("goes-on-after-eos", "        tokens[ended] = eos\n", "",
         "a row that has ended goes on: after eos it gets eos"),
        ("draws-twice", "        tokens[ended]", "        tokens = torch.multinomial("
         "logits.softmax(-1), 1, generator=generator)\n        tokens[ended]",
         "one call of multinomial in each step: a second one uses up random numbers"),
    ])  # fmt: skip

TASKS = [TEMPERATURE, TOP_K, TOP_P, DIFFERENT, SAMPLE]
