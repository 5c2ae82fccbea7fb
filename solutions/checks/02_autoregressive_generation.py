"""Hidden checks of exercise 02: a greedy step, the loop, its end, a free choice, what it costs."""

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


def random_model(rng):
    """A model as an argument, and the same model to reason with here."""
    table = torch.from_numpy(rng.normal(scale=2.0, size=(VOCAB_SIZE, VOCAB_SIZE))).float()
    return Probe(toy_model, table), lambda token_ids: toy_model(table, token_ids)


def random_prompt(rng, length):
    return [int(i) for i in rng.integers(VOCAB_SIZE, size=length)]


def best(logits):
    return int(logits[-1].argmax())


def step_cases(rng):
    lengths = (5, 1, 9, 12, 12, 7)
    labels = ("a prompt", "a prompt of one token", *["a longer prompt"] * 4)
    return [
        Case(random_model(rng)[0], random_prompt(rng, length), label=label)
        for length, label in zip(lengths, labels, strict=True)
    ]


GREEDY_STEP = Task(
    grade_id="greedy-step", entry="greedy_step", cases=step_cases, compare=Exact(),
    watch=("mutated", "n_calls"), misconceptions=[
        ("changes-the-argument", "return [*token_ids, int(logits[-1].argmax())]",
         "token_ids.append(int(logits[-1].argmax()))\n    return token_ids",
         "the caller's list was changed: append and += work in place; build a new list, "
         "[*token_ids, new]"),
        ("token-only", "[*token_ids, int(logits[-1].argmax())]", "int(logits[-1].argmax())",
         "this is the new token alone; return the whole list with it at the end"),
        ("list-of-the-new-token", "*token_ids, ", "",
         "the list holds the new token only; the given tokens belong in front of it"),
        ("first-row", "logits[-1]", "logits[0]", "this is the first row of the logits, about the "
         "token after the FIRST one; what comes after all tokens is in the last row, logits[-1]"),
        ("argmax-of-the-table", "logits[-1]", "logits", "argmax ran over the whole (L, V) table "
         "and counts through all rows; take the last row first: logits[-1].argmax()"),
        ("argmax-over-positions", "logits[-1].argmax()", "logits.argmax(dim=0)[-1]",
         "argmax ran over the positions (dim=0): this is a row number, not a token id; it has to "
         "run over the vocabulary, logits[-1].argmax()"),
        ("appends-the-logit", "int(logits[-1].argmax())", "float(logits[-1].max())",
         "the largest logit itself was appended; wanted is where it stands: argmax, not max"),
        ("least-likely", "argmax", "argmin",
         "this is the LEAST likely token: the largest logit is the largest probability"),
    ])  # fmt: skip


def greedy_generate(model, prompt_ids, max_new_tokens):
    new_ids = []
    while len(new_ids) < max_new_tokens:
        new_ids.append(best(model(prompt_ids + new_ids)))
    return new_ids


def loop_cases(rng):
    sizes = [(4, 6, "a prompt"), (1, 9, "a prompt of one token"), (8, 3, "a longer prompt"),
             (3, 1, "one new token"), (5, 0, "no new token")]  # fmt: skip
    return [Case(random_model(rng)[0], random_prompt(rng, length), n_new, label=label)
            for length, n_new, label in sizes]  # fmt: skip


GREEDY_GENERATE = Task(
    grade_id="greedy-generate", entry="greedy_generate", cases=loop_cases, compare=Exact(),
    watch=("mutated", "n_calls"), misconceptions=[
        ("returns-the-prompt", "[len(prompt_ids) :]", "",
         "the prompt is in the result; return the new tokens only"),
        ("counts-the-prompt", "for _ in range(max_new_tokens):",
         "while len(token_ids) < max_new_tokens:", "max_new_tokens was taken for the length of the "
         "whole text: the prompt's tokens do not count (Transformers has max_length for that)"),
        ("never-appends", "model(token_ids)", "model(prompt_ids)", "every step saw the prompt "
         "only, so every token is the same: the new token has to be part of the next call"),
        ("last-token-only",
         "model(token_ids)", "model(token_ids if token_ids == prompt_ids else token_ids[-1:])",
         "after the first step the model saw the newest token only; without a cache it has "
         "forgotten the rest, so give it the whole text each time"),
        ("forgets-the-prompt", "model(token_ids)",
         "model(token_ids[len(prompt_ids) :] or prompt_ids)", "after the first step the model saw "
         "the new tokens without the prompt; the context is the prompt AND the new tokens"),
        ("changes-the-prompt", "list(prompt_ids)", "prompt_ids", "[len(prompt_ids) :]",
         "[len(token_ids) - max_new_tokens :]", "the tokens are right, but the caller's prompt "
         "list grew: work on a copy, list(prompt_ids)"),
        ("minus-zero", "[len(prompt_ids) :]", "[-max_new_tokens:]",
         "where no new token is wanted, the prompt comes back: token_ids[-0:] is token_ids[0:], "
         "the whole list. Cut at len(prompt_ids)"),
        ("one-too-many", "range(max_new_tokens)", "range(max_new_tokens + 1)",
         "one token too many: a loop of max_new_tokens rounds, one token a round"),
        ("one-call", "    token_ids = list(prompt_ids)",
         "    return model(prompt_ids)[-1].topk(max_new_tokens).indices.tolist()",
         "these are the best candidates for ONE position, from a single call; a text needs a new "
         "call after each token"),
        ("calls-too-often", "    return token", "    model(token_ids)\n    return token",
         "the tokens are right, but the model is called more often than there are new tokens: keep "
         "the logits of one call in a variable, and make no call whose answer nobody reads"),
    ])  # fmt: skip


def end_cases(rng):
    """Prompts are drawn until the greedy text has the end token where the case needs it."""
    n_new = 8

    def draw(wanted):
        while True:
            (probe, model), prompt_ids = random_model(rng), random_prompt(rng, 6)
            new_ids = greedy_generate(model, prompt_ids, n_new)
            firsts = [i for i, token in enumerate(new_ids) if token not in new_ids[:i]]
            others = sorted(set(range(VOCAB_SIZE)) - {*new_ids, *prompt_ids})
            for i in firsts:
                if len(others) >= 2 and wanted(i, new_ids[i], prompt_ids):
                    return probe, prompt_ids, new_ids[i], others

    def case(wanted, ids, label):
        probe, prompt_ids, end, others = draw(wanted)
        return Case(probe, prompt_ids, n_new, ids(end, others), label=label)

    return [
        case(lambda i, end, prompt: 2 <= i <= 5 and end not in prompt,
             lambda end, others: [end], "an end token in the middle"),
        case(lambda i, end, prompt: 1 <= i <= 4 and end not in prompt,
             lambda end, others: [others[0], end, others[1]], "several end tokens"),
        case(lambda i, end, prompt: i == 0 and end not in prompt,
             lambda end, others: [end], "an end token at once"),
        case(lambda i, end, prompt: 2 <= i <= 5 and end in prompt[:-1] and end != prompt[-1],
             lambda end, others: [end], "a prompt that holds the end token"),
        case(lambda i, end, prompt: 2 <= i <= 5 and end == prompt[-1],
             lambda end, others: [end], "a prompt that ends with the end token"),
        case(lambda i, end, prompt: True,
             lambda end, others: others[:1], "no end token"),
    ]  # fmt: skip


GENERATE_UNTIL_END = Task(
    grade_id="generate-until-end", entry="generate_until_end", cases=end_cases, compare=Exact(),
    watch=("mutated", "n_calls"), misconceptions=[
        ("drops-the-end", "            break", "            new_ids.pop()\n            break",
         "the end token itself is missing: append the token first, then ask whether it ends the "
         "text"),
        ("never-stops", "if new_ids[-1] in eos_token_ids", "if False", "the end tokens have no "
         "effect: compare each new token's id with the ids in eos_token_ids"),
        ("first-id-only", "in eos_token_ids:", "in eos_token_ids[:1]:", "only the first of the end "
         "tokens stops the loop; any of them should: new in eos_token_ids"),
        ("end-in-the-prompt",
         "new_ids[-1] in eos_token_ids", "{*prompt_ids, *new_ids} & {*eos_token_ids}",
         "an end token in the PROMPT stopped the loop: look at the newest token only"),
        ("end-of-the-prompt", "    new_ids = []",
         "    if prompt_ids[-1] in eos_token_ids:\n        return []\n    new_ids = []",
         "where the prompt ends with an end token, nothing was generated: the loop's condition "
         "looks at the prompt's last token before there is a new one"),
        ("one-too-late", "new_ids[-1] in eos_token_ids", "{*new_ids[:-1]} & {*eos_token_ids}",
         "one token too many: the loop went on for a round after the end token; look at the token "
         "that was just appended"),
        ("calls-after-the-end", "            break",
         "            if len(new_ids) < max_new_tokens:\n"
         "                model([*prompt_ids, *new_ids])\n            break",
         "the result is right, but the model is called again after the end token: leave the loop "
         "as soon as that token is appended, before the next call"),
    ])  # fmt: skip


def choose_by_mass(threshold, probs):
    """The first token, in the order of the ids, at which the mass so far reaches a threshold."""
    return int((probs.cumsum(0) >= threshold).int().argmax())


def choose_by_rank(rank, probs):
    """The token of this rank, 0 the most likely."""
    return int(probs.argsort(descending=True)[rank])


def choice_cases(rng):
    def case(length, n_new, choose, label):
        return Case(random_model(rng)[0], random_prompt(rng, length), n_new, choose, label=label)

    return [
        case(4, 6, Probe(choose_by_mass, 0.6), "a choice by probability mass"),
        case(1, 7, Probe(choose_by_rank, 1), "the second most likely token"),
        case(6, 5, Probe(choose_by_mass, 0.25), "another choice by probability mass"),
        case(3, 4, Probe(choose_by_rank, 3), "a less likely token"),
    ]


GENERATE_WITH_CHOICE = Task(
    grade_id="generate-with-choice", entry="generate_with_choice", cases=choice_cases,
    compare=Close(rtol=1e-3, atol=1e-6), watch=("mutated", "n_calls"), misconceptions=[
        ("ignores-the-choice", "int(choose(probs))", "int(probs.argmax())",
         "the most likely token was taken each time; choose(probs) says which token it is"),
        ("gives-logits", "torch.softmax(model(token_ids)[-1], dim=-1)", "model(token_ids)[-1]",
         "choose got logits, and the trace holds logits: softmax of the last row first"),
        ("softmax-over-positions", "torch.softmax(model(token_ids)[-1], dim=-1)",
         "torch.softmax(model(token_ids), dim=0)[-1]", "softmax ran over the positions (dim=0 of "
         "(L, V)); the numbers over the VOCABULARY sum to 1: softmax of logits[-1]"),
        ("first-row", "(token_ids)[-1]", "(token_ids)[0]", "the distribution is that of the first "
         "row, after the first token of the prompt; the next token's is the last row"),
        ("goes-on-greedily", "token_ids.append(token_id)", "token_ids.append(int(probs.argmax()))",
         "the trace holds the chosen token, but the text went on with the most likely one: append "
         "what choose returned"),
        ("never-appends", "model(token_ids)", "model(prompt_ids)",
         "each step saw the prompt only: the chosen token has to be part of the next call"),
        ("notes-the-highest", "probs[token_id]", "probs.max()",
         "the trace holds the highest probability of each step; wanted is the probability of the "
         "CHOSEN token, probs[token_id]"),
        ("notes-the-logarithm", "probs[token_id]", "probs[token_id].log()",
         "the trace holds log-probabilities; probabilities are wanted"),
        ("chooses-twice", "(token_id, float", "(int(choose(probs)), float",
         "choose is called twice a step; one that rolls dice would give two different tokens, one "
         "for the text and one for the trace. Keep its answer in a variable"),
        ("returns-the-text", "return trace", "return token_ids", "this is the text, prompt "
         "included; return the trace, a (token_id, probability) pair for each new token"),
    ])  # fmt: skip


def position_cases(rng):
    pairs = [(5, 3), (1, 1), (1, 12), (17, 0), *rng.integers(20, 300, size=(2, 2)).tolist()]
    labels = (
        "a few tokens",
        "one token",
        "a short prompt",
        "no new token",
        "a text",
        "a long text",
    )
    return [Case(*pair, label=label) for pair, label in zip(pairs, labels, strict=True)]


POSITIONS_PROCESSED = Task(
    grade_id="positions-processed", entry="positions_processed", cases=position_cases,
    compare=Exact(), misconceptions=[
        ("each-token-once", "sum(prompt_len + i for i in range(n_new_tokens))",
         "prompt_len + n_new_tokens", "this counts every token of the finished text once; without "
         "a cache each call processes the whole text so far AGAIN"),
        ("as-with-a-cache", "sum(prompt_len + i for i in range(n_new_tokens))",
         "prompt_len + n_new_tokens - 1 if n_new_tokens else 0",
         "this is the count WITH a cache (the prompt, then one token a call), where lecture 04 "
         "will get to; the naive loop processes the whole text in every call"),
        ("context-stays", "prompt_len + i for", "prompt_len for",
         "every call was counted with the prompt's length; the context grows by one a call"),
        ("one-later", "prompt_len + i for", "prompt_len + i + 1 for",
         "off by one in each call: the first call sees the prompt only, L tokens, and the last one "
         "L + n - 1, as the last new token is never put in"),
        ("one-call-too-many", "range(n_new_tokens)", "range(n_new_tokens + 1)",
         "one call too many: n new tokens are n calls, and none is needed after the last token"),
        ("all-calls-full", "prompt_len + i for", "prompt_len + n_new_tokens for",
         "every call was counted with the final length; only the last ones are that long"),
        ("half-a-square", "sum(prompt_len + i for i in range(n_new_tokens))",
         "prompt_len * n_new_tokens + n_new_tokens**2 // 2", "n²/2 is the sum for large n only: "
         "the growth is 0 + 1 + ... + (n - 1), which is n (n - 1) / 2"),
    ])  # fmt: skip

TASKS = [
    GREEDY_STEP,
    GREEDY_GENERATE,
    GENERATE_UNTIL_END,
    GENERATE_WITH_CHOICE,
    POSITIONS_PROCESSED,
]
