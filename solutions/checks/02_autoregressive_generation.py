"""Hidden checks of exercise 02: a greedy step, the loop, its end, a free choice, what it costs."""

import torch

from grader.checks import Case, Close, Exact, Misconception, Probe, Task

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


# --- Task 1: one step -------------------------------------------------------------------------


def greedy_step(model, token_ids):
    return token_ids + torch.topk(model(token_ids)[-1], k=1).indices.tolist()


def append_in_place(model, token_ids):
    token_ids.append(best(model(token_ids)))
    return token_ids


def step_cases(rng):
    lengths = (5, 1, 9, 12, 12, 7)
    labels = ("a prompt", "a prompt of one token", *["a longer prompt"] * 4)
    return [
        Case(random_model(rng)[0], random_prompt(rng, length), label=label)
        for length, label in zip(lengths, labels, strict=True)
    ]


GREEDY_STEP = Task(
    grade_id="greedy-step",
    entry="greedy_step",
    points=2,
    cases=step_cases,
    reference=greedy_step,
    compare=Exact(),
    watch=("mutated", "n_calls"),
    misconceptions=[
        Misconception(
            "changes-the-argument",
            append_in_place,
            "the caller's list was changed: append and += work in place; build a new list, "
            "[*token_ids, new]",
        ),
        Misconception(
            "token-only",
            lambda model, token_ids: best(model(token_ids)),
            "this is the new token alone; return the whole list with it at the end",
        ),
        Misconception(
            "list-of-the-new-token",
            lambda model, token_ids: [best(model(token_ids))],
            "the list holds the new token only; the given tokens belong in front of it",
        ),
        Misconception(
            "first-row",
            lambda model, token_ids: [*token_ids, int(model(token_ids)[0].argmax())],
            "this is the first row of the logits, about the token after the FIRST one; what comes "
            "after all tokens is in the last row, logits[-1]",
        ),
        Misconception(
            "argmax-of-the-table",
            lambda model, token_ids: [*token_ids, int(model(token_ids).argmax())],
            "argmax ran over the whole (L, V) table and counts through all rows; take the last row "
            "first: logits[-1].argmax()",
        ),
        Misconception(
            "argmax-over-positions",
            lambda model, token_ids: [*token_ids, int(model(token_ids).argmax(dim=0)[-1])],
            "argmax ran over the positions (dim=0): this is a row number, not a token id; it "
            "has to run over the vocabulary, logits[-1].argmax()",
        ),
        Misconception(
            "appends-the-logit",
            lambda model, token_ids: [*token_ids, float(model(token_ids)[-1].max())],
            "the largest logit itself was appended; wanted is where it stands: argmax, not max",
        ),
        Misconception(
            "least-likely",
            lambda model, token_ids: [*token_ids, int(model(token_ids)[-1].argmin())],
            "this is the LEAST likely token: the largest logit is the largest probability",
        ),
    ],
)

# --- Task 2: the loop -------------------------------------------------------------------------


def greedy_generate(model, prompt_ids, max_new_tokens):
    new_ids = []
    while len(new_ids) < max_new_tokens:
        new_ids.append(best(model(prompt_ids + new_ids)))
    return new_ids


def max_length(model, prompt_ids, max_new_tokens):
    ids = list(prompt_ids)
    while len(ids) < max_new_tokens:
        ids.append(best(model(ids)))
    return ids[len(prompt_ids) :]


def last_token_only(model, prompt_ids, max_new_tokens):
    new_ids, context = [], prompt_ids
    for _ in range(max_new_tokens):
        new_ids.append(best(model(context)))
        context = new_ids[-1:]
    return new_ids


def forgets_the_prompt(model, prompt_ids, max_new_tokens):
    new_ids = []
    for _ in range(max_new_tokens):
        new_ids.append(best(model(new_ids or prompt_ids)))
    return new_ids


def grow_the_prompt(model, prompt_ids, max_new_tokens):
    for _ in range(max_new_tokens):
        prompt_ids.append(best(model(prompt_ids)))
    return prompt_ids[-max_new_tokens:]


def one_call_more(model, prompt_ids, max_new_tokens):
    ids = list(prompt_ids)
    logits = model(ids)
    for _ in range(max_new_tokens):
        ids.append(best(logits))
        logits = model(ids)
    return ids[len(prompt_ids) :]


def loop_cases(rng):
    sizes = [(4, 6, "a prompt"), (1, 9, "a prompt of one token"), (8, 3, "a longer prompt"),
             (3, 1, "one new token")]  # fmt: skip
    return [Case(random_model(rng)[0], random_prompt(rng, length), n_new, label=label)
            for length, n_new, label in sizes]  # fmt: skip


GREEDY_GENERATE = Task(
    grade_id="greedy-generate",
    entry="greedy_generate",
    points=3,
    cases=loop_cases,
    reference=greedy_generate,
    compare=Exact(),
    watch=("mutated", "n_calls"),
    misconceptions=[
        Misconception(
            "returns-the-prompt",
            lambda model, prompt_ids, n: prompt_ids + greedy_generate(model, prompt_ids, n),
            "the prompt is in the result; return the new tokens only",
        ),
        Misconception(
            "counts-the-prompt",
            max_length,
            "max_new_tokens was taken for the length of the whole text: the prompt's tokens do not "
            "count (Transformers has max_length for that)",
        ),
        Misconception(
            "never-appends",
            lambda model, prompt_ids, n: [best(model(prompt_ids)) for _ in range(n)],
            "every step saw the prompt only, so every token is the same: the new token has to be "
            "part of the next call",
        ),
        Misconception(
            "last-token-only",
            last_token_only,
            "after the first step the model saw the newest token only; without a cache it has "
            "forgotten the rest, so give it the whole text each time",
        ),
        Misconception(
            "forgets-the-prompt",
            forgets_the_prompt,
            "after the first step the model saw the new tokens without the prompt; the context is "
            "the prompt AND the new tokens",
        ),
        Misconception(
            "changes-the-prompt",
            grow_the_prompt,
            "the tokens are right, but the caller's prompt list grew: work on a copy, "
            "list(prompt_ids)",
        ),
        Misconception(
            "one-too-many",
            lambda model, prompt_ids, n: greedy_generate(model, prompt_ids, n + 1),
            "one token too many: a loop of max_new_tokens rounds, one token a round",
        ),
        Misconception(
            "one-call",
            lambda model, prompt_ids, n: model(prompt_ids)[-1].topk(n).indices.tolist(),
            "these are the best candidates for ONE position, from a single call; a text needs a "
            "new call after each token",
        ),
        Misconception(
            "calls-too-often",
            one_call_more,
            "the tokens are right, but the model is called more often than there are new tokens: "
            "keep the logits of one call in a variable, and make no call whose answer nobody reads",
        ),
    ],
)

# --- Task 3: knowing when to stop -------------------------------------------------------------


def generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new_ids = []
    for _ in range(max_new_tokens):
        new_ids.append(best(model(prompt_ids + new_ids)))
        if not {new_ids[-1]}.isdisjoint(eos_token_ids):
            return new_ids
    return new_ids


def drop_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new_ids = generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids)
    return new_ids[:-1] if new_ids[-1] in eos_token_ids else new_ids


def end_anywhere(model, prompt_ids, max_new_tokens, eos_token_ids):
    new_ids = []
    for _ in range(max_new_tokens):
        new_ids.append(best(model(prompt_ids + new_ids)))
        if set(prompt_ids + new_ids) & set(eos_token_ids):
            break
    return new_ids


def end_of_prompt(model, prompt_ids, max_new_tokens, eos_token_ids):
    if prompt_ids[-1] in eos_token_ids:
        return []
    return generate_until_end(model, prompt_ids, max_new_tokens, eos_token_ids)


def ask_after_the_end(model, prompt_ids, max_new_tokens, eos_token_ids):
    new_ids = []
    while len(new_ids) < max_new_tokens:
        next_id = best(model(prompt_ids + new_ids))
        if new_ids and new_ids[-1] in eos_token_ids:
            break
        new_ids.append(next_id)
    return new_ids


def one_too_late(model, prompt_ids, max_new_tokens, eos_token_ids):
    new_ids = []
    while len(new_ids) < max_new_tokens:
        new_ids.append(best(model(prompt_ids + new_ids)))
        if any(token in eos_token_ids for token in new_ids[:-1]):
            break
    return new_ids


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
    grade_id="generate-until-end",
    entry="generate_until_end",
    points=3,
    cases=end_cases,
    reference=generate_until_end,
    compare=Exact(),
    watch=("mutated", "n_calls"),
    misconceptions=[
        Misconception(
            "drops-the-end",
            drop_end,
            "the end token itself is missing: append the token first, then ask whether it ends the "
            "text",
        ),
        Misconception(
            "never-stops",
            lambda model, prompt_ids, n, eos_token_ids: greedy_generate(model, prompt_ids, n),
            "the end tokens have no effect: compare each new token's id with the ids in "
            "eos_token_ids",
        ),
        Misconception(
            "first-id-only",
            lambda model, prompt_ids, n, eos_token_ids: generate_until_end(
                model, prompt_ids, n, eos_token_ids[:1]
            ),
            "only the first of the end tokens stops the loop; any of them should: "
            "new in eos_token_ids",
        ),
        Misconception(
            "end-in-the-prompt",
            end_anywhere,
            "an end token in the PROMPT stopped the loop: look at the newest token only",
        ),
        Misconception(
            "end-of-the-prompt",
            end_of_prompt,
            "where the prompt ends with an end token, nothing was generated: the loop's condition "
            "looks at the prompt's last token before there is a new one",
        ),
        Misconception(
            "one-too-late",
            one_too_late,
            "one token too many: the loop went on for a round after the end token; look at the "
            "token that was just appended",
        ),
        Misconception(
            "calls-after-the-end",
            ask_after_the_end,
            "the result is right, but the model is called again after the end token: leave the "
            "loop as soon as that token is appended, before the next call",
        ),
    ],
)

# --- Task 4: let anybody choose ---------------------------------------------------------------


def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    return traced(model, prompt_ids, max_new_tokens, choose)


def softmax(logits):
    return torch.softmax(logits.double(), dim=-1)[-1]  # (V,)


def traced(model, prompt_ids, n, choose, *, probs_of=softmax, note=None, keep=None):
    """The loop; ``note(probs, token)`` is what the trace gets, ``keep(probs, token)`` the text."""
    ids, trace = list(prompt_ids), []
    for _ in range(n):
        probs = probs_of(model(ids))
        token = int(choose(probs))
        trace.append((token, float(note(probs, token) if note else probs[token])))
        ids.append(keep(probs, token) if keep else token)
    return trace


def with_one_change(**change):
    return lambda model, prompt_ids, n, choose: traced(model, prompt_ids, n, choose, **change)


def ignore_choice(model, prompt_ids, max_new_tokens, choose):
    return traced(model, prompt_ids, max_new_tokens, lambda probs: probs.argmax())


def choose_twice(model, prompt_ids, max_new_tokens, choose):
    def last_answer(probs):
        choose(probs)
        return choose(probs)

    return traced(model, prompt_ids, max_new_tokens, last_answer)


def prompt_too(model, prompt_ids, max_new_tokens, choose):
    return [*prompt_ids, *(token for token, _ in traced(model, prompt_ids, max_new_tokens, choose))]


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
    grade_id="generate-with-choice",
    entry="generate_with_choice",
    points=4,
    cases=choice_cases,
    reference=generate_with_choice,
    compare=Close(rtol=1e-3, atol=1e-6),
    watch=("mutated", "n_calls"),
    misconceptions=[
        Misconception(
            "ignores-the-choice",
            ignore_choice,
            "the most likely token was taken each time; choose(probs) says which token it is",
        ),
        Misconception(
            "gives-logits",
            with_one_change(probs_of=lambda logits: logits[-1]),
            "choose got logits, and the trace holds logits: softmax of the last row first",
        ),
        Misconception(
            "softmax-over-positions",
            with_one_change(probs_of=lambda logits: torch.softmax(logits, dim=0)[-1]),
            "softmax ran over the positions (dim=0 of (L, V)); the numbers over the VOCABULARY sum "
            "to 1: softmax of logits[-1]",
        ),
        Misconception(
            "first-row",
            with_one_change(probs_of=lambda logits: softmax(logits[:1])),
            "the distribution is that of the first row, after the first token of the prompt; the "
            "next token's is the last row",
        ),
        Misconception(
            "goes-on-greedily",
            with_one_change(keep=lambda probs, token: int(probs.argmax())),
            "the trace holds the chosen token, but the text went on with the most likely one: "
            "append what choose returned",
        ),
        Misconception(
            "never-appends",
            lambda model, prompt_ids, n, choose: traced(
                lambda ids: model(prompt_ids), prompt_ids, n, choose
            ),
            "each step saw the prompt only: the chosen token has to be part of the next call",
        ),
        Misconception(
            "notes-the-highest",
            with_one_change(note=lambda probs, token: probs.max()),
            "the trace holds the highest probability of each step; wanted is the probability of "
            "the CHOSEN token, probs[token_id]",
        ),
        Misconception(
            "notes-the-logarithm",
            with_one_change(note=lambda probs, token: probs[token].log()),
            "the trace holds log-probabilities; probabilities are wanted",
        ),
        Misconception(
            "chooses-twice",
            choose_twice,
            "choose is called twice a step; one that rolls dice would give two different tokens, "
            "one for the text and one for the trace. Keep its answer in a variable",
        ),
        Misconception(
            "returns-the-text",
            prompt_too,
            "this is the text, prompt included; return the trace, a (token_id, probability) pair "
            "for each new token",
        ),
    ],
)

# --- Task 5: what the naive loop costs --------------------------------------------------------


def positions_processed(prompt_len, n_new_tokens):
    return n_new_tokens * prompt_len + n_new_tokens * (n_new_tokens - 1) // 2


def position_cases(rng):
    pairs = [(5, 3), (1, 1), (1, 12), (17, 0), *rng.integers(20, 300, size=(2, 2)).tolist()]
    labels = [
        "a few tokens",
        "one token",
        "a short prompt",
        "no new token",
        "a text",
        "a long text",
    ]
    return [Case(*pair, label=label) for pair, label in zip(pairs, labels, strict=True)]


POSITIONS_PROCESSED = Task(
    grade_id="positions-processed",
    entry="positions_processed",
    points=2,
    cases=position_cases,
    reference=positions_processed,
    compare=Exact(),
    misconceptions=[
        Misconception(
            "each-token-once",
            lambda prompt_len, n_new_tokens: prompt_len + n_new_tokens,
            "this counts every token of the finished text once; without a cache each call "
            "processes the whole text so far AGAIN",
        ),
        Misconception(
            "as-with-a-cache",
            lambda prompt_len, n_new_tokens: prompt_len + n_new_tokens - 1 if n_new_tokens else 0,
            "this is the count WITH a cache (the prompt, then one token a call), where lecture 04 "
            "will get to; the naive loop processes the whole text in every call",
        ),
        Misconception(
            "context-stays",
            lambda prompt_len, n_new_tokens: prompt_len * n_new_tokens,
            "every call was counted with the prompt's length; the context grows by one a call",
        ),
        Misconception(
            "one-later",
            lambda prompt_len, n_new_tokens: sum(
                range(prompt_len + 1, prompt_len + n_new_tokens + 1)
            ),
            "off by one in each call: the first call sees the prompt only, L tokens, and the last "
            "one L + n - 1, as the last new token is never put in",
        ),
        Misconception(
            "one-call-too-many",
            lambda prompt_len, n_new_tokens: positions_processed(prompt_len, n_new_tokens + 1),
            "one call too many: n new tokens are n calls, and none is needed after the last token",
        ),
        Misconception(
            "all-calls-full",
            lambda prompt_len, n_new_tokens: n_new_tokens * (prompt_len + n_new_tokens),
            "every call was counted with the final length; only the last ones are that long",
        ),
        Misconception(
            "half-a-square",
            lambda prompt_len, n_new_tokens: prompt_len * n_new_tokens + n_new_tokens**2 // 2,
            "n²/2 is the sum for large n only: the growth is 0 + 1 + ... + (n - 1), which is "
            "n (n - 1) / 2",
        ),
    ],
)

TASKS = [
    GREEDY_STEP,
    GREEDY_GENERATE,
    GENERATE_UNTIL_END,
    GENERATE_WITH_CHOICE,
    POSITIONS_PROCESSED,
]
