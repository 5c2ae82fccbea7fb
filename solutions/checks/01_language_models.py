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
         "this is the probability itself; return its logarithm"),
        ("skips-first-token", "enumerate(tokens):", "list(enumerate(tokens))[1:]:",
         "the first token has a probability too, lm.next_distribution([])"),
        ("no-context", "tokens[:i]", "[]",
         "every token got the distribution of the first one: ask for that after tokens[:i]"),
        ("only-previous-token", "tokens[:i]", "tokens[max(i - 1, 0) : i]",
         "the context of a token is ALL tokens to its left, tokens[:i]"),
        ("place-by-index", "tokens[:i]", "tokens[: tokens.index(token)]",
         "tokens.index(token) is the FIRST place of a token that comes twice"),
        ("sees-the-token", "tokens[:i]", "tokens[: i + 1]",
         "off by one: tokens[:i + 1] holds the very token that is to be predicted"),
        ("takes-the-mean", "return total", "return total / len(tokens)",
         "this is the mean over the tokens; the logarithms are summed"),
        ("base-two", "math.log(p)", "math.log2(p)",
         "this is in bits (base 2); use natural logarithms, math.log"),
        ("product-underflows", "total = 0.0", "total = 1.0",
         "total += math.log(p) if p > 0 else -math.inf", "total *= p", "return total",
         "return math.log(total) if total > 0 else -math.inf",
         "the product of hundreds of probabilities is 0.0 in floats: add logarithms"),
        ("log-of-zero", " if p > 0 else -math.inf", "",
         "math.log(0) raises an error: count an impossible token as -math.inf"),
        ("misses-the-last", "enumerate(tokens):", "enumerate(tokens[: max(1, len(tokens) - 1)]):",
         "the last token is missing; it has a probability, like the others"),
        ("base-ten", "math.log(p)", "math.log10(p)", "this is base 10; natural ones: math.log"),
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
         "the last word of each text is followed by '<end>', which is missing"),
        ("no-start", '["<start>", *words], [*words, "<end>"], strict',
         'words, [*words, "<end>"][1:], strict',
         "the first word of each text follows '<start>', which is missing"),
        ("joint-probabilities", "n / sum(row.values())",
         "n / sum(sum(row.values()) for row in counts.values())",
         "these are shares of ALL pairs; divide each row by its own sum"),
        ("returns-counts", "n / sum(row.values())", "n",
         "these are counts; divide each row by its sum"),
        ("one-long-text", "words in texts", "words in [[word for text in texts for word in text]]",
         "the texts were joined into one: each has its own '<start>' and '<end>'"),
        ("each-pair-once", "row.get(right, 0) + 1", "1",
         "each pair was counted once, however often it comes; add 1 each time"),
        ("looks-to-the-right", "for left, right in zip", "for right, left in zip",
         "this is p(left | right); the row is that of the word on the left"),
        ("skips-empty-texts", "for words in texts:", "for words in filter(None, texts):",
         "an empty text was left out: there, '<end>' follows '<start>'"),
        ("one-end-for-all", '[*words, "<end>"], strict=True',
         '[*words, "<end>"] if words is texts[-1] else words, strict=False',
         "only the last text got its '<end>'; EVERY text has one"),
        ("each-text-once", "words in texts", "words in {tuple(words) for words in texts}",
         "a text that comes twice was counted once; count it as often as it comes"),
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
         "off by one: row i has SEEN token i and predicts the one after it"),
        ("not-shifted", "log_probs[i, token_ids[i + 1]]", "log_probs[i, token_ids[i]]",
         "each row looked up the token that it has just seen; row i predicts token_ids[i + 1]"),
        ("scores-the-prompt", "n_prompt - 1, ", "",
         "the prompt was scored too: the tokens from index n_prompt on count"),
        ("misses-the-first", "in rows])", "in range(len(token_ids) - 1)])[n_prompt:]",
         "the first token of the continuation is missing: row n_prompt - 1 predicts it"),
        ("likeliest-token", "log_probs[i, token_ids[i + 1]]", "log_probs[i].max()",
         "this is the LIKELIEST token at each position; look up the one of the text"),
        ("raw-logits", "torch.log_softmax(logits, dim=-1)", "logits",
         "these are logits; log_softmax makes log-probabilities of them"),
        ("forgets-log", "log_softmax", "softmax",
         "these are probabilities; take their logarithm (log_softmax)"),
        ("log-of-zero", "log_softmax(logits, dim=-1)", "softmax(logits, dim=-1).log()",
         "softmax rounds a very small probability to 0.0; log_softmax does not"),
        ("returns-the-sum", "in rows])", "in rows]).sum()",
         "this is the total; return a log-probability for each token"),
        ("shifted-the-wrong-way", "log_probs[i, token_ids[i + 1]]",
         "log_probs[i + 1, token_ids[i]]", "shifted the wrong way: token i was looked up in row i "
         "+ 1. Drop the last ROW and the first TOKEN, not the other way round"),
        ("softmax-over-positions", "dim=-1", "dim=0", "softmax ran over the positions (dim=0); "
         "every ROW is a distribution over the vocabulary, so dim=-1"),
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
         "the padding was scored like text: of n tokens, n - 1 count"),
        ("padding-by-its-id", "torch.arange(1, longest) < lengths[:, None]",
         "input_ids[:, 1:] != pad_id",
         "a text may hold pad_id, too: what is padding follows from the lengths"),
        ("one-padding-token-more", "torch.arange(1, longest) <", "torch.arange(longest - 1) <",
         "off by one: of each shorter text, a token of padding was scored, too"),
        ("same-row", "[:, :-1]", "[:, 1:]",
         "off by one: row i has SEEN token i; drop the last row, not the first"),
        ("one-text-at-a-time", "    longest = max(", "    if len(texts) > 1:\n        return "
         "[float(batch_log_probs(model, [ids], pad_id)[0]) for ids in texts]\n    longest = max(",
         "right numbers, but the model was called for each text: call it once for all"),
        ("squeezes-too-much", "[:, :, 0]", ".squeeze()",
         "squeeze() drops EVERY axis of size 1: use squeeze(-1), or [:, :, 0]"),
        ("takes-the-mean", "picked.where(is_text, 0.0).sum(dim=-1)",
         "picked.where(is_text, 0.0).sum(dim=-1) / is_text.sum(dim=-1).clamp(min=1)",
         "this is the mean per token; log p of a text is the sum"),
        ("raw-logits", "torch.log_softmax(model(input_ids)[:, :-1], dim=-1)",
         "model(input_ids)[:, :-1]",
         "these are sums of logits; log_softmax makes log-probabilities of them"),
        ("log-of-zero", "torch.log_softmax(model(input_ids)[:, :-1], dim=-1)",
         "torch.softmax(model(input_ids)[:, :-1], dim=-1).log()",
         "softmax rounds a very small probability to 0.0; log_softmax does not"),
        ("zero-times-infinity", "picked.where(is_text, 0.0)", "(picked * is_text)",
         "0 times -inf is nan, where the padding is an impossible token: leave it out "
         "(torch.where, masked_fill) instead of multiplying by 0"),
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
         "tokens in the overlap of two windows were scored twice; each counts once"),
        ("windows-side-by-side", "(0, len(token_ids), stride)", "(0, len(token_ids), window)",
         "range(n_seen,", "range(start + 1,",
         "the windows do not overlap: the next one begins stride tokens after the last"),
        ("stride-is-the-overlap", "(0, len(token_ids), stride)",
         "(0, len(token_ids), window - stride)",
         "stride is not the overlap: the next window is moved by it"),
        ("drops-the-last-window", "(0, len(token_ids), stride)",
         "(0, len(token_ids) - window + 1, stride)",
         "the last window is missing where it is shorter than the others"),
        ("calls-after-the-end", "        if n_seen == len(token_ids):\n            break\n", "",
         "the number is right, but the model is called for windows without a new token"),
        ("forgets-mean", " / len(log_probs)", "",
         "this is 1/p of the whole text: take the mean before exp"),
        ("counts-token-0", "len(log_probs)", "len(token_ids)",
         "token 0 is not scored, so the sum is divided by one less"),
        ("forgets-sign", "-sum", "sum", "the exponent lost its minus sign"),
        ("same-row", "i - start - 1", "i - start",
         "off by one: token i was looked up in the row that has SEEN it"),
        ("log-of-zero", "torch.log_softmax(model(ids), dim=-1)",
         "torch.softmax(model(ids), dim=-1).log()", "right while no probability is too small; "
         "softmax rounds a very small one to 0.0, whose logarithm is -inf: log_softmax"),
        ("base-two", "math.exp(", "2 ** (", "these are natural logarithms: exp, not a power of 2"),
        ("product-underflows", "log_probs, n_seen = [], 1", "product, n, n_seen = 1.0, 0, 1",
         "log_probs.append(float(rows[i - start - 1, token_ids[i]]))",
         "product, n = product * math.exp(rows[i - start - 1, token_ids[i]]), n + 1",
         "return math.exp(-sum(log_probs) / len(log_probs))",
         "return product ** (-1 / n) if product else math.inf",
         "right for short texts, but the product of hundreds of probabilities is 0.0 in floats: "
         "add logarithms"),
    ])  # fmt: skip

TASKS = [SEQUENCE_LOG_PROB, BIGRAM_MODEL, CONTINUATION_LOG_PROBS, BATCH_LOG_PROBS, TEXT_PERPLEXITY]
