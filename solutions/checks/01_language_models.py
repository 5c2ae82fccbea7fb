"""Hidden checks of exercise 01: chain rule, perplexity, next-token probabilities, ranking."""

from itertools import product

import torch

from grader.checks import Case, Close, Task
from lecture_lib.decoding.toy_lm import ToyLM


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
    grade_id="sequence-log-prob", entry="sequence_log_prob", cases=sequence_cases,
    compare=Close(rtol=1e-5),  # float32 will do
    misconceptions=[
        ("returns-probability", "return total", "return math.exp(total)",
         "this is the probability itself; return its logarithm, a sum of logarithms"),
        ("skips-first-token", "enumerate(tokens):", "list(enumerate(tokens))[1:]:",
         "the first token is missing: it has a probability too, the one after nothing, "
         "lm.next_distribution([])"),
        ("no-context", "tokens[:i]", "[]", "every token is taken from the distribution of the "
         "first one: ask for the distribution after tokens[:i], all tokens to its left"),
        ("only-previous-token", "tokens[:i]", "tokens[max(i - 1, 0) : i]",
         "each token was conditioned on the one before it only; the chain rule wants ALL tokens to "
         "its left, tokens[:i]"),
        ("sees-the-token", "tokens[:i]", "tokens[: i + 1]", "off by one: the context tokens[:i + "
         "1] holds the very token that is to be predicted; the tokens to its left are tokens[:i]"),
        ("takes-the-mean", "return total", "return total / len(tokens)",
         "this is the mean over the tokens; the chain rule is a product, so the logarithms are "
         "summed (the mean comes with perplexity)"),
        ("base-two", "math.log(p)", "math.log2(p)",
         "this is in bits (base 2); natural logarithms are wanted, math.log"),
        ("product-underflows", "total = 0.0", "total = 1.0",
         "total += math.log(p) if p > 0 else -math.inf", "total *= p",
         "return total", "return math.log(total) if total > 0 else -math.inf",
         "right for short texts, but the product of hundreds of probabilities is 0.0 in floats, "
         "and its logarithm -inf: add logarithms instead of multiplying first"),
        ("log-of-the-product", "total = 0.0", "total = 1.0",
         "total += math.log(p) if p > 0 else -math.inf", "total *= p",
         "return total", "return math.log(total)",
         "the logarithm is taken of the whole product, which is 0.0 for an impossible sequence "
         "and, by underflow, for a long one: add the logarithms of the single probabilities"),
        ("log-of-zero", " if p > 0 else -math.inf", "", "an impossible token has probability 0, "
         "for which math.log raises an error: count it as -math.inf"),
    ])  # fmt: skip

PERPLEXITY = Task(
    grade_id="perplexity", entry="perplexity", compare=Close(rtol=1e-5),
    cases=lambda rng: [
        Case((-rng.exponential(2.0, size=7)).tolist(), label="a text"),
        Case((-rng.exponential(0.7, size=30)).tolist(), label="a longer text"),
        Case([-0.5], label="a single token"),
        Case([0.0, 0.0, 0.0], label="a text that was certain"),
        Case([-2.0] * 900, label="a text of hundreds of tokens"),
    ],
    misconceptions=[
        ("forgets-mean", " / len(log_probs)", "", "this is 1/p of the whole text, which grows with "
         "its length: take the mean of the log-probabilities before exp"),
        ("forgets-sign", "-sum", "sum", "the exponent lost its minus sign: this is the (geometric) "
         "mean probability of a token, perplexity is 1 over it"),
        ("base-two", "math.exp(", "2 ** (", "2 to the power of the mean is right for logarithms "
         "with base 2; these are natural ones, so e to the power of it: math.exp"),
        ("returns-loss", "math.exp", "",
         "this is the mean negative log-probability (the loss); perplexity is exp of it"),
        ("averages-inverses", "math.exp(-sum(log_probs) / len(log_probs))",
         "sum(math.exp(-x) for x in log_probs) / len(log_probs)",
         "this averages 1/p over the tokens; average the logarithms, then take exp"),
        ("inverse-of-mean-probability", "math.exp(-sum(log_probs) / len(log_probs))",
         "len(log_probs) / sum(math.exp(x) for x in log_probs)", "this is 1 over the average "
         "probability; probabilities multiply, so it is their LOGARITHMS that are averaged"),
        ("divides-by-one-less", "len(log_probs)", "(len(log_probs) - 1)",
         "the sum is divided by n - 1: log_probs has one entry for each token that was predicted, "
         "so divide by their number, n"),
        ("product-underflows", "math.exp(-sum(log_probs) / len(log_probs))",
         "math.prod(math.exp(x) for x in log_probs) ** (-1 / len(log_probs))",
         "the product of hundreds of probabilities is 0.0 in floats, and 1 over it an error: "
         "average the logarithms instead of multiplying probabilities"),
    ])  # fmt: skip


def random_tensor(rng, *shape, scale=1.0):
    return torch.from_numpy(rng.normal(scale=scale, size=shape)).float()


NEXT_TOKEN_PROBS = Task(
    grade_id="next-token-probs", entry="next_token_probs", compare=Close(rtol=1e-3, atol=1e-6),
    cases=lambda rng: [
        Case(random_tensor(rng, 6, 4), random_tensor(rng, 4, 9), label="a prompt"),
        Case(random_tensor(rng, 3, 5), random_tensor(rng, 5, 5), label="D equal to V"),
        Case(random_tensor(rng, 1, 4), random_tensor(rng, 4, 7), label="a prompt of one token"),
        Case(random_tensor(rng, 4, 8, scale=30), random_tensor(rng, 8, 6, scale=30),
             label="large logits"),
    ],
    misconceptions=[
        ("all-rows", "X[-1]", "X", "this is a distribution after EVERY token of the prompt, (L, "
         "V); the next token of the whole prompt needs the last row only"),
        ("keeps-the-row-axis", "X[-1]", "X[-1:]",
         "right, but of shape (1, V): X[-1:] keeps the axis of positions, X[-1] drops it"),
        ("first-row", "X[-1]", "X[0]", "this is the first row of X, which has seen the first token "
         "only; the last row has seen the whole prompt: X[-1]"),
        ("mean-of-rows", "X[-1]", "X.mean(dim=0)", "the rows of X were averaged; a decoder's last "
         "row has already gathered what the prompt says: use X[-1] alone"),
        ("forgets-softmax", "torch.softmax(logits, dim=-1)", "logits",
         "these are logits: any real numbers. softmax makes probabilities of them"),
        ("returns-log-probs", "torch.softmax", "torch.log_softmax",
         "these are log-probabilities (log_softmax); probabilities are wanted"),
        ("softmax-over-positions", "X[-1]", "X", "torch.softmax(logits, dim=-1)",
         "torch.softmax(logits, dim=0)[-1]", "softmax ran over the positions (dim=0 of (L, V)); it "
         "has to run over the vocabulary, so that one row sums to 1"),
        ("transposes-the-weights", "@ W_lm", "@ W_lm.T", "W_lm was transposed, which only works by "
         "chance, where D equals V: here it is (D, V) already, so X[-1] @ W_lm"),
        ("overflows", "torch.softmax(logits, dim=-1)", "logits.exp() / logits.exp().sum()",
         "right for small logits, but exp of a large one is inf, and inf/inf is nan: subtract the "
         "largest logit first, or use torch.softmax, which does"),
    ])  # fmt: skip


def continuation_cases(rng):
    def case(length, vocab_size, n_prompt, label):
        token_ids = [int(i) for i in rng.integers(vocab_size, size=length)]
        return Case(random_tensor(rng, length, vocab_size, scale=2), token_ids, n_prompt,
                    label=label)  # fmt: skip

    far = torch.from_numpy(rng.uniform(0, 300, size=(9, 5))).float()
    unlikely = [0, *far[:-1].argmin(dim=-1).tolist()]
    return [
        case(9, 6, 4, "a prompt and a continuation"),
        case(6, 11, 2, "a short prompt"),
        case(5, 7, 1, "a prompt of one token"),
        case(7, 5, 6, "a continuation of one token"),
        Case(far, unlikely, 1, label="logits that differ by hundreds"),
    ]


CONTINUATION_LOG_PROBS = Task(
    grade_id="continuation-log-probs", entry="continuation_log_probs", cases=continuation_cases,
    compare=Close(rtol=1e-3, atol=1e-5), misconceptions=[
        ("same-row", "log_probs[i, token", "log_probs[i + 1, token",
         "off by one: token i was looked up in row i, which has SEEN token i and predicts the one "
         "after it. Row i - 1 predicts token i"),
        ("shifted-the-wrong-way", "log_probs[i, token_ids[i + 1]]",
         "log_probs[i + 1, token_ids[i]]", "shifted the wrong way: token i was looked up in row i "
         "+ 1. Drop the last ROW and the first TOKEN, not the other way round"),
        ("scores-the-prompt", "n_prompt - 1, ", "",
         "the prompt was scored too: only the tokens from index n_prompt on count"),
        ("misses-the-first", "in rows])", "in range(len(token_ids) - 1)])[n_prompt:]",
         "the first token of the continuation is missing: after the shift by one, the token with "
         "index n_prompt stands at place n_prompt - 1"),
        ("likeliest-token", "log_probs[i, token_ids[i + 1]]", "log_probs[i].max()",
         "these are the log-probabilities of the LIKELIEST token at each position; wanted is "
         "that of the token that stands in the text"),
        ("raw-logits", "torch.log_softmax(logits, dim=-1)", "logits",
         "these are logits; normalise each row with log_softmax to get log-probabilities"),
        ("forgets-log", "log_softmax", "softmax",
         "these are probabilities; take their logarithm (log_softmax)"),
        ("log-of-zero", "log_softmax(logits, dim=-1)", "softmax(logits, dim=-1).log()",
         "right while the probabilities are not too small, but softmax rounds a very small one "
         "to 0.0, whose logarithm is -inf: torch.log_softmax never forms the probability"),
        ("softmax-over-positions", "dim=-1", "dim=0", "softmax ran over the positions (dim=0); "
         "every ROW is a distribution over the vocabulary, so dim=-1"),
        ("returns-the-sum", "in rows])", "in rows]).sum()",
         "this is the total; a log-probability for each token is wanted"),
    ])  # fmt: skip


def ranking_cases(rng):
    def sentence(length):
        """Some tokens are nearly sure and some are not, as in real texts."""
        scale = rng.choice([0.1, 1.0, 6.0], size=length)
        return (-rng.exponential(scale * rng.uniform(0.3, 2.0))).tolist()

    lengths = ([3, 9, 5, 14, 2, 7], [12, 4, 8, 3, 10, 6, 2], [4, 15, 9, 2, 6])
    cases = [Case([sentence(n) for n in each], label="several sentences") for each in lengths]
    return [
        *cases,
        Case([[-1.0], [-0.8] * 9], label="a sentence of one token and a long one"),
        Case([[-2.0] * 3, [-1.0] * 2, [-2.0] * 5, [-1.0] * 4], label="equally good sentences"),
    ]


RANK_SENTENCES = Task(
    grade_id="rank-sentences", entry="rank_sentences", cases=ranking_cases, compare=Close(),
    misconceptions=[
        ("by-total", " / len(sentence)", "", "ranked by total log-probability, which favours short "
         "sentences: divide by the number of tokens"),
        ("worst-first", "-means[i]", "means[i]", "the order is upside down: the highest mean "
         "log-probability is the LOWEST perplexity, and that comes first"),
        ("total-worst-first", " / len(sentence)", "", "-means[i]", "means[i]",
         "ranked by total log-probability, and the lowest first: take the mean over the tokens, "
         "and the highest mean first"),
        ("returns-places", "return sorted(", "order = sorted(",
         "-means[i])", "-means[i])\n    return [order.index(i) for i in range(len(log_probs))]",
         "this says which place each sentence takes; wanted is the reverse: position 0 of the list "
         "holds the index of the best sentence"),
        ("mean-of-probabilities", "sum(sentence)", "sum(math.exp(x) for x in sentence)",
         "ranked by the average probability; perplexity averages the LOG-probabilities, so that "
         "one impossible token weighs as much as it should"),
        ("by-worst-token", "sum(sentence) / len(sentence)", "min(sentence)",
         "ranked by the least likely token alone; perplexity averages over all tokens"),
        ("returns-perplexities",
         "range(len(log_probs)), key=lambda i: -means[i]", "math.exp(-mean) for mean in means",
         "these are the perplexities in order; the INDICES of the sentences are wanted"),
        ("keyed-by-the-mean", "return sorted(range(len(log_probs)), key=lambda i: -means[i])",
         "places = {mean: i for i, mean in enumerate(means)}\n    return [places[mean] for mean "
         "in sorted(places, reverse=True)]", "of equally good sentences only one is left: they "
         "have the same mean, and a dictionary holds each key once. Sort the indices instead"),
        ("looks-up-the-mean", "return sorted(range(len(log_probs)), key=lambda i: -means[i])",
         "return [means.index(mean) for mean in sorted(means, reverse=True)]",
         "of equally good sentences the first is there twice: index() finds the first equal mean "
         "each time. Sort the indices instead"),
        ("larger-index-first", "-means[i])", "(-means[i], -i))",
         "of two equally good sentences the smaller index comes first"),
        ("only-the-best", "-means[i])", "-means[i])[0]",
         "this is the best sentence only; return all indices, best first"),
    ])  # fmt: skip

TASKS = [SEQUENCE_LOG_PROB, PERPLEXITY, NEXT_TOKEN_PROBS, CONTINUATION_LOG_PROBS, RANK_SENTENCES]
