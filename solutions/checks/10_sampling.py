"""Hidden checks of exercise 10: temperature, top-k, top-p, different tokens, a sampler."""

import math

import torch

from grader.checks import Case, Close, Probe, Task, between, normal


def distribution(rng, size, flat=1.0):
    probs = [round(p, 4) for p in rng.dirichlet([flat] * size).tolist()]
    probs[0] += 1 - sum(probs)
    return probs


TEMPERATURE = Task(
    grade_id="temperature", entry="softmax", compare=Close(rtol=1e-9, atol=0), cases=lambda rng: [
        *(Case(rng.normal(0, 2, 7).tolist(), t, label="the plain formula") for t in (0.7, 1.8)),
        Case([0.0, -800.0], 1000.0, label="a high temperature, used as it is: divide before exp"),
        *(Case([2.0, -math.inf, 1.0], t, label="an impossible token, also where the temperature is "
               "high: exactly 0, so put no number in place of -inf") for t in (1.5, 1e7)),
        Case([0.0, 1e-8, 1.5e-8], 1e-8, label="a temperature near 0: no floor, nothing added"),
        Case([0.0, 1000.0, 999.0, -math.inf], 0.25, label="huge logits: subtract the LARGEST"),
        Case([-15000.0, -15002.0, -math.inf], 2.0, label="very small logits: subtract the largest"),
        Case([-3.0], 0.5, label="a single token"),
    ], misconceptions=[
        (") / temperature)", {") * temperature)", "))"}), ("w / sum(weights)", {"w"}),
        ("(x - highest)", "x", "exp overflows: subtract the largest logit first"),
        ("(x - highest) / temperature", "x / temperature - highest",
         "subtract the largest AFTER dividing, or divide it, too"),
        ("max(logits)", "max(0.0, *logits)", "subtract a largest logit below 0, too"),
        ("exp((x - highest) / t", "exp(x - highest) ** (1 / t",
         "an exp that is 0.0 stays 0: divide before exp"),
        ("x in logits]", {"x in logits if x > -math.inf]"}),
    ])  # fmt: skip

TOP_K = Task(
    grade_id="top-k", compare=Close(), cases=lambda rng: [
        Case([0.07, 0.45, 0.12, 0.3, 0.06], 3, label="no ties: k tokens, which sum to 1"),
        Case([0.1, 0.2, 0.4, 0.2, 0.1], 2, label="ties with the k-th: all of them stay"),
        Case([0.25, 0.25, 0.125, 0.375], 3, label="ties above the k-th: each token counts"),
        Case([0.25, 0.375, 0.375], 1, label="k = 1 and two likeliest tokens: both stay"),
        Case([0.3, 0.3 + 1e-12, 0.4 - 1e-12], 2, label="nearly equal is not equal: round nothing"),
        *(Case([0.3, 0.7], k, label="k is the vocabulary's size, or more: all") for k in (2, 50)),
        *(Case(distribution(rng, n), k, label="many tokens") for n, k in ((7, 3), (12, 5))),
    ], misconceptions=[("p / sum(kept) for", {"p for", "p / sum(sorted(probs)[-k:]) for"}),
        ("p >= smallest", {"p > smallest"}),
        ("p >= smallest else 0.0 for p in probs]", {"sum(q > p for q in probs) + "
         "probs[:i].count(p) < k else 0.0 for i, p in enumerate(probs)]"}),
        ("min(k, len(probs))", "k", "a k above the vocabulary keeps all"),
        ("sorted(probs, reverse=True)[min(k, len(probs)) - 1]", "sorted(set(probs))[-k:][0]",
         "a set holds equals once: the k-th of ALL"),
    ])  # fmt: skip

TOP_P = Task(
    grade_id="top-p", compare=Close(), cases=lambda rng: [
        Case([0.05, 0.15, 0.5, 0.3], 0.6, label="the token that crosses p stays"),
        Case([0.1, 0.7, 0.2], 0.5, label="one token holds more than p: it alone stays"),
        Case([0.125, 0.5, 0.25, 0.125], 0.75, label="a sum of exactly p is enough"),
        Case([0.05, 0.7, 0.2, 0.05], 0.9, label="exactly p, but for rounding: allow 1e-12"),
        Case([0.2, 0.2, 0.2, 0.2, 0.2], 0.5, label="equal tokens: smaller ids first, no more"),
        Case([0.2, 0.5, 0.3], 0.0, label="p = 0: one token stays"),
        *(Case(probs, 0.8, label="a sum just below p is not enough: allow 1e-12, and round nothing")
          for probs in ([0.496, 0.3, 0.104, 0.1], [0.1, 0.3 - 5e-10, 0.1 + 5e-10, 0.5])),
        Case([0.0, 0.3, 0.7], 1.0, label="p = 1: all that is possible stays"),
        *(Case(distribution(rng, n, flat), p, label="many tokens: sum from the likeliest on")
          for n, flat, p in ((8, 1, 0.8), (20, 0.4, 0.92))),
    ], misconceptions=[("order:\n",
         {"order:\n        if kept and total + probs[token] > p + 1e-12:\n            break\n"}),
        ("q / total if", {"q if": "", "q / p if": ""}),
        ("total >= p - 1e-12", {"total >= p": "", "total > p + 1e-12": "",
         "total >= p - 0.01": "a hundredth is too much slack: rounding is below 1e-12"}),
        ("    for token in order:",
         {"    for token in order if p else []:": "with p = 0 nothing is kept: one token always is",
         "    for token in order if p else 1 // 0 * []:": "with p = 0 nothing is kept, and the sum "
         "that you divide by is 0: one token always is"}),
        ("key=lambda token: -probs[token]", {"key=lambda token: (-probs[token], -token)"}),
        ("    return [", {"    kept = {t for t in order if probs[t] >= probs[token]}\n    total = "
         "sum(probs[t] for t in kept)\n    return ["}),
        ("in order", "in range(len(probs))", "the LIKELIEST tokens come first: sort"),
    ])  # fmt: skip

DIFFERENT = Task(
    grade_id="draw", entry="draw_different", cases=lambda rng: [
        *(Case([0.125, 0.0, 0.5, 0.25, 0.125], us, label="u at an end: the next interval has it")
          for us in ([0.0], [0.125], [0.25, 0.5])),
        Case([0.0, 0.5, 0.5], [0.0, 0.25], label="an impossible first token is never drawn"),
        Case([0.25] * 4, [0.6, 0.4, 0.7], label="equal tokens: take out the one that was DRAWN"),
        Case([0.5, 0.5], [], label="no number, no token"),
        Case([1e-14, 0.5, 0.5 - 1e-14], [0.0], label="small is not impossible: compare with 0"),
        *(Case(distribution(rng, 6), rng.uniform(0, 0.999, 4).round(4).tolist(), label="four draws:"
               " by ids; in EACH round divide by the sum of all that is left") for _ in range(6)),
        *(Case(probs, us, label="rounding leaves a gap below 1: the last token that can be drawn")
          for probs, us in (  # ten times 0.1 add up to this very u
                            ([0.1] * 10 + [0.0], [0.9999999999999999]),
                            ([0.35, 0.2, 0.3, 0.15, 0.0], [0.0, 0.9999999999999999]),
                            ([0.27, 0.37, 0.17, 0.09, 0.1], [0.9999999999999999] * 2))),
    ], misconceptions=[
        ("        left[token] = 0.0\n", {""}), (" / total", {""}), ("u < end", {"u <= end"}),
        ("left[token] = 0.0", {"del left[token]": "", "left[left.index(left[token])] = 0.0": "of "
         "equal tokens take out the one that was drawn: go by its id, not by its value"}),
        ("enumerate(left) if", "sorted(enumerate(left), key=lambda pair: -pair[1]) if",
         "don't sort: the order is that of the ids"),
        ("[token for token, p in enumerate(left) if p > 0]", {"range(len(left))": "a u behind the "
         "last end draws the last id, even if that is impossible or was drawn",
         "[t for t, p in enumerate(probs) if p > 0]": "a u behind the last end draws a token "
         "again"}), ("list(probs), []", "probs, []", "probs is changed: work on a copy"),
        ("sum(left)", "1 - (probs[drawn[-1]] if drawn else 0)",
         "divide by what is left: ALL drawn tokens are gone"),
    ])  # fmt: skip


def model(n_tokens, decimals, ids):
    """Logits that depend on all tokens, the last one impossible; few decimals give ties."""
    import torch

    text = (ids * torch.arange(1, ids.shape[1] + 1)).sum(1, keepdim=True)  # (B, 1)
    angle = 1.7 * text + 0.9 * torch.arange(n_tokens) ** 2
    logits = (3 * torch.sin(angle.double())).round(decimals=decimals).float()  # (B, V)
    return logits.index_fill(1, torch.tensor([n_tokens - 1]), -torch.inf)


def stored(table, ids):
    return table[: len(ids)]  # the same tensor after any text


def sample_cases(rng):
    def case(n_rows, n_tokens, label, *args, decimals=6, **settings):
        ids = torch.from_numpy(rng.integers(0, n_tokens, (n_rows, 3)))
        args = (Probe(model, n_tokens, decimals), ids, *args, between(rng, 0, 999))
        return Case(*args, label=label, **settings)

    table, ids = 2 * normal(rng, 30, 9).float(), torch.zeros(30, 1).long()
    return [
        case(5, 12, "no filter: one generator; in each step one multinomial of the softmax", 6),
        case(30, 12, "a temperature: logits / temperature", 4, temperature=1.7),
        *(case(30, 12, "top-k: each row has its own k-th", 4, top_k=k) for k in (4, 1)),
        case(30, 9, "ties in top-k: all that equal the k-th stay", 3, top_k=3, decimals=0),
        case(3, 12, "k above the vocabulary: all stay", 3, top_k=50),
        case(30, 12, "top-p: each row has its own nucleus, with what crosses p", 4, top_p=0.8),
        case(30, 12, "p = 0: the likeliest of each row stays", 2, top_p=0.0),
        case(30, 12, "temperature, top-k, top-p", 4, temperature=2.5, top_k=8, top_p=0.7),
        case(30, 5, "an eos (0 here) that was DRAWN ends a row; draw until ALL ended", 40, eos=0),
        case(1, 4, "a single text that ends: stop after its eos", 40, eos=1),
        case(4, 12, "no new token: the prompts come back", 0),
        Case(Probe(stored, table), ids, 5, 7, 0.5, label="the same tensor again: don't change it"),
    ]


SAMPLE = Task(
    grade_id="sample", cases=sample_cases, watch=("mutated", "n_calls"), misconceptions=[
        ("generator=generator", {"generator=generator.manual_seed(seed)"}),
        ("next_logits(ids) / temperature", "next_logits(ids)", "logits.softmax(-1), 1",
         {"(logits / temperature).softmax(-1), 1"}),
        ("        if top_k", "        full = logits\n        if top_k", "logits.sort(",
         {"full.sort("}), ("torch.zeros(len(ids), dtype=torch.bool)", "(ids == eos).any(1)",
         "an eos in the prompt does not end a row"),
        ("tokens = torch.multinomial(logits", "tokens = torch.full((len(ids), 1), eos)\n        "
         "tokens[~ended] = torch.multinomial(logits[~ended]",
         "draw for rows that have ended, too, and then replace it: else the others get other "
         "random numbers"),
        ("cut[:, -1] = False", {"cut[:, :-1] = cut[:, 1:].clone()\n        cut[:, -1] = False"}),
        ("        cut[:, -1] = False\n", "", "p = 0 cuts every token: the likeliest always stays"),
        ("cut.scatter(-1, order, cut)", "cut", "cut is in sorted order, not in that of the ids"),
        ("        tokens[ended] = eos\n", {""}), ("[:, -1:]", "[:, -1:].min()",
         "top-k: this is the smallest k-th logit of ALL rows; each row has its own"),
        ("        tokens[ended]", "        tokens = torch.multinomial(logits.softmax(-1), 1, "
         "generator=generator)\n        tokens[ended]", "ONE call of multinomial in each step"),
    ])  # fmt: skip
