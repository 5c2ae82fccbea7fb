"""Hidden checks of exercise 09: track, step, choice, the narrowing bug, a threshold, the stop."""

import numpy as np

from grader.checks import Case, Close, Exact, Task, between

END = 0

TRACK = Task(
    grade_id="track", entry="track", compare=Close(rtol=1e-6), misconceptions=[
        ("two-per-parent", '["bc", "aa"], ["bca", "aaa"]', '["aa", "bc"], ["aaa", "bca"]',
         "the better text comes first: compare bc (.24) with aa (.20)"),
        ("second-step-by-parent", '["bc", "aa"]', '["aa", "bc"]',
         "the better text comes first in step 2, whoever its parent is: bc has .24, aa .20"),
        ("last-step-by-parent", '["bca", "aaa"]', '["aaa", "bca"]',
         "the better text comes first in the last step, too: bca has .144, aaa .10"),
        ("step-probabilities", "0.3 * 0.8 * 0.6", "0.6",
         "the probability of a text is the product of all its steps, not the last of them"),
        ("greedy", '["bc", "aa"], ["bca", "aaa"]], "probability": 0.3 * 0.8 * 0.6',
         '["aa", "ab"], ["aba", "aaa"]], "probability": 0.135',
         "all candidates compete: those of b as well as those of a"),
        ("greedy-s-probability", "0.3 * 0.8 * 0.6", "0.5 * 0.4 * 0.5",
         "that is the probability of aaa, which greedy search finds; the best text is another"),
        ("mixed-path", "0.3 * 0.8 * 0.6", "0.3 * 0.8 * 0.5",
         "one factor belongs to another text: multiply the three steps of the best text itself"),
        ("unpruned",
         '["bca", "aaa"]], "probability": 0.3 * 0.8 * 0.6', '["caa", "bca"]], "probability": 0.162',
         "caa has .162, but c was pruned at step 1: a beam never comes back to it"),
    ])  # fmt: skip


def step_cases(rng):
    def case(n_beams, vocab_size, num_beams, label=""):
        scores = sorted((-rng.exponential(2.0, n_beams)).round(3).tolist(), reverse=True)
        beams = [(rng.integers(0, 9, 3).tolist(), score) for score in scores]
        rows = np.log(rng.dirichlet([0.7] * vocab_size, size=n_beams)).tolist()
        return Case(beams, rows, num_beams, label=label)

    tied = [([9 - i], -1.0) for i in range(3)]  # the earlier beam has the larger token

    return [
        case(2, 5, 2),
        case(3, 6, 3),
        case(4, 12, 4, label="four beams"),
        case(1, 6, 3, label="the first step, one beam"),
        case(4, 5, 2, label="fewer beams than before"),
        Case(tied, [[-1.5] * 3] * 3, 4, label="equal scores"),
    ]


STEP = Task(
    grade_id="step", entry="beam_step", cases=step_cases, compare=Close(rtol=1e-9),
    watch=("mutated",), misconceptions=[
        ("forgets-the-past", "score + log_prob", "log_prob",
         "the score of a text is its parent's score plus the new log-probability"),
        ("multiplies", "score + log_prob", "score * log_prob",
         "log-probabilities are added; it is the probabilities that are multiplied"),
        ("best-of-each-beam",
         "enumerate(row):", "sorted(enumerate(row), key=lambda pair: -pair[1])[:num_beams]:",
         "candidates.sort(key=lambda candidate: -candidate[1])", "pass",
         "return candidates[:num_beams]", "return candidates",
         "num_beams of all candidates together, not of each beam"),
        ("one-of-each-beam", "enumerate(row):", "[max(enumerate(row), key=lambda pair: pair[1])]:",
         "only the best token of each beam is a candidate; ALL tokens of all beams are, and "
         "several may have the same parent"),
        ("equal-shares", "enumerate(row):", "sorted(enumerate(row), key=lambda pair: -pair[1])"
         "[: max(1, num_beams // len(beams))]:",
         "each beam gets an equal share of the places; a good beam may take all of them"),
        ("as-many-as-before", "candidates[:num_beams]", "candidates[: len(beams)]",
         "as many beams come back as came in; num_beams are asked for"),
        ("appends-to-the-parent", "candidates.append(([*tokens, token], score + log_prob))",
         "tokens.append(token)\n            candidates.append((tokens, score + log_prob))",
         "append changes the parent's list: make a new one for each candidate, [*tokens, token]"),
        ("score-first", "return candidates[:num_beams]",
         "return [pair[::-1] for pair in candidates[:num_beams]]",
         "the pairs are turned round: a beam is (tokens, score)"),
        ("order-of-parents", "candidates.sort(", "best = sorted(candidates, ",
         "candidates[:num_beams]", "[each for each in candidates if each in best[:num_beams]]",
         "the right beams, but in the order of their parents: the best comes first"),
        ("worst-first", "-candidate[1]", "candidate[1]",
         "the best are those with the LARGEST log-probability, nearest to 0"),
        ("ties-by-token", "-candidate[1]", "(-candidate[1], candidate[0][-1])",
         "of equal scores the earlier beam comes first, then the smaller token"),
        ("ties-by-text", "-candidate[1]", "(-candidate[1], candidate[0])",
         "equal scores are sorted by their texts; the earlier BEAM comes first"),
        ("ties-backwards", "key=lambda candidate: -candidate[1]",
         "key=lambda candidate: candidate[::-1], reverse=True", "sorted as pairs, the largest "
         "first, equal scores come with the larger token first: sort by the score alone"),
    ])  # fmt: skip


def choice_cases(rng):
    cases = [
        Case([(2, -2.0), (8, -4.0), (5, -3.0)], 0.0, label="penalty 0"),
        Case([(2, -2.0), (8, -4.0), (5, -3.5)], 1.0, label="penalty 1"),
        Case([(9, -2.2), (2, -2.3)], -1.0, label="a negative penalty"),
        Case([(3, -3.0), (4, -4.4), (9, -9.3)], 2.0, label="penalty 2"),
        Case([(9, -2.9), (4, -2.0)], 0.5, label="penalty 0.5"),
        Case([(2, -3.0), (9, -2.5)], 1.0, label="long and likely"),
        Case([(4, -4.0), (2, -2.0)], 1.0, label="equal scores"),
        Case([(9, -9e4), (9, -8e4)], 0.5, label="very unlikely texts"),
    ]
    for penalty in (0.5, 1.0, 1.5):
        lengths = rng.integers(1, 30, 8).tolist()
        totals = [-round(float(n * rng.uniform(0.8, 1.2)), 3) for n in lengths]
        cases.append(Case(list(zip(lengths, totals, strict=True)), penalty))
    return cases


CHOICE = Task(
    grade_id="choice", entry="best_hypothesis", cases=choice_cases, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("multiplies", "total / n", "total * n",
         "divide by the length to the power; multiplying favours short texts"),
        ("ignores-the-power", "**length_penalty", "",
         "length_penalty is the power of the length; 1 is only one of its values"),
        ("last-of-equals", "scores.index(max(scores))",
         "max(range(len(scores)), key=lambda i: (scores[i], i))",
         "of equal scores the first counts, not the last"),
        ("other-normalisation", "n_tokens**length_penalty",
         "((5 + n_tokens) / 6) ** length_penalty", "this is the length penalty of Google's "
         "translation paper, ((5 + n) / 6) to the power; Transformers takes n itself"),
        ("no-normalisation", "total / n_tokens**length_penalty", "total",
         "this compares the plain sums, which favours short texts"),
        ("gives-up", "return scores", "scores[0] = max(scores[0], -100.0)\n    return scores",
         "a score may be below the number that the search for the best begins with"),
        ("the-worst", "max(scores)", "min(scores)",
         "this is the worst: scores are negative, and the LARGEST, nearest to 0, is the best"),
        ("negative-is-0", "**length_penalty", "**max(length_penalty, 0)",
         "a negative penalty is a power like any other: n ** -1 is 1 / n"),
        ("whole-powers", "**length_penalty", "**int(length_penalty)",
         "the power is cut to a whole number; 0.5 is a root"),
        ("length-times-power", "n_tokens**length_penalty", "(n_tokens * length_penalty or 1)",
         "n to the power length_penalty, not n times it"),
    ])  # fmt: skip


def select_cases(rng):
    def case(num_beams, ends, eos=END):
        scores = sorted((-rng.exponential(1.0, 2 * num_beams) - 0.1).tolist(), reverse=True)
        other = [eos - 1, eos + 1, *range(20, 30)]
        tokens = [eos if i in ends else int(rng.choice(other)) for i in range(2 * num_beams)]
        parents = rng.integers(0, num_beams, 2 * num_beams).tolist()
        return Case(
            [(round(s, 3), p, t) for s, p, t in zip(scores, parents, tokens, strict=True)],
            num_beams,
            eos,
        )

    zero = [case(3, {0, 2, 4}), case(4, {1, 3, 6}), case(2, {3}), case(3, set()), case(3, {2, 3})]
    return [*zero, case(3, {0, 2, 4}, eos=7), case(3, {1, 4}, eos=1)]


SELECT = Task(
    grade_id="select", entry="select", cases=select_cases, compare=Exact(), watch=("mutated",),
    misconceptions=[
        ("narrows",
         "candidates if c[2] != eos][:num_beams]", "candidates[:num_beams] if c[2] != eos]",
         "the colleague's bug: a finished text leaves its place empty"),
        ("finishes-at-any-rank", "candidates[:num_beams] if", "candidates if",
         "only what ends among the best num_beams is finished; the rest is dropped"),
        ("runs-on", " if c[2] != eos", "", "a text that has ended must not run on"),
        ("one-finished", "return running, finished", "return running, finished[:1]",
         "several texts may finish in the same step"),
        ("end-is-0", "c[2] != eos", "c[2]", "c[2] == eos", "not c[2]",
         "the end is taken to be token 0; it is `eos`"),
        ("too-many-run", "!= eos][:num_beams]", "!= eos]",
         "more than num_beams run on: cut what does not end to the best num_beams"),
        ("turned-round", "return running, finished", "return finished, running",
         "the two lists are exchanged: running first, then finished"),
    ])  # fmt: skip

THRESHOLD = Task(
    grade_id="threshold", entry="x_threshold", compare=Close(rtol=5e-3), misconceptions=[
        ("ratio-of-first-steps", "0.35 * 0.48 / 0.40", "0.35 / 0.40",
         "you compare A with B after one step; compare AA with BA and BB after two"),
        ("second-step-only", "0.35 * 0.48 / 0.40", "0.48",
         "compare whole texts: .40 x against .35 · .48, not x against .48"),
        ("upside-down", "0.35 * 0.48 / 0.40", "0.40 / 0.35 * 0.48",
         "solved upside down: it is .40 x = .35 · .48"),
        ("probability-of-ba", " / 0.40", "",
         "that is the probability of BA; x times .40 has to reach it"),
        ("greedy-s-limit", "0.35 * 0.48 / 0.40", "1 / 3",
         "above 1/3 greedy takes AA; the beam still prunes it for a while"),
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


STOPPING = Task(
    grade_id="stopping", entry="can_stop", compare=Exact(), watch=("mutated",),
    cases=lambda rng: [
        *(stopping_case(rng, penalty, worst)
          for penalty in (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0) for worst in (0.9, 1.1)),
        stopping_case(rng, 0.5, 2.6),  # it would end worse, and go on at the old price worse still
        stopping_case(rng, 1.0, 6.0),
        stopping_case(rng, 1.0, 0.5, n_missing=1),
        Case([], -5.0, 2, 3, 9, 1.0, label="nothing has finished"),
        Case([-0.5, -0.25], -4.0, 2, 3, 8, 1.0, label="exactly as good as the worst"),
    ],
    misconceptions=[  # name, text of the solution cell and what stands there instead, message
        ("as-if-it-ended-now", "max_new_tokens if length_penalty > 0 else n_tokens", "n_tokens",
         "this scores the running text as if it ended now (early_stopping=False); with a positive "
         "penalty it may become better by going on: its best case lies at the limit"),
        ("always-at-the-limit", "max_new_tokens if length_penalty > 0 else n_tokens",
         "max_new_tokens", "with a negative penalty each further token makes the score worse: the "
         "best case is the length that the text has now"),
        ("beats-the-best", "min(finished)", "max(finished)",
         "num_beams texts are the result: a running text changes it if it beats the WORST of them"),
        ("too-few-finished", "len(finished) < num_beams", "not finished",
         "fewer than num_beams texts have finished: the next one that ends gets in, however bad"),
        ("takes-the-last", "min(finished)", "finished[-1]",
         "the finished scores come in no order: the worst is their min, not the last"),
        ("min-of-nothing", "if len(finished) < num_beams:",
         "if len(finished) < num_beams and min(finished) < 1:",
         "while nothing has finished, min() has nothing to choose from: ask for the number first"),
        ("limit-on-top", "max_new_tokens if", "n_tokens + max_new_tokens if",
         "max_new_tokens counts ALL generated tokens, those that the text has already, too"),
        ("one-short", "max_new_tokens if", "max_new_tokens - 1 if",
         "off by one: a text may have max_new_tokens tokens (range leaves its end out)"),
        ("divided-twice", "min(finished)", "min(finished) / n_tokens**length_penalty",
         "the finished scores have been divided already"),
        ("waits-at-a-tie", "<= min", "< min",
         "a text that is only as good as the worst finished one does not take its place: stop"),
        ("sum-against-score", " / length**length_penalty", "", "the finished scores have been "
         "divided by length ** length_penalty; divide the sum of the running text, too"),
        ("costs-as-before", "best_running / length**",
         "best_running * length / n_tokens / length**", "this lets the coming tokens cost what the "
         "past ones did; in the best case they have probability 1 and cost nothing"),
        ("answers-go-on", "<= min", "> min",
         "True means that the search may STOP: that nothing can get better any more"),
    ])  # fmt: skip

TASKS = [TRACK, STEP, CHOICE, SELECT, THRESHOLD, STOPPING]
