"""Hidden checks of exercise 11: silent pairs, stops, logprobs, latency, a stream."""

import math

import numpy as np

from grader.checks import Case, Close, Probe, Task, between


def a_script(task):
    """Some settings need others, and some are refused."""
    if task["k"] < 0 or (task["beams"] == 1 and task["penalty"]):
        raise ValueError("not possible")
    result = [task["prompt"] * task["n"]]
    if task["draw"]:
        result += [task["seed"], min(task["k"], 3)] if task["k"] != 1 else []
    return result + ([task["beams"], task["penalty"]] if task["beams"] > 1 else [])


def a_mute_script(task):
    """It returns nothing, whatever it is told."""


TASK = {"prompt": "ab", "n": 2, "draw": True, "seed": 5, "k": 9, "beams": 1, "penalty": 0}
CHANGES = {"seed": 6, "penalty": 2, "prompt": "b", "k": 1, "draw": False, "beams": 4, "n": 3}
SILENT = Task(
    grade_id="silent", entry="silent_pairs", cases=lambda rng: [
        Case(Probe(script), TASK | {"seed": between(rng, 9, 99), "beams": n}, changes, label=label)
        for script, n, changes, label in (
            (a_script, 1, CHANGES, "a script that refuses"),
            (a_script, 1, dict(reversed(CHANGES.items())), "another order of the changes"),
            (a_script, 2, CHANGES | {"k": -1}, "beams, and a refused value"),
            (a_script, 1, {"k": 7, "n": 2, "seed": 1}, "changes that change nothing"),
            (a_script, 1, {}, "no changes"),
            (a_mute_script, 1, {"seed": 1, "n": 3}, "a script that returns None"))],
    misconceptions=[
        ("before = run(one)", {"run(one)\n            before = run(task)"}),
        ("run(one | {second", "run(task | {second",
         "FIRST must stay changed while second is changed, too"),
        ("    continue  #", "    before = None  #", "    pass",
         {"    if before is None and second != first:\n                    found.append((first, "
         "second))"}),
        ("       pass", {"       found.append((first, second))": "",
         "       break": "a pair that is refused ends the search for this first setting"}),
        ("continue  #", "break  #",
         "a refusal of one first setting ends the search; go on with the next one"),
        ("continue  # refused: there is nothing to compare with",
         "before = None\n        if before is None:\n            continue",
         "a script may return None, which is no refusal"),
        ("!= first and", "> first and", "(a, b) and (b, a) are two pairs: try both"),
        ("second != first and ", {""}),
        ("(first, second)", "(second, first)", "first is changed first"),
    ])  # fmt: skip

ENDS = ["", "a", "aa", "\nUse", "it ends.\n", "aabaaba", "abababab"]
STOPS = [["bc", "aab"], ["\nUser", "\n\n"], ["aba!", "b\n#"], ["abab#", "xx"], ["b"], []]
WAITS = Task(
    grade_id="waits", cases=lambda rng: [
        *(Case(text, stops, label="a text and its stops") for text in ENDS for stops in STOPS
          if not any(stop in text for stop in stops)),
        Case("so aab", ["b!", "aab#"], label="two stops of which both may begin"),
    ], misconceptions=[
        ("max((", {"min(("}), ("for stop in stops for", {"for stop in stops[:1] for"}),
        ("max((", "next((", "range(1, len(stop))", "range(len(stop))[:0:-1]", "default=0", {"0"}),
        ("if text.endswith(start)", {"if len(start) <= len(text)"}),
        ("text.endswith(start)", {"text == start": "", "start.startswith(text[-len(start) "
         ":])": "no more can wait than the text has: of a short text text[-n:] is all of it"}),
        ("(1, len(stop))", {"(1, min(2, len(stop)))": "",
         "(1, len(stops[0]))": "the lengths are those of the first stop string, not of each"}),
        (", default=0)", ", default=None)", "where nothing waits, the answer is 0"),
    ])  # fmt: skip

STOP = Task(
    grade_id="stop", entry="shown", cases=lambda rng: [
        Case(["A:", " 4", "2", ".\n", "Q", ":", " 1"], ["\nQ:"], label="a stop in three pieces"),
        Case(["A: 42\nQ: 1", " + 1"], ["Q:", "\n"], label="two stops in one piece"),
        Case(["x", "abcd y"], ["bc", "abcd"], label="a stop inside another"),
        Case(["##", "#", " x", " #", "##", "END", "y"], ["###E"], label="a false start of a stop"),
        Case(["aa", "", "aa", "ab", "a"], ["aab"], label="a shorter end that is a beginning too"),
        Case(["so", " it", " ends", "\n"], ["\n\n", "STOP"], label="only a beginning of a stop"),
        Case(["one", " two", "\n"], [], label="no stop strings"),
        Case([], ["STOP"], label="no pieces"),
        Case(["one", " END two"], ["STOP", "END"], label="one of two stops"),
        Case(["".join(rng.choice(list("abab\n"), size=n)) for n in rng.integers(0, 4, size=20)],
             ["abba", "b\n\na"], label="a longer text"),
    ], misconceptions=[
        ("waiting + piece", "piece", "len(text) - waits(text, stops)", {"len(text)"}),
        ("text[: min(found)]", "text[len(waiting) : min(found)]", "text[:cut]", "piece",
         "text[cut:]", "text", "[*result, waiting]", {'[*result, ""]'}),
        ("[:cut]", "[: cut - len(text)]", "[cut:]", {"[cut - len(text) :]"}),
        ("text.find(stop) for", {"text.find(stop) + len(stop) for"}),
        ("[*result, waiting]", {'[*result, ""]', "[*result, waiting] if waiting else result"}),
        ("[*result, text[: min(found)]]",
         {"[*result, text[: min(found)]] if min(found) else result": "",
         '[*result, text[: min(found)], ""]': "after a stop nothing may follow"}),
        ("min(found)", {"found[0]"}),
        ("stop in text]\n", "True]\n", "if found:", "if min(found, default=-1) >= 0:",
         "find gives -1 for a stop that is not there, and min hides the one that is"),
        ("        text = ", "        if not piece:\n            continue\n        text = ",
         "an empty piece has its entry, too"),
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
    grade_id="logprobs", compare=Close(), cases=logprob_cases, misconceptions=[
        ("[position - 1]", {"[position]"}), ("-row[i]", {"(-row[i], -i)"}),
        ("x - log_sum for", {"(math.log(p) if (p := math.exp(x - log_sum)) else -math.inf) for": "",
         "math.exp(x - log_sum) for": "these are the probabilities: their logarithms are asked "
         "for"}),
        ("sorted(range(len(row)), key=lambda i: -row[i])",
         {"[row.index(x) for x in sorted(row, reverse=True)]"}),
        ("        log_probs = [", "        import numpy as np\n\n        log_sum = "
         "float(np.float32(log_sum))\n        log_probs = [",
         "single precision is too coarse where p is nearly 1: say dtype=torch.float64"),
        ("[x - log_sum for x in row]", {"row"}), ("log_probs[token]", {"log_probs[best[0]]"}),
        ("max(row)", "max(map(max, logits))", "the largest logit of ALL rows is taken out of each "
         "sum, and then all exp of a low row are 0: take the row's own"),
    ])  # fmt: skip


def call(rng, n_tokens, slow=1.0):
    start, first = rng.uniform(10, 2000), rng.uniform(0.2, 0.9) * slow
    steps = rng.uniform(0.02, 0.06, n_tokens - 1) * slow
    return np.cumsum([start, first, *steps]).round(6).tolist()


LATENCY = Task(
    grade_id="latency", entry="latencies", compare=Close(), cases=lambda rng: [
        Case([call(rng, *each) for each in calls], label=label) for calls, label in (
            (((9, 5), (3,), (20, 2), (8,)), "several calls"),
            (((4, 9), (1,), (7,)), "a call with one token"),
            (((4, 9), (5,)), "a single call"),
            (((4, 0.1), (5,), (3,), (9, 3)), "a warm-up that is fast"),
            (((4, 9), (1,), (1,)), "no call with two tokens"))], misconceptions=[
        ("calls[1:]", {"calls"}), ("len(times) - 2", {"len(times) - 1"}),
        ("sum(first) / len(first)", '__import__("statistics").median(first)',
         "ttft_ms is the mean of the calls, not their median"),
        ("times[-1] - times[1]", "times[-1] - times[0]",
         "the time to the first token is prefill: TPOT begins at the first token"),
        ("    return {", {"    paces = [(t[-1] - t[1]) / (len(t) - 2) for t in measured if len(t) "
         "> 2]\n    decode, n_intervals = sum(paces), len(paces)\n    return {": "",
         "    n_intervals *= min(map(len, measured)) > 2\n    return {": "a call with one token "
         "has no interval, but the other calls have: None only if no call has two tokens"}),
        ('"ttft_ms": 1000 * ', '"ttft_ms": ', '"tpot_ms": 1000 * ', {'"tpot_ms": '}),
        ("n_intervals / decode",
         {"sum(len(t) - 1 for t in measured) / sum(t[-1] - t[0] for t in measured)"}),
        ("sum(len(times) - 2 for times in measured)", "sum(map(len, measured)) - 2",
         "one interval less for EACH call, not once in all"),
        ("decode / n_intervals if n_intervals else None", "decode / n_intervals",
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

    prompt = [4, 1]
    for piece in answer.stream(Model(), prompt, stops, max_new_tokens, end_id):
        if log and isinstance(log[-1], str):
            log[-1] += piece
        elif piece:
            log.append(piece)
    return log if prompt == [4, 1] else [*log, prompt]


WORDS = [list(word) for word in b"<end>|Hi|\xf0\x9f|\xa6\x8a|.|\nUs|er: |e|aa|ab|".split(b"|")]
STREAM = Task(
    grade_id="stream", drive=use_stream, cases=lambda rng: [
        Case(WORDS, writes, stops, max_new_tokens, 0, label=label)
        for writes, stops, max_new_tokens, label in (
            ([1, 10, 4, 7, 0], [], 9, "an end token"),
            ([0], ["Hi"], 9, "an end token at once"),
            ([1, 2, 3, 4, 0], ["!"], 9, "half a character"),
            ([1, 2, 3, 7], [], 2, "cut within a character"),
            ([1, 2, 1, 4, 0], [], 9, "a half that stays one: only at the END it waits"),
            ([1, 5, 6, 4], ["\nUser"], 9, "a stop string across tokens"),
            ([1, 5, 7, 4, 0], ["\nUser"], 9, "a false start"),
            ([8, 8, 9, 1], ["aab"], 9, "a shorter beginning"),
            ([1, 4, 5, 5, 0], ["\nUs\nUser"], 9, "an end token while text waits"),
            ([1, 7, 4, 4], ["..."], 4, "the last token while text waits"),
            ([7, 6, 1, 1], ["r", "ee"], 9, "two stop strings"),
            ([7] * 9, [], between(rng, 1, 7), "a length"))], misconceptions=[
        ("model.text(ids)\n        if", "model.text([token])\n        if",
         "text[n_read:], len(text)", "text, 0", " + model.text(ids)[n_read:]", {""}),
        ('if not text.endswith("\\ufffd")', {"if True"}),
        ("            break\n        ids",
         {"            max_new_tokens = 1 + len(ids)\n        ids"}),
        ("token == end_id", {"False": "end_id is ignored: the text ends with it",
         "token == end_id and ids": "the very first token may be the end token"}),
        ("yield waiting + model.text(ids)[n_read:]", {"return"}),
        ("waiting + text", '"" + text', "waits(waiting, stops)", {"0"}),
        ("                return\n", "                stops = []\n",
         "a stop string ends the text: nothing more is shown, and the model is not called"),
        ("min(found)", "found[0]",
         "of two stop strings the one that begins first in the TEXT counts"),
        ("if len(ids) == max", "logits = model.decode(token)\n        if len(ids) == max",
         "            break\n        logits = model.decode(token)", "            break",
         "the last token went through the model, too"),
        ("model.decode(token)", "model.prefill(list(prompt_ids) + ids)",
         "the whole text went through the model for each token: send in the new token alone"),
        ("ids.append(token)", "ids.append(token)\n        prompt_ids.append(token)",
         "prompt_ids, which was given, gets longer: work on a copy"),
        ("    ids, n_read, waiting", '    said = ""\n    ids, n_read, waiting',
         "yield waiting[:cut]", "said += waiting[:cut]", "yield waiting[: min(found)]",
         "yield said + waiting[: min(found)]", "yield waiting +", "yield said + waiting +",
         "the text is right, but it comes all at the end: yield each piece when it is certain"),
    ])  # fmt: skip

TASKS = [SILENT, WAITS, STOP, LOGPROBS, LATENCY, STREAM]
