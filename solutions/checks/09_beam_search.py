"""Hidden checks of exercise 09: the track, a step, the choice, the narrowing bug, a threshold."""

import math

from grader.checks import Case, Close, Exact, Misconception, Task

END = 0


# --- Task 2: one step of the search ------------------------------------------------------------


def steps(add=lambda score, log_prob: score + log_prob, each=False, worst=False, by_token=False):
    def beam_step(beams, log_probs, num_beams):
        groups = [
            [([*tokens, token], add(score, log_prob)) for token, log_prob in enumerate(row)]
            for (tokens, score), row in zip(beams, log_probs, strict=True)
        ]

        def rank(candidate):
            tie = (candidate[0][-1],) if by_token else ()
            return (candidate[1] if worst else -candidate[1], *tie)

        if each:
            return [c for group in groups for c in sorted(group, key=rank)[:num_beams]]
        return sorted((c for group in groups for c in group), key=rank)[:num_beams]

    return beam_step


def step_cases(rng):
    def case(n_beams, vocab_size, num_beams, label="", grid=None):
        scores = sorted((-rng.exponential(2.0, n_beams)).tolist(), reverse=True)
        beams = [
            (rng.integers(0, 9, 3).tolist(), round(score, 3) if grid is None else -1.0)
            for score in scores
        ]
        rows = []
        for _ in range(n_beams):
            probs = rng.dirichlet([0.7] * vocab_size)
            rows.append([-1.5] * vocab_size if grid else [math.log(p) for p in probs.tolist()])
        return Case(beams, rows, num_beams, label=label)

    return [
        case(2, 5, 2),
        case(3, 6, 3),
        case(4, 12, 4, label="four beams"),
        case(1, 6, 3, label="the first step, one beam"),
        case(3, 3, 4, label="equal scores", grid=True),
    ]


# --- Task 3: short against long ----------------------------------------------------------------


def choices(score):
    def best_hypothesis(hypotheses, length_penalty):
        scores = [score(n, total, length_penalty) for n, total in hypotheses]
        return scores.index(max(scores))

    return best_hypothesis


def choice_cases(rng):
    cases = [
        Case([(2, -2.0), (8, -4.0), (5, -3.0)], 0.0, label="penalty 0"),
        Case([(2, -2.0), (8, -4.0), (5, -3.5)], 1.0, label="penalty 1"),
        Case([(9, -2.2), (2, -2.3)], -1.0, label="a negative penalty"),
        Case([(3, -3.0), (4, -4.4), (9, -9.3)], 2.0, label="penalty 2"),
        Case([(4, -2.0), (9, -3.1)], 0.5, label="penalty 0.5"),
        Case([(2, -3.0), (9, -2.5)], 1.0, label="long and likely"),
        Case([(4, -4.0), (2, -2.0)], 1.0, label="equal scores"),
    ]
    for penalty in (0.5, 1.0, 1.5):
        lengths = rng.integers(1, 30, 8).tolist()
        totals = [-round(float(n * rng.uniform(0.8, 1.2)), 3) for n in lengths]
        cases.append(Case(list(zip(lengths, totals, strict=True)), penalty))
    return cases


# --- Task 4: the search that narrows -----------------------------------------------------------


def selections(narrow=False, any_rank=False, ended_runs_on=False, first_only=False):
    def select(candidates, num_beams, eos):
        going = [c for c in candidates if ended_runs_on or c[2] != eos]
        pool = [c for c in candidates[:num_beams] if c[2] != eos] if narrow else going
        ended = [c for c in (candidates if any_rank else candidates[:num_beams]) if c[2] == eos]
        return pool[:num_beams], ended[:1] if first_only else ended

    return select


def select_cases(rng):
    def case(num_beams, ends):
        scores = sorted((-rng.exponential(1.0, 2 * num_beams) - 0.1).tolist(), reverse=True)
        tokens = [END if i in ends else int(rng.integers(1, 50)) for i in range(2 * num_beams)]
        parents = rng.integers(0, num_beams, 2 * num_beams).tolist()
        return Case(
            [(round(s, 3), p, t) for s, p, t in zip(scores, parents, tokens, strict=True)],
            num_beams,
            END,
        )

    return [case(3, {0, 2, 4}), case(4, {1, 3, 6}), case(2, {3}), case(3, set()), case(4, {0, 2})]


TASKS = [
    Task(
        grade_id="track",
        entry="track",
        points=2,
        reference={"kept": [["a", "b"], ["bc", "aa"], ["bca", "aaa"]], "probability": 0.144},
        compare=Close(rtol=1e-6),
        misconceptions=[
            Misconception(
                "two-per-parent",
                {"kept": [["a", "b"], ["aa", "bc"], ["aaa", "bca"]], "probability": 0.144},
                "the better text comes first: compare bc (.24) with aa (.20)",
            ),
            Misconception(
                "step-probabilities",
                {"kept": [["a", "b"], ["bc", "aa"], ["bca", "aaa"]], "probability": 0.6},
                "the probability of a text is the product of all its steps, not the last of them",
            ),
            Misconception(
                "greedy",
                {"kept": [["a", "b"], ["aa", "ab"], ["aba", "aaa"]], "probability": 0.135},
                "all candidates compete: those of b as well as those of a",
            ),
            Misconception(
                "unpruned",
                {"kept": [["a", "b"], ["bc", "aa"], ["caa", "bca"]], "probability": 0.162},
                "caa has .162, but c was pruned at step 1: a beam never comes back to it",
            ),
        ],
    ),
    Task(
        grade_id="step",
        entry="beam_step",
        points=4,
        cases=step_cases,
        reference=steps(),
        compare=Close(rtol=1e-9),
        watch=("mutated",),
        misconceptions=[
            Misconception(
                "forgets-the-past", steps(add=lambda score, log_prob: log_prob),
                "the score of a text is its parent's score plus the new log-probability",
            ),
            Misconception(
                "multiplies", steps(add=lambda score, log_prob: score * log_prob),
                "log-probabilities are added; it is the probabilities that are multiplied",
            ),
            Misconception(
                "best-of-each-beam", steps(each=True),
                "num_beams of all candidates together, not of each beam",
            ),
            Misconception(
                "worst-first", steps(worst=True),
                "the best are those with the LARGEST log-probability, nearest to 0",
            ),
            Misconception(
                "ties-by-token", steps(by_token=True),
                "of equal scores the earlier beam comes first, then the smaller token",
            ),
        ],
    ),
    Task(
        grade_id="choice",
        entry="best_hypothesis",
        points=2,
        cases=choice_cases,
        reference=choices(lambda n, total, power: total * n**-power),
        compare=Exact(),
        misconceptions=[
            Misconception(
                "multiplies", choices(lambda n, total, power: total * n**power),
                "divide by the length to the power; multiplying favours short texts",
            ),
            Misconception(
                "ignores-the-power", choices(lambda n, total, power: total / n),
                "length_penalty is the power of the length; 1 is only one of its values",
            ),
            Misconception(
                "no-normalisation", choices(lambda n, total, power: total),
                "this compares the plain sums, which favours short texts",
            ),
            Misconception(
                "length-times-power",
                choices(lambda n, total, power: total / (n * power) if power else total),
                "n to the power length_penalty, not n times it",
            ),
        ],
    ),
    Task(
        grade_id="select",
        entry="select",
        points=3,
        cases=select_cases,
        reference=selections(),
        compare=Exact(),
        misconceptions=[
            Misconception(
                "narrows", selections(narrow=True),
                "the colleague's bug: a finished text leaves its place empty",
            ),
            Misconception(
                "finishes-at-any-rank", selections(any_rank=True),
                "only what ends among the best num_beams is finished; the rest is dropped",
            ),
            Misconception(
                "runs-on", selections(ended_runs_on=True),
                "a text that has ended must not run on",
            ),
            Misconception(
                "one-finished", selections(first_only=True),
                "several texts may finish in the same step",
            ),
        ],
    ),
    Task(
        grade_id="threshold",
        entry="x_threshold",
        points=3,
        reference=0.42,
        compare=Close(rtol=5e-3),
        misconceptions=[
            Misconception(
                "ratio-of-first-steps", 0.875,
                "you compare A with B after one step; compare AA with BA and BB after two",
            ),
            Misconception(
                "second-step-only", 0.48,
                "compare whole texts: .40 x against .35 · .48, not x against .48",
            ),
            Misconception(
                "probability-of-ba", 0.168,
                "that is the probability of BA; x times .40 has to reach it",
            ),
            Misconception(
                "greedy-s-limit", 1 / 3,
                "above 1/3 greedy takes AA; the beam still prunes it for a while",
            ),
        ],
    ),
]  # fmt: skip
