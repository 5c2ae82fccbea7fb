"""Hidden checks of exercise 02: a free choice, what the loop costs, streams, padding, batches."""

from itertools import pairwise

from grader.checks import Case, Close, Exact, Probe, Task, between, normal

N = 12  # tokens of the vocabulary


def toy_model(table, token_ids):
    """Logits (L, V): row s of the table, (V, V), for the state s, the sum of the ids so far."""
    import torch

    return table[torch.as_tensor(token_ids).cumsum(0) % len(table)]


def random_table(rng, scale=2.0):
    return normal(rng, N, N, scale=scale).float()


def random_prompt(rng, length):
    return rng.integers(N, size=length).tolist()


def choose_by_mass(threshold, probs):
    """The first token, in the order of the ids, at which the mass so far reaches a threshold."""
    return int((probs.cumsum(0) >= threshold).int().argmax())


def choose_by_rank(rank, probs):
    """The token of this rank, 0 the most likely."""
    return int(probs.argsort(descending=True)[rank])


def choice(rng, length, n_new, choose, label, scale=2.0):
    model = Probe(toy_model, random_table(rng, scale))
    return Case(model, random_prompt(rng, length), n_new, choose, label=label)


GENERATE_WITH_CHOICE = Task(
    grade_id="generate-with-choice", cases=lambda rng: [
        choice(rng, 3, 0, Probe(choose_by_rank, 1), "no new token: an empty list"),
        choice(rng, 1, 7, Probe(choose_by_rank, 1), "all of the text each time; p is not rounded"),
        choice(rng, 4, 6, Probe(choose_by_mass, 0.6), "a choice by all of softmax(last row)"),
        choice(rng, 2, 5, Probe(choose_by_mass, 0.0), "always token 0, which ends nothing"),
        choice(rng, 2, 3, Probe(choose_by_rank, 0), "logits whose exp is infinity: softmax", 200),
    ],
    compare=Close(rtol=1e-5, atol=1e-7), watch=("mutated", "n_calls"), misconceptions=[
        ("int(choose(probs))", "int(probs.argmax())", "choose(probs) says which token it is"),
        ("torch.softmax(model(token_ids)[-1], dim=-1)", {"model(token_ids)[-1]": "",
         "torch.softmax(model(token_ids), dim=0)[-1]": "", "model(token_ids)[-1].exp()":
         "exp of the logits sums to 1 only in the toy model: softmax"}),
        ("(token_ids)[-1]", "(token_ids)[0]", "the first row predicts token 1; take the last row"),
        ("model(token_ids)", {
         "model(token_ids[-1:] if trace else token_ids)":
         "the model got the newest token alone; without a cache it needs the whole text",
         "model(prompt_ids)": "each step saw the prompt only: append the chosen token"}),
        ("probs[token_id]", {"probs.max()", "probs[token_id].log()"}),
        ("(token_id, float", {"(int(choose(probs)), float"}),
        ("return trace", {"return token_ids"}),
        ("token_ids.append(token_id)", "token_ids.append(int(probs.argmax()))",
         "append what choose returned, not the likeliest"),
        ("[token_id])))", "[token_id])))\n        if token_id == 0:\n            break",
         "stopped at token 0; there is no end token here: max_new_tokens steps"),
    ])  # fmt: skip


POSITIONS_PROCESSED = Task(
    grade_id="positions-processed", compare=Exact(),
    cases=lambda rng: [
        Case(17, 0, label="no new token"), Case(between(rng, 20, 99), 1, label="one call, of L"),
        Case(between(rng, 20, 99), 2, label="two calls: the second has one token more than L"),
        Case(10**17 + between(rng, 1, 9), 2, label="a huge L: compute with ints, not with floats"),
        Case(between(rng, 20, 99), 3, label="three calls: each has one token more than the last"),
        *(Case(between(rng, 20, 300), n, label="many calls, each longer by 1") for n in (12, 201)),
    ], misconceptions=[
        ("sum(prompt_len + i for i in range(n_new_tokens))", {
         "prompt_len + n_new_tokens": "without a cache each call processes the whole text AGAIN",
         "prompt_len * n_new_tokens + n_new_tokens * (n_new_tokens - 1)":
         "0 + 1 + ... is n (n - 1) / 2: halve it",
         "prompt_len + n_new_tokens - 1 if n_new_tokens else 0":
         "this is the count WITH a cache; the naive loop processes the whole text each time",
         "prompt_len * n_new_tokens + n_new_tokens**2 // 2":
         "n²/2 is right for large n only: 0 + 1 + ... + (n - 1) is n (n - 1) / 2",
         "n_new_tokens * ((2 * prompt_len + n_new_tokens - 1) // 2)": ""}),
        ("prompt_len + i for", {"(prompt_len + i) ** 2 for": "", "prompt_len + i + 1 for": "",
         "prompt_len + (i > 0) for": "", "prompt_len + n_new_tokens for": "",
         "prompt_len for": "every call was counted with the prompt's length; it grows by one"}),
        ("range(n_new_tokens)", {"range(n_new_tokens + 1)"}),
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
        case("你好，世界".encode() + 7 * b"\xff" + b".", "EVERY � at the end waits, also six", 1),
        case("a 👋🏽 and a 猫".encode(), "characters across tokens, spaces between them", widest=5),
        case("odd \ufffd in the text 好".encode(), "a � in the text: those at its END wait"),
        case(b"\xffbytes \xff\xe7\x8c are no text \xe7\x8c\xab", "a � with text after it is shown"),
        case("ends in half an 👋".encode()[:-2], "at last everything is shown", widest=1),
        Case(Probe(decode_bytes, [b" ", b"\xe7", b".\xf0\x9f", b"\x98\xba"]),
             [0, 2, 3, 1, 2, 3, 1, 1, 1], label="the last token is told by its place, not its id"),
        Case(Probe(decode_bytes, [b" ha", b"ha"]), [0, 0, 1, 0], label="repeats: cut by length"),
        Case(Probe(decode_bytes, [b"a"]), [], label="no token"),
    ]  # fmt: skip


STREAM_TEXT = Task(
    grade_id="stream-text", cases=stream_cases, compare=Exact(),
    misconceptions=[
        ("decode(token_ids[:n])", "shown + decode([token_ids[n - 1]])",
         "each token was decoded by itself, which loses spaces and characters: decode ALL so far"),
        ('text.rstrip("\\ufffd")', {"text", 'shown if text.endswith("\\ufffd") else text'}),
        ('text.rstrip("\\ufffd")', {
         'text.removesuffix("\\ufffd")': "only ONE \ufffd is held back; there can be several",
         'text.replace("\\ufffd", "")': "a \ufffd in the middle belongs to the text",
         'shown if "\\ufffd" in text else text': "only a \ufffd at the END can become a character",
         'text.split("\\ufffd")[0]': "the text is cut at its FIRST \ufffd; those at its end wait"}),
        ("if n < len(token_ids)", {"if True"}),
        ("text[len(shown) :]", {
         "text": "each piece is the whole text so far; return what is new",
         "text.lstrip(shown)":
         "lstrip removes a SET of characters, not a beginning: it cuts too much",
         'text.replace(shown, "") if shown else text':
         "replace removes it everywhere: cut by length"}),
        ("pieces.append(", {"text == shown or pieces.append("}),
        ("shown = text", {"shown = decode(token_ids[:n])"}),
        ("return pieces", 'return "".join(pieces)', "this is one text; return the list of pieces"),
    ])  # fmt: skip


LEFT_PAD = Task(
    grade_id="left-pad", compare=Exact(), cases=lambda rng: [
        *(Case([random_prompt(rng, n) for n in lengths], 77, label=label) for lengths, label in [
            ([5], "a single prompt"), ([4, 4], "prompts of one length"),
            ([6, 3], "padding on the left"), ([3, 6, 1, 4], "four, the first not the longest")]),
        Case([[5, 2, 2], [2, 7], [9, 2, 8, 2, 1]], 2,
             label="prompts that hold pad_id, also in front: their lengths say what is padding"),
    ], misconceptions=[
        ("[pad_id] * n + ids", "ids + [pad_id] * n", "[0] * n + [1] * len(ids)",
         {"[1] * len(ids) + [0] * n"}),
        ("torch.tensor([[0] * n + [1] * len(ids) for ids, n in rows])", {
         "(input_ids != pad_id).long()": "", "((input_ids != pad_id).cumsum(1) > 0).long()":
         "pad_id may BEGIN a prompt: lengths tell what is padding"}),
        ("[0] * n + [1] * len(ids)", {"[1] * n + [0] * len(ids)"}),
        ("(attention_mask.cumsum(dim=1) - 1).clamp(min=0)",
         {"torch.arange(longest).expand(len(rows), -1)", "(attention_mask.cumsum(dim=1) - 1)",
         "attention_mask.cumsum(dim=1)", "(torch.arange(longest) * attention_mask)"}),
        (".clamp(min=0)", {".masked_fill(attention_mask == 0, 1)"}),
    ])  # fmt: skip


def toy_batch_model(table, input_ids, attention_mask, position_ids):
    """Logits (B, L, V): of a token, and of those that it sees, with their positions."""
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


def batch_case(rng, lengths, max_new_tokens, wanted, label, pad_id, held=False):
    """Drawn until wanted(lengths of rows that end) is true, and all or no prompts hold the end."""
    while True:
        table, prompts = random_table(rng), [random_prompt(rng, n) for n in lengths]
        end = prompts[0][-1] if held else between(rng, 0, N)
        rows = [row_alone(table, prompt, max_new_tokens, end) for prompt in prompts]
        ended = [len(row) if row[-1] == end else None for row in rows]
        by_chance = pad_id == -1 and any(rows[0][0] in prompt for prompt in prompts)
        if wanted(ended) and {end in prompt for prompt in prompts} == {held} and not by_chance:
            pad = {None: end, -1: rows[0][0], -2: prompts[0][0]}.get(pad_id, pad_id)
            model = Probe(toy_batch_model, table)
            return Case(model, prompts, max_new_tokens, end, pad, label=label)


GENERATE_BATCH = Task(
    grade_id="generate-batch", cases=lambda rng: [
        batch_case(rng, (1, 4), 1, lambda ended: True, "one new token, by the last column", N),
        batch_case(rng, (3,), 5, lambda ended: None in ended, "a single prompt", N),
        batch_case(rng, (3, 6, 1), 8, lambda ended: None in ended and {3, 4, 5} & {*ended},
                   "a row that ends and one that continues; positions are a row's own", N),
        batch_case(rng, (2, 5, 4), 9, lambda ended: None not in ended and max(ended) < 8
                   and len({*ended}) == 3, "rows that end at different steps; no calls then", N),
        batch_case(rng, (4, 2), 5, lambda ended: ended == [None, None],
                   "new tokens that equal pad_id: they end nothing, and are seen", -1),
        batch_case(rng, (4, 6), 4, lambda ended: ended == [None, None],
                   "a prompt that holds pad_id: its length says what is padding, not ids", -2),
        *(batch_case(rng, (6, 3), 6, lambda ended: ended[0] not in (None, 1), label, pad, True)
          for label, pad in {"prompts that hold or END IN the end token: a NEW one ends a row": N,
                             "the end token pads, too, and is in the prompts": None}.items()),
    ],
    compare=Exact(), watch=("mutated", "n_calls"), misconceptions=[
        ("left_pad(prompts, pad_id)", "(torch.stack([r.roll(-n) for r, n in zip(t, [len(t[0]) - "
         "len(p) for p in prompts])])\n                           for t in left_pad(prompts, "
         "pad_id))", "padded on the right, a shorter prompt's last column is padding"),
        ("model(ids, mask, positions)", {
         "model(ids, torch.ones_like(mask), positions)":
         "the shorter prompts see their padding: mask it",
         "model(ids, (m := (ids != pad_id).long()), (m.cumsum(dim=1) - 1).clamp(min=0))":
         "real tokens may have the id pad_id: make the mask from the lengths, and let it grow",
         "model(ids, (ids != pad_id).long(), positions)":
         "the mask is ids != pad_id: new tokens may be pad_id, so append a 1 to left_pad's mask",
         "model(ids, mask, torch.arange(ids.shape[1]).expand_as(ids))":
         "the positions count the padding: a row's first real token has 0"}),
        ("torch.ones_like(best[:, None])", {
         "torch.zeros_like(best[:, None])": "the mask hides the new tokens: append a 1",
         "(best[:, None] != pad_id).long()":
         "new tokens that equal pad_id were hidden: the mask gets a 1 for EVERY new token"}),
        ("positions[:, -1:] + 1", {
         "positions[:, -1:]": "all new tokens have the same position; add 1 each time",
         "0 * positions[:, -1:] + positions.shape[1]": "a new token's position is its column, "
         "which counts the padding: add 1 to the row's last one"}),
        ("if all(", "if any(", "everything stopped when the first row had ended"),
        ("if row[-1:] != [eos_token_id]:", "if True:", "row[-1] == eos_token_id",
         "eos_token_id in row", "a row that had ended got more tokens"),
        ("return new_ids", {"return [[t for t in row if t != eos_token_id] for row in new_ids]"}),
        ("return new_ids", "return [[*p, *row] for p, row in zip(prompts, new_ids)]",
         "only the new tokens are asked for"),
        ("    ids, mask, positions = left_pad",
         "    if prompts[1:]:\n        return [generate_batch(model, [p], max_new_tokens, "
         "eos_token_id, pad_id)[0] for p in prompts]\n    ids, mask, positions = left_pad",
         "right tokens, but one prompt after another: one call per step"),
        ("            break", {"            pass"}),
        ("[:, -1].argmax(dim=-1)", "[range(len(prompts)), [len(p) - 1 + ids.shape[1] - "
         "max(map(len, prompts)) for p in prompts]].argmax(dim=-1)", "predictions were read at the "
         "prompts' lengths, as for padding on the RIGHT: last column"),
        ("row, token_id in zip(new_ids, ", "row, last, token_id in zip(new_ids, ids[:, "
         "-1].tolist(), ", "if row[-1:] != [eos_token_id]:", "if not row or last != eos_token_id:",
         "a row that had ended got tokens some steps later: once ended, it stays so"),
        ("for row, token_id in zip(new_ids, ", "for p, row, token_id in zip(prompts, new_ids, ",
         "if row[-1:] != [eos_token_id]:", "if eos_token_id not in [*p, *row]:",
         "row[-1] == eos_token_id for row in new_ids", "eos_token_id in [*p, *r] for p, r in "
         "zip(prompts, new_ids)", "the end token in a PROMPT ended its row; only a new one does"),
    ])  # fmt: skip
