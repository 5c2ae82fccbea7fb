"""Hidden checks of the sample exercise."""

import torch

from grader.checks import Case, Close, Edit, Exact, Misconception, Probe, Raises, Task


def perplexity_cases(rng):
    return [
        Case(list(-rng.exponential(2.0, size=7))),
        Case([-0.5], label="a single token"),
    ]


def next_log_probs(table, prefixes):
    """Log-probabilities of three tokens: a row of the table, which depends on the whole prefix."""
    numbers = [sum((token + 1) * 7**i for i, token in enumerate(prefix)) for prefix in prefixes]
    return table[[number % len(table) for number in numbers]].log()


def toy_model(rng):
    return Probe(next_log_probs, torch.tensor(rng.dirichlet([0.7] * 3, size=40)))


def greedy(next_log_probs, prompt_ids, n):
    new = ()
    while len(new) < n:
        row = next_log_probs([[*prompt_ids, *new]])[0].tolist()
        new += (row.index(max(row)),)
    return list(new)


def greedy_from_start(next_log_probs, prompt_ids, n):
    return greedy(next_log_probs, [], n)


def greedy_spoils(next_log_probs, prompt_ids, n):
    new = greedy(next_log_probs, prompt_ids, n)
    prompt_ids.extend(new)
    return new


def greedy_asks_twice(next_log_probs, prompt_ids, n):
    for i in range(n):
        next_log_probs([prompt_ids + greedy(next_log_probs, prompt_ids, i)])
    return greedy(next_log_probs, prompt_ids, n)


PERPLEXITY = Task(
    grade_id="perplexity", entry="perplexity", cases=perplexity_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("forgets-mean", " / len(log_probs)", "",
         "this is 1 / p of the whole text: take the mean over its tokens before exp"),
        ("forgets-sign", "-sum", "sum",
         "perplexity is at least 1: the exponent is the NEGATIVE mean log-probability"),
        ("base-two", "math.exp(", "2 ** (",
         "the log-probabilities are natural ones: undo them with exp, not with 2 ** x"),
        ("returns-loss", "math.exp", "",
         "this is the cross-entropy in nats: perplexity is its exponential"),
    ])  # fmt: skip

# The long form, with a reference and functions, which a task may need.
GREEDY = Task(
    grade_id="greedy",
    entry="greedy",
    cases=lambda rng: [Case(toy_model(rng), [int(rng.integers(3))], 3) for _ in range(4)],
    reference=greedy,
    compare=Exact(),
    watch=("mutated", "n_calls"),
    timeout_s=2.0,
    misconceptions=[
        Misconception(
            "returns-prompt",
            Edit("token_ids[len(prompt_ids) :]", "token_ids"),
            "return the new tokens only, without the prompt",
        ),
        Misconception(
            "ignores-prompt", greedy_from_start, "the model was not given the prompt's tokens"
        ),
        Misconception("spoils-prompt", greedy_spoils, "the caller's prompt_ids have grown"),
        Misconception(
            "least-probable",
            Edit("argmax", "argmin"),
            "this takes the LEAST probable token: log-probabilities are negative",
        ),
        Misconception(
            "asks-again",
            greedy_asks_twice,
            "the model was asked again for tokens that were already chosen",
        ),
        Misconception(
            "never-stops",
            Raises("TimeLimit"),
            "the loop never ends: nothing counts the new tokens",
        ),
    ],
)

NEW_ROWS = Task(
    grade_id="new-rows", entry="n_new_rows", compare=Exact(), misconceptions=[
        ("all", 11, "a key depends on its own position and what is left of it"),
        ("old", 10, "this counts the rows that stay as they were"),
        ("none", 0, "the new token has a row of its own"),
        ("two", 2, "only the new token's row is new"),
    ])  # fmt: skip

BITS = Task(
    grade_id="bits", entry="bits_per_token", cases=perplexity_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("nats", "log2", "log", "these are nats: divide by ln 2, or log2"),
        ("digits", "log2", "log10", "these are decimal digits: bits need log2"),
        ("no-log", "math.log2", "", "this is the perplexity itself"),
        ("of-the-text", "perplexity(log_probs)", "math.exp(-sum(log_probs))",
         "these are the bits of the whole text: divide by the number of tokens"),
    ])  # fmt: skip

TASKS = [PERPLEXITY, GREEDY, NEW_ROWS, BITS]
