"""Hidden checks of exercise 11: silent pairs, stops, logprobs, latency, a stream."""

import math

import numpy as np

from grader.checks import Case, Close, Probe, Task, between


def a_script(task):
    """Some settings need others, and some are refused; or all have one given result."""
    if "result" in task:
        return task["result"]
    if task["k"] < 0 or (task["beams"] == 1 and task["penalty"]):
        raise ValueError("not possible")
    result = [task["prompt"] * task["n"] * (1 // (task["n"] != task["k"]))]
    if task["draw"]:
        result += [task["seed"], min(task["k"], 3)] if task["k"] != 1 else []
    return result + ([task["beams"], task["penalty"]] if task["beams"] > 1 else [])


TASK = {"prompt": "ab", "n": 2, "draw": True, "seed": 5, "k": 9, "beams": 1, "penalty": 0}
CHANGES = {"seed": 6, "penalty": 2, "prompt": "b", "k": 1, "draw": False, "beams": 4, "n": 3}
SILENT = Task(
    grade_id="silent", entry="silent_pairs", cases=lambda rng: [
        Case(Probe(a_script), TASK | {"seed": between(rng, 9, 99)} | own, changes, label=label)
        for own, changes, label in (
            ({}, {"k": 7, "n": 2, "seed": 1}, "a first setting that changes nothing counts, too"),
            ({}, CHANGES, "a script that refuses: leave out only what is refused"),
            ({}, dict(reversed(CHANGES.items())), "another order: that of `changes`"),
            ({"beams": 2}, CHANGES | {"k": -1}, "a value that is always refused"),
            ({"k": -1}, CHANGES, "a task that is refused as it is: don't run it, and try each "
             "second change with a first, even if it is refused alone"),
            ({}, {}, "no changes, no pairs"),
            *(({}, changes, "only a ValueError is a refusal: let every other error through")
              for changes in ({"n": 9, "k": 7}, {"n": 5, "k": 5})),
            *(({"result": result}, {"seed": 1, "n": 3}, "an empty result is no refusal")
              for result in (None, "")))], misconceptions=[
        ("run(one | {second: changes[second]})",
         "run(one.update({second: changes[second]}) or one)", "each second change needs a NEW "
         "dict: the earlier changes are still in this one"),
        ("before = run(one)", {"run(one)\n            before = run(task)"}),
        ("run(one | {second", "run(task | {second", "FIRST stays changed with second"),
        ("    continue  #", "    before = None  #", "    pass",
         {"    if before is None and second != first:\n                    found.append((first, "
         "second))"}), ("       pass", {"       found.append((first, second))": "",
         "       break": "a pair that is refused ends the search for this first setting"}),
        ("continue  #", "break  #", "a refused first setting ends the search; try the next one"),
        ("continue  # refused: there is nothing to compare with",
         "before = None\n        if before is None:\n            continue", "None is a result"),
        ("!= first and", "> first and", "(a, b) and (b, a) are two pairs: try both"),
        ("second != first and ", {""}), ("(first, second)", "(second, first)", "first comes first"),
    ])  # fmt: skip

ENDS = ["", "a", "aa", "\nUse", "it ends.\n", "aabaaba", "abababab", "so aab"]
STOPS = {
    "one stop string: all of its beginnings, not the whole": [["abab#"], ["aab"], ["b"]],
    "no stop strings": [[]],
    "several stop strings: for each all of ITS beginnings, as long as it is; then the longest":
        [["bc", "aab"], ["\nUser", "\n\n"], ["aba!", "b\n#"], ["x", "abab#"], ["b!", "aab#"]],
    "characters such as . and [ mean themselves, and a is not A: no regular expression, no lower()":
        [["..s.", "[a]"], ["\\n", "*?"], ["i.n", ".."], ["\nUSE", "ABAB"]]}  # fmt: skip
WAITS = Task(
    grade_id="waits", cases=lambda rng: [
        Case(text, stops, label=label) for label, lists in STOPS.items() for stops in lists
        for text in ENDS if not any(stop in text for stop in stops)], misconceptions=[
        ("max((", {"min(("}), ("for stop in stops for", {"for stop in stops[:1] for"}),
        ("max((", "next((", "range(1, len(stop))", "range(len(stop))[:0:-1]", "default=0", {"0"}),
        ("if text.endswith(start)", {"if len(start) <= len(text)"}),
        ("text.endswith(start)", {"text == start": "",
         "start.startswith(text[-len(start) :])": "no more can wait than the text has"}),
        ("(1, len(stop))", {"(1, min(2, len(stop)))": "",
         "(1, len(stops[0]))": "each stop string has its own length",
         "(1, min(map(len, stops)))": "the shortest is no limit for the other stop strings"}),
        (", default=0)", ", default=None)", "where nothing waits, the answer is 0"),
    ])  # fmt: skip

STOP = Task(
    grade_id="stop", entry="shown", cases=lambda rng: [
        Case(["one", " two", "\n"], [], label="no stop strings: show each piece, and then the end"),
        Case([], ["STOP"], label="no pieces: only the last entry"),
        Case(["A:", " 4", "2", ".\n", "Q", ":", " 1"], ["\nQ:"], label="a stop in three pieces"),
        Case(["one", " END two"], ["STOP", "END"], label="only one of two stops is in the text"),
        Case(["so END s", "o END"], ["END", "so?"], label="text in front of the stop is shown"),
        Case(["A: 42\nQ: 1", " + 1"], ["Q:", "\n"], label="two stops: the first in the text"),
        Case(["x", "abcd y"], ["bc", "abcd"], label="a stop inside another: which BEGINS first?"),
        Case(["xab", "c", "d"], ["abcd", "bc"], label="the first stop that is complete ends it"),
        Case(["Q. END x END y"], ["END"], label="a stop twice in one piece: its FIRST place"),
        Case(["so.", ".x[E] ", "[E", "ND", "]"], ["[END]", "...", "SO"], label="no regex, lower()"),
        Case(["##", "#", " x", " #", "##", "END", "y"], ["###E"], label="a false start is shown"),
        Case(["aa", "", "aa", "ab", "a"], ["aab"], label="an empty piece, and a's that may wait"),
        Case(["so", " it", " ends", "\n"], ["\n\n", "STOP"], label="at the end, show what waits"),
        Case(["".join(rng.choice(list("abab\n"), size=n)) for n in rng.integers(0, 4, size=20)],
             ["abba", "b\n\na"], label="a longer text: look for stops in all that was not shown"),
    ], misconceptions=[
        ("waiting + piece", "piece", "len(text) - waits(text, stops)", {"len(text)"}),
        ("text[: min(found)]", "text[len(waiting) : min(found)]", "text[:cut]", "piece",
         "text[cut:]", "text", "[*result, waiting]", {'[*result, ""]'}),
        ("[:cut]", "[: cut - len(text)]", "[cut:]", {"[cut - len(text) :]"}),
        ("text.find(stop) for", {"text.find(stop) + len(stop) for": "", "text.rfind(stop) for":
         "a stop string that is there twice counts at its FIRST place: find, not rfind"}),
        ("[*result, waiting]", {'[*result, ""]', "[*result, waiting] if waiting else result"}),
        ("min(found)]]", {"min(found)]] if min(found) else result": "",
         'min(found)], ""]': "after a stop nothing may follow"}), ("min(found)", {"found[0]"}),
        ("stop in text]\n", "True]\n", "if found:", "if min(found, default=-1) >= 0:",
         "find gives -1 for a stop that is not there"),
        ("        text = ", "        if not piece:\n            continue\n        text = ",
         "an empty piece has its entry, too"),
    ])  # fmt: skip


def logprob_cases(rng):
    def drawn(n_vocab, prompt_len, length, n, label):
        rows = rng.normal(0, 2, (prompt_len + length, n_vocab))
        ids = rng.integers(0, n_vocab, prompt_len + length)
        ids[prompt_len : prompt_len + 2] = rows[prompt_len - 1].argmax(), rows[prompt_len].argmin()
        return Case(rows.tolist(), ids.tolist(), prompt_len, n, label=label)

    low = [-1000.0] * 4
    extreme = [[1000.0, -90.0, 0.0, -math.inf], [-900.0, 100.0, 99.0, 98.0], low, low]
    return [
        drawn(6, 1, 2, 9, "a short text behind a prompt of one token: natural logarithms"),
        Case(extreme[:2], [1, 2], 2, 3, label="a prompt without a text: an empty list"),
        drawn(6, 3, 4, 6, "a longer prompt: row prompt_len - 1 is the first that counts"),
        drawn(6, 1, 4, 3, "top has the n likeliest, whether the token is among them or not"),
        drawn(4, 3, 3, 10, "n above the vocabulary: all tokens"),
        Case(extreme[:3], [1, 1, 0], 1, 3, label="logits far apart: take each row's OWN largest "
             "logit out of its sum; neither log nor order of probabilities, which round to 0"),
        Case([[7.0, 0.0, -1.0]] * 3, [1, 0, 0], 1, 2, label="nearly certain: double precision"),
        Case(extreme[:3], [0, 3, 1], 1, 4, label="an impossible token: its log p is -inf"),
        Case(extreme, [0, 2, 1, 3], 3, 2, label="equal logits, -1000: the smaller id comes first"),
    ]  # fmt: skip


LOGPROBS = Task(
    grade_id="logprobs", compare=Close(), cases=logprob_cases, misconceptions=[
        ("[position - 1]", {"[position]"}), ("-row[i]", {"(-row[i], -i)": "",
         "-math.exp(log_probs[i])": "sort by log p: probabilities that round to 0 look equal"}),
        ("x - log_sum for", {"(math.log(p) if (p := math.exp(x - log_sum)) else -math.inf) for": "",
         "x - float(__import__('numpy').float32(log_sum)) for": "",
         "math.exp(x - log_sum) for": "these are probabilities: take their logarithms"}),
        ("sorted(range(len(row)), key=lambda i: -row[i])", {
         "[row.index(x) for x in sorted(row, reverse=True)]"}),
        ("in best]", "in (best if token in best else [*best, token])]",
         "top has the n likeliest and no more: the token itself need not be among them"),
        ("[x - log_sum for x in row]", {"row"}), ("log_probs[token]", {"log_probs[best[0]]"}),
        ("max(row)", "max(map(max, logits))", "take each row's OWN largest logit out of its sum"),
    ])  # fmt: skip


def call(rng, n_tokens, slow=1.0):
    start, first = rng.uniform(10, 2000), rng.uniform(0.2, 0.9) * slow
    steps = rng.uniform(0.02, 0.06, n_tokens - 1) * slow
    return np.cumsum([start, first, *steps]).round(6).tolist()


LATENCY = Task(
    grade_id="latency", entry="latencies", compare=Close(), cases=lambda rng: [
        Case([call(rng, *each) for each in calls], label=label) for calls, label in (
            (((4, 9), (5,)), "one call behind the warm-up: means, and of intervals; not rounded"),
            (((4, 0.1), (5,), (3,), (9, 3)), "a warm-up that is fast: leave out the FIRST call"),
            (((9, 5), (3,), (20, 2), (8,)), "several calls: means over all TTFTs, all intervals"),
            (((4, 9), (1,), (7,)), "a call with one token: it has a TTFT and no interval"),
            (((4, 9), (1,), (1,)), "no call with two tokens: None"))], misconceptions=[
        ("calls[1:]", {"calls"}), ("len(times) - 2", {"len(times) - 1"}),
        ("sum(first) / len(first)", '__import__("statistics").median(first)',
         "ttft_ms is the mean, not the median"),
        ("times[-1] - times[1]", "times[-1] - times[0]", "TPOT begins at the first token"),
        ("    return {", {"    paces = [(t[-1] - t[1]) / (len(t) - 2) for t in measured if len(t) "
         "> 2]\n    decode, n_intervals = sum(paces), len(paces)\n    return {": "",
         "    n_intervals *= min(map(len, measured)) > 2\n    return {": "None only if NO call has "
         "two tokens"}),
        ('"ttft_ms": 1000 * ', '"ttft_ms": ', '"tpot_ms": 1000 * ', {'"tpot_ms": '}),
        ("n_intervals / decode",
         {"sum(len(t) - 1 for t in measured) / sum(t[-1] - t[0] for t in measured)"}),
        ("sum(len(times) - 2 for", "-2 + sum(len(times) for", "one interval less for EACH call"),
        ("/ n_intervals if n_intervals else None", "/ n_intervals", "one token has no interval"),
    ])  # fmt: skip


def use_stream(answer, pieces, writes, stops, max_new_tokens, end_id):
    """What was shown and which calls were made, in their order."""
    from types import SimpleNamespace

    log, prompt = [], [4, 1]

    def logits(*call):
        log.append(list(call))
        next_id = (writes + [1] * 99)[sum(isinstance(entry, list) for entry in log) - 1]
        return [-0.5 + 0.25 * (i == next_id) for i in range(len(pieces))]

    model = SimpleNamespace(
        prefill=lambda prompt_ids: logits("prefill", *prompt_ids),
        decode=lambda token_id: logits("decode", token_id),
        text=lambda ids: bytes(x for i in ids for x in pieces[i]).decode(errors="replace"),
    )
    for piece in answer.stream(model, prompt, stops, max_new_tokens, end_id):
        if log and isinstance(log[-1], str):
            log[-1] += piece
        elif piece:
            log.append(piece)
    if prompt != [4, 1]:
        raise ValueError("stream changes prompt_ids: work on a copy")
    return log


WORDS = b"<end>|Hi|\xf0\x9f|\xa6\x8a|.|\nUs|er: |e|aa|ab||a.\nUser|a\xf0\x9f".split(b"|")
STREAM = Task(
    grade_id="stream", drive=use_stream, cases=lambda rng: [
        Case([*map(list, WORDS)], writes, stops, max_new_tokens, 0, label=label)
        for writes, stops, max_new_tokens, label in (
            ([1, 10, 4, 7, 0], [], 9, "an end token: neither shown nor sent to the model"),
            ([0], ["Hi"], 9, "an end token at once"), ([1, 2, 3, 4, 0], [], 9, "half a character"),
            *((writes, ["aab", "e"], 9, "while the text ends with half a character show nothing: "
               "what is in front of it waits, too") for writes in ([8, 2, 3, 0], [1, 12, 3, 0])),
            *(([7] * 9, [], n, "max_new_tokens: no call after the last token") for n in (1, 4)),
            *(([8, 2, end, 7], ["aab"], 3 - (end > 0), "the text is over within a character, by "
               "its end token or length: show all that waits, \ufffd as well") for end in (3, 0)),
            *(([1, 12, n, 1], ["a"], 9, "a stop before half a character: wait") for n in (3, 0)),
            ([1, 2, 1, 4, 0], [], 9, "a half that stays one: only at the END it waits"),
            ([1, 5, 6, 4], ["\nUser"], 9, "a stop string across tokens"),
            ([1, 5, 6, 4], ["\nUser"], 3, "the last token completes a stop: show nothing of it"),
            ([1, 5, 7, 4, 0], ["\nUser"], 9, "a false start of a stop string is shown"),
            ([7, 11, 1], ["\nUser", "r"], 9, "text and a stop in one token: show what is in front"),
            ([8, 8, 9, 1], ["aab"], 9, "of aaa the first a is certain, and shown before the stop"),
            ([1, 4, 5, 5, 0], ["\nUs\nUser"], 9, "an end token while text waits: show it"),
            ([1, 7, 4, 4], ["..."], 4, "the last token while text waits: show it"),
            ([7, 6, 1, 1], ["r", "ee"], 9, "two stop strings: the first in the TEXT"))],
    misconceptions=[
        ("model.text(ids)\n        if", "model.text([token])\n        if",
         "text[n_read:], len(text)", "text, 0", " + model.text(ids)[n_read:]", {""}),
        ('if not text.endswith("\\ufffd")', {"if True": "", 'if "\\ufffd" not in text': "wait "
         "only while the half character is at the END of the text: it may stay one"}),
        ("    break\n        ids", {"    max_new_tokens = 1 + len(ids)\n        ids"}),
        ("token == end_id", {"False": "end_id is ignored: the text ends with it",
         "token == end_id and ids": "the very first token may be the end token"}),
        ("rest = waiting + model.text(ids)[n_read:]", {"return": "", "rest = waiting": "at the end "
         "half a character is shown, too: \ufffd"}),
        ("waiting + text", '"" + text', "waits(waiting, stops)", {"0"}),
        ("    return\n", "    stops = []\n", "a stop string ends the text, and the calls"),
        ("min(found)", "found[0]", "the stop that begins first in the TEXT counts"),
        ("yield waiting[: min(found)]\n", "\n", "the text in front of a stop string is shown, too"),
        ("if len(ids) == max", "logits = model.decode(token)\n        if len(ids) == max",
         "            break\n        logits = model.decode(token)", "            break",
         "the last token went through the model, too"),
        ("decode(token)", "prefill([*prompt_ids, *ids])", "send in the new token alone, not all"),
        ("s.append(token)", "s += [prompt_ids.append(token) or token]", "prompt_ids gets longer"),
        ("    ids, n_read, waiting", '    said = ""\n    ids, n_read, waiting',
         "yield waiting[:cut]", "said += waiting[:cut]", "yield waiting[: min(found)]",
         "yield said + waiting[: min(found)]", "rest = waiting +", "rest = said + waiting +",
         "right, but all at the end: yield each piece when it is certain"),
    ])  # fmt: skip
