"""Hidden checks of exercise 01: chain rule, bigrams, continuations, batches, long texts."""

from itertools import product

import torch

from grader.checks import Case, Close, Probe, Task
from lecture_lib.decoding.toy_lm import ToyLM

FAR = "logits so far apart that exp gives 0 or infinity"
LONG = "a text so long that no float holds its probability"


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
    never = ToyLM({"": {"a": 0.5, "b": 0.5}, "a": {"b": 1.0}, "b": {"a": 1e-13, "b": 1 - 1e-13}},
                  default={"a": 0.25, "b": 0.75})  # fmt: skip
    return [
        Case(lm, sequence(words, 2), label="a short sequence"),
        Case(lm, sequence(words, 4), label="a longer sequence"),
        Case(lm, sequence(words, 1), label="a single token"),
        Case(random_lm(["a", "b"], 7), sequence(["a", "b"], 9), label="a long context"),
        Case(random_lm(letters, 0), sequence(letters, 400), label=LONG),
        Case(never, ["b", "a", "b"], label="an unlikely sequence, not an impossible one"),
        Case(never, ["a", "a", "b"], label="an impossible sequence (-math.inf)"),
    ]


SEQUENCE_LOG_PROB = Task(
    grade_id="sequence-log-prob", entry="sequence_log_prob", cases=sequence_cases,
    compare=Close(rtol=1e-5), watch=("mutated",),  # float32 will do
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
        ("short-context", "tokens[:i]", "tokens[max(i - 3, 0) : i]",
         "the context was cut to a few tokens; it is ALL tokens to the left, however many"),
        ("place-by-index", "tokens[:i]", "tokens[: tokens.index(token)]", "tokens.index(token) is "
         "the FIRST place of a token that comes twice: take the place from enumerate"),
        ("misses-the-last", "enumerate(tokens):", "enumerate(tokens[: max(1, len(tokens) - 1)]):",
         "the last token is missing; it has a probability, like the others"),
        ("sees-the-token", "tokens[:i]", "tokens[: i + 1]", "off by one: the context tokens[:i + "
         "1] holds the very token that is to be predicted; the tokens to its left are tokens[:i]"),
        ("takes-the-mean", "return total", "return total / len(tokens)",
         "this is the mean over the tokens; the chain rule is a product, so the logarithms are "
         "summed (the mean comes with perplexity)"),
        ("base-two", "math.log(p)", "math.log2(p)",
         "this is in bits (base 2); natural logarithms are wanted, math.log"),
        ("base-ten", "math.log(p)", "math.log10(p)", "this is base 10; natural ones: math.log"),
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


def bigram_cases(rng):
    def text(length):
        return [str(rng.choice(list("abcd"))) for _ in range(length)]

    several = [text(n) for n in (5, 3, 8, 6)]
    return [
        Case(several, label="several texts"),
        Case([text(40)], label="a single text"),
        Case([several[0], several[1], several[0]], label="a text that comes twice"),
        Case([text(4), [], text(2), []], label="an empty text among others"),
        Case([["a"], ["a", "a", "a"], ["b", "a"]], label="a word that follows itself"),
    ]


BIGRAM_MODEL = Task(
    grade_id="bigram-model", entry="bigram_model", cases=bigram_cases, compare=Close(),
    watch=("mutated",), misconceptions=[
        ("no-end", '[*words, "<end>"], strict=True', "words, strict=False",
         "the end of the texts is missing: the last word of each is followed by '<end>'; without "
         "it the model is a distribution for each length only"),
        ("one-end-for-all", '[*words, "<end>"], strict=True',
         '[*words, "<end>"] if words is texts[-1] else words, strict=False',
         "only the last text got its '<end>'; EVERY text has one"),
        ("no-start", '["<start>", *words], [*words, "<end>"], strict',
         'words, [*words, "<end>"][1:], strict',
         "the beginning of the texts is missing: the first word of each follows '<start>'"),
        ("joint-probabilities", "n / sum(row.values())",
         "n / sum(sum(row.values()) for row in counts.values())",
         "these are shares of ALL pairs; p(right | left) is conditional, so each row is divided by "
         "its own sum"),
        ("returns-counts", "n / sum(row.values())", "n",
         "these are counts; divide each row by its sum"),
        ("one-long-text", "words in texts", "words in [[word for text in texts for word in text]]",
         "the texts were joined into one, so that the first word of each follows the last word of "
         "the one before: every text has its own '<start>' and '<end>'"),
        ("each-text-once", "words in texts", "words in {tuple(words) for words in texts}",
         "a text that comes twice was counted once; count it as often as it comes"),
        ("each-pair-once", "row.get(right, 0) + 1", "1",
         "each pair was counted once, however often it comes; add 1 each time"),
        ("looks-to-the-right", "for left, right in zip", "for right, left in zip",
         "the rows are turned round: this is p(left | right). The row is that of the word on the "
         "left"),
        ("skips-empty-texts", "for words in texts:", "for words in filter(None, texts):",
         "an empty text was left out; it begins and ends at once, so that '<end>' follows "
         "'<start>'"),
        ("all-pairs-listed", "{right: n / sum(row.values()) for right, n in row.items()}",
         "{right: row.get(right, 0) / sum(row.values()) for right in {r for other in "
         "counts.values() for r in other}}",
         "pairs that never occur are listed, with 0.0; only those that occur belong into the "
         "table"),
        ("pairs-of-a-text-once", 'zip(["<start>", *words], [*words, "<end>"], strict=True)',
         'set(zip(["<start>", *words], [*words, "<end>"], strict=True))',
         "a pair that occurs several times in ONE text was counted once there (a set holds "
         "it once)"),
    ])  # fmt: skip


def random_tensor(rng, *shape, scale=1.0):
    return torch.from_numpy(rng.normal(scale=scale, size=shape)).float()


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
        Case(far, unlikely, 1, label=FAR),
    ]


CONTINUATION_LOG_PROBS = Task(
    grade_id="continuation-log-probs", entry="continuation_log_probs", cases=continuation_cases,
    compare=Close(rtol=1e-3, atol=1e-5), watch=("mutated",), misconceptions=[
        ("same-row", "log_probs[i, token", "log_probs[i + 1, token",
         "off by one: token i was looked up in row i, which has SEEN token i and predicts the one "
         "after it. Row i - 1 predicts token i"),
        ("shifted-the-wrong-way", "log_probs[i, token_ids[i + 1]]",
         "log_probs[i + 1, token_ids[i]]", "shifted the wrong way: token i was looked up in row i "
         "+ 1. Drop the last ROW and the first TOKEN, not the other way round"),
        ("not-shifted", "log_probs[i, token_ids[i + 1]]", "log_probs[i, token_ids[i]]",
         "each row looked up the token that it has just seen; row i predicts token_ids[i + 1]"),
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
        ("running-sums", "in rows])", "in rows]).cumsum(0)",
         "these are running sums; each token's own log-probability is wanted"),
        ("returns-the-sum", "in rows])", "in rows]).sum()",
         "this is the total; a log-probability for each token is wanted"),
    ])  # fmt: skip


def toy_model(table, token_ids):
    """Logits (..., L, V) that depend on all tokens to the left, as a transformer's do.

    ``table`` is (V, V): row s holds the logits in state s, the sum of the ids so far, modulo V.
    """
    import torch

    states = torch.as_tensor(token_ids).cumsum(-1) % len(table)  # (..., L)
    return table[states]


def random_model(rng, vocab_size=11):
    return Probe(toy_model, random_tensor(rng, vocab_size, vocab_size, scale=2))


def random_text(rng, length, vocab_size=11):
    return [int(i) for i in rng.integers(vocab_size, size=length)]


def batch_cases(rng):
    def case(lengths, pad_id, label):
        texts = [random_text(rng, n) for n in lengths]
        return Case(random_model(rng), texts, pad_id, label=label)

    return [
        case((7, 4, 9), 3, "three texts"),
        Case(random_model(rng), [[5, 2, 4, 2], [6, 2], [7, 1, 2, 2, 8, 9], [6, 2]], 2,
             label="texts that hold the token that pads, one of them twice"),
        case((5, 5), 4, "texts of one length"),
        case((1, 6), 7, "a text of one token"),
        case((2, 1), 5, "texts of at most two tokens"),
        Case(Probe(toy_model, random_tensor(rng, 11, 11) + torch.tensor([0, -torch.inf] + 9 * [0])),
             [[5, 2, 4, 2], [6, 2]], 1, label="a token that is impossible, and pads"),
        case((8,), 1, "a single text"),
        Case(Probe(toy_model, random_tensor(rng, 11, 11, scale=200)),
             [random_text(rng, 9), random_text(rng, 9)], 3, label=FAR),
    ]  # fmt: skip


BATCH_LOG_PROBS = Task(
    grade_id="batch-log-probs", entry="batch_log_probs", cases=batch_cases,
    compare=Close(rtol=1e-4, atol=1e-5), watch=("mutated", "n_calls"), misconceptions=[
        ("scores-the-padding", "picked.where(is_text, 0.0)", "picked",
         "the padding was scored like text: of a text of n tokens, n - 1 numbers count"),
        ("padding-by-its-id", "torch.arange(1, longest) < lengths[:, None]",
         "input_ids[:, 1:] != pad_id",
         "a token was left out because its id is pad_id; in a text that id is a token like any "
         "other. What is padding follows from the lengths"),
        ("pads-on-the-left", "ids + [pad_id] * (longest - len(ids)) for",
         "[pad_id] * (longest - len(ids)) + ids for",
         "torch.arange(1, longest) < lengths[:, None]",
         "torch.arange(1, longest) > longest - lengths[:, None]",
         "the padding is on the left, where the tokens of the text look at it; on the right no "
         "token does"),
        ("one-padding-token-more", "torch.arange(1, longest) <", "torch.arange(longest - 1) <",
         "off by one: of each shorter text, one token of its padding was scored, too. The token "
         "that a row predicts has the row's number plus 1"),
        ("same-row", "[:, :-1]", "[:, 1:]",
         "off by one: token i was looked up in row i, which has SEEN token i. Row i - 1 predicts "
         "it: drop the last row, not the first"),
        ("one-text-at-a-time", "    longest = max(",
         "    if len(texts) > 1:\n"
         "        return [float(batch_log_probs(model, [ids], pad_id)[0]) for ids in texts]\n"
         "    longest = max(",
         "the numbers are right, but the model was called once for each text; pad them into one "
         "rectangle and call it once"),
        ("zero-times-infinity", "picked.where(is_text, 0.0)", "(picked * is_text)",
         "0 times -inf is nan, where the padding is an impossible token: leave it out "
         "(torch.where, masked_fill) instead of multiplying by 0"),
        ("squeezes-too-much", "[:, :, 0]", ".squeeze()", "squeeze() drops EVERY axis of size 1, "
         "that of the tokens, too, where no text is longer than two: squeeze(-1), or [:, :, 0]"),
        ("takes-the-mean", "picked.where(is_text, 0.0).sum(dim=-1)",
         "picked.where(is_text, 0.0).sum(dim=-1) / is_text.sum(dim=-1).clamp(min=1)",
         "this is the mean per token; log p of a text is the sum"),
        ("raw-logits", "torch.log_softmax(model(input_ids)[:, :-1], dim=-1)",
         "model(input_ids)[:, :-1]",
         "these are sums of logits; log_softmax over the vocabulary makes log-probabilities of "
         "them"),
        ("softmax-over-positions", "(input_ids)[:, :-1], dim=-1)", "(input_ids), dim=1)[:, :-1]",
         "softmax ran over the positions (dim=1); it runs over the vocabulary, dim=-1"),
        ("log-of-zero", "torch.log_softmax(model(input_ids)[:, :-1], dim=-1)",
         "torch.softmax(model(input_ids)[:, :-1], dim=-1).log()",
         "right while no probability is too small; but softmax rounds a very small one to "
         "0.0, whose logarithm is -inf, and log_softmax does not"),
        ("scores-the-first-token", "(model(input_ids)[:, :-1], dim=-1)",
         "(model(input_ids), dim=-1)", ".sum(dim=-1)",
         ".sum(dim=-1) + log_probs[:, -1].gather(-1, input_ids[:, :1])[:, 0]", "the first token "
         "was scored, too, by row -1, which is the LAST row: nothing predicts the first one"),
    ])  # fmt: skip


def long_text_cases(rng):
    sizes = [(23, 8, 3, "a text of several windows"), (5, 8, 6, "a text shorter than a window"),
             (16, 8, 4, "a text that ends with a window"), (20, 7, 5, "another stride"),
             (2, 2, 1, "two tokens"), (900, 16, 11, LONG)]  # fmt: skip
    far = random_tensor(rng, 11, 11)
    far[1, 5] -= 150  # token 5 is the second one
    return [Case(random_model(rng), random_text(rng, n), window, stride, label=label)
            for n, window, stride, label in sizes] + [
                Case(Probe(toy_model, far), [1, 5, 2, 8], 8, 5, label=FAR)]  # fmt: skip


TEXT_PERPLEXITY = Task(
    grade_id="text-perplexity", entry="text_perplexity", cases=long_text_cases,
    compare=Close(rtol=1e-4), watch=("mutated", "n_calls"), misconceptions=[
        *[(name, "log_probs, n_seen = [], 1", "windows, n_seen = [], 1",
         "        ids = token", "        log_probs = []\n        ids = token",
         "        n_seen = start",
         f"        windows.append({inner}(-sum(log_probs) / len(log_probs)))\n"
         "        n_seen = start",
         "return math.exp(-sum(log_probs) / len(log_probs))",
         f"return {outer}(sum(windows) / len(windows))",
         f"this is the mean of the windows' {what}, which gives the few tokens of the last "
         "one as much weight as many others: take ONE mean of logarithms over all tokens")
          for name, inner, outer, what in [
              ("mean-of-windows", "math.exp", "", "perplexities"),
              ("mean-of-means", "", "math.exp", "mean logarithms")]],
        ("scores-the-overlap-twice", "range(n_seen,", "range(start + 1,",
         "tokens in the overlap of two windows were scored twice; each counts once, in the first "
         "window that holds it"),
        ("windows-side-by-side", "(0, len(token_ids), stride)", "(0, len(token_ids), window)",
         "range(n_seen,", "range(start + 1,",
         "the windows do not overlap, so that the first tokens of each have little or nothing to "
         "their left: the next one begins stride tokens after the last"),
        ("stride-is-the-overlap", "(0, len(token_ids), stride)",
         "(0, len(token_ids), window - stride)",
         "stride was taken for the overlap of two windows; it is how far the next one is moved"),
        ("drops-the-last-window", "(0, len(token_ids), stride)",
         "(0, len(token_ids) - window + 1, stride)",
         "the last window is missing where it is shorter than the others: the end of the text "
         "counts, too"),
        ("calls-after-the-end",
         "        if n_seen == len(token_ids):\n            break\n", "",
         "the number is right, but the model is called for windows in which no token is new: stop "
         "as soon as a window has reached the end of the text"),
        ("forgets-mean", " / len(log_probs)", "",
         "this is 1/p of the whole text, which grows with its length: take the mean before exp"),
        ("counts-token-0", "len(log_probs)", "len(token_ids)",
         "the sum is divided by the number of ALL tokens; token 0 is not scored, so one less"),
        ("log-of-zero", "torch.log_softmax(model(ids), dim=-1)",
         "torch.softmax(model(ids), dim=-1).log()", "right while no probability is too small; "
         "softmax rounds a very small one to 0.0, whose logarithm is -inf: log_softmax"),
        ("base-two", "math.exp(", "2 ** (", "these are natural logarithms: exp, not a power of 2"),
        ("forgets-sign", "-sum", "sum",
         "the exponent lost its minus sign: this is the (geometric) mean probability of a token"),
        ("same-row", "i - start - 1", "i - start",
         "off by one: token i was looked up in the row that has SEEN it; the row before predicts "
         "it"),
        ("product-underflows", "log_probs, n_seen = [], 1", "product, n, n_seen = 1.0, 0, 1",
         "log_probs.append(float(rows[i - start - 1, token_ids[i]]))",
         "product, n = product * math.exp(rows[i - start - 1, token_ids[i]]), n + 1",
         "return math.exp(-sum(log_probs) / len(log_probs))",
         "return product ** (-1 / n) if product else math.inf",
         "right for short texts, but the product of hundreds of probabilities is 0.0 in floats: "
         "add logarithms"),
        ("last-stride-tokens", "range(n_seen,",
         "range(start + max(1, len(ids) - stride) if start else 1,", "each later window scores its "
         "last stride tokens; in the last, shorter one some of these were scored before"),
        ("each-window-its-end", "range(n_seen, start + len(ids))",
         "range(start + max(1, window - stride), start + len(ids))",
         "the first window scores only its last tokens, like the others; it is the first "
         "that holds its tokens, and scores all of them but token 0"),
    ])  # fmt: skip

TASKS = [
    SEQUENCE_LOG_PROB,
    BIGRAM_MODEL,
    CONTINUATION_LOG_PROBS,
    BATCH_LOG_PROBS,
    TEXT_PERPLEXITY,
]
