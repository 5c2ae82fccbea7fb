"""Hidden checks of exercise 11: silent pairs, stops, logprobs, latency, a stream."""

import math

import numpy as np

from grader.checks import Case, Close, Exact, Probe, Task, between


def a_script(task):
    """Some settings need others, and some are refused."""
    if task["k"] < 0 or (task["beams"] == 1 and task["penalty"]):
        raise ValueError("not possible")
    result = [task["prompt"] * task["n"]]
    if task["draw"]:
        result += [task["seed"], min(task["k"], 3)] if task["k"] != 1 else []
    return result + ([task["beams"], task["penalty"]] if task["beams"] > 1 else [])


def silent_cases(rng):
    task = {"prompt": "ab", "n": 2, "draw": True, "seed": 5, "k": 9, "beams": 1, "penalty": 0}
    changes = {"seed": 6, "penalty": 2, "prompt": "b", "k": 1, "draw": False, "beams": 4, "n": 3}
    script = Probe(a_script)
    return [
        Case(script, task, changes, label="a script that refuses"),
        Case(script, task, dict(reversed(changes.items())), label="another order of the changes"),
        Case(script, task | {"beams": 2}, changes | {"k": -1}, label="beams, and a refused value"),
        Case(script, task, {"k": 7, "n": 2, "seed": 1}, label="changes that change nothing"),
        Case(script, task, {}, label="no changes"),
    ]


SILENT = Task(
    grade_id="silent", entry="silent_pairs", cases=silent_cases, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("compares-with-the-task", "before = run(one)", "run(one)\n            before = run(task)",
         "compare with the task in which FIRST is changed already, not with the unchanged task"),
        ("first-forgotten", "run(one | {second", "run(task | {second",
         "FIRST must stay changed while second is changed, too"),
        ("refusals-are-equal", "    continue  #", "    before = None  #", "    pass",
         "    if before is None and second != first:\n                    found.append((first, "
         "second))", "two refusals count as equal results; a pair that is refused is not silent"),
        ("refused-is-silent", "       pass", "       found.append((first, second))",
         "a pair that is refused is not silent: the script said something"),
        ("stops-at-a-refusal", "continue  #", "break  #",
         "a refusal of one first setting ends the search; go on with the next one"),
        ("unordered", "!= first and", "> first and", "(a, b) and (b, a) are two pairs: try both"),
        ("itself-too", "second != first and ", "", "a setting makes no pair with itself"),
        ("the-other-way-round", "(first, second)", "(second, first)", "first is changed first"),
    ])  # fmt: skip


def waits_cases(rng):
    texts = ["", "a", "aa", "\nUse", "it ends.\n", "aabaaba", "ab" * between(rng, 2, 5)]
    stops = [["bc", "aab"], ["\nUser", "\n\n"], ["aba!", "b\n#"], ["abab#", "xx"], ["b"], []]
    return [Case(text, some, label="a text and its stops") for text in texts for some in stops
            if not any(stop in text for stop in some)] + [
                Case("so aab", ["b!", "aab#"], label="two stops of which both may begin")
            ]  # fmt: skip


WAITS = Task(
    grade_id="waits", entry="waits", cases=waits_cases, compare=Exact(), watch=("mutated",),
    misconceptions=[
        ("shortest", "max((", "min((", "the LONGEST end that a stop begins with has to wait"),
        ("first-stop-only", "for stop in stops for", "for stop in stops[:1] for",
         "only the first stop string is looked at; any of them may begin here"),
        ("first-that-fits", "max((", "next((", "range(1, len(stop))", "range(len(stop))[:0:-1]",
         "default=0", "0", "of several stops that may begin here the LONGEST end has to wait"),
        ("always-all", "if text.endswith(start)", "if len(start) <= len(text)",
         "only an end that a stop string begins with has to wait, not always so many characters"),
        ("whole-text-only", "text.endswith(start)", "text == start",
         "a beginning of a stop string may follow other text: look at every END of the text"),
        ("one-character", "(1, len(stop))", "(1, min(2, len(stop)))", "more than one may wait"),
        ("no-default", ", default=0)", ", default=None)", "where nothing waits, the answer is 0"),
    ])  # fmt: skip


def stop_cases(rng):
    long = ["".join(rng.choice(list("abab\n"), size=n)) for n in rng.integers(0, 4, size=20)]
    return [
        Case(["A:", " 4", "2", ".\n", "Q", ":", " 1"], ["\nQ:"], label="a stop in three pieces"),
        Case(["A: 42\nQ: 1", " + 1"], ["Q:", "\n"], label="two stops in one piece"),
        Case(["x", "abcd y"], ["bc", "abcd"], label="a stop inside another"),
        Case(["##", "#", " x", " #", "##", "END", "y"], ["###E"], label="a false start of a stop"),
        Case(["aa", "", "aa", "ab", "a"], ["aab"], label="a shorter end that is a beginning too"),
        Case(["so", " it", " ends", "\n"], ["\n\n", "STOP"], label="only a beginning of a stop"),
        Case(["one", " two", "\n"], [], label="no stop strings"),
        Case([], ["STOP"], label="no pieces"),
        Case(long, ["abba", "b\n\na"], label="a longer text"),
    ]


STOP = Task(
    grade_id="stop", entry="shown", compare=Exact(), cases=stop_cases, watch=("mutated",),
    misconceptions=[
        ("piece-by-piece", "waiting + piece", "piece", "len(text) - waits(text, stops)",
         "len(text)", "a stop may begin in one piece and end in another: look at the whole text"),
        ("shows-the-beginning", "text[: min(found)]", "text[len(waiting) : min(found)]",
         "text[:cut]", "piece", "text[cut:]", "text", "[*result, waiting]", '[*result, ""]',
         "an end of the text that a stop begins with was shown: it has to wait"),
        ("minus-zero", "[:cut]", "[: cut - len(text)]", "[cut:]", "[cut - len(text) :]",
         "where n = 0 characters wait, text[:-n] is empty: cut at len(text) - n"),
        ("stop-included", "text.find(stop) for", "text.find(stop) + len(stop) for",
         "the stop string itself is not part of the text"),
        ("loses-the-end", "[*result, waiting]", '[*result, ""]',
         "when the pieces end without a stop, what was waiting is text: show it"),
        ("entry-after-the-stop", "found)]]", 'found)], ""]', "after a stop nothing may follow"),
        ("no-last-entry", "[*result, waiting]", "[*result, waiting] if waiting else result",
         "the last entry is missing where nothing waits: without a stop it is always there"),
        ("first-listed", "min(found)", "found[0]", "of two stops in a piece the one that begins "
         "first in the TEXT counts, not the first in the list"),
    ])  # fmt: skip


def logprob_cases(rng):
    def drawn(n_vocab, prompt_len, length, n, label):
        rows = rng.normal(0, 2, (prompt_len + length, n_vocab))
        ids = rng.integers(0, n_vocab, prompt_len + length)
        ids[prompt_len : prompt_len + 2] = rows[prompt_len - 1].argmax(), rows[prompt_len].argmin()
        return Case(rows.tolist(), ids.tolist(), prompt_len, n, label=label)

    extreme = [[1000.0, 998.0, 0.0, -math.inf], [-900.0, 100.0, 99.0, 98.0], [0.0] * 4, [0.0] * 4]
    return [
        drawn(6, 1, 4, 3, "the likeliest, the unlikeliest, and others"),
        drawn(4, 3, 3, 10, "n above the vocabulary"),
        Case(extreme[:3], [1, 1, 0], 1, 3, label="logits far apart"),
        Case([[7.0, 0.0, -1.0]] * 3, [1, 0, 0], 1, 2, label="nearly certain tokens"),
        Case(extreme[:3], [0, 3, 1], 1, 4, label="an impossible token"),
        Case(extreme, [0, 2, 1, 3], 3, 2, label="equal logits"),
    ]


LOGPROBS = Task(
    grade_id="logprobs", entry="logprobs", compare=Close(), cases=logprob_cases, watch=("mutated",),
    misconceptions=[
        ("own-row", "[position - 1]", "[position]",
         "row i is the forecast of token i + 1: a token's row is the one before its own"),
        ("underflows", "x - log_sum for", "(math.log(p) if (p := math.exp(x - log_sum)) else "
         "-math.inf) for", "p rounds to 0, and -1000 becomes -inf: compute x - log Σ exp"),
        ("index-of-ties", "sorted(range(len(row)), key=lambda i: -row[i])",
         "[row.index(x) for x in sorted(row, reverse=True)]",
         "of equal ones the same id stands there twice: the number alone does not tell which id"),
        ("larger-id-first", "-row[i]", "(-row[i], -i)", "of equal ones the smaller id comes first"),
        ("single-precision", "        log_probs = [", "        import numpy as np\n\n"
         "        log_sum = float(np.float32(log_sum))\n        log_probs = [",
         "single precision is too coarse where p is nearly 1: say dtype=torch.float64"),
        ("raw-logits", "[x - log_sum for x in row]", "row", "subtract log Σ exp of the row"),
        ("probabilities", "x - log_sum for", "math.exp(x - log_sum) for",
         "these are the probabilities: their logarithms are asked for"),
        ("chosen-is-likeliest", "log_probs[token]", "log_probs[best[0]]",
         "log_prob belongs to the token of the text, which need not be the likeliest"),
    ])  # fmt: skip


def latency_cases(rng):
    def call(n_tokens, slow=1.0):
        start, first = rng.uniform(10, 2000), rng.uniform(0.2, 0.9) * slow
        steps = rng.uniform(0.02, 0.06, n_tokens - 1) * slow
        return np.cumsum([start, first, *steps]).round(6).tolist()

    return [
        Case([call(9, slow=5), call(3), call(20, slow=2), call(8)]),
        Case([call(4, slow=9), call(1), call(7)], label="a call with one token"),
        Case([call(4, slow=9), call(5)], label="a single call"),
        Case([call(4, slow=0.1), call(5), call(3), call(9, 3)], label="a warm-up that is fast"),
        Case([call(4, slow=9), call(1), call(1)], label="no call with two tokens"),
    ]


LATENCY = Task(
    grade_id="latency", entry="latencies", cases=latency_cases, compare=Close(), watch=("mutated",),
    misconceptions=[
        ("keeps-the-warm-up", "calls[1:]", "calls", "the first call is the warm-up: leave it out"),
        ("median", "sum(first) / len(first)", '__import__("statistics").median(first)',
         "ttft_ms is the mean of the calls, not their median"),
        ("prefill-in-tpot", "times[-1] - times[1]", "times[-1] - times[0]",
         "the time to the first token is prefill: TPOT begins at the first token"),
        ("n-intervals", "len(times) - 2", "len(times) - 1", "n tokens have n - 1 intervals"),
        ("mean-of-means", "    return {",
         "    paces = [(t[-1] - t[1]) / (len(t) - 2) for t in measured if len(t) > 2]\n"
         "    decode, n_intervals = sum(paces), len(paces)\n    return {",
         "take the mean over all intervals together: a long call has more of them"),
        ("seconds", '"ttft_ms": 1000 * ', '"ttft_ms": ', '"tpot_ms": 1000 * ', '"tpot_ms": ',
         "ttft_ms and tpot_ms are in milliseconds"),
        ("rate-with-prefill", "n_intervals / decode",
         "sum(len(t) - 1 for t in measured) / sum(t[-1] - t[0] for t in measured)",
         "tokens per second of decode is 1 / TPOT: leave the prefill out of it"),
        ("divides-by-zero", "decode / n_intervals if n_intervals else None", "decode / n_intervals",
         "a call may have a single token, and so no interval at all"),
    ])  # fmt: skip


def use_stream(answer, pieces, writes, stops, max_new_tokens, end_id):
    """What was shown and which calls were made, in their order."""
    log = []

    class Model:
        def prefill(self, prompt_ids):
            return self.logits(["prefill", *prompt_ids])

        def decode(self, token_id):
            return self.logits(["decode", token_id])

        def text(self, token_ids):
            return b"".join(bytes(pieces[i]) for i in token_ids).decode(errors="replace")

        def logits(self, call):
            log.append(call)
            next_id = (writes + [1] * 99)[sum(isinstance(entry, list) for entry in log) - 1]
            return [-0.5 + 0.25 * (i == next_id) for i in range(len(pieces))]

    for piece in answer.stream(Model(), [4, 1], stops, max_new_tokens, end_id):
        if log and isinstance(log[-1], str):
            log[-1] += piece
        elif piece:
            log.append(piece)
    return log


def stream_cases(rng):
    words = b"<end>|Hi|\xf0\x9f|\xa6\x8a|.|\nUs|er: |e|aa|ab|".split(b"|")

    def case(writes, stops, max_new_tokens=9, label=""):
        return Case([list(word) for word in words], writes, stops, max_new_tokens, 0, label=label)

    return [
        case([1, 10, 4, 7, 0], [], label="an end token"),
        case([0], ["Hi"], label="an end token at once"),
        case([1, 2, 3, 4, 0], ["!"], label="half a character"),
        case([1, 2, 3, 7], [], 2, label="cut within a character"),
        case([1, 2, 1, 4, 0], [], label="a half that stays one: only at the END it waits"),
        case([1, 5, 6, 4], ["\nUser"], label="a stop string across tokens"),
        case([1, 5, 7, 4, 0], ["\nUser"], label="a false start"),
        case([8, 8, 9, 1], ["aab"], label="a shorter beginning"),
        case([1, 4, 5, 5, 0], ["\nUs\nUser"], label="an end token while text waits"),
        case([1, 7, 4, 4], ["..."], 4, label="the last token while text waits"),
        case([7, 6, 1, 1], ["r", "ee"], label="two stop strings"),
        case([7] * 9, [], between(rng, 1, 7), label="a length"),
    ]


STREAM = Task(
    grade_id="stream", entry="stream", cases=stream_cases, drive=use_stream, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("each-token-alone", "model.text(ids)\n        if", "model.text([token])\n        if",
         "text[n_read:], len(text)", "text, 0", " + model.text(ids)[n_read:]", "",
         "the tokens are decoded one by one: parts of a character never come together"),
        ("shows-halves", 'if not text.endswith("\\ufffd")', "if True",
         "half a character was shown as �: wait until it is whole"),
        ("shows-the-end", "            break\n        ids", "            max_new_tokens = 1 + "
         "len(ids)\n        ids", "the end token's own text is shown"),
        ("never-ends", "token == end_id", "False", "end_id is ignored: the text ends with it"),
        ("loses-the-rest", "yield waiting + model.text(ids)[n_read:]", "return",
         "at the end, what was waiting is text: show it"),
        ("stop-within-a-token", "waiting + text", '"" + text', "waits(waiting, stops)", "0",
         "a stop string may start in one token and be completed by the next"),
        ("goes-on-after-the-stop", "                return\n", "                stops = []\n",
         "a stop string ends the text: nothing more is shown, and the model is not called"),
        ("one-pass-more", "if len(ids) == max", "logits = model.decode(token)\n        if len(ids) "
         "== max", "            break\n        logits = model.decode(token)", "            break",
         "the last token went through the model, too"),
        ("everything-again", "model.decode(token)", "model.prefill(list(prompt_ids) + ids)",
         "the whole text went through the model for each token: send in the new token alone"),
        ("all-at-the-end", "    ids, n_read, waiting", '    said = ""\n    ids, n_read, waiting',
         "yield waiting[:cut]", "said += waiting[:cut]", "yield waiting[: min(found)]",
         "yield said + waiting[: min(found)]", "yield waiting +", "yield said + waiting +",
         "the text is right, but it comes all at the end: yield each piece when it is certain"),
    ])  # fmt: skip

TASKS = [SILENT, WAITS, STOP, LOGPROBS, LATENCY, STREAM]
