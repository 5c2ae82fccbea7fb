"""Hidden checks of exercise 13: lookup, accept, redraw, price, a tree, a whole generate."""

from grader.checks import Case, Close, Task, between


def lookup_cases(rng):
    def text(n, n_kinds):
        return rng.integers(0, n_kinds, n).tolist()

    return [
        Case([3, 8, 5, 6, 3], 2, 2, label="the first token of the text is a place, too"),
        Case([1, 2, 3, 4, 5], 3, 3, label="nothing occurs earlier: an empty list"),
        Case([7], 3, 2, label="a single token: an empty list"),
        Case([7, 7], 3, 2, label="two equal tokens: the first is a place; one 7 follows"),
        Case([5, 6, 1, 7, 6, 2, 5, 6], 2, 1, label="longest = 1: try no longer ending"),
        Case([1, 4, 1, 6, 1, 9, 9, 4, 1], 2, 2, label="a long ending far away beats a near short"),
        Case([5, 6, 7, 8, 5, 6, 7, 9, 0, 5, 6, 7], 2, 3, label="two places: the LAST counts"),
        Case([5, 1, 2, 3, 5, 6, 5], 3, 2, label="the LAST place, even if k is more than follows"),
        Case([2, 2, 2, 2], 4, 2, label="the place may overlap with the ending"),
        Case([4, 5, 4, 5], 5, 9, label="longest is longer than the text"),
        *(Case(text, 2, 2, label="1, 2 and 11, 2 are different tokens: join no digits") for text in
          ([1, 2, 7, 3, 11, 2, 8, 1, 2], [2, 1, 7, 2, 12, 8, 2, 1], [1, 12, 7, 11, 2, 8, 1, 12])),
        *(Case(text(n, 3), k, longest, label="many places: first the longest ending (at most "
               "`longest`), then its last earlier place; at most k tokens") for n, k, longest in
          ((30, 4, 2), (24, 3, 3), (18, 6, 1), (40, 2, 4), (12, 9, 2), (26, 5, 3))),
    ]  # fmt: skip


LONGEST_FIRST = "range(min(longest, len(tokens) - 1), 0, -1)"
LOOKUP = Task(
    grade_id="lookup", entry="draft_from_text", cases=lookup_cases, misconceptions=[
        ("range(len(tokens) - n - 1,", {"range(len(tokens) - n,": "",
         "range(len(tokens) - 2 * n,": "the earlier place may overlap with the ending",
         "range(len(tokens) - n - max(1, k),": "a draft may be shorter than k: any place counts"}),
        ("range(len(tokens) - n - 1, -1, -1)", {"range(len(tokens) - n)"}), (LONGEST_FIRST, {
         "range(1, min(longest, len(tokens) - 1) + 1)", "[min(longest, len(tokens) - 1)]"}),
        ("min(longest, len(tokens) - 1)", "len(tokens) - 1",
         "an ending has at most longest tokens"),
        ("[start + n : start + n + k]", {"[start : start + k]"}),
        ("n - 1, -1, -1)", "n - 1, 0, -1)",
         "a place at the very beginning of the text counts, too"),
        ("start + n + k]", "]", "the draft has at most k tokens"),
    ])  # fmt: skip


def verify_cases(rng):
    def case(k, n_right, label, end=None):
        choices = rng.integers(1, 50, k + 1).tolist()
        if end is not None:
            choices[end] = 0
        draft = choices[:k]
        for i in range(n_right, k, 2):  # the first is wrong, the next is right again
            draft[i] = choices[i] + 50
        return Case(draft, choices, between(rng, 3, 200), 0, label=label)

    return [
        *(case(k, n, "some accepted: they, and the model's token in place of the wrong one; the "
               "cache lacks only the newest token") for k, n in ((5, 2), (6, 0), (4, 3), (7, 5))),
        case(4, 4, "all accepted: the last choice is free"), case(0, 0, "no draft: one token"),
        case(5, 3, "the end token in place of the wrong one: it was in no pass", end=3),
        case(5, 2, "an end token behind the wrong one counts for nothing", end=4),
        case(3, 3, "the end token comes free", end=3),
        Case([5, 6, 5, 7], [5, 6, 6, 7, 8], 9, 0, label="a token twice: go by places, no index()"),
        Case([5, 0, 6], [5, 7, 6, 4], 20, 0, label="only the draft has an end token: it is wrong"),
        case(6, 6, "an accepted end token: the cache keeps only what is in FRONT of it", end=2),
        Case([5, 5, 5], [5, 5, 5, 5], 9, 5, label="the first token ends the text: nothing follows"),
    ]  # fmt: skip


VERIFY = Task(
    grade_id="verify", cases=verify_cases, misconceptions=[
        ("past_len + len(new)", {"past_len + len(choices)": "",
         "past_len + len(new) + 1": "the newest token is not in the cache: the model has not seen "
         "it", "past_len + len(new) - 1": "the last token of the text was in the pass, too: its "
         "key stays", "past_len + 1 + next((i for i, t in enumerate(draft) if t != choices[i]), "
         "len(draft))": "the text has ended: what was accepted behind the end token does not "
         "stay", "past_len + len(new) + (draft[len(new) - 1 : len(new)] == [end_id] == new[-1:])":
         "an accepted end token is not kept: the cache keeps what is in front of it"}),
        ("past_len + len(new)", "past_len + len(new) - (new[-1] == end_id != (*draft, None)["
         "len(new) - 1])", "the model's own end token was in no pass: take nothing off for it"),
        ("        new.append(choice)\n        if token != choice or choice == end_id:\n           "
         " break", {"        if token != choice:\n            break\n        new.append(choice)\n  "
         "      if choice == end_id:\n            break"}),
        ("new.append(choice)", {"new.append(choice if token is None else token)"}),
        ("token != choice or choice == end_id", {"choice == end_id"}),
        (" or choice == end_id", {""}),
        (" or choice == end_id", "", "    return new", "    if end_id in new:\n        new = new[: "
         "len(new) - new[::-1].index(end_id)]\n    return new", "cut behind the FIRST end token"),
        ("return new,", "return [t for t in new if t != end_id],", "the end token is kept, too"),
    ])  # fmt: skip


def redraw_cases(rng):
    p = [5 / 32, 0.0, 9 / 32, 1 / 32, 13 / 32, 4 / 32]
    q = [9 / 32, 8 / 32, 2 / 32, 5 / 32, 4 / 32, 4 / 32]
    grid = [
        (x, between(rng, 0, 64) / 64, between(rng, 0, 64) / 64) for x in range(6) for _ in "123"
    ]
    edges = [(1, 0.0, 0.75), (0, 0.75, 0.0), (0, 0.75, 0.5), (3, 0.5, 0.9375), (3, 0.25, 0.4)]
    last = "v just below 1, where rounding leaves a gap: the last token whose residual is above 0"
    return [
        *(Case(0, u, 0.2, p, q, label="accepted where u q < p") for u in (0.0, 0.5, 0.55)),
        Case(0, 0.625, 0.9, [0.3125, 0.6875], [0.5, 0.5], label="u q is exactly p: rejected"),
        Case(1, 0.0, 0.75, p, q, label="u = 0 and p = 0: rejected, since 0 < 0 is wrong"),
        *(Case(0, 0.9, v, p, q, label="rejected: the residual max(p - q, 0), by ids from the left; "
               "v at an end: the next interval has it") for v in (0.1, 0.4375, 0.43, 0.6, 0.99)),
        Case(1, 0.3, 0.5, [0.5, 0.25, 0.25], [0.0, 1.0, 0.0], label="all of q on one token"),
        Case(0, 0.9, 0.9999999999999999, [0.0, 0.7, 0.2, 0.1, 0.0],
             [0.6, 0.1, 0.1, 0.0, 0.2], label=last),
        Case(5, 0.9, 0.9999999999999999, [0.07, 0.48, 0.22, 0.13, 0.1, 0.0],
             [0.0, 0.0, 0.1, 0.15, 0.05, 0.7], label=last),
        *(Case(*drawn, p, q, label="accepted if u q < p, else redrawn from max(p - q, 0) / its sum")
          for drawn in grid + edges),
    ]  # fmt: skip


REDRAW = Task(
    grade_id="redraw", entry="next_token", cases=redraw_cases, misconceptions=[
        ("[max(a - b, 0.0) for a, b in zip(p, q, strict=True)]", {
         "list(p)": "drawn from p after a rejection: tokens that the drafter likes come out too "
         "often", "[a * (i != token) for i, a in enumerate(p)]": "drawn from p without the "
         "rejected token: take the residual max(p - q, 0)"}),
        ("enumerate(residual) if weight > 0]", "sorted(enumerate(residual), key=lambda pair: "
         "-pair[1]) if weight > 0]", "the order is that of the ids, not from the likeliest on"),
        ("v < end", {"u < end": "u decides whether it is accepted; it is v that draws"}),
        (" / sum(residual)", {"": "", " / (q[token] - p[token])": "divide by the residual's sum, "
         "which is q - p of the token only if no other token has q > p"}),
        ("max(a - b, 0.0)", {"abs(a - b)": "where q > p the residual is 0",
         "max(b - a, 0.0)": "the residual is p - q, not q - p"}),
        ("u * q[token] < p[token]", {"u < p[token]": "accepted with probability p / q, not p",
         "u * p[token] < q[token]": "the ratio is p / q: what the model likes more is accepted",
         "q[token] <= p[token]": "where q > p the chance is p / q, not 0",
         "u * q[token] <= p[token]": ""}), ("return other", "return residual.index(max(residual))",
         "v draws from the residual: not always its largest entry"),
        ("[i for i, weight in enumerate(residual) if weight > 0]", "range(len(residual))",
         "a v behind the last end draws the last id, even if its residual is 0"),
    ])  # fmt: skip


def price_cases(rng):
    def case(alpha, n, slope, draft_cost, label=""):
        return Case(alpha, [1 + slope * r for r in range(n)], draft_cost, label=label)

    drawn = [[float(rng.uniform(*ends)) for ends in ((0.3, 0.95), (0, 0.3), (0, 0.2))]
             for _ in range(5)]  # fmt: skip
    return [
        case(0.7, 1, 0.0, 0.0, "only one row: k = 0"),
        Case(1.0, [1.0, 1.5, 1.6, 4.0], 0.1, label="alpha = 1: k + 1 tokens; the costs count, too"),
        case(0.0, 6, 0.0, 0.0, "nothing is accepted, nothing costs: the smallest k"),
        case(0.3, 6, 0.4, 0.2, "it loses: k = 0, speed-up 1"),
        case(0.6, 8, 0.0, 0.1, "free rows: each of k drafted tokens costs draft_cost"),
        case(0.8, 8, 0.02, 0.05, "cheap rows: row_costs[k] is the pass of k + 1 rows"),
        Case(0.9, [1.0, 1.05, 1.1, 2.9, 3.0, 3.1], 0.01, label="a jump in the costs"),
        Case(0.95, [1.0, 2.0, 2.0, 2.1, 2.15], 0.0, label="dear at first: look at ALL k"),
        *(case(alpha, 9, slope, cost, "(1 + alpha + ... + alpha^k) / (row_costs[k] + k draft_cost)")
          for alpha, slope, cost in drawn),
    ]  # fmt: skip


PRICE = Task(
    grade_id="price", entry="best_draft_length", cases=price_cases, compare=Close(rtol=1e-9),
    misconceptions=[("range(k + 1))", "range(1, k + 1))",
         "the model's own token is missing: 1 + α + ... + α^k"),
        ("sum(alpha**i for i in range(k + 1))",
         {"1 + k * alpha": "the third token needs the first two to be accepted: powers of α"}),
        (" + k * draft_cost", {" + draft_cost": "each drafted token costs draft_cost",
         "": "the cost of drafting is missing"}), ("row_costs[k]", {"row_costs[max(k - 1, 0)]"}),
        ("(0, 1.0)", "(0, 0.0)", "range(len(row_costs))", {"range(1, len(row_costs))"}),
        ("speed_up > best[1]", {"speed_up >= best[1]": "",
         "True": "the longest draft is not always the best"}),
        ("            best = (k, speed_up)", "            return k, speed_up",
         "the first k that gains is not always the best: look at all"),
        ("(k, speed_up)\n", "(k, speed_up)\n        elif k:\n            break\n",
         "after a loss a longer draft may gain again: look at all"),
        ("alpha**i", "alpha**k", "the i-th drafted token is accepted with α^i"),
    ])  # fmt: skip


def tree_cases(rng):
    def drafts(n, length, n_kinds):
        sizes = rng.integers(1, length + 1, n)
        return [rng.integers(3, 3 + n_kinds, size).tolist() for size in sizes]

    return [
        Case([[5, 6, 7, 8]], 2, label="a single draft: causal, behind the past"),
        Case([[5], [6], [7]], 4, label="drafts of one token: all at one position"),
        Case([[5, 6, 7, 8], [5, 6, 9, 8]], 1, label="share ALL up to a difference; draft by draft"),
        Case([[5, 6], [5, 6], [5]], 1, label="the same draft twice: no new node"),
        Case([[5, 6, 7], [8, 6, 7]], 1, label="equal tokens behind unequal ones are not shared"),
        Case([[1, 12, 5], [11, 2, 5], [1, 1]], 1, label="1, 12 is not 11, 2: don't join digits"),
        Case([[4, 5, 4, 5], [5, 4, 5], [4, 4]], 2, label="few different tokens: compare ways"),
        *(Case(drafts(n, length, kinds), past, label="several drafts: nodes, positions, mask")
          for n, length, kinds, past in ((4, 3, 3, 0), (5, 4, 2, 3), (6, 4, 2, 1), (4, 4, 2, 7))),
    ]  # fmt: skip


ANCESTORS = "int(line[: len(other)] == other)"
TREE = Task(
    grade_id="tree", entry="draft_tree", cases=tree_cases, misconceptions=[
        ("draft[:n] not in lines", {"all(line[-1] != draft[n - 1] for line in lines)": "",
         "all((line[-2:], len(line)) != (draft[:n][-2:], n) for line in lines)": "the same two "
         "tokens behind another beginning are different nodes: compare the whole way"}),
        ("if draft[:n] not in lines:", {"if True:"}),
        (ANCESTORS, {"int(lines.index(other) <= lines.index(line))": "",
         "int(other in (line, line[:-1]))": "a node sees all its ancestors, not only its parent",
         "int(line[: len(other)] == other != line)": "", "int(line[: len(other)] == other or "
         "other[: len(line)] == line)": "a node does not see the nodes behind it",
         "int(line[len(other) - 1 : len(other)] == other[-1:])": "a node of another branch is seen "
         "that has the same token at the same depth"}),
        ("past_len + len(line) - 1", {"past_len + lines.index(line)", "len(line) - 1"}),
        ("[1] * past_len", {"[0] * past_len"}),
        ("[1] * past_len + ", "", "the mask has columns for the past, too"),
    ])  # fmt: skip


def use_generate(answer, seed, size, prompt, n_new, k, end):
    """Tokens, number of passes and widest pass, of a model that keeps what it has read."""
    import torch

    held, widths = [], []

    def forward(token_ids, past_len):
        if not 0 <= past_len <= len(held):
            raise ValueError("past_len is beyond what the model has read")
        held[past_len:] = [int(token) for token in token_ids]
        widths.append(len(token_ids))
        scores = torch.zeros(len(token_ids), size)
        for row in range(len(token_ids)):
            seen = held[: past_len + row + 1]
            mixed = sum((i + 3) * token for i, token in enumerate(seen)) + seed
            scores[row, mixed % size if mixed % 3 == 0 else (seen[-1] + 1) % size] = 1.0
        return scores

    def guess(text):
        if list(text[: len(prompt)]) != prompt:
            raise ValueError("draft gets ALL tokens so far, with those of the prompt in front")
        return [(text[-1] + 1 + i) % size for i in range(k - len(text) % 2)]

    before = list(prompt)
    made = answer.generate(forward, prompt, n_new, guess, end)
    if prompt != before:
        raise ValueError("generate changes the prompt that it gets: work on a copy")
    return {"tokens": made, "passes": len(widths), "widest": max(widths[1:], default=0)}


def generate_cases(rng):
    def case(n_prompt, n_new, k, label, end=-1, size=17):
        prompt = rng.integers(0, size, n_prompt).tolist()
        return Case(between(rng, 0, 99), size, prompt, n_new, k, end, label=label)

    return [
        case(6, 1, 3, "a single new token: one pass"),
        case(4, 25, 1, "drafts that may be empty: then a pass of one row"),
        *(case(n, 40, k, f"{k} drafted tokens: keep all that are right, and as few passes as that "
               "allows") for n, k in ((5, 4), (9, 2), (1, 6))),
        *(case(5, 7 + n, 5, "a limit within a pass: cut there") for n in range(4)),
        Case(3, 9, [2, 5], 20, 5, 1, label="an end token in the MIDDLE of a draft: end there"),
        *(case(5, 60, 4, "end_id ends the text, within a pass as well", end=end, size=9)
          for end in range(4)),
        Case(4, 11, [2, 3, 2], 20, 3, 2, label="an end token in the prompt does not count"),
    ]  # fmt: skip


GENERATE = Task(
    grade_id="generate", cases=generate_cases, drive=use_generate, misconceptions=[
        ("new, past_len = verify(drafted, choices, past_len, end_id)",
         "new, _ = verify(drafted, choices, past_len, end_id)\n        past_len += 1 + "
         "len(drafted)", "rejected tokens stay in the cache: take past_len from verify"),
        ("[made[-1], *drafted], past_len).argmax(-1).tolist()",
         "[*prompt_ids, *made, *drafted], 0).argmax(-1).tolist()[-1 - len(drafted) :]",
         "right tokens, but every pass reads the whole text again"),
        ("draft([*prompt_ids, *made])", "[]",
         "right tokens, but one pass for each: the drafts are not used"),
        ("return made[:n_new]", "return made", "what a pass gives beyond n_new tokens must be cut"),
        ("end_id in new", "new[-1] == end_id", "past_len, end_id)", "past_len, -1)",
         "an end token in the MIDDLE of an accepted draft ends the text, too"),
        ("end_id in new or ", "", "end_id is ignored: the text ends with it"),
        ("end_id in new", "end_id in [*prompt_ids, *made]",
         "end_id in the PROMPT ended the text; only a new one does"),
        ("return made[:n_new]", "return [*prompt_ids, *made[:n_new]]",
         "the prompt is in the result; return the new tokens only"),
        ("draft([*prompt_ids, *made])", "draft(made)",
         "the drafter gets all tokens so far, those of the prompt, too"),
        ("argmax())], len(prompt_ids)", "argmax())], len(prompt_ids) - 1",
         "the first pass overwrites the prompt's last position: past_len begins with its length"),
    ])  # fmt: skip
