"""Hidden checks of exercise 13: lookup, accept, redraw, price, a tree, a whole generate."""

from grader.checks import Case, Close, Task, between


def lookup_cases(rng):
    def text(n, n_kinds):
        return rng.integers(0, n_kinds, n).tolist()

    drawn = [Case(text(n, 3), k, longest) for n, k, longest in
             ((30, 4, 2), (24, 3, 3), (18, 6, 1), (40, 2, 4), (12, 9, 2), (26, 5, 3))]  # fmt: skip
    return [
        *drawn,
        Case([3, 8, 5, 6, 3], 3, 2, label="found at the first token"),
        Case([2, 2, 2, 2], 4, 2, label="a place that overlaps with the ending"),
        Case([1, 4, 1, 6, 1, 9, 9, 4, 1], 2, 2, label="a long ending far away"),
        Case([1, 2, 3, 4, 5], 3, 3, label="nothing to be found"),
        Case([7], 3, 2, label="a single token"),
        Case([7, 7], 3, 2, label="two equal tokens"),
        Case([5, 6, 1, 7, 6, 2, 5, 6], 2, 1, label="endings of one token"),
        Case([5, 6, 7, 8, 5, 6, 7, 9, 0, 5, 6, 7], 2, 3, label="two places"),
        Case([4, 5, 4, 5], 5, 9, label="longest is longer than the text"),
    ]


LONGEST_FIRST = "range(min(longest, len(tokens) - 1), 0, -1)"
LOOKUP = Task(
    grade_id="lookup", entry="draft_from_text", cases=lookup_cases, misconceptions=[
        ("range(len(tokens) - n - 1,", {"range(len(tokens) - n,": "",
         "range(len(tokens) - 2 * n,": "the earlier place may overlap with the ending",
         "range(len(tokens) - n - max(1, k),": "a draft may be shorter than k: any place counts"}),
        ("range(len(tokens) - n - 1, -1, -1)", {"range(len(tokens) - n)"}),
        (LONGEST_FIRST, {"range(1, min(longest, len(tokens) - 1) + 1)",
         "[min(longest, len(tokens) - 1)]"}),
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

    cases = [case(k, n, "some accepted") for k, n in ((5, 2), (6, 0), (4, 3), (7, 5))]
    return [
        *cases,
        case(4, 4, "all accepted"),
        case(0, 0, "no draft"),
        case(6, 6, "an end token among the accepted", end=2),
        case(5, 3, "the end token in place of the wrong one", end=3),
        case(5, 2, "an end token behind the wrong one", end=4),
        case(3, 3, "the end token comes free", end=3),
        Case([5, 0, 6], [5, 7, 6, 4], 20, 0, label="the draft ends, the model goes on"),
        Case([5, 5, 5], [5, 5, 5, 5], 9, 5, label="another end token"),
    ]


VERIFY = Task(
    grade_id="verify", cases=verify_cases, misconceptions=[
        ("past_len + len(new)", {"past_len + len(choices)": "",
         "past_len + len(new) + 1": "the newest token is not in the cache: the model has not seen "
         "it", "past_len + len(new) - 1": "the last token of the text was in the pass, too: its "
         "key stays", "past_len + 1 + next((i for i, t in enumerate(draft) if t != choices[i]), "
         "len(draft))": "the text has ended: what was accepted behind the end token does not "
         "stay"}),

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
    return [
        *(Case(*drawn, p, q) for drawn in grid + edges),
        *(Case(0, 0.9, v, p, q, label="rejected") for v in (0.1, 0.4375, 0.43, 0.6, 0.99)),
        Case(0, 0.9, 0.9999999999999999, [0.0, 0.7, 0.2, 0.1, 0.0],
             [0.6, 0.1, 0.1, 0.0, 0.2], label="v just below 1"),
        Case(5, 0.9, 0.9999999999999999, [0.07, 0.48, 0.22, 0.13, 0.1, 0.0],
             [0.0, 0.0, 0.1, 0.15, 0.05, 0.7], label="v just below 1, again"),
        Case(1, 0.3, 0.5, [0.5, 0.25, 0.25], [0.0, 1.0, 0.0], label="all of q on one token"),
    ]  # fmt: skip


REDRAW = Task(
    grade_id="redraw", entry="next_token", cases=redraw_cases, misconceptions=[
        ("[max(a - b, 0.0) for a, b in zip(p, q, strict=True)]", "list(p)",
         "drawn from p after a rejection: tokens that the drafter likes come out too often"),
        (" / sum(residual)", {"": "", " / (q[token] - p[token])": "divide by the residual's sum, "
         "which is q - p of the token only if no other token has q > p"}),
        ("max(a - b, 0.0)", {"abs(a - b)": "where q > p the residual is 0",
         "max(b - a, 0.0)": "the residual is p - q, not q - p"}),
        ("u * q[token] < p[token]", {"u < p[token]": "accepted with probability p / q, not p",
         "u * p[token] < q[token]": "the ratio is p / q: what the model likes more is accepted",
         "q[token] <= p[token]": "where q > p the chance is p / q, not 0",
         "u * q[token] <= p[token]": ""}),
        ("return other", "return residual.index(max(residual))",
         "v draws from the residual: not always its largest entry"),
        ("[i for i, weight in enumerate(residual) if weight > 0]", "range(len(residual))",
         "a v behind the last end draws the last id, even if its residual is 0"),
    ])  # fmt: skip


def price_cases(rng):
    def case(alpha, n, slope, draft_cost, label=""):
        return Case(alpha, [1 + slope * r for r in range(n)], draft_cost, label=label)

    drawn = [case(float(rng.uniform(0.3, 0.95)), 9, float(rng.uniform(0, 0.3)),
                  float(rng.uniform(0, 0.2))) for _ in range(5)]  # fmt: skip
    return [
        *drawn,
        case(1.0, 6, 0.0, 0.0, "everything is accepted"),
        case(0.0, 6, 0.0, 0.0, "nothing is accepted, nothing costs"),
        case(0.6, 8, 0.0, 0.1, "free rows"),
        case(0.8, 8, 0.02, 0.05, "cheap rows"),
        case(0.3, 6, 0.4, 0.2, "it loses"),
        Case(0.9, [1.0, 1.05, 1.1, 2.9, 3.0, 3.1], 0.01, label="a jump in the costs"),
        Case(0.95, [1.0, 2.0, 2.0, 2.1, 2.15], 0.0, label="dear at first"),
        case(0.7, 1, 0.0, 0.0, "only one row"),
    ]


PRICE = Task(
    grade_id="price", entry="best_draft_length", cases=price_cases, compare=Close(rtol=1e-9),
    misconceptions=[
        ("range(k + 1))", "range(1, k + 1))",
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
        *(Case(drafts(n, 4, 2), past) for n, past in ((5, 3), (6, 1), (4, 7))),
        Case(drafts(4, 3, 3), 0, label="no cached positions"),
        Case([[5, 6, 7, 8]], 2, label="a single draft"),
        Case([[5], [6], [7]], 4, label="drafts of one token"),
        Case([[5, 6, 7], [8, 6, 7]], 1, label="equal tokens behind different beginnings"),
        Case([[5, 6], [5, 6], [5]], 1, label="the same draft twice"),
        Case([[4, 5, 4, 5], [5, 4, 5], [4, 4]], 2, label="few different tokens"),
    ]


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
        return [(text[-1] + 1 + i) % size for i in range(k - len(text) % 2)]

    made = answer.generate(forward, prompt, n_new, guess, end)
    return {"tokens": made, "passes": len(widths), "widest": max(widths[1:], default=0)}


def generate_cases(rng):
    def case(n_prompt, n_new, k, label, end=-1, size=17):
        prompt = rng.integers(0, size, n_prompt).tolist()
        return Case(between(rng, 0, 99), size, prompt, n_new, k, end, label=label)

    return [
        *(case(n, 40, k, f"{k} drafted tokens") for n, k in ((5, 4), (9, 2), (1, 6))),
        case(4, 25, 1, "drafts that may be empty"),
        case(6, 1, 3, "a single new token"),
        *(case(5, 7 + n, 5, "a limit within a pass") for n in range(4)),
        *(case(5, 60, 4, "a text that ends", end=end, size=9) for end in range(4)),
        Case(4, 11, [2, 3, 2], 20, 3, 2, label="the end token in the prompt"),
    ]


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

TASKS = [LOOKUP, VERIFY, REDRAW, PRICE, TREE, GENERATE]
