"""Hidden checks of exercise 09: beams on paper, scores, who goes on, the stop, cache, search."""

import numpy as np

from grader.checks import Case, Close, Exact, Task, between

PRODUCT, STEPS = "0.3 * 0.8 * 0.6", '["bc", "aa"], ["bca", "aaa"]], "probability": '
TRACK = Task(
    grade_id="track", entry="track", compare=Close(rtol=1e-6), misconceptions=[
        ("two-per-parent", '["bc", "aa"], ["bca", "aaa"]', '["aa", "bc"], ["aaa", "bca"]',
         "the better text comes first: compare bc (.24) with aa (.20)"),
        ("second-step", '["bc", "aa"]', '["aa", "bc"]', "step 2: the better comes first, bc (.24)"),
        ("step-probabilities", PRODUCT, "0.6", "the probability is the product of all three steps"),
        ("first-factor-missing", "0.3 * ", "", "the product of all THREE steps: b itself has .3"),
        ("children-of-one", '"aaa"', '"bcb"', "step 3: aaa has .10, more than bcb: both kept texts "
         "have children, and all six are ranked together"),
        ("greedy", STEPS + PRODUCT, '["aa", "ab"], ["aba", "aaa"]], "probability": 0.135',
         "all candidates compete: those of b as well as those of a"),
        ("unpruned", STEPS + PRODUCT, '["bc", "aa"], ["caa", "bca"]], "probability": 0.162',
         "caa has .162, but c was pruned at step 1: a beam never comes back to it"),
    ])  # fmt: skip


def choice_cases(rng):
    given = {
        "penalty 0": ([(2, -2.0), (8, -4.0), (5, -3.0)], 0.0),
        "a negative penalty": ([(9, -2.2), (2, -2.3)], -1.0),
        "long and likely": ([(2, -3.0), (9, -2.5)], 1.0),
        "a short text with the better mean": ([(2, -1.0), (8, -4.8)], 1.0),
        "equal scores": ([(4, -4.0), (2, -2.0)], 1.0),
        "very unlikely texts": ([(9, -9e4), (9, -8e4)], 0.5),
    }
    for x in (0.5, 1.0, 1.5, 2.0):
        pairs = zip(rng.integers(1, 30, 8).tolist(), rng.uniform(0.8, 1.2, 8), strict=True)
        given[f"penalty {x}, eight texts"] = ([(n, -round(float(n * y), 3)) for n, y in pairs], x)
    return [Case(*arguments, label=label) for label, arguments in given.items()]


CHOICE = Task(
    grade_id="choice", entry="best_hypothesis", cases=choice_cases, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("multiplies", "total / n", "total * n", "divide by the length to the power"),
        ("ignores-the-power", "**length_penalty", "", "length_penalty is the power of the length"),
        ("last-of-equals", "scores.index(max(scores))",
         "max(range(len(scores)), key=lambda i: (scores[i], i))", "of equals the first counts"),
        ("other-normalisation", "n_tokens**", "((5 + n_tokens) / 6)**", "take the length itself"),
        ("bonus", "total / n_tokens**length_penalty", "total + length_penalty * n_tokens",
         "a bonus for each token is another rule: divide by the length to the power"),
        ("no-normalisation", " / n_tokens**length_penalty", "", "plain sums favour short texts"),
        ("the-worst", "max(scores)", "min(scores)", "scores are negative: the LARGEST is the best"),
        ("negative-is-0", "**length_penalty", "**max(length_penalty, 0)", "below 0 is allowed"),
        ("length-times-power", "n_tokens**length_penalty", "(n_tokens * length_penalty or 1)",
         "n to the power length_penalty, not n times it"),
    ])  # fmt: skip


def select_cases(rng):
    def case(num_beams, ends, eos=0):
        scores = sorted((-rng.exponential(1.0, 2 * num_beams) - 0.1).round(3).tolist())[::-1]
        others = rng.choice([eos - 1, eos + 1, *range(20, 30)], 2 * num_beams).tolist()
        tokens = [eos if i in ends else token for i, token in enumerate(others)]
        parents = rng.integers(0, num_beams, 2 * num_beams).tolist()
        return Case(list(zip(scores, parents, tokens, strict=True)), num_beams, eos)

    zero = [case(3, {0, 2, 4}), case(4, {1, 3, 6}), case(3, set()), case(3, {2, 3})]
    return [*zero, case(3, {0, 2, 4}, eos=7), case(3, {1, 4}, eos=1)]


SELECT = Task(
    grade_id="select", entry="select", cases=select_cases, compare=Exact(), watch=("mutated",),
    misconceptions=[
        ("narrows", "candidates if c[2] != eos][:num_beams]", "candidates[:num_beams] if c[2] != "
         "eos]", "the colleague's bug: a finished text leaves its place empty"),
        ("parent-for-token", "c[2] !=", "c[1] !=", "c[2] ==", "c[1] ==", "c[1] is the parent"),
        ("finishes-at-any-rank", "[:num_beams] if", " if", "only the best num_beams may finish"),
        ("runs-on", " if c[2] != eos", "", "a text that has ended must not run on"),
        ("one-finished", "return running, finished", "return running, finished[:1]",
         "several texts may finish in a step"),
        ("end-is-0", "c[2] != eos", "c[2]", "c[2] == eos", "not c[2]", "the end is `eos`"),
        ("turned-round", "return running, finished", "return finished, running",
         "the two lists are exchanged: running first, then finished"),
    ])  # fmt: skip


def stopping_case(rng, penalty, worst, n_missing=0):
    """The worst finished score is `worst` times what the running text can reach at best."""
    n_tokens, limit, num_beams = between(rng, 3, 5), between(rng, 12, 17), between(rng, 2, 5)
    best_running = -float(rng.uniform(2, 6))
    bound = best_running / (limit if penalty > 0 else n_tokens) ** penalty
    finished = [bound * worst * (i + 1) / num_beams for i in range(num_beams)]
    finished = finished[: num_beams - n_missing][:: 1 if penalty < 1 else -1]
    label = f"length_penalty {penalty}" if not n_missing else "too few texts have finished"
    return Case(finished, best_running, num_beams, n_tokens, limit, penalty, label=label)


LENGTH = "max_new_tokens if length_penalty > 0 else n_tokens"
STOPPING = Task(
    grade_id="stopping", entry="can_stop", compare=Exact(), watch=("mutated",),
    cases=lambda rng: [
        *(stopping_case(rng, penalty, worst)
          for penalty in (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0) for worst in (0.9, 1.1)),
        stopping_case(rng, 0.5, 2.6),  # it would end worse, and go on at the old price worse still
        stopping_case(rng, 1.0, 1.8),  # it would end worse now, and at the limit better
        stopping_case(rng, 1.0, 0.5, n_missing=1),
        Case([], -5.0, 2, 3, 9, 1.0, label="nothing has finished"),
        Case([-0.5, -0.25], -4.0, 2, 3, 8, 1.0, label="exactly as good as the worst"),
    ],
    misconceptions=[
        ("as-if-it-ended-now", LENGTH, "n_tokens", "this scores the running text as if it ended "
         "now (False); with a positive penalty its best case lies at the limit"),
        ("tokens-left", LENGTH, LENGTH.replace(" if", " - n_tokens or 1 if"), "the length at the "
         "limit is max_new_tokens, not the number of tokens that are left"),
        ("always-at-the-limit", LENGTH, "max_new_tokens", "with a negative penalty further tokens "
         "make the score worse: the best case is the length that the text has now"),
        ("beats-the-best", "min(", "max(", "to change the result it must beat the WORST finished"),
        ("too-few-finished", "len(finished) < num_beams", "not finished",
         "fewer than num_beams texts have finished: the next one gets in, however bad"),
        ("takes-the-last", "min(finished)", "finished[-1]", "the worst is their min, not the last"),
        ("limit-on-top", "= max", "= n_tokens + max", "max_new_tokens counts all new tokens"),
        ("one-short", "_tokens if", "_tokens - 1 if", "off by one: max_new_tokens are allowed"),
        ("waits-at-a-tie", "<= min", "< min", "a text only as good as the worst changes nothing"),
        ("sum-against-score", " / length**length_penalty", "", "divide the running sum, too"),
        ("costs-as-before", "g / length**", "g * length / n_tokens / length**",
         "in the best case the coming tokens have probability 1 and cost nothing"),
        ("answers-go-on", "<= min", "> min", "True means that the search may STOP"),
    ])  # fmt: skip


def use_plan(answer, rows, parents):
    """What new beams find in a cache after the copies; any plan that is as short is as good."""
    new_rows, copies = answer.plan_copies(rows, parents)
    held = {row: f"past {beam}" for beam, row in enumerate(rows)}
    for source, target in copies:
        held[target] = held[source]
    return {"pasts": [held[row] for row in new_rows], "number of copies": len(copies),
            "a row for each beam": len(set(new_rows)), "rows in use": len(held)}  # fmt: skip


def plan_cases(rng):
    given = [([1, 2, 0], [2, 0, 1]), ([2, 0, 1], [1, 1, 1]), ([0], [0])]
    given += [([0, 1, 2], [1, 1, 0]), ([3, 0, 1, 2], [1, 1, 2])]  # another row is needed, or free
    sizes = [(5, 5), (8, 8), (8, 8), (6, 4)]
    given += [(rng.permutation(n).tolist(), rng.integers(0, n, new).tolist()) for n, new in sizes]
    return [Case(rows, parents, label=f"{len(parents)} beams") for rows, parents in given]


PLAN = Task(
    grade_id="follow", entry="plan_copies", cases=plan_cases, drive=use_plan, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("parents-as-rows", "[rows[parent] for parent in parents]", "list(parents)",
         "parents are places of beams; the past of old beam b is in row rows[b]"),
        ("siblings-share", "if row in new_rows:", "if False:", "two beams get the same row"),
        ("every-child-moves", "if row in new_rows:", "if needed.count(row) > 1 and free:",
         "one of the children can stay in its parent's row: this makes a copy too many"),
        ("exchanged", "(row, free.pop())", "(free.pop(), row)", "copies[-1][1]", "copies[-1][0]",
         "source and target are exchanged: a copy goes from the parent's row into a free one"),
        ("overwrites", "free.pop()", "next(r for r in rows if r not in new_rows)",
         "a row is overwritten that a new beam still needs: free is what NO new beam needs"),
        ("row-i", "new_rows, copies\n", "list(range(len(needed))), [(row, i) for i, row in "
         "enumerate(needed) if row != i]\n", "each beam i moves to row i: let one child stay"),
        ("no-copies", "copies\n", "[]\n", "nothing is copied into the new row"),
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
    likely = [Case(ends, k, 5, 2, 2.0, label="the end is always likely") for k in (2, 3)]
    ties = Case([[-1.0, -1.0, -1.5, -1.5]] * 3, 2, 3, 3, 1.0, label="equal scores")
    grid = [case(k, 7, x, f"{k} beams, penalty {x}") for k in (2, 3, 5) for x in (-1.0, 0.0, 2)]
    return [*grid, *likely, case(3, 6, 1.0, "no end", eos=9), case(1, 6, 1.0, "one beam"), ties,
            case(3, 1, 1.0, "one new token"), case(4, 5, 0.5, "few tokens", 3)]  # fmt: skip


STOP = "not beams or can_stop(scores, beams[0][1], num_beams, *settings, length_penalty)"
SEARCH = Task(
    grade_id="search", entry="beam_search", cases=search_cases, drive=use_search,
    compare=Close(rtol=1e-9), misconceptions=[
        ("cache-stays", "[parent for _, parent, _ in running]", "list(range(len(running)))",
         "the model is told that beam i continues beam i: pass the place of each beam's PARENT"),
        ("forgets-the-past", "beams[parent][1] + log_prob", "log_prob", "add the parent's score"),
        ("one-of-each-beam", "in enumerate(row)", "in [max(enumerate(row), key=lambda x: x[1])]",
         "only the best token of each beam is a candidate; all tokens are"),
        ("narrows", "2 * num", "num", "an end costs a beam: look at 2 * num_beams candidates"),
        *((name, "[], candidates[:num_beams]", f"[], {taken}", f"at max_new_tokens {told}; ALL of "
           "the best num_beams candidates end there, whatever their last token is")
          for name, taken, told in (("nothing-ends-at-the-limit", "ended", "only an eos ends"),
                                    ("only-open-texts", "running", "texts with eos are left out"))),
        ("plain-sums", " / length**length_penalty))", "))", "divide by length ** length_penalty"),
        ("end-not-counted", "/ length**", "/ max(1, length - (token == eos))**", "the end counts"),
        ("keeps-all", "text[1])[:num_beams]", "text[1])", "keep the best num_beams texts only"),
        ("unsorted", "sorted(finished, key=lambda text: -text[1])[:", "finished[:",
         "the first texts that end are kept; sort them by score, and keep the best num_beams"),
        ("stops-at-once", STOP, "not beams or len(finished) == num_beams",
         "stops as soon as num_beams texts have ended; a running text could still be better"),
        ("never-stops", STOP, "not beams", "goes on although nothing can change any more"),
    ])  # fmt: skip

TASKS = [TRACK, CHOICE, SELECT, STOPPING, PLAN, SEARCH]
