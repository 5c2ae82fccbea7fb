"""Hidden checks of exercise 09: beams on paper, scores, running beams, the stop, cache, search."""

import numpy as np

from grader.checks import Case, Close, Task, between

PRODUCT, STEPS = "0.3 * 0.8 * 0.6", '["bc", "aa"], ["bca", "aaa"]], "probability": '
TRACK = Task(
    grade_id="track", compare=Close(rtol=1e-6), misconceptions=[
        ('["bc", "aa"], ["bca", "aaa"]', {'["aa", "bc"], ["aaa", "bca"]'}),
        ('["bc", "aa"]', {'["aa", "bc"]', '["bc", "ba"]', '["bc", "bb"]', '["bc", "ac"]'}),
        ('["bca", "aaa"]', {'["aaa", "bca"]': "step 3: the better text first, bca (.14)",
         '["bca", "aba"]': "", '["bca", "bcb"]': "step 3: aaa has .10: rank all six together"}),
        (PRODUCT, {"0.6": "", "0.8 * 0.6": "", "0.3 * 0.8": "", "0.2 * 0.9 * 0.9": "",
         "0.5 * 0.4 * 0.6": "the best text is bca: .3 · .8 · .6"}),
        (STEPS + PRODUCT, {'["aa", "ab"], ["aba", "aaa"]], "probability": 0.135': "all candidates "
         "compete: those of b as well as those of a", '["bc", "aa"], ["caa", "bca"]], '
         '"probability": 0.162': "caa has .162, but c was pruned at step 1: a beam never comes "
         "back to it"}),
    ])  # fmt: skip

CHOICE = Task(
    grade_id="choice", entry="best_hypothesis", cases=lambda rng: [
        *(Case(pairs, penalty, label=label) for label, pairs, penalty in (
            ("penalty 0: the sums themselves", [(2, -2.0), (8, -4.0), (5, -3.0)], 0.0),
            ("a negative penalty: short texts win", [(9, -2.2), (2, -2.3)], -1.0),
            ("long and likely", [(2, -3.0), (9, -2.5)], 1.0),
            ("a short text with the better mean", [(2, -1.0), (8, -4.8)], 1.0),
            ("nearly equal scores", [(50, -50.04), (50, -50.03)], 1.0),
            ("equal scores: the first of them", [(4, -4.0), (2, -2.0)], 1.0),
            ("scores below -1000: begin with -inf", [(9, -9e4), (9, -8e4)], 0.5))),
        *(Case([(n, -round(n * y, 3)) for n, y in zip(rng.integers(1, 30, 8).tolist(),
                rng.uniform(0.8, 1.2, 8).tolist(), strict=True)], x, label="eight texts")
          for x in (0.5, 1.0, 1.5, 2.0)),
    ], misconceptions=[("total / n_tokens**length_penalty",
         {"total * n_tokens**length_penalty": "divide by the length to the power, don't multiply",
         "total + length_penalty * n_tokens": "", "total": "plain sums favour short texts",
         "total / n_tokens": "length_penalty is the power of the length",
         "total / ((5 + n_tokens) / 6)**length_penalty": "take the length itself",
         "total / n_tokens**max(length_penalty, 0)": "a penalty below 0 is allowed",
         "total / (n_tokens * length_penalty or 1)": "n to the power, not n times, "
         "length_penalty"}),
        ("scores.index(max(scores))", {"max(range(len(scores)), key=lambda i: (scores[i], i))": "",
         "scores.index(min(scores))": "scores are negative: the LARGEST is the best",
         "max(range(len(scores)), key=lambda i: round(scores[i], 2))": "don't round the scores"}),
    ])  # fmt: skip


def select_case(rng, label, num_beams, ends, eos=0):
    scores = sorted((-rng.exponential(1.0, 2 * num_beams) - 0.1).round(3).tolist())[::-1]
    tokens = rng.choice([eos - 1, eos + 1, *range(20, 30)], 2 * num_beams).tolist()
    for i in ends:
        tokens[i] = between(rng, eos, eos + 1)
    parents = rng.integers(0, num_beams, 2 * num_beams).tolist()
    return Case(list(zip(scores, parents, tokens, strict=True)), num_beams, eos, label=label)


SELECT = Task(
    grade_id="select", cases=lambda rng: [
        *(select_case(rng, *each) for each in (
            ("running: drop the ends, then cut; finished: cut, then ask for the end", 3, {0, 2, 4}),
            ("four beams", 4, {1, 3, 6}),
            ("none ends", 3, ()), ("two ends in a row: remove none while you loop", 3, {2, 3}),
            ("the end is `eos`, here not 0", 3, {0, 2, 4}, 7), ("eos is 1", 3, {1, 4}, 1),
            ("large token ids: compare with ==", 3, {1}, 40000))),
        Case([(-1.0, 0, 5), (-1.0, 1, 9), (-1.0, 2, 9), (-1.0, 1, 4), (-1.0, 2, 7)], 2, 9,
             label="equal scores: the order of the list decides, also what is cut off"),
    ], misconceptions=[
        ("candidates if c[2] != eos][:num_beams]", {"candidates[:num_beams] if c[2] != eos]"}),
        ("[:num_beams] if", {" if"}), ("return running, finished", {"return finished, running": "",
         "return running, finished[:1]": "several texts may finish in a step"}),
        (" if c[2] != eos", "", "a text that has ended must not run on"),
        ("c[2] !=", "c[1] !=", "c[2] ==", "c[1] ==", "c[1] is the parent; the token is c[2]"),
        ("c[2] != eos", "c[2]", "c[2] == eos", "not c[2]", "the end is `eos`, not always 0"),
        ("in candidates if", "in sorted(candidates)[::-1] if",
         "the candidates are in order: don't sort them, which changes the order of equals"),
    ])  # fmt: skip


def stopping_case(rng, penalty, worst, n_missing=0):
    """The worst finished score is `worst` times what the running text can reach at best."""
    n_tokens, limit, num_beams = between(rng, 3, 5), between(rng, 12, 17), between(rng, 2, 5)
    best_running = -float(rng.uniform(2, 6))
    bound = best_running / (limit if penalty > 0 else n_tokens) ** penalty
    finished = [bound * worst * (i + 1) / num_beams for i in range(num_beams)]
    finished = finished[: num_beams - n_missing][:: 1 if penalty < 1 else -1]
    best = "at max_new_tokens" if penalty > 0 else "now" if penalty else "at any length"
    label = "too few have finished" if n_missing else f"penalty {penalty}: the score is best {best}"
    return Case(finished, best_running, num_beams, n_tokens, limit, penalty, label=label)


LENGTH = "max_new_tokens if length_penalty > 0 else n_tokens"
STOPPING = Task(
    grade_id="stopping", entry="can_stop", cases=lambda rng: [
        *(stopping_case(rng, penalty, worst)
          for penalty in (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0) for worst in (0.9, 1.1)),
        stopping_case(rng, 0.5, 2.6),  # it would end worse, and go on at the old price worse still
        stopping_case(rng, 1.0, 1.8),  # it would end worse now, and at the limit better
        stopping_case(rng, 1.0, 0.5, n_missing=1),
        Case([], -5.0, 2, 3, 9, 1.0, label="nothing has finished"),
        Case([-3.0], -2.0, 1, 3, 8, 0.0, label="one beam, too, may find a better text"),
        Case([-0.5, -0.25], -4.0, 2, 3, 8, 1.0, label="exactly as good as the worst"),
    ], misconceptions=[
        (LENGTH, {"n_tokens": "this scores the running text as if it ended now; with a positive "
         "penalty its best case is at the limit", "max_new_tokens": "",
         LENGTH.replace(" if", " - n_tokens or 1 if"): "the length at the limit is max_new_tokens, "
         "not the number of tokens that are left",
         LENGTH.replace("> 0", ">= 1"): "between 0 and 1, too, a longer text has a better score",
         LENGTH.replace(" if", " - 1 if"): "off by one: max_new_tokens are allowed"}),
        ("= max", "= n_tokens + max", "max_new_tokens counts all new tokens"),
        ("<= min(finished)", {"<= max(finished)": "", "> min(finished)": "",
         "<= finished[-1]": "the worst is their min, not the last",
         "< min(finished)": "a text only as good as the worst changes nothing"}),
        ("len(finished) < num_beams", {"not finished"}), (" / length**length_penalty", {
         "": "divide the running sum, too", " * length / n_tokens / length**length_penalty":
         "in the best case the coming tokens cost nothing"}),
    ])  # fmt: skip


def use_plan(answer, rows, parents):
    """What new beams find in a cache after the copies; any plan that is as short is as good."""
    held = {row: f"past {beam}" for beam, row in enumerate(rows)}
    new_rows, copies = answer.plan_copies(rows, parents)
    for source, target in copies:
        held[target] = held[source]
    return {"pasts": [held[row] for row in new_rows], "number of copies": len(copies),
            "a row for each beam": len(set(new_rows)), "rows in use": len(held)}  # fmt: skip


PLAN = Task(
    grade_id="follow", entry="plan_copies", drive=use_plan, cases=lambda rng: [
        Case(rows, parents, label=label) for label, rows, parents in (
            ("only children: no copies", [1, 2, 0], [2, 0, 1]),
            ("has ANY earlier sibling the row? free ROWS: rows[b], not b", [2, 0, 1], [1, 1, 1]),
            ("one beam", [0], [0]), ("fewer beams", [3, 0, 1, 2], [0, 1]),
            ("overwrite no row that is needed", [0, 1, 2], [1, 1, 0]),
            ("a free row that no old beam left", [3, 0, 1, 2], [1, 1, 2]),
            ("two families: each free row is given away once", [2, 0, 3, 1], [1, 1, 3, 3]),
            *(("any rows: has ANY earlier sibling the row?", rng.permutation(n).tolist(),
               rng.integers(0, n, new).tolist())
              for n, new in ((5, 5), (8, 8), (8, 8), (6, 4))))], misconceptions=[
        ("[rows[parent] for parent in parents]", "list(parents)",
         "the past of old beam b is in row rows[b]"),
        ("if row in new_rows:", {"if False:": "two beams get the same row",
         "if needed.count(row) > 1 and free:": "one child can stay in its parent's row: this makes "
         "a copy too many"}),
        ("(row, free.pop())", {"(rows.index(row), free.pop())": "the source of a copy is the "
         "parent's ROW, rows[parent]"}),
        ("(row, free.pop())", "(free.pop(), row)", "copies[-1][1]", "copies[-1][0]",
         "source and target are exchanged"),
        ("free.pop()", {"next(r for r in rows if r not in new_rows)":
         "this overwrites a row that a new beam still needs",
         "free[needed[: len(new_rows)].count(row) - 1]":
         "a row that was given away is no longer free, for another parent's children either"}),
        ("range(len(rows)) if", "range(len(parents)) if", "if row in",
         "if row >= len(parents) or row in", "with fewer beams, too, stay in the parent's row"),
        ("new_rows, copies\n", {"list(range(len(needed))), [(row, i) for i, row in "
         "enumerate(needed) if row != i]\n": "each beam i moves to row i: let one child stay",
         "new_rows, []\n": "nothing is copied into the new row"}),
    ])  # fmt: skip


def use_search(answer, table, *settings):
    """The texts, and the calls of a model whose cache follows the parents that it is told."""
    state = {"pasts": [()], "calls": 0}

    def next_log_probs(texts, parents):
        state["calls"] += 1
        pasts = [state["pasts"][parent] for parent in parents]
        state["pasts"] = [(*p, *t[-1:]) for p, t in zip(pasts, texts)]  # noqa: B905
        places = [sum((i + 2) * (t + 1) for i, t in enumerate(p)) for p in state["pasts"]]
        return [list(table[place % len(table)]) for place in places]

    found = [list(text) for text in answer.beam_search(next_log_probs, *settings)]
    return {"texts": found, "calls": state["calls"]}


def search_cases(rng):
    def case(num_beams, n, penalty, label, vocab_size=6, eos=2):
        table = np.log(rng.dirichlet([0.6] * vocab_size, size=37)).round(3).tolist()
        return Case(table, num_beams, n, eos, penalty, label=label)

    ends = [[-1.0, -1.1, -9.0, -1.2], *[[-1.6, -1.7, -1.0, -1.5]] * 36]  # after the first step
    soon = [[-1.3, -1.4, -1.0], *[[-1.7, -5.0, -0.1]] * 36]  # a second end is better than the first
    late = [[-3.0, -3.05, -0.1], *[[-1.7, -5.0, -0.1]] * 36]  # of the third text that ends
    return [
        case(3, 1, 1.0, "one new token: the best num_beams candidates all end"),
        *(case(k, 6, 1.0, "no end: who continues whom; a NEW list for each child", eos=9)
          for k in (1, 3)),
        *(case(k, 7, x, f"{k} beams, penalty {x}: some end, and others move up")
          for k in (1, 2, 3, 5) for x in (0.0, -1.0, 2.0)),
        Case([[-0.5]], 2, 3, 0, 1.0, label="the end is the only token: stop, as no beam is left"),
        *(Case(ends, k, 5, 2, 2.0, label="the end is always likely: stop in time") for k in (2, 3)),
        Case(soon, 1, 3, 2, 2.0, label="one beam: a second text may be better than the first"),
        Case(late, 2, 3, 2, 1.0, label="a worse text ends later: keep the best in EVERY step"),
        Case([[-0.5, -9.0, -1.0], *[[-9.0, -9.0, -0.5]] * 36], 2, 3, 2, 0.0,
             label="two finished texts with equal scores: the earlier comes first"),
        Case([[-1.0, -1.0, -1.5, -1.5]] * 3, 2, 3, 3, 1.0, label="equals: the earlier beam, the "
             "smaller token"), case(4, 5, 0.5, "fewer candidates than 2 * num_beams", 3),
    ]  # fmt: skip


STOP = "not beams or can_stop(scores, beams[0][1], num_beams, *settings, length_penalty)"
SEARCH = Task(
    grade_id="search", entry="beam_search", cases=search_cases, drive=use_search,
    compare=Close(rtol=1e-9), misconceptions=[
        ("[parent for _, parent, _ in running]", {"list(range(len(running)))"}),
        ("beams[parent][1] + log_prob", "log_prob", "add the parent's score"),
        ("in enumerate(row)", "in [max(enumerate(row), key=lambda x: x[1])]",
         "ALL tokens of a beam are candidates"),
        ("2 * num", "num", "look at 2 * num_beams candidates"),
        ("key=lambda c: -c[0])", "reverse=True)",
         "of equals the earlier beam, the smaller token: reverse=True turns them"),
        ("[], candidates[:num_beams]",
         {"[], ended": "at max_new_tokens not only an eos ends: the best num_beams candidates do",
         "[], running": "at max_new_tokens texts with eos end, too: the best num_beams "
         "candidates"}),
        (" / length**length_penalty))", {"))": "divide by length ** length_penalty",
         " / max(1, length - (token == eos))**length_penalty))": ""}),
        ("text[1])[:num_beams]", {"text[1])": ""}),
        ("text[1])[:num_beams]", "text[1])", "return finished", "return finished[:num_beams]",
         "keep the best num_beams texts in EVERY step"),
        ("sorted(finished, key=lambda text: -text[1])[:", "finished[:",
         "sort the texts that end before you keep the best"),
        (STOP, {"not beams or len(finished) == num_beams": "", "not beams": "",
         STOP[13:]: "stop where no beam is left",
         STOP + " or num_beams == 1 and finished": "one beam, too, may become better",
         STOP.replace("[0]", "[-1]"): "ask can_stop about the BEST running text"}),
    ])  # fmt: skip
