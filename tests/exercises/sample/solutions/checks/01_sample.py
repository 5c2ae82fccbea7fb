"""Hidden checks of the sample exercise."""

import torch

from grader.checks import Case, Close, Exact, Probe, Task


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

GREEDY = Task(
    grade_id="greedy", entry="greedy", compare=Exact(), watch=("mutated", "n_calls"), timeout_s=2.0,
    cases=lambda rng: [Case(toy_model(rng), [int(rng.integers(3))], 3) for _ in range(4)],
    misconceptions=[
        ("returns-prompt", "token_ids[len(prompt_ids) :]", "token_ids",
         "return the new tokens only, without the prompt"),
        ("ignores-prompt", "list(prompt_ids)", "[]", "token_ids[len(prompt_ids) :]", "token_ids",
         "the model was not given the prompt's tokens"),
        ("spoils-prompt", "list(prompt_ids)", "prompt_ids", "[len(prompt_ids) :]", "[-n:]",
         "the caller's prompt_ids have grown"),
        ("least-probable", "argmax", "argmin",
         "this takes the LEAST probable token: log-probabilities are negative"),
        ("asks-again", "next_log_probs([token_ids])",
         "next_log_probs([token_ids]) + 0 * next_log_probs([prompt_ids])",
         "the model was asked again for tokens that were already chosen"),
    ])  # fmt: skip

NEW_ROWS = Task(
    grade_id="new-rows", entry="n_new_rows", compare=Exact(), misconceptions=[
        ("all", "= 1", "= 11", "a key depends on its own position and what is left of it"),
        ("old", "= 1", "= 10", "this counts the rows that stay as they were"),
        ("none", "= 1", "= 0", "the new token has a row of its own"),
        ("two", "= 1", "= 2", "only the new token's row is new"),
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
