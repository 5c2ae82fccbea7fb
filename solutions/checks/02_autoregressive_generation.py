"""Hidden checks of exercise 02: a free choice, what the loop costs, streams, padding, batches."""

from itertools import pairwise

import torch

from grader.checks import Case, Close, Exact, Probe, Task

VOCAB_SIZE = 12


def toy_model(table, token_ids):
    """Logits (L, V) that depend on the whole text to the left, as a transformer's do.

    ``table`` is (V, V): row s holds the logits in state s, the sum of the ids so far, modulo V.
    """
    import torch

    states = torch.as_tensor(token_ids).cumsum(0) % len(table)  # (L,)
    return table[states]


def random_model(rng, scale=2.0):
    """A model as an argument, and the same model to reason with here."""
    table = torch.from_numpy(rng.normal(scale=scale, size=(VOCAB_SIZE, VOCAB_SIZE))).float()
    return Probe(toy_model, table), lambda token_ids: toy_model(table, token_ids)


def random_prompt(rng, length):
    return [int(i) for i in rng.integers(VOCAB_SIZE, size=length)]


def choose_by_mass(threshold, probs):
    """The first token, in the order of the ids, at which the mass so far reaches a threshold."""
    return int((probs.cumsum(0) >= threshold).int().argmax())


def choose_by_rank(rank, probs):
    """The token of this rank, 0 the most likely."""
    return int(probs.argsort(descending=True)[rank])


def choice_cases(rng):
    def case(length, n_new, choose, label, scale=2.0):
        model, prompt = random_model(rng, scale)[0], random_prompt(rng, length)
        return Case(model, prompt, n_new, choose, label=label)

    return [
        case(4, 6, Probe(choose_by_mass, 0.6), "a choice by probability mass"),
        case(1, 7, Probe(choose_by_rank, 1), "the second most likely token"),
        case(6, 5, Probe(choose_by_mass, 0.25), "another choice by probability mass"),
        case(3, 4, Probe(choose_by_rank, 3), "a less likely token"),
        case(2, 5, Probe(choose_by_mass, 0.0), "always token 0"),
        case(3, 0, Probe(choose_by_rank, 1), "no new token"),
        case(2, 3, Probe(choose_by_rank, 0), "logits so far apart that exp gives infinity", 200),
    ]


GENERATE_WITH_CHOICE = Task(
    grade_id="generate-with-choice", entry="generate_with_choice", cases=choice_cases,
    compare=Close(rtol=1e-3, atol=1e-6), watch=("mutated", "n_calls"), misconceptions=[
        ("ignores-the-choice", "int(choose(probs))", "int(probs.argmax())",
         "the most likely token was taken; choose(probs) says which one it is"),
        ("gives-logits", "torch.softmax(model(token_ids)[-1], dim=-1)", "model(token_ids)[-1]",
         "choose got logits: it gets the softmax of the last row"),
        ("softmax-over-positions", "torch.softmax(model(token_ids)[-1], dim=-1)",
         "torch.softmax(model(token_ids), dim=0)[-1]",
         "softmax ran over the positions; it runs over the VOCABULARY, logits[-1]"),
        ("first-row", "(token_ids)[-1]", "(token_ids)[0]",
         "the first row predicts the second token of the prompt; take the last row"),
        ("newest-token-only", "model(token_ids)", "model(token_ids[-1:] if trace else token_ids)",
         "the model got the newest token alone; without a cache it needs the whole text"),
        ("never-appends", "model(token_ids)", "model(prompt_ids)",
         "each step saw the prompt only: append the chosen token"),
        ("notes-the-highest", "probs[token_id]", "probs.max()",
         "the trace holds the highest probability, not that of the CHOSEN token"),
        ("chooses-twice", "(token_id, float", "(int(choose(probs)), float",
         "choose is called twice a step, and may roll dice: keep its answer in a variable"),
        ("returns-the-text", "return trace", "return token_ids",
         "this is the text; return the trace of the new tokens"),
        ("exp-of-the-logits", "torch.softmax(model(token_ids)[-1], dim=-1)",
         "model(token_ids)[-1].exp()",
         "exp of the logits sums to 1 in the toy model only: use softmax"),
        ("one-token-at-least", "range(max_new_tokens)", "range(max(1, max_new_tokens))",
         "one token was generated where max_new_tokens is 0"),
        ("goes-on-greedily", "token_ids.append(token_id)", "token_ids.append(int(probs.argmax()))",
         "the trace holds the chosen token, but the text went on with the most likely one: append "
         "what choose returned"),
        ("notes-the-logarithm", "probs[token_id]", "probs[token_id].log()",
         "the trace holds log-probabilities; probabilities are wanted"),
    ])  # fmt: skip


def position_cases(rng):
    pairs = [(5, 3), (1, 1), (1, 12), (17, 0), *rng.integers(20, 300, size=(2, 2)).tolist()]
    labels = "a few tokens", "one token", "a short prompt", "no new token", "a text", "a long text"
    return [Case(*pair, label=label) for pair, label in zip(pairs, labels, strict=True)]


POSITIONS_PROCESSED = Task(
    grade_id="positions-processed", entry="positions_processed", cases=position_cases,
    compare=Exact(), misconceptions=[
        ("each-token-once", "sum(prompt_len + i for i in range(n_new_tokens))",
         "prompt_len + n_new_tokens",
         "without a cache each call processes the whole text so far AGAIN"),
        ("as-with-a-cache", "sum(prompt_len + i for i in range(n_new_tokens))",
         "prompt_len + n_new_tokens - 1 if n_new_tokens else 0",
         "this is the count WITH a cache; the naive loop processes the whole text each time"),
        ("context-stays", "prompt_len + i for", "prompt_len for",
         "every call was counted with the prompt's length; it grows by one per call"),
        ("one-later", "prompt_len + i for", "prompt_len + i + 1 for",
         "off by one: the first call sees L tokens, and the last one L + n - 1"),
        ("one-call-too-many", "range(n_new_tokens)", "range(n_new_tokens + 1)",
         "one call too many: n new tokens are n calls"),
        ("half-a-square", "sum(prompt_len + i for i in range(n_new_tokens))",
         "prompt_len * n_new_tokens + n_new_tokens**2 // 2",
         "n²/2 is right for large n only: 0 + 1 + ... + (n - 1) is n (n - 1) / 2"),
        ("all-calls-full", "prompt_len + i for", "prompt_len + n_new_tokens for",
         "every call was counted with the final length; only the last ones are that long"),
    ])  # fmt: skip


def decode_bytes(table, token_ids):
    """As a tokenizer decodes: the bytes of all tokens together, without the space in front."""
    data = b"".join(table[i] for i in token_ids)
    return data.decode("utf-8", errors="replace").removeprefix(" ")


def stream_cases(rng):
    def case(data, label, widest=3):
        cuts = [0]
        while cuts[-1] < len(data):
            cuts.append(min(len(data), cuts[-1] + int(rng.integers(1, widest + 1))))
        table = [data[a:b] for a, b in pairwise(cuts)]
        return Case(Probe(decode_bytes, table), list(range(len(table))), label=label)

    return [
        case(b" Once upon a time", "English text"),
        case("你好，世界".encode(), "characters of three bytes, one byte per token", widest=1),
        case("a 👋🏽 and a 猫".encode(), "characters across tokens", widest=5),
        case("odd \ufffd in the text 好".encode(), "a text with the character for broken ones"),
        case(b"\xffbytes \xff\xe7\x8c that are no text \xe7\x8c\xab", "bytes that are no text"),
        case("ends in half an 👋".encode()[:-2], "a text that ends within a character", widest=1),
        Case(Probe(decode_bytes, [b" ", b"\xe7", b".\xf0\x9f", b"\x98\xba"]),
             [0, 2, 3, 1, 2, 3, 1, 1, 1], label="broken characters, the last two ids alike"),
        Case(Probe(decode_bytes, [b"ha", b" ha"]), [0, 0, 1, 0], label="a text that repeats"),
        Case(Probe(decode_bytes, [b"a"]), [], label="no token"),
    ]  # fmt: skip


STREAM_TEXT = Task(
    grade_id="stream-text", entry="stream_text", cases=stream_cases, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("one-by-one", "decode(token_ids[:n])", "shown + decode([token_ids[n - 1]])",
         "each token was decoded by itself, which loses spaces and characters: decode ALL so far"),
        ("shows-broken-characters", 'text = text.rstrip("\\ufffd")', "pass",
         "hold back the \ufffd at the end until the last token has come"),
        ("waits-too-long", 'text.rstrip("\\ufffd")', 'shown if text.endswith("\\ufffd") else text',
         "complete characters were held back with the broken one behind them"),
        ("holds-back-one", '.rstrip("\\ufffd")', '.removesuffix("\\ufffd")',
         "only ONE \ufffd at the end is held back; there can be several"),
        ("never-shows-the-end", "if n < len(token_ids)", "if True",
         "after the last token everything is shown, even a broken character"),
        ("drops-what-is-broken", 'text.rstrip("\\ufffd")', 'text.replace("\\ufffd", "")',
         "\ufffd was removed everywhere; in the middle it belongs to the text"),
        ("returns-the-whole-text", "text[len(shown) :]", "text",
         "each piece is the whole text so far; return what is new"),
        ("skips-empty-pieces", "        pieces.append(",
         "        if text != shown:\n            pieces.append(",
         "there are fewer pieces than tokens: where nothing is new, the piece is ''"),
        ("waits-for-the-whole-text", 'text.rstrip("\\ufffd")',
         'shown if "\\ufffd" in text else text',
         "only a \ufffd at the END of the text can still become a character"),
        ("up-to-the-first-broken-one", 'text.rstrip("\\ufffd")', 'text.split("\\ufffd")[0]',
         "the text is shown up to its FIRST \ufffd; those at its end wait"),
        ("joins-the-pieces", "return pieces", 'return "".join(pieces)',
         "this is the text in one; return the list of pieces"),
    ])  # fmt: skip


def pad_cases(rng):
    def case(lengths, pad_id, label):
        return Case([random_prompt(rng, n) for n in lengths], pad_id, label=label)

    return [
        case((3, 6, 1, 4), 77, "four prompts"),
        Case([[5, 2, 2], [2, 7], [9, 2, 8, 2, 1]], 2, label="prompts that hold the padding token"),
        case((4, 4), 0, "prompts of one length"),
        case((5,), 3, "a single prompt"),
        case((1, 7), 12, "a prompt of one token"),
    ]


LEFT_PAD = Task(
    grade_id="left-pad", entry="left_pad", cases=pad_cases, compare=Exact(), watch=("mutated",),
    misconceptions=[
        ("pads-on-the-right", "[pad_id] * n + ids", "ids + [pad_id] * n",
         "[0] * n + [1] * len(ids)", "[1] * len(ids) + [0] * n",
         "the padding is on the right; it belongs in front"),
        ("mask-from-the-ids", "torch.tensor([[0] * n + [1] * len(ids) for ids, n in rows])",
         "(input_ids != pad_id).long()",
         "a padding token WITHIN a prompt is masked, too: make the mask from the lengths"),
        ("fills-with-zeros", "[pad_id] * n", "[0] * n", "the padding is pad_id, not always 0"),
        ("mask-turned-round", "[0] * n + [1] * len(ids)", "[1] * n + [0] * len(ids)",
         "1 is for a real token, 0 for padding"),
        ("positions-of-columns", "(attention_mask.cumsum(dim=1) - 1).clamp(min=0)",
         "torch.arange(longest).expand(len(prompts), -1)",
         "the positions count the padding, too; each prompt begins with 0"),
        ("positions-below-zero", ".clamp(min=0)", "", "the padding has position -1; give it 0"),
        ("positions-from-one", "(attention_mask.cumsum(dim=1) - 1).clamp(min=0)",
         "attention_mask.cumsum(dim=1)", "a prompt's first token has position 0"),
        ("columns-under-the-mask", "(attention_mask.cumsum(dim=1) - 1).clamp(min=0)",
         "torch.arange(longest) * attention_mask", "the positions are the numbers of the columns, "
         "which count the padding in front; each prompt begins with position 0"),
    ])  # fmt: skip


def toy_batch_model(table, input_ids, attention_mask, position_ids):
    """Logits (B, L, V) that depend on a token, and on those that it sees and their positions."""
    import torch

    ids, mask, places = map(torch.as_tensor, (input_ids, attention_mask, position_ids))
    seen = ((ids + 1) * mask * (places + 1)).cumsum(1)  # (B, L)
    return table[(seen + 3 * ids) % len(table)]


def row_alone(table, prompt, max_new_tokens, end):
    """The same rule for one prompt without padding, by a plain loop."""
    new_ids = []
    while len(new_ids) < max_new_tokens and new_ids[-1:] != [end]:
        text = [*prompt, *new_ids]
        seen = sum((t + 1) * (place + 1) for place, t in enumerate(text))
        new_ids.append(int(table[(seen + 3 * text[-1]) % len(table)].argmax()))
    return new_ids


def batch_cases(rng):
    def case(lengths, max_new_tokens, wanted, label, pad_id=None):
        """Prompts are drawn until the lengths of the answers are as the case needs them."""
        while True:
            table = torch.from_numpy(rng.normal(scale=2.0, size=(VOCAB_SIZE, VOCAB_SIZE))).float()
            prompts, end = [random_prompt(rng, n) for n in lengths], int(rng.integers(VOCAB_SIZE))
            rows = [row_alone(table, prompt, max_new_tokens, end) for prompt in prompts]
            ended = [len(row) if row[-1] == end else None for row in rows]
            if wanted(ended, [end in prompt for prompt in prompts]):
                pad = {None: end, -1: rows[0][-1]}.get(pad_id, pad_id)
                return Case(Probe(toy_batch_model, table), prompts, max_new_tokens, end, pad,
                            label=label)  # fmt: skip

    return [
        case((3, 6, 1), 8, lambda ended, held: None in ended and any(n in (3, 4, 5) for n in ended),
             "a row that ends and one that doesn't", 3),
        case((2, 5, 4), 9, lambda ended, held: None not in ended and len({*ended}) == 3
             and max(ended) < 8, "rows that end at different steps", 5),
        case((4, 2), 5, lambda ended, held: ended == [None, None] and not any(held),
             "no row that ends", -1),
        case((6, 3), 6, lambda ended, held: held[0] and held[1] and ended[0] not in (None, 1),
             "prompts that hold the end token, which pads, too"),
        case((1, 4), 1, lambda ended, held: True, "one new token", 0),
        case((5,), 7, lambda ended, held: ended[0] is None, "a single prompt", 1),
    ]  # fmt: skip


GENERATE_BATCH = Task(
    grade_id="generate-batch", entry="generate_batch", cases=batch_cases, compare=Exact(),
    watch=("mutated", "n_calls"), misconceptions=[
        ("pads-on-the-right", "ids, mask, positions = left_pad(prompts, pad_id)",
         "width = max(map(len, prompts))\n    ids = torch.tensor([p + [pad_id] * (width - len(p)) "
         "for p in prompts])\n    mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p "
         "in prompts])\n    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)",
         "padded on the right, a shorter prompt's last column is padding"),
        ("no-mask", "model(ids, mask, positions)", "model(ids, torch.ones_like(mask), positions)",
         "the padding was not masked, so that the shorter prompts see it"),
        ("mask-from-the-ids", "model(ids, mask, positions)",
         "model(ids, (m := (ids != pad_id).long()), (m.cumsum(dim=1) - 1).clamp(min=0))",
         "real tokens may have the id pad_id: make the mask from the lengths, and let it grow"),
        ("new-tokens-masked", "torch.ones_like", "torch.zeros_like",
         "the mask got zeros for the new tokens, so that no row sees them"),
        ("positions-stay", "positions[:, -1:] + 1", "positions[:, -1:]",
         "all new tokens have the same position; each has one more than the one before"),
        ("positions-of-columns", "model(ids, mask, positions)",
         "model(ids, mask, torch.arange(ids.shape[1]).expand_as(ids))",
         "the positions count the padding: a row's first real token has position 0"),
        ("stops-with-the-first", "if all(", "if any(",
         "everything stopped when the first row had ended"),
        ("goes-on-after-the-end", "if row[-1:] != [eos_token_id]:", "if True:",
         "row[-1] == eos_token_id for row in new_ids", "eos_token_id in row for row in new_ids",
         "a row that had ended got more tokens"),
        ("drops-the-end", "return new_ids",
         "return [[t for t in row if t != eos_token_id] for row in new_ids]",
         "the end token is missing; it is its row's last one"),
        ("one-prompt-at-a-time", "    ids, mask, positions = left_pad", "    if len(prompts) > "
         "1:\n        return [generate_batch(model, [p], max_new_tokens, eos_token_id, "
         "pad_id)[0]\n                for p in prompts]\n    ids, mask, positions = left_pad",
         "right tokens, but one prompt after another: one call per step is enough"),
        ("calls-after-the-end", "            break", "            pass",
         "right tokens, but the model was called again when all rows had ended"),
        ("columns-of-the-prompts", "[:, -1].argmax(dim=-1)", "[range(len(prompts)), [len(p) - 1 + "
         "ids.shape[1] - max(map(len, prompts)) for p in prompts]].argmax(dim=-1)",
         "each row's prediction was read at its prompt's length, as for padding on the RIGHT; here "
         "it is in the last column for all rows"),
        ("returns-the-prompts", "return new_ids",
         "return [[*p, *row] for p, row in zip(prompts, new_ids, strict=True)]",
         "the prompts are in the result; return the new tokens only"),
        ("wakes-up-again", "new_ids = [[] for _ in prompts]",
         "new_ids, alive = [[] for _ in prompts], [True] * len(prompts)",
         "for row, token_id in zip(new_ids, best.tolist(), strict=True):\n            if "
         "row[-1:] != [eos_token_id]:\n                row.append(token_id)",
         "for b, token_id in enumerate(best.tolist()):\n            if alive[b]:\n           "
         "     new_ids[b].append(token_id)\n            alive[b] = token_id != eos_token_id",
         "if all(row[-1] == eos_token_id for row in new_ids):", "if not any(alive):",
         "a row that had ended went on some steps later: once it has ended, what the model "
         "says about it counts no more"),
        ("end-in-the-prompt",
         "for row, token_id in zip(new_ids, best.tolist(), strict=True):\n            if "
         "row[-1:] != [eos_token_id]:",
         "for row, prompt, token_id in zip(new_ids, prompts, best.tolist(), strict=True):\n  "
         "          if eos_token_id not in [*prompt, *row]:",
         "all(row[-1] == eos_token_id for row in new_ids)",
         "all(eos_token_id in [*p, *row] for p, row in zip(prompts, new_ids, strict=True))",
         "a row counts as ended because the end token is in its PROMPT; only the new tokens "
         "can end it"),
    ])  # fmt: skip

TASKS = [GENERATE_WITH_CHOICE, POSITIONS_PROCESSED, STREAM_TEXT, LEFT_PAD, GENERATE_BATCH]
