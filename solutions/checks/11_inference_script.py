"""Hidden checks of exercise 11: settings that act, stop, logprobs, penalty, latency, refusals."""

import math

import numpy as np

from grader.checks import Case, Close, Exact, Misconception, Raises, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)


# --- Task 1: which settings act? ---------------------------------------------------------------

ANSWERS = {
    "prompt_seqs": "acts",
    "seed": "no effect",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "never read",
    "top_p": "no effect",
    "temperature": "no effect",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "no effect",
    "repetition_penalty": "acts",
    "stop": "never read",
    "logprobs": "never read",
}


# --- Task 2: stop strings ----------------------------------------------------------------------


def shown(pieces, stops):
    """By the text as a whole: where may it be shown up to, after each piece?"""
    text, done, result = "", 0, []
    for piece in pieces:
        text += piece
        starts = [text.index(stop) for stop in stops if stop in text]
        end = min(starts) if starts else len(text) - waiting(text, stops)
        result.append(text[done:end])
        done = end
        if starts:
            return result
    return [*result, text[done:]]


def waiting(text, stops):
    """Length of the longest end of the text that a stop string begins with."""
    ends = [n for stop in stops for n in range(len(stop)) if text.endswith(stop[:n])]
    return max(ends, default=0)


def shows(hold=waiting, included=False, first_listed=False, lost=False):
    """The same with one thing got wrong; ``hold(text, stops)``: how many characters wait."""

    def wrong(pieces, stops):
        text, done, result = "", 0, []
        for piece in pieces:
            text += piece
            found = [stop for stop in stops if stop in text]
            if found:
                stop = found[0] if first_listed else min(found, key=text.index)
                end = text.index(stop) + (len(stop) if included else 0)
                return [*result, text[done:end]]
            end = max(done, len(text) - hold(text, stops))
            result.append(text[done:end])
            done = end
        return [*result, "" if lost else text[done:]]

    return wrong


def piece_by_piece(pieces, stops):
    result = []
    for piece in pieces:
        found = [piece.index(stop) for stop in stops if stop in piece]
        if found:
            return [*result, piece[: min(found)]]
        result.append(piece)
    return [*result, ""]


def whole_or_nothing(pieces, stops):
    result, text = [], ""
    for piece in pieces:
        text += piece
        found = [text.index(stop) for stop in stops if stop in text]
        if found:
            return [*result, text[: min(found)]]
        if any(stop.startswith(text) for stop in stops):
            result.append("")
        else:
            result.append(text)
            text = ""
    return [*result, text]


def always_some(text, stops):
    return max((len(stop) - 1 for stop in stops), default=0)


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
        Case(["so", " it", " ends", "\n"], ["\n\n", "STOP"], label="only a beginning of a stop"),
        Case(["one", " two", "\n"], [], label="no stop strings"),
        Case(cut_up(rng, letters), ["abba", "b\n\na"], label="a longer text"),
        Case(cut_up(rng, letters), ["zz", "aaaaaab"], label="another longer text"),
    ]


# --- Task 3: logprobs --------------------------------------------------------------------------


def judged(row=-1, log_prob=None, chosen=True, over_top=False):
    """logprobs; each argument is one thing that can be got wrong."""

    def log_softmax(logits):
        return np.asarray(logits) - np.logaddexp.reduce(np.asarray(logits))

    def logprobs(logits, token_ids, prompt_len, n):
        result = []
        for i in range(prompt_len, len(token_ids)):
            values = (log_prob or log_softmax)(logits[i + row])
            best = np.argsort(-np.asarray(logits[i + row]), kind="stable")[:n]
            if over_top:
                values = values - np.logaddexp.reduce(values[best])
            result.append(
                {
                    "token": token_ids[i],
                    "log_prob": float(values[token_ids[i] if chosen else best[0]]),
                    "top": [(int(token), float(values[token])) for token in best],
                }
            )
        return result

    return logprobs


def probabilities(logits):
    return np.exp(np.asarray(logits) - np.logaddexp.reduce(np.asarray(logits)))


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

    extreme = [[1000.0, 998.0, 0.0, -math.inf], [-900.0, 100.0, 99.0, 98.0], [0.0, 0.0, 0.0, 0.0]]
    return [
        drawn(6, 1, 4, 3),
        drawn(9, 3, 5, 2, label="a longer prompt"),
        drawn(4, 2, 3, 10, label="n above the vocabulary"),
        Case(extreme, [1, 1, 0], 1, 3, label="logits far apart"),
        Case(extreme, [0, 2, 1], 1, 4, label="an impossible token"),
    ]


# --- Task 4: the repetition penalty ------------------------------------------------------------


def penalised(logits, token_ids, penalty):
    seen = np.isin(np.arange(len(logits)), token_ids)
    x = np.array(logits)
    return np.where(seen, np.where(x < 0, x * penalty, x / penalty), x).tolist()


def changed(change, seen=set):
    """Every token of ``seen(token_ids)`` changed by ``change(logit, penalty)``."""

    def wrong(logits, token_ids, penalty):
        result = list(logits)
        for token in seen(token_ids):
            result[token] = change(result[token], penalty)
        return result

    return wrong


def rule(x, penalty):
    return x / penalty if x > 0 else x * penalty


def penalises_others(logits, token_ids, penalty):
    return [x if i in token_ids else rule(x, penalty) for i, x in enumerate(logits)]


def in_place(logits, token_ids, penalty):
    logits[:] = penalised(logits, token_ids, penalty)
    return logits


def penalty_cases(rng):
    def drawn(n_vocab, penalty):
        logits = rng.normal(0, 3, n_vocab)
        logits[[0, 1, 2, 3]] = (2.5, -1.5, 4.0, -3.0)  # both signs, repeated and not
        ids = [0, 1, 0, 5, 1, 6, 0]
        return Case(logits.round(3).tolist(), ids, penalty)

    return [
        drawn(10, 1.3),
        drawn(12, 2.0),
        drawn(9, 0.8),
        Case([0.0, -math.inf, 2.0, -2.0], [1, 0, 3, 3], 1.5, label="impossible tokens and zeros"),
    ]


# --- Task 5: latency ---------------------------------------------------------------------------


def latency(skip=1, to_ms=1000, from_first=1, denominator=-1, by_call=False, rate=None):
    """latencies; each argument is one thing that can be got wrong."""

    def latencies(calls):
        calls = calls[skip:]
        ttft = sum(times[1] - times[0] for times in calls) / len(calls)
        n_tokens = [len(times) - 1 for times in calls]
        spans = [times[-1] - times[from_first] for times in calls]
        result = {"ttft_ms": to_ms * ttft, "tpot_ms": None, "tokens_per_s": None}
        if max(n_tokens) == 1:
            return result
        if by_call:
            pairs = [(s, n - 1) for s, n in zip(spans, n_tokens, strict=True) if n > 1]
            tpot = sum(s / n for s, n in pairs) / len(pairs)
        else:
            tpot = sum(spans) / sum(n + denominator for n in n_tokens)
        whole = sum(times[-1] - times[0] for times in calls)
        per_s = sum(n_tokens) / whole if rate else 1 / tpot
        return result | {"tpot_ms": to_ms * tpot, "tokens_per_s": per_s}

    return latencies


def latency_cases(rng):
    def call(n_tokens, slow=1.0):
        start, first = rng.uniform(10, 2000), rng.uniform(0.2, 0.9) * slow
        steps = rng.uniform(0.02, 0.06, n_tokens - 1) * slow
        return np.cumsum([start, first, *steps]).round(6).tolist()

    return [
        Case([call(5, slow=9), call(6), call(12)]),
        Case([call(9, slow=5), call(3), call(20, slow=2), call(8)]),
        Case([call(4, slow=9), call(1), call(7)], label="a call with one token"),
        Case([call(4, slow=9), call(1), call(1)], label="no call with two tokens"),
    ]


# --- Task 6: refuse what can't work ------------------------------------------------------------

DEFAULTS = {
    "output_len": 16,
    "beam_width": 1,
    "top_k": 50,
    "temperature": 1.0,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "len_penalty": 0.0,
    "beam_search_diversity_rate": 0.0,
}
LEAST = {"output_len": 1, "beam_width": 1, "top_k": 0}


def use_check(answer, given):
    """The settings, or which name the ValueError's message begins with."""
    names = "output_len beam_width top_k temperature top_p repetition_penalty len_penalty"
    known = [*names.split(), "beam_search_diversity_rate", *given]
    try:
        return answer.check_settings(given)
    except ValueError as error:
        name = str(error).partition(":")[0].strip(" '\"`")
        return f"refused: {name}" if name in known else "refused, but no name begins the message"


def checker(
    named=True, nan=False, true=False, unknown=False, combined=True, zero=False, only_given=False
):
    """check_settings; each argument is one thing that can be got wrong."""

    def is_number(x, kinds=(int, float)):
        return isinstance(x, kinds) and (true or not isinstance(x, bool))

    def wrong_name(given, s):
        for name in given:
            if name not in DEFAULTS and not unknown:
                return name
        for name, least in LEAST.items():
            if not is_number(s[name], int) or s[name] < least:
                return name
        for name in DEFAULTS:
            if not is_number(s[name]) or (not math.isfinite(s[name]) and not nan):
                return name
        if s["temperature"] < 0:
            return "temperature"
        if s["top_p"] < 0 or s["top_p"] > 1 or (s["top_p"] == 0 and not zero):
            return "top_p"
        if s["repetition_penalty"] <= 0:
            return "repetition_penalty"
        if s["beam_search_diversity_rate"] != 0:
            return "beam_search_diversity_rate"
        return combination(s) if combined else None

    def combination(s):
        if s["len_penalty"] != 0 and s["beam_width"] == 1:
            return "len_penalty"
        if s["top_p"] < 1 and (s["temperature"] == 0 or s["top_k"] == 1):
            return "top_p"
        return None

    def check_settings(given):
        settings = DEFAULTS | given
        name = wrong_name(given, settings)
        if name is not None:
            raise ValueError(f"{name}: no" if named else f"wrong value for {name}")
        return dict(given) if only_given else settings

    return check_settings


def check_cases(rng):
    k, p, t = int(rng.integers(2, 99)), float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.1, 2))
    fine = [
        {"top_k": k, "top_p": p, "temperature": t},
        {"output_len": k, "beam_width": 4, "len_penalty": -t, "repetition_penalty": p},
        {"top_k": 0, "temperature": 0, "top_p": 1, "beam_search_diversity_rate": 0},
    ]
    refused = {
        "a length of 0": {"output_len": 0},
        "a length with a fraction": {"output_len": 2.5},
        "a length that is True": {"output_len": True},
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
        "a diversity rate": {"beam_search_diversity_rate": p},
        "a misspelt name": {"topp": p},
        "len_penalty without beams": {"len_penalty": t, "output_len": k},
        "top_p with temperature 0": {"temperature": 0.0, "top_p": p},
        "top_p with top_k 1": {"top_k": 1, "top_p": p},
    }
    return [
        *(Case(given, label="allowed settings") for given in fine),
        *(Case(given, label=label) for label, given in refused.items()),
    ]


TASKS = [
    Task(
        grade_id="settings",
        entry="answers",
        points=2,
        reference=ANSWERS,
        compare=Exact(),
        misconceptions=[
            Misconception(
                "passed-on-acts", ANSWERS | {"temperature": "acts", "top_p": "acts"},
                "top_k=1 leaves one token to draw from: temperature and top_p are read, and the "
                "text stays the same",
            ),
            Misconception(
                "seed-acts", ANSWERS | {"seed": "acts"},
                "with top_k=1 the draw is among one token: no seed changes it",
            ),
            Misconception(
                "penalty-is-lost", ANSWERS | {"repetition_penalty": "no effect"},
                "the repetition penalty acts even on greedy search: it changes which token is the "
                "likeliest",
            ),
            Misconception(
                "len-penalty-acts", ANSWERS | {"len_penalty": "acts"},
                "length_penalty compares finished beams of a beam search; here num_beams stays 1",
            ),
            Misconception(
                "scores-are-logprobs", ANSWERS | {"logprobs": "no effect"},
                "output_scores=True makes generate return scores, but task_info['logprobs'] is "
                "never looked up",
            ),
            Misconception(
                "top-k-is-read", ANSWERS | {"top_k": "no effect"},
                "the script passes a top_k of its own, 1; it never looks up task_info['top_k']",
            ),
        ],
    ),
    Task(
        grade_id="stop",
        entry="shown",
        points=5,
        cases=stop_cases,
        reference=shown,
        compare=Exact(),
        misconceptions=[
            Misconception(
                "piece-by-piece", piece_by_piece,
                "a stop string may begin in one piece and end in another: look at the text, not "
                "at each piece alone",
            ),
            Misconception(
                "shows-the-beginning", shows(hold=lambda text, stops: 0),
                "the beginning of a stop string was shown before the rest of it came: an end of "
                "the text that a stop begins with has to wait",
            ),
            Misconception(
                "stop-included", shows(included=True),
                "the stop string itself is not part of the text",
            ),
            Misconception(
                "waits-too-long", shows(hold=always_some),
                "only an end that a stop string begins with has to wait; you always hold back as "
                "many characters as a stop has",
            ),
            Misconception(
                "loses-the-end", shows(lost=True),
                "when the pieces end without a stop, what was waiting is text: show it",
            ),
            Misconception(
                "first-listed", shows(first_listed=True),
                "of two stops in a piece the one that begins first in the TEXT counts, not the "
                "first in the list",
            ),
            Misconception(
                "whole-or-nothing", whole_or_nothing,
                "a stop may begin in the middle of what is there: test every end of the text, not "
                "only the whole of it",
            ),
        ],
    ),
    Task(
        grade_id="logprobs",
        entry="logprobs",
        points=4,
        cases=logprob_cases,
        reference=judged(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "own-row", judged(row=0),
                "row i is the forecast of token i + 1: a token's row is the one before its own",
            ),
            Misconception(
                "raw-logits", judged(log_prob=np.asarray),
                "these are the logits themselves: subtract log Σ exp of the row",
            ),
            Misconception(
                "probabilities", judged(log_prob=probabilities),
                "these are the probabilities: their logarithms are asked for",
            ),
            Misconception(
                "chosen-is-likeliest", judged(chosen=False),
                "log_prob belongs to the token of the text, which need not be the likeliest",
            ),
            Misconception(
                "only-over-the-top", judged(over_top=True),
                "the softmax runs over the whole vocabulary, not over the n likeliest",
            ),
            Misconception(
                "overflows", Raises("OverflowError"),
                "exp of a large logit overflows: subtract the row's largest logit first",
            ),
            Misconception(
                "log-of-zero", Raises("ValueError"),
                "a probability can be 0 in floating point, and math.log(0) is an error: compute "
                "x - log Σ exp without forming the probability",
            ),
        ],
    ),
    Task(
        grade_id="penalty",
        entry="penalised",
        points=3,
        cases=penalty_cases,
        reference=penalised,
        compare=CLOSE,
        watch=("mutated",),
        misconceptions=[
            Misconception(
                "divides-all", changed(lambda x, penalty: x / penalty),
                "dividing a negative logit makes the token MORE likely: multiply it",
            ),
            Misconception(
                "multiplies-all", changed(lambda x, penalty: x * penalty),
                "multiplying a positive logit makes the token MORE likely: divide it",
            ),
            Misconception(
                "each-time", changed(rule, seen=list),
                "a token is penalised once, however often it occurred",
            ),
            Misconception(
                "subtracts", changed(lambda x, penalty: x - penalty),
                "subtracting is another penalty (the presence penalty): divide or multiply here",
            ),
            Misconception(
                "penalises-the-others", penalises_others,
                "the tokens that occurred are penalised, not the others",
            ),
            Misconception(
                "last-token-only", changed(rule, seen=lambda ids: ids[-1:]),
                "all tokens so far count, not only the last one",
            ),
            Misconception(
                "changes-its-argument", in_place,
                "the values are right, but the caller's logits were changed: work on a copy",
            ),
        ],
    ),
    Task(
        grade_id="latency",
        entry="latencies",
        points=3,
        cases=latency_cases,
        reference=latency(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "keeps-the-warm-up", latency(skip=0), "the first call is the warm-up: leave it out"
            ),
            Misconception(
                "prefill-in-tpot", latency(from_first=0, denominator=0),
                "the time to the first token is prefill: TPOT begins at the first token",
            ),
            Misconception(
                "n-intervals", latency(denominator=0),
                "n tokens have n - 1 intervals between them",
            ),
            Misconception(
                "mean-of-means", latency(by_call=True),
                "take the mean over all intervals together: a long call has more of them",
            ),
            Misconception("seconds", latency(to_ms=1), "ttft_ms and tpot_ms are in milliseconds"),
            Misconception(
                "rate-with-prefill", latency(rate=True),
                "tokens a second of decode is 1 / TPOT: leave the prefill out of it",
            ),
            Misconception(
                "divides-by-zero", Raises("ZeroDivisionError"),
                "a call may have a single token, and so no interval at all",
            ),
        ],
    ),
    Task(
        grade_id="check",
        entry="check_settings",
        points=3,
        cases=check_cases,
        drive=use_check,
        reference=checker(),
        compare=Exact(),
        watch=("mutated",),
        misconceptions=[
            Misconception(
                "nameless", checker(named=False),
                "the message has to begin with the setting's name and a colon",
            ),
            Misconception(
                "nan-and-infinity-pass", checker(nan=True),
                "nan is neither below nor above anything: ask whether a value is IN its range "
                "(0 < p <= 1), and refuse infinity",
            ),
            Misconception(
                "true-is-one", checker(true=True),
                "True is an int to isinstance: refuse it as a number",
            ),
            Misconception(
                "unknown-passes", checker(unknown=True),
                "a misspelt setting must be refused, or it is silently ignored",
            ),
            Misconception(
                "no-combinations", checker(combined=False),
                "a setting that would do nothing must be refused too: len_penalty without beams, "
                "top_p where the choice is greedy",
            ),
            Misconception(
                "top-p-zero-passes", checker(zero=True), "top_p is above 0: at 0 no token is left"
            ),
            Misconception(
                "only-the-given", checker(only_given=True),
                "all settings come back: the defaults with the given ones in their place",
            ),
            Misconception(
                "asserts", Raises("AssertionError"),
                "raise a ValueError: assert is for tests, and python -O leaves it out",
            ),
            Misconception(
                "type-error", Raises("TypeError"),
                "a string or None must give your ValueError too: look at the type before you "
                "compare",
            ),
        ],
    ),
]  # fmt: skip
