"""Hidden checks of exercise 01: chain rule, perplexity, next-token probabilities, ranking."""

import math
from itertools import product

import torch

from grader.checks import Case, Close, Edit, Misconception, Task
from lecture_lib.decoding.toy_lm import ToyLM

# --- Task 1: the chain rule -------------------------------------------------------------------


def sequence_log_prob(lm, tokens):
    ids = lm.encode(tokens)
    log_probs = lm.next_log_probs([ids[:i] for i in range(len(ids))])  # (L, V)
    return float(log_probs[torch.arange(len(ids)), ids].sum())


def log(p):
    return math.log(p) if p > 0 else -math.inf


def sum_of_logs(first=0, context=lambda tokens, i: tokens[:i], log=log):
    """A chain rule with one thing changed."""

    def wrong(lm, tokens):
        places = range(first, len(tokens))
        return sum(log(lm.next_distribution(context(tokens, i))[tokens[i]]) for i in places)

    return wrong


def mean_log_prob(lm, tokens):
    return sequence_log_prob(lm, tokens) / len(tokens)


def sequence_cases(rng):
    words = ["a", "b", "c", "d"]

    def random_lm(vocab, longest_prefix):
        prefixes = [p for n in range(longest_prefix + 1) for p in product(vocab, repeat=n)]
        rows = rng.dirichlet([2.0] * len(vocab), size=len(prefixes) + 1)
        dists = [dict(zip(vocab, (row / row.sum()).tolist(), strict=True)) for row in rows]
        return ToyLM(dict(zip(prefixes, dists[1:], strict=True)), vocab=vocab, default=dists[0])

    def sequence(vocab, length):
        return [vocab[i] for i in rng.integers(len(vocab), size=length)]

    lm, letters = random_lm(words, 3), [chr(ord("a") + i) for i in range(24)]
    never = ToyLM({"": {"a": 0.5, "b": 0.5}, "a": {"b": 1.0}}, default={"a": 0.25, "b": 0.75})
    return [
        Case(lm, sequence(words, 2), label="a short sequence"),
        Case(lm, sequence(words, 4), label="a longer sequence"),
        Case(lm, sequence(words, 1), label="a single token"),
        Case(random_lm(letters, 0), sequence(letters, 400), label="a text of hundreds of tokens"),
        Case(never, ["b", "a", "b"], label="another model"),
        Case(never, ["a", "a", "b"], label="an impossible sequence"),
    ]


SEQUENCE_LOG_PROB = Task(
    grade_id="sequence-log-prob",
    entry="sequence_log_prob",
    points=2,
    cases=sequence_cases,
    reference=sequence_log_prob,
    compare=Close(rtol=1e-5),  # float32 will do
    misconceptions=[
        Misconception(
            "returns-probability",
            lambda lm, tokens: lm.probability(tokens),
            "this is the probability itself; return its logarithm, a sum of logarithms",
        ),
        Misconception(
            "skips-first-token",
            sum_of_logs(first=1),
            "the first token is missing: it has a probability too, the one after nothing, "
            "lm.next_distribution([])",
        ),
        Misconception(
            "no-context",
            sum_of_logs(context=lambda tokens, i: []),
            "every token is taken from the distribution of the first one: ask for the "
            "distribution after tokens[:i], all tokens to its left",
        ),
        Misconception(
            "only-previous-token",
            sum_of_logs(context=lambda tokens, i: tokens[max(i - 1, 0) : i]),
            "each token was conditioned on the one before it only; the chain rule wants ALL tokens "
            "to its left, tokens[:i]",
        ),
        Misconception(
            "sees-the-token",
            sum_of_logs(context=lambda tokens, i: tokens[: i + 1]),
            "off by one: the context tokens[:i + 1] holds the very token that is to be predicted; "
            "the tokens to its left are tokens[:i]",
        ),
        Misconception(
            "takes-the-mean",
            mean_log_prob,
            "this is the mean over the tokens; the chain rule is a product, so the logarithms are "
            "summed (the mean comes with perplexity)",
        ),
        Misconception(
            "base-two",
            sum_of_logs(log=lambda p: math.log2(p) if p > 0 else -math.inf),
            "this is in bits (base 2); natural logarithms are wanted, math.log",
        ),
        Misconception(
            "product-underflows",
            lambda lm, tokens: log(lm.probability(tokens)),
            "right for short texts, but the product of hundreds of probabilities is 0.0 in floats, "
            "and its logarithm -inf: add logarithms instead of multiplying first",
        ),
        Misconception(
            "log-of-the-product",
            lambda lm, tokens: math.log(lm.probability(tokens)),
            "the logarithm is taken of the whole product, which is 0.0 for an impossible sequence "
            "and, by underflow, for a long one: add the logarithms of the single probabilities",
        ),
        Misconception(
            "log-of-zero",
            sum_of_logs(log=math.log),
            "an impossible token has probability 0, for which math.log raises an error: count it "
            "as -math.inf",
        ),
    ],
)

# --- Task 2: perplexity -----------------------------------------------------------------------


def perplexity(log_probs):
    return math.prod(math.exp(-x / len(log_probs)) for x in log_probs)


def perplexity_cases(rng):
    return [
        Case((-rng.exponential(2.0, size=7)).tolist(), label="a text"),
        Case((-rng.exponential(0.7, size=30)).tolist(), label="a longer text"),
        Case([-0.5], label="a single token"),
        Case([0.0, 0.0, 0.0], label="a text that was certain"),
    ]


PERPLEXITY = Task(
    grade_id="perplexity",
    entry="perplexity",
    points=2,
    cases=perplexity_cases,
    reference=perplexity,
    compare=Close(rtol=1e-5),  # float32 will do
    misconceptions=[
        Misconception(
            "forgets-mean",
            Edit(" / len(log_probs)", ""),
            "this is 1/p of the whole text, which grows with its length: take the mean of the "
            "log-probabilities before exp",
        ),
        Misconception(
            "forgets-sign",
            Edit("-sum", "sum"),
            "the exponent lost its minus sign: this is the (geometric) mean probability of a "
            "token, perplexity is 1 over it",
        ),
        Misconception(
            "base-two",
            Edit(
                "math.exp(-sum(log_probs) / len(log_probs))",
                "2 ** (-sum(log_probs) / len(log_probs))",
            ),
            "2 to the power of the mean is right for logarithms with base 2; these are natural "
            "ones, so e to the power of it: math.exp",
        ),
        Misconception(
            "returns-loss",
            Edit("math.exp(-sum(log_probs) / len(log_probs))", "-sum(log_probs) / len(log_probs)"),
            "this is the mean negative log-probability (the loss); perplexity is exp of it",
        ),
        Misconception(
            "averages-inverses",
            lambda log_probs: sum(math.exp(-x) for x in log_probs) / len(log_probs),
            "this averages 1/p over the tokens; average the logarithms, then take exp",
        ),
        Misconception(
            "inverse-of-mean-probability",
            lambda log_probs: len(log_probs) / sum(math.exp(x) for x in log_probs),
            "this is 1 over the average probability; probabilities multiply, so it is their "
            "LOGARITHMS that are averaged",
        ),
        Misconception(
            "divides-by-one-less",
            Edit("len(log_probs)", "(len(log_probs) - 1)"),
            "the sum is divided by n - 1: log_probs has one entry for each token that was "
            "predicted, so divide by their number, n",
        ),
    ],
)

# --- Task 3: from hidden states to probabilities ----------------------------------------------


def next_token_probs(X, W_lm):
    logits = (X.double() @ W_lm.double())[-1]
    weights = (logits - logits.max()).exp()
    return (weights / weights.sum()).float()


def naive_softmax(X, W_lm):
    weights = torch.exp(X[-1] @ W_lm)
    return weights / weights.sum()


def random_tensor(rng, *shape, scale=1.0):
    return torch.from_numpy(rng.normal(scale=scale, size=shape)).float()


def next_token_cases(rng):
    return [
        Case(random_tensor(rng, 6, 4), random_tensor(rng, 4, 9), label="a prompt"),
        Case(random_tensor(rng, 3, 5), random_tensor(rng, 5, 5), label="D equal to V"),
        Case(random_tensor(rng, 1, 4), random_tensor(rng, 4, 7), label="a prompt of one token"),
        Case(random_tensor(rng, 4, 8, scale=30), random_tensor(rng, 8, 6, scale=30),
             label="large logits"),
    ]  # fmt: skip


NEXT_TOKEN_PROBS = Task(
    grade_id="next-token-probs",
    entry="next_token_probs",
    points=3,
    cases=next_token_cases,
    reference=next_token_probs,
    compare=Close(rtol=1e-3, atol=1e-6),
    misconceptions=[
        Misconception(
            "all-rows",
            lambda X, W_lm: torch.softmax(X @ W_lm, dim=-1),
            "this is a distribution after EVERY token of the prompt, (L, V); the next token of the "
            "whole prompt needs the last row only",
        ),
        Misconception(
            "keeps-the-row-axis",
            lambda X, W_lm: torch.softmax(X[-1:] @ W_lm, dim=-1),
            "right, but of shape (1, V): X[-1:] keeps the axis of positions, X[-1] drops it",
        ),
        Misconception(
            "first-row",
            lambda X, W_lm: torch.softmax(X[0] @ W_lm, dim=-1),
            "this is the first row of X, which has seen the first token only; the last row has "
            "seen the whole prompt: X[-1]",
        ),
        Misconception(
            "mean-of-rows",
            lambda X, W_lm: torch.softmax(X.mean(dim=0) @ W_lm, dim=-1),
            "the rows of X were averaged; a decoder's last row has already gathered what the "
            "prompt says: use X[-1] alone",
        ),
        Misconception(
            "forgets-softmax",
            lambda X, W_lm: X[-1] @ W_lm,
            "these are logits: any real numbers. softmax makes probabilities of them",
        ),
        Misconception(
            "returns-log-probs",
            lambda X, W_lm: torch.log_softmax(X[-1] @ W_lm, dim=-1),
            "these are log-probabilities (log_softmax); probabilities are wanted",
        ),
        Misconception(
            "softmax-over-positions",
            lambda X, W_lm: torch.softmax(X @ W_lm, dim=0)[-1],
            "softmax ran over the positions (dim=0 of (L, V)); it has to run over the vocabulary, "
            "so that one row sums to 1",
        ),
        Misconception(
            "transposes-the-weights",
            lambda X, W_lm: torch.softmax(X[-1] @ W_lm.T, dim=-1),
            "W_lm was transposed, which only works by chance, where D equals V: here it is (D, V) "
            "already, so X[-1] @ W_lm",
        ),
        Misconception(
            "overflows",
            naive_softmax,
            "right for small logits, but exp of a large one is inf, and inf/inf is nan: subtract "
            "the largest logit first, or use torch.softmax, which does",
        ),
    ],
)

# --- Task 4: score a continuation -------------------------------------------------------------


def continuation_log_probs(logits, token_ids, n_prompt):
    shifted = logits[:-1] - logits[:-1].logsumexp(dim=-1, keepdim=True)  # (L-1, V)
    targets = torch.tensor(token_ids[1:]).unsqueeze(-1)
    return shifted.gather(-1, targets).squeeze(-1)[n_prompt - 1 :]


def pick(log_probs, token_ids, rows):
    return torch.stack([log_probs[i, token_ids[i + 1]] for i in rows])


def log_softmax(logits):
    return torch.log_softmax(logits, dim=-1)


def same_row(logits, token_ids, n_prompt):
    log_probs = log_softmax(logits)
    return torch.stack([log_probs[i, token_ids[i]] for i in range(n_prompt, len(token_ids))])


def row_after(logits, token_ids, n_prompt):
    log_probs = log_softmax(logits)
    places = range(n_prompt, len(token_ids))
    return torch.stack([log_probs[i, token_ids[i - 1]] for i in places])


def whole_text(logits, token_ids, n_prompt):
    return pick(log_softmax(logits), token_ids, range(len(token_ids) - 1))


def starts_late(logits, token_ids, n_prompt):
    return whole_text(logits, token_ids, n_prompt)[n_prompt:]


def continuation_cases(rng):
    def case(length, vocab_size, n_prompt, label):
        token_ids = [int(i) for i in rng.integers(vocab_size, size=length)]
        return Case(random_tensor(rng, length, vocab_size, scale=2), token_ids, n_prompt,
                    label=label)  # fmt: skip

    return [
        case(9, 6, 4, "a prompt and a continuation"),
        case(6, 11, 2, "a short prompt"),
        case(5, 7, 1, "a prompt of one token"),
        case(7, 5, 6, "a continuation of one token"),
    ]


CONTINUATION_LOG_PROBS = Task(
    grade_id="continuation-log-probs",
    entry="continuation_log_probs",
    points=3,
    cases=continuation_cases,
    reference=continuation_log_probs,
    compare=Close(rtol=1e-3, atol=1e-5),
    misconceptions=[
        Misconception(
            "same-row",
            same_row,
            "off by one: token i was looked up in row i, which has SEEN token i and predicts the "
            "one after it. Row i - 1 predicts token i",
        ),
        Misconception(
            "shifted-the-wrong-way",
            row_after,
            "shifted the wrong way: token i was looked up in row i + 1. Drop the last ROW and the "
            "first TOKEN, not the other way round",
        ),
        Misconception(
            "scores-the-prompt",
            whole_text,
            "the prompt was scored too: only the tokens from index n_prompt on count",
        ),
        Misconception(
            "misses-the-first",
            starts_late,
            "the first token of the continuation is missing: after the shift by one, the token "
            "with index n_prompt stands at place n_prompt - 1",
        ),
        Misconception(
            "raw-logits",
            lambda logits, token_ids, n_prompt: pick(
                logits, token_ids, range(n_prompt - 1, len(token_ids) - 1)
            ),
            "these are logits; normalise each row with log_softmax to get log-probabilities",
        ),
        Misconception(
            "forgets-log",
            Edit("log_softmax", "softmax"),
            "these are probabilities; take their logarithm (log_softmax)",
        ),
        Misconception(
            "softmax-over-positions",
            Edit("dim=-1", "dim=0"),
            "softmax ran over the positions (dim=0); every ROW is a distribution over the "
            "vocabulary, so dim=-1",
        ),
        Misconception(
            "returns-the-sum",
            lambda logits, token_ids, n_prompt: continuation_log_probs(
                logits, token_ids, n_prompt
            ).sum(),
            "this is the total; a log-probability for each token is wanted",
        ),
    ],
)

# --- Task 5: a fair ranking -------------------------------------------------------------------


def rank_by(value):
    """Indices of the sentences, smallest value first."""
    return lambda log_probs: sorted(range(len(log_probs)), key=lambda i: value(log_probs[i]))


def mean_loss(sentence):
    return -math.fsum(sentence) / len(sentence)


def places(log_probs):
    order = rank_by(mean_loss)(log_probs)
    return [order.index(i) for i in range(len(log_probs))]


def ranking_cases(rng):
    def sentence(length):
        """Some tokens are nearly sure and some are not, as in real texts."""
        scale = rng.choice([0.1, 1.0, 6.0], size=length)
        return (-rng.exponential(scale * rng.uniform(0.3, 2.0))).tolist()

    lengths = ([3, 9, 5, 14, 2, 7], [12, 4, 8, 3, 10, 6, 2], [4, 15, 9, 2, 6])
    cases = [Case([sentence(n) for n in each], label="several sentences") for each in lengths]
    return [*cases, Case([[-1.5] * 4, [-1.0] * 9], label="a short and a long sentence")]


RANK_SENTENCES = Task(
    grade_id="rank-sentences",
    entry="rank_sentences",
    points=3,
    cases=ranking_cases,
    reference=rank_by(mean_loss),
    compare=Close(),
    misconceptions=[
        Misconception(
            "by-total",
            rank_by(lambda sentence: -sum(sentence)),
            "ranked by total log-probability, which favours short sentences: divide by the number "
            "of tokens",
        ),
        Misconception(
            "worst-first",
            rank_by(lambda sentence: -mean_loss(sentence)),
            "the order is upside down: the highest mean log-probability is the LOWEST perplexity, "
            "and that comes first",
        ),
        Misconception(
            "total-worst-first",
            rank_by(sum),
            "ranked by total log-probability, and the lowest first: take the mean over the tokens, "
            "and the highest mean first",
        ),
        Misconception(
            "returns-places",
            places,
            "this says which place each sentence takes; wanted is the reverse: position 0 of the "
            "list holds the index of the best sentence",
        ),
        Misconception(
            "mean-of-probabilities",
            rank_by(lambda sentence: -sum(math.exp(x) for x in sentence) / len(sentence)),
            "ranked by the average probability; perplexity averages the LOG-probabilities, so that "
            "one impossible token weighs as much as it should",
        ),
        Misconception(
            "by-worst-token",
            rank_by(lambda sentence: -min(sentence)),
            "ranked by the least likely token alone; perplexity averages over all tokens",
        ),
        Misconception(
            "returns-perplexities",
            lambda log_probs: sorted(math.exp(mean_loss(sentence)) for sentence in log_probs),
            "these are the perplexities in order; the INDICES of the sentences are wanted",
        ),
        Misconception(
            "only-the-best",
            lambda log_probs: rank_by(mean_loss)(log_probs)[0],
            "this is the best sentence only; return all indices, best first",
        ),
    ],
)

TASKS = [
    SEQUENCE_LOG_PROB,
    PERPLEXITY,
    NEXT_TOKEN_PROBS,
    CONTINUATION_LOG_PROBS,
    RANK_SENTENCES,
]
