"""Hidden checks of exercise 11: settings that act, stop, logprobs, penalty, latency, refusals."""

import math

import numpy as np

from grader.checks import Case, Close, Exact, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)

SETTINGS = Task(
    grade_id="settings", entry="answers", compare=Exact(), misconceptions=[
        ("passed-on-acts", "### END SOLUTION",
         'answers |= {"temperature": "acts", "top_p": "acts"}', "top_k=1 leaves one token to draw "
         "from: temperature and top_p are read, and the text stays the same"),
        ("seed-acts", "### END SOLUTION", 'answers |= {"seed": "acts"}',
         "with top_k=1 the draw is among one token: no seed changes it"),
        ("all-of-the-draw-acts", "### END SOLUTION",
         'answers |= {"seed": "acts", "temperature": "acts", "top_p": "acts"}',
         "top_k=1 leaves one token to draw: seed, temperature and top_p change nothing"),
        ("penalty-is-lost", "### END SOLUTION", 'answers |= {"repetition_penalty": "no effect"}',
         "the repetition penalty acts even on greedy search: it changes which token is the "
         "likeliest"),
        ("len-penalty-acts", "### END SOLUTION", 'answers |= {"len_penalty": "acts"}',
         "length_penalty compares finished beams of a beam search; here num_beams stays 1"),
        ("scores-are-logprobs", "### END SOLUTION", 'answers |= {"logprobs": "no effect"}',
         "output_scores=True makes generate return scores, but task_info['logprobs'] is never "
         "looked up"),
        ("top-k-is-read", "### END SOLUTION", 'answers |= {"top_k": "no effect"}',
         "the script passes a top_k of its own, 1; it never looks up task_info['top_k']"),
    ])  # fmt: skip


def cut_up(rng, text):
    """The text in pieces of 0 to 3 characters."""
    pieces = []
    while text:
        n = int(rng.integers(0, 4))
        pieces.append(text[:n])
        text = text[n:]
    return pieces


def stop_cases(rng):
    letters = "".join(rng.choice(list("abab\n"), size=40))
    return [
        Case(["A:", " 4", "2", ".\n", "Q", ":", " 1"], ["\nQ:"], label="a stop in three pieces"),
        Case(["A: 42\nQ: 1", " + 1"], ["Q:", "\n"], label="two stops in one piece"),
        Case(["##", "#", " x", " #", "##", "END", "y"], ["###E"], label="a false start of a stop"),
        Case(["\n", "Q", ":", "x"], ["\nQ:"], label="a text that is a stop at once"),
        Case(["aa", "", "aa", "ab", "a"], ["aab"], label="a shorter end that is a beginning too"),
        Case(["-x", "x", "x", "y!"], ["xxy"], label="a beginning in an earlier piece"),
        Case(["so", " it", " ends", "\n"], ["\n\n", "STOP"], label="only a beginning of a stop"),
        Case(["one", " two", "\n"], [], label="no stop strings"),
        Case([], ["STOP"], label="no pieces"),
        Case(cut_up(rng, letters), ["abba", "b\n\na"], label="a longer text"),
        Case(cut_up(rng, letters), ["zz", "aaaaaab"], label="another longer text"),
    ]


STOP = Task(
    grade_id="stop", entry="shown", compare=Exact(), cases=stop_cases, watch=("mutated",),
    misconceptions=[
        ("piece-by-piece", "waiting + piece", "piece", "min(begins, default=len(text))",
         "len(text)", "a stop string may begin in one piece and end in another: look at the text, "
         "not at each piece alone"),
        ("shows-the-beginning", "text[: min(found)]", "text[len(waiting) : min(found)]",
         "text[:cut]", "piece", "waiting = text[cut:]", "waiting = text", "[*result, waiting]",
         '[*result, ""]', "the beginning of a stop string was shown before the rest of it came: an "
         "end of the text that a stop begins with has to wait"),
        ("stop-included", "[text.find(stop) for", "[text.find(stop) + len(stop) for",
         "the stop string itself is not part of the text"),
        ("waits-too-long", "min(begins, default=len(text))",
         "max(0, len(text) - max((len(s) - 1 for s in stops), default=0))",
         "only an end that a stop string begins with has to wait; you always hold back as many "
         "characters as a stop has"),
        ("waits-too-short", "min(begins, default=len(text))", "max(begins, default=len(text))",
         "the LONGEST end that a stop begins with has to wait; you let the shortest wait"),
        ("loses-the-end", "[*result, waiting]", '[*result, ""]',
         "when the pieces end without a stop, what was waiting is text: show it"),
        ("minus-zero", "text[:cut]", "text[: cut - len(text)]", "waiting = text[cut:]",
         "waiting = text[cut - len(text) :]", "text[:-0] is empty: nothing is shown"),
        ("max-of-nothing", "min(begins, default=len(text))",
         "min([*begins, *[len(text)] * bool(stops)])",
         "without any stop string, max or min of an empty list is an error: give a default"),
        ("entry-after-the-stop", "text[: min(found)]]", 'text[: min(found)], ""]',
         "after a stop the result ends: one entry too many follows"),
        ("no-last-entry", "[*result, waiting]", "[*result, waiting] if waiting else result",
         "the last entry is missing where nothing waits: without a stop it is always there"),
        ("first-stop-only", '[], ""\n', '[], ""\n    stops = stops[:1]\n',
         "only the first stop string is looked for; any of them ends the text"),
        ("first-listed", "min(found)", "found[0]", "of two stops in a piece the one that begins "
         "first in the TEXT counts, not the first in the list"),
        ("whole-or-nothing", "min(begins, default=len(text))", "0 if 0 in begins else len(text)",
         "a stop may begin in the middle of what is there: test every end of the text, not only "
         "the whole of it"),
    ])  # fmt: skip


def logprob_cases(rng):
    def drawn(n_vocab, prompt_len, length, n, label=""):
        rows = rng.normal(0, 2, (prompt_len + length, n_vocab))
        # in the text: the likeliest, the unlikeliest, then any
        ids = rng.integers(0, n_vocab, prompt_len + length)
        ids[prompt_len : prompt_len + 2] = (
            rows[prompt_len - 1].argmax(),
            rows[prompt_len].argmin(),
        )
        return Case(rows.tolist(), ids.tolist(), prompt_len, n, label=label)

    sure = [[7.0, 0.0, -1.0]] * 3  # log p so near to 0 that single precision is too coarse
    extreme = [[1000.0, 998.0, 0.0, -math.inf], [-900.0, 100.0, 99.0, 98.0], [0.0] * 4, [0.0] * 4]
    return [
        drawn(6, 1, 4, 3),
        drawn(9, 3, 5, 2, label="a longer prompt"),
        drawn(4, 2, 3, 10, label="n above the vocabulary"),
        Case(extreme[:3], [1, 1, 0], 1, 3, label="logits far apart"),
        Case(sure, [1, 0, 0], 1, 2, label="nearly certain tokens"),
        Case(extreme[:3], [0, 3, 1], 1, 4, label="an impossible token"),
        Case(extreme, [0, 2, 1, 3], 3, 2, label="equal logits"),
    ]


LOGPROBS = Task(
    grade_id="logprobs", entry="logprobs", compare=CLOSE, cases=logprob_cases, watch=("mutated",),
    misconceptions=[
        ("own-row", "[position - 1]", "[position]",
         "row i is the forecast of token i + 1: a token's row is the one before its own"),
        ("rows-from-0", "[position - 1]", "[position - prompt_len]",
         "the rows begin behind a prompt of one token; the first of the text has prompt_len - 1"),
        ("prompt-too", "range(prompt_len,", "range(1,",
         "the prompt's tokens are reported as well; only those of the text are asked for"),
        ("base-two", "[x - log_sum for", "[(x - log_sum) / math.log(2) for",
         "these are logarithms to base 2; natural ones are asked for"),
        ("underflows", "x - log_sum for",
         "(math.log(p) if (p := math.exp(x - log_sum)) else -math.inf) for",
         "the probability rounds to 0, and -1000 becomes -inf: compute x - log Σ exp"),
        ("index-of-ties", "sorted(range(len(row)), key=lambda i: -row[i])",
         "[row.index(x) for x in sorted(row, reverse=True)]",
         "of equal ones the same id stands there twice: the number alone does not tell which id"),
        ("single-precision", "        log_probs = [",
         "        import torch\n\n        row = torch.tensor(row).log_softmax(0).tolist()\n"
         "        log_sum = 0.0\n        log_probs = [",
         "single precision is too coarse where p is nearly 1: say dtype=torch.float64"),
        ("raw-logits", "[x - log_sum for x in row]", "row",
         "these are the logits themselves: subtract log Σ exp of the row"),
        ("probabilities", "x - log_sum for", "math.exp(x - log_sum) for",
         "these are the probabilities: their logarithms are asked for"),
        ("chosen-is-likeliest", "log_probs[token]", "log_probs[best[0]]",
         "log_prob belongs to the token of the text, which need not be the likeliest"),
        ("larger-id-first", "key=lambda i: -row[i]", "key=lambda i: (-row[i], -i)",
         "of equal ones the smaller id comes first: sorting in reverse turns them round"),
        ("only-over-the-top", "        top = ",
         "        log_top = math.log(sum(math.exp(log_probs[i]) for i in best))\n"
         "        log_probs = [x - log_top for x in log_probs]\n        top = ",
         "the softmax runs over the whole vocabulary, not over the n likeliest"),
        ("overflows", "highest = max(row)", "highest = 0.0",
         "exp of a large logit overflows: subtract the row's largest logit first"),
        ("log-of-zero", "x - log_sum for", "math.log(math.exp(x - log_sum)) for",
         "a probability can be 0 in floating point, and math.log(0) is an error: compute x - log Σ "
         "exp without forming the probability"),
    ])  # fmt: skip


def penalty_cases(rng):
    def drawn(n_vocab, penalty, label=""):
        logits = rng.normal(0, 3, n_vocab)
        logits[[0, 1, 2, 3, 5]] = (2.5, -1.5, 4.0, -3.0, 0.4)  # both signs, repeated and not
        ids = [0, 1, 0, 5, 1, 6, 0]
        return Case(logits.round(3).tolist(), ids, penalty, label=label)

    return [
        drawn(10, 1.3),
        drawn(12, 2.0),
        drawn(9, 0.8, "a penalty below 1"),
        Case([0.0, -math.inf, 2.0, -0.5], [1, 0, 3, 3], 1.5, label="impossible tokens and zeros"),
    ]


PENALTY = Task(
    grade_id="penalty", entry="penalised", cases=penalty_cases, compare=CLOSE, watch=("mutated",),
    misconceptions=[
        ("divides-all", " if x > 0 else x * penalty", "",
         "dividing a negative logit makes the token MORE likely: multiply it"),
        ("multiplies-all", "x / penalty if x > 0 else x * penalty", "x * penalty",
         "multiplying a positive logit makes the token MORE likely: divide it"),
        ("each-time", "set(token_ids)", "token_ids", "x = logits[token]", "x = result[token]",
         "a token is penalised once, however often it occurred"),
        ("not-below-1", "set(token_ids):", "set(token_ids) if penalty > 1 else ():", "a penalty "
         "below 1 does nothing here; it follows the same rule, and makes tokens likelier"),
        ("subtracts", "x / penalty if x > 0 else x * penalty", "x - penalty",
         "subtracting is another penalty (the presence penalty): divide or multiply here"),
        ("penalises-the-others", "set(token_ids)", "set(range(len(logits))) - set(token_ids)",
         "the tokens that occurred are penalised, not the others"),
        ("never-token-0", "set(token_ids):", "set(token_ids) - {0}:",
         "token 0 is never penalised: 0 is an id like any other (is there an `if token`?)"),
        ("last-token-only", "set(token_ids)", "token_ids[-1:]",
         "all tokens so far count, not only the last one"),
        ("changes-its-argument", "list(logits)", "logits",
         "the values are right, but the caller's logits were changed: work on a copy"),
    ])  # fmt: skip


def latency_cases(rng):
    def call(n_tokens, slow=1.0):
        start, first = rng.uniform(10, 2000), rng.uniform(0.2, 0.9) * slow
        steps = rng.uniform(0.02, 0.06, n_tokens - 1) * slow
        return np.cumsum([start, first, *steps]).round(6).tolist()

    return [
        Case([call(5, slow=9), call(6), call(12)]),
        Case([call(9, slow=5), call(3), call(20, slow=2), call(8)]),
        Case([call(4, slow=9), call(1), call(7)], label="a call with one token"),
        Case([call(4, slow=9), call(5)], label="a single call"),
        Case([call(4, slow=0.1), call(5), call(3), call(9, 3)], label="a warm-up that is fast"),
        Case([call(4, slow=9), call(1), call(1)], label="no call with two tokens"),
    ]


LATENCY = Task(
    grade_id="latency", entry="latencies", cases=latency_cases, compare=CLOSE, watch=("mutated",),
    misconceptions=[
        ("keeps-the-warm-up", "calls[1:]", "calls", "the first call is the warm-up: leave it out"),
        ("leaves-out-the-slowest", "calls[1:]", "sorted(calls, key=lambda t: t[1] - t[0])[:-1]",
         "the slowest call is left out; the warm-up is the FIRST one, slow or not"),
        ("all-or-none", "for times in measured)  # n", "for times in measured) * (min(map(len, "
         "measured)) > 2)  # n", "one call without an interval does not make all None"),
        ("ttft-of-long-calls", "[times[1] - times[0] for times in measured]",
         "[t[1] - t[0] for t in measured if len(t) > 2 or max(map(len, measured)) < 3]",
         "a call with a single token has a time to it, too: it counts for TTFT"),
        ("tokens-in-the-rate", "n_intervals / decode", "(n_intervals + len(measured)) / decode",
         "the first tokens belong to prefill, and are counted in the rate: it is 1 / TPOT"),
        ("prefill-in-tpot", "sum(len(times) - 2 for times in measured)",
         "sum(len(times) - 1 for times in measured) * (max(map(len, measured)) > 2)",
         "times[-1] - times[1]", "times[-1] - times[0]",
         "the time to the first token is prefill: TPOT begins at the first token"),
        ("n-intervals", "sum(len(times) - 2 for times in measured)",
         "sum(len(times) - 1 for times in measured) * (max(map(len, measured)) > 2)",
         "n tokens have n - 1 intervals between them"),
        ("mean-of-means", "    return {",
         "    paces = [(t[-1] - t[1]) / (len(t) - 2) for t in measured if len(t) > 2]\n"
         "    decode, n_intervals = sum(paces), len(paces)\n    return {",
         "take the mean over all intervals together: a long call has more of them"),
        ("seconds", '"ttft_ms": 1000 * ', '"ttft_ms": ', '"tpot_ms": 1000 * ', '"tpot_ms": ',
         "ttft_ms and tpot_ms are in milliseconds"),
        ("rate-with-prefill", "n_intervals / decode",
         "sum(len(t) - 1 for t in measured) / sum(t[-1] - t[0] for t in measured)",
         "tokens a second of decode is 1 / TPOT: leave the prefill out of it"),
        ("divides-by-zero",
         'n_intervals if n_intervals else None,\n        "tokens_per_s": n_intervals / decode if '
         "n_intervals else None", 'n_intervals,\n        "tokens_per_s": n_intervals / decode',
         "a call may have a single token, and so no interval at all"),
    ])  # fmt: skip


def use_check(answer, given):
    """The settings, or which name the ValueError's message begins with."""
    names = "output_len beam_width top_k temperature top_p repetition_penalty len_penalty"
    known = [*names.split(), "beam_search_diversity_rate", *given]
    try:
        return answer.check_settings(given)
    except ValueError as error:
        name = str(error).partition(":")[0].strip(" '\"`")
        return f"refused: {name}" if name in known else "refused, but no name begins the message"


def check_cases(rng):
    k, p, t = int(rng.integers(2, 99)), float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.1, 2))
    fine = [
        {"output_len": 1, "top_k": k, "top_p": p, "temperature": t},
        {"output_len": k, "beam_width": 2, "len_penalty": -t, "repetition_penalty": p},
        {"top_k": 0, "temperature": 0, "top_p": 1, "beam_search_diversity_rate": 0},
    ]
    refused = {
        "a length of 0": {"output_len": 0},
        "a length with a fraction": {"output_len": 2.5},
        "a length that is True": {"output_len": True},
        "a temperature that is True": {"temperature": True},
        "a whole top_k that is a float": {"top_k": float(k)},
        "a beam width of 0": {"beam_width": 0},
        "a top_k below 0": {"top_k": -1},
        "a temperature below 0": {"temperature": -t},
        "an infinite temperature": {"temperature": math.inf},
        "a temperature that is None": {"temperature": None},
        "a top_p of 0": {"top_p": 0.0},
        "a top_p above 1": {"top_p": 1 + p},
        "a top_p that is nan": {"top_p": math.nan},
        "a top_p that is a string": {"top_p": "0.9"},
        "a penalty of 0": {"repetition_penalty": 0},
        "an infinite penalty": {"repetition_penalty": math.inf},
        "an infinite len_penalty": {"len_penalty": math.inf, "beam_width": 2},
        "a diversity rate": {"beam_search_diversity_rate": p},
        "a misspelt name": {"topp": p},
        "len_penalty without beams": {"len_penalty": -t, "output_len": k},
        "top_p with temperature 0": {"temperature": 0.0, "top_p": p},
        "top_p with top_k 1": {"top_k": 1, "top_p": p},
    }
    return [
        *(Case(given, label="allowed settings") for given in fine),
        *(Case(given, label=label) for label, given in refused.items()),
    ]


CHECK = Task(
    grade_id="check", entry="check_settings", cases=check_cases, drive=use_check, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("nameless", 'f"{name}: there', 'f"there', 'f"{name}: {settings', 'f"{settings',
         "the message has to begin with the setting's name and a colon"),
        ("nan-and-infinity-pass", "0 <= x < math.inf", "0 <= x", "0 < x < math.inf", "0 < x",
         "math.isfinite(x) and ", "", "0 < x <= 1", "not (x <= 0 or x > 1)",
         "nan is neither below nor above anything: ask whether a value is "
         "IN its range (0 < p <= 1), and refuse infinity"),
        ("true-is-one",
         '"output_len": lambda x: type(x) is int', '"output_len": lambda x: isinstance(x, int)',
         "type(settings[name]) not in (int, float)", "not isinstance(settings[name], (int, float))",
         "True is an int to isinstance: refuse it as a number"),
        ("whole-floats-pass", 'k": lambda x: type(x) is int', 'k": lambda x: x == int(x)',
         "5.0 is a float: these settings need an int"),
        ("only-above-0", "(x == 0 or settings", "(x <= 0 or settings",
         "a len_penalty below 0 does nothing without beams, either"),
        ("unknown-passes", "in given.keys() - DEFAULTS.keys()", "in ()",
         "a misspelt setting must be refused, or it is silently ignored"),
        ("no-combinations", " and (x == 1 or not greedy)", "",
         ' and (x == 0 or settings["beam_width"] > 1)', "", "a setting that would do nothing must "
         "be refused too: len_penalty without beams, top_p where the choice is greedy"),
        ("top-p-zero-passes", "0 < x <= 1", "0 <= x <= 1",
         "top_p is above 0: at 0 no token is left"),
        ("only-the-given", "return settings", "return dict(given)",
         "all settings come back: the defaults with the given ones in their place"),
        ("asserts", 'ValueError(f"{name}: there', 'AssertionError(f"{name}: there',
         'ValueError(f"{name}: {settings', 'AssertionError(f"{name}: {settings',
         "raise a ValueError: assert is for tests, and python -O leaves it out"),
        ("type-error", "not in (int, float) or", "is bool or",
         "a string or None must give your ValueError too: look at the type before you compare"),
    ])  # fmt: skip

TASKS = [SETTINGS, STOP, LOGPROBS, PENALTY, LATENCY, CHECK]
