"""Hidden checks of exercise 01: chain rule, bigrams, continuations, batches, long texts."""

from itertools import product

import torch

from grader.checks import Case, Close, Probe, Task, normal
from lecture_lib.decoding.toy_lm import ToyLM

FAR = "logits so far apart that exp gives 0.0 or infinity: log_softmax of each row, no floor for p"
LONG = "a text so long that the product of its probabilities is 0.0 in floats, so add logarithms"


def sequence_cases(rng):
    prefixes = [p for n in range(8) for p in product("ab", repeat=n)]
    rows = [{"a": float(p), "b": 1 - float(p)} for p in rng.beta(2, 2, size=len(prefixes))]
    lm = ToyLM(dict(zip(prefixes, rows, strict=True)), default={"a": 0.3, "b": 0.7})
    rare = {"": {"a": 0.5, "b": 0.5}, "a": {"b": 1.0}, "b": {"a": 1e-300, "b": 1.0}}
    rare = ToyLM(rare, default={"a": 0.001, "b": 0.999})
    return [
        *(Case(lm, rng.choice(["a", "b"], n).tolist(), label=label) for n, label in [
            (1, "a single token"), (2, "two tokens, the second one after the first"),
            (9, "a long context: ALL tokens to the left of each PLACE, and no others")]),
        Case(rare, list("bab"), label="a tiny p, and possible: no floor, only p == 0 gives -inf"),
        Case(rare, list("aab"), label="an impossible token inside: -math.inf, with no floor for p"),
        Case(rare, list("ab") + ["a"] * 150, label=LONG),
    ]  # fmt: skip


SEQUENCE_LOG_PROB = Task(
    grade_id="sequence-log-prob", cases=sequence_cases,
    compare=Close(rtol=1e-5), misconceptions=[  # float32 will do
        ("tokens[:i]", {
         "[]": "every token got the distribution of the first one: ask for that after tokens[:i]",
         "tokens[max(i - 1, 0) : i]": "a token's context is ALL tokens to its left, tokens[:i]",
         "tokens[: tokens.index(token)]": "index(token) is the FIRST place of a repeated token",
         "tokens[: i + 1]": "off by one: tokens[:i + 1] holds the very token to be predicted"}),
        ("return total", {"return math.exp(total)", "return total / len(tokens)"}),
        ("math.log(p)", {"math.log2(p)", "math.log10(p)"}),
        ("enumerate(tokens):", {"list(enumerate(tokens))[1:]:": "",
         "enumerate(tokens[: max(1, len(tokens) - 1)]):": "the last token counts as well"}),
    ])  # fmt: skip


BIGRAM_MODEL = Task(
    grade_id="bigram-model", compare=Close(),
    cases=lambda rng: [
        Case([list("abc"), list("cab"), list("d")], label="a row for '<start>' and for each word"),
        Case([list(rng.choice([*"abcd"], 40))], label="repeats: count each time what follows"),
        Case([list(rng.choice([*"abcd"], n)) for n in (5, 3, 8, 6)], label="add the counts of all"),
        Case([list("ab"), list("cab"), list("ab")], label="a text that comes twice counts twice"),
        Case([list("ab"), [], list("b"), []], label="an empty text: '<end>' follows '<start>'"),
    ], misconceptions=[
        ("words in texts", {"words in [sum(texts, [])]",
         "words in [sum(([*t, '<end>', '<start>'] for t in texts), [])[:-2]]"}),
        ('[*words, "<end>"], strict=True', {
         "words, strict=False": "the last word of each text is followed by '<end>'",
         '[*words, *["<end>"][words is not texts[-1] :]], strict=False':
         "only the last text got its '<end>'; EVERY text has one"}),
        ('["<start>", *words], [*words', {"words, [*words[1:]"}),
        ("sum(row.values())", {"sum(sum(r.values()) for r in counts.values())"}),
        ("sum(row.values())", "sum(r.get(right, 0) for r in counts.values())",
         "p(left | right): divide by the sum of the ROW of the left word"),
        (" / sum(row.values())", {""}),
        ("row.get(right, 0) + 1", {"1"}),
        ("row.get(right, 0) + 1", 'row.get(right, 0) + 1 / ["<start>", *words].count(left)',
         "each text got its own p, and their mean was taken: count all texts, then divide once"),
        ('zip(["<start>", *words], [*words, "<end>"], strict=True)', {
         '{*zip(["<start>", *words], [*words, "<end>"])}':
         "a pair that comes twice in ONE text counts twice",
         '((a, [*words, "<end>"]["<start>" != a and words.index(a) + 1]) for a in ["<start>", '
         "*words])": "index() finds the FIRST place of a word that comes twice: go from pair to "
         "pair"}),
        ("for left, right in zip", "for right, left in zip",
         "this is p(left | right); a row is that of the left word"),
    ])  # fmt: skip


def random_text(rng, length, vocab_size=11):
    return rng.integers(vocab_size, size=length).tolist()


def continuation(rng, length, n_prompt, label, scale=2):
    logits = normal(rng, length, 7, scale=scale).float()
    return Case(logits, random_text(rng, length, 7), n_prompt, label=label)


CONTINUATION_LOG_PROBS = Task(
    grade_id="continuation-log-probs",
    compare=Close(rtol=1e-3, atol=1e-5), cases=lambda rng: [
        continuation(rng, 9, 4, "a prompt and a continuation: row i predicts token i + 1"),
        continuation(rng, 5, 1, "a prompt of one token"),
        continuation(rng, 7, 6, "a continuation of one token"),
        *(continuation(rng, n, 1, FAR, scale) for n, scale in ((40, 14), (30, 60))),
    ], misconceptions=[
        ("log_probs[i, token_ids[i + 1]]", {"log_probs[i].max()": "",
         "log_probs[i + 1, token_ids[i + 1]]": "off by one: row i predicts token i + 1",
         "log_probs[i, token_ids[i]]": "row i has seen token i; it predicts token_ids[i + 1]",
         "log_probs[i + 1, token_ids[i]]": "token i was looked up in row i + 1, not in row i - 1"}),
        ("n_prompt - 1, ", "", "the prompt was scored too: tokens count from index n_prompt on"),
        ("in rows])", {
         "in range(len(token_ids) - 1)])[n_prompt:]":
         "the first token is missing: row n_prompt - 1 predicts it",
         "in rows]).squeeze()": "squeeze() drops the axis of a single token; (1,) is the shape",
         "in rows]).sum()": "this is the total; return a log-probability for each token",
         "in rows]).mean()": "this is the mean; return a log-probability for each token"}),
        ("torch.log_softmax(logits, dim=-1)", {"logits": "", "torch.softmax(logits, dim=-1)": "",
         "torch.softmax(logits, dim=-1).log()": "softmax rounds a tiny p to 0.0: log_softmax",
         "torch.log_softmax(logits, dim=0)": "softmax ran over the positions (dim=0); it is dim=-1",
         "logits - logits.max(dim=-1, keepdim=True).values": "logits less the largest one: "
         "subtract the logarithm of the SUM of all exp, as log_softmax does"}),
    ])  # fmt: skip


def toy_model(table, token_ids):
    """Logits (..., L, V): row s of table, (V, V), for the state s, the sum of the ids so far."""
    import torch

    return table[torch.as_tensor(token_ids).cumsum(-1) % len(table)]


def model(rng, scale=2):
    return Probe(toy_model, normal(rng, 11, 11, scale=scale).float())


def batch(rng, lengths, pad_id, label, scale=2):
    return Case(model(rng, scale), [random_text(rng, n) for n in lengths], pad_id, label=label)


IMPOSSIBLE = torch.tensor([0, -torch.inf] + 9 * [0]).repeat(11, 1)  # token 1, after any text
BATCH_LOG_PROBS = Task(
    grade_id="batch-log-probs", watch=("mutated", "n_calls"),
    compare=Close(rtol=1e-4, atol=1e-5), cases=lambda rng: [
        batch(rng, (7, 4, 9), 3, "three texts: a sum for each, without its first token"),
        Case(model(rng), [[5, 2, 4, 2], [6, 2], [7, 1, 2, 2, 8, 9], [6, 2]], 2,
             label="texts that hold pad_id (their lengths say what is text), and one twice"),
        batch(rng, (5, 5), 4, "texts of one length"),
        batch(rng, (2, 1), 5, "texts of at most two tokens"),
        batch(rng, (1, 1), 5, "only texts of one token: 0 for each"),
        *(Case(Probe(toy_model, IMPOSSIBLE), [[5, 2, 4, word], [6, 2]], pad, label=label)
          for word, pad, label in ((2, 1, "an impossible token that pads: 0 times -inf is nan"),
                                   (1, 3, "an impossible token in a text: its log p is -inf"))),
        batch(rng, (8,), 1, "a single text"),
        batch(rng, (9, 9), 3, FAR, scale=200),
    ], misconceptions=[
        (".where(is_text, 0.0)", {""}),
        ("torch.arange(1, longest) < lengths[:, None]", {"input_ids[:, 1:] != pad_id",
         "torch.arange(longest - 1) < lengths[:, None]"}),
        ("ids + [pad_id] * (longest - len(ids))", "[pad_id] * (longest - len(ids)) + ids",
         "longest) <", "longest) > longest -",
         "padded on the LEFT, the real tokens see the padding"),
        ("[:, :-1]", "[:, 1:]", "off by one: row i has SEEN token i; drop the last row"),
        ("    longest = max(", {
         "    if texts[1:]:\n        return [float(batch_log_probs(model, [ids], pad_id)[0]) for "
         "ids in texts]\n    longest = max("}),
        ("    longest = max(", "    texts = sorted(texts, key=len)[::-1]\n    longest = max(",
         "the results have the order of the lengths, not that of the texts"),
        ("[:, :, 0]", ".squeeze()", "squeeze() drops EVERY axis of size 1: use squeeze(-1)"),
        ("0.0).sum(dim=-1)", "0.0).sum(dim=-1) / is_text.sum(-1).clamp(min=1)",
         "this is the mean per token; log p of a text is the sum"),
        ("torch.log_softmax(model(input_ids)[:, :-1], dim=-1)", "model(input_ids)[:, :-1]",
         "these are sums of logits; take log_softmax"),
        ("[:, :-1], dim=-1)", ", dim=-1)", ".sum(dim=-1)", ".sum(-1) + log_probs[:, -1].gather(-1, "
         "input_ids[:, :1])[:, 0]", "the first token was scored, by row -1: nothing predicts it"),
    ])  # fmt: skip


def mean_of_windows(inner, outer, what):
    return ("log_probs, n", "windows, n", "        ids = token",
            "        log_probs = []\n        ids = token", "        n_seen = start",
            f"        windows.append({inner}(-sum(log_probs) / len(log_probs)))\n"
            "        n_seen = start", "return math.exp(-sum(log_probs) / len(log_probs))",
            f"return {outer}(sum(windows) / len(windows))",
            f"this is the mean of the windows' {what}, in which the few tokens of the last one "
            "count as much as many others: take ONE mean of all logarithms")  # fmt: skip


UNLIKELY = -150.0 * (torch.arange(121) == 16).reshape(11, 11)  # token 5 in state 1
TEXT_PERPLEXITY = Task(
    grade_id="text-perplexity", watch=("mutated", "n_calls"),
    compare=Close(rtol=1e-4), cases=lambda rng: [
        *(Case(model(rng), random_text(rng, n), window, stride, label=label)
          for n, window, stride, label in [
              (5, 8, 6, "a text shorter than a window: one window"), (2, 2, 1, "two tokens"),
              (2, 9, 3, "a text much shorter than a window: there is always a first window"),
              (16, 8, 4, "a text that ends with a window"),
              (20, 7, 5, "a last window that is shorter: each token is scored once"),
              (23, 8, 3, "a stride below half a window"), (900, 16, 11, LONG)]),
        Case(Probe(toy_model, UNLIKELY), [1, 5, 2, 8], 8, 5, label=FAR),
    ], misconceptions=[
        mean_of_windows("math.exp", "", "perplexities"),
        mean_of_windows("", "math.exp", "mean logarithms"),
        ("range(n_seen,", {"range(start + 1,"}),
        ("ids), stride)", "ids), window)", "range(n_seen,", "range(start + 1,",
         "the windows do not overlap: each begins stride tokens after the last"),
        ("ids), stride)", "ids), window - stride)", "stride is a window's step, not the overlap"),
        ("(0, len(token_ids), ", "(0, len(token_ids) - window + 1, ",
         "the last window is missing where it is shorter than the others"),
        ("            break\n", "            pass\n",
         "the number is right, but the model is called for windows without a new token"),
        (" / len(log_probs)", "", "this is 1/p of the whole text: take the mean before exp"),
        ("len(log_probs)", "len(token_ids)", "token 0 is not scored: divide by one less"),
        ("-sum", {"sum"}),
        ("i - start - 1", "i - start", "off by one: row i has SEEN token i; look one row up"),
        ("math.exp(", "2 ** (", "these are natural logarithms: exp, not a power of 2"),
    ])  # fmt: skip
