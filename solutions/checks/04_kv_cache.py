"""Hidden checks of exercise 04: append, chunk mask, RoPE, decode step, a test, a whole generate."""

import math

import torch

from grader.checks import Case, Close, Exact, Task, between, normal

CLOSE = Close(rtol=1e-5, atol=1e-7)  # cases are float64; an answer may compute its scale in float32


def scales(width):
    """Mistakes of the scale 1/√H, where `width` is how the solution writes H."""
    root = f"math.sqrt({width})"
    return [
        ("no-scale", f" / {root}", "", "the scores are not scaled: divide by √H"),
        ("scale-typed-in", root, "2", "the scale of the visible test, √4 = 2, is typed in"),
        ("scale-without-root", root, width, "divided by H, or twice by √H; divide by √H once"),
    ]


def use_append(answer, keys, values, chunks):
    """Append all chunks; what came back each time, whether as views, and what is in memory."""
    steps, length = [], 0
    for k, v in chunks:
        K, V = answer.append(keys, values, length, k, v)
        length += k.shape[1]
        views = [new.untyped_storage().data_ptr() == old.untyped_storage().data_ptr()
                 for new, old in ((K, keys), (V, values))]  # fmt: skip
        steps.append({"K": K.clone(), "V": V.clone(), "views": views})
    return {"steps": steps, "reserved keys": keys, "reserved values": values}


def append_case(rng, n_kv_heads, max_seq_len, lengths, label):
    (reserved, *new) = (list(normal(rng, 2, n_kv_heads, n, 3)) for n in (max_seq_len, *lengths))
    return Case(*reserved, new, label=label)


RETURNED = "keys[:, :end], values[:, :end]"
APPEND = Task(
    grade_id="append", entry="append", drive=use_append, compare=Exact(),
    cases=lambda rng: [
        append_case(rng, 2, 9, [4, 1, 1], "a prefill and two decode steps"),
        append_case(rng, 3, 6, [1, 1, 1], "decode steps from nothing"),
        append_case(rng, 2, 6, [2, 3, 1], "a prefill in chunks, to the last position"),
        append_case(rng, 2, 3, [2, 1, 1], "one position too many"),
        append_case(rng, 2, 3, [2, 2], "a chunk of which only a part fits"),
    ],
    misconceptions=[
        ("    end = length + k.shape[1]",
         "    return torch.cat([keys[:, :length], k], dim=1), torch.cat([values[:, :length], v], "
         "dim=1)", "concat makes a new tensor: write into the reserved one, keys[:, a:b] = k"),
        ("keys[:, length:end] = k", "keys[:, : k.shape[1]] = k", "values[:, length:end] = v",
         "values[:, : v.shape[1]] = v",
         "the new rows overwrite the first ones; they begin at `length`"),
        (RETURNED, "keys, values", "what is not filled yet is returned, too"),
        (RETURNED, "keys[:, :length], values[:, :length]", "the new rows are not returned"),
        (RETURNED, "keys[:, length:end], values[:, length:end]",
         "only the new rows are returned: attention needs the past as well"),
        (RETURNED, "keys[:, :end].clone(), values[:, :end].clone()",
         "right numbers, but copies: they move the whole past at each step. Return slices"),
        ("keys[:, length:end] = k", "keys[:, length : length + 1] = k", "values[:, length:end] = v",
         "values[:, length : length + 1] = v",
         "this writes a single position; a prefill brings k.shape[1] of them"),
        ("end] = v", "end] = k", "the keys k were written as values, too"),
        ("values[:, length:end] = v", "", "only the keys are written"),
        ("end > keys.shape[1]", "length >= keys.shape[1]",
         "a chunk may fit in part only: compare its END, length + L, with the room"),
        ("end > keys.shape[1]", "False",
         "where no room is left, a token is lost: raise ValueError"),
        ("if end > keys", "if end >= keys",
         "the last position is refused: max_seq_len positions fit"),
        ("length + k.shape[1]", "length + len(k)",
         "L is the size of axis 1 of k, (n_KV, L, H); len(k) counts its heads"),
        ("keys[:, :end], values[:, :end]", "values[:, :end], keys[:, :end]",
         "the values come back first; keys, then values"),
    ])  # fmt: skip

SEEN = "positions <= queries[:, None]"
CHUNK_MASK = Task(
    grade_id="chunk-mask", entry="chunk_mask", compare=Exact(),
    cases=lambda rng: [
        Case(3, 4, label="a chunk behind a past"),
        Case(4, 0, label="a prefill"),
        Case(1, between(rng, 3, 9), label="a decode step"),
        Case(1, 0, label="the first token"),
    ],
    misconceptions=[
        (SEEN, "(positions <= queries[:, None]) | (past_len > 0)",
         "no mask behind a past: in a chunk, tokens then see their own future"),
        ("torch.arange(past_len + seq_len)", "torch.arange(seq_len)",
         "(past_len, past_len + seq_len)", "(seq_len)",
         "this is the (L, L) square of the new tokens; S = past_len + L columns are needed"),
        ("(past_len, past_len", "(past_len",
         "there is a row for every position; only the NEW tokens have one"),
        ("(past_len, past_len + seq_len)", "(seq_len)",
         "the diagonal starts at column 0; new token l is position past_len + l"),
        (SEEN, "(positions < past_len) | (positions == queries[:, None])",
         "a new token sees the past and itself, but not the new ones before it"),
        ("positions <=", "positions - 1 <=", "each new token still sees the one right after it"),
        ("<= queries", "< queries", "the new tokens do not see themselves"),
        ("<=", ">", "upside down: True marks what may be looked at"),
        ("return positions <= queries[:, None]",
         "hidden = positions > queries[:, None]\n    return "
         "torch.zeros(hidden.shape).masked_fill(hidden, -math.inf)",
         "this is the additive form, 0 and -inf; bools are needed"),
        (SEEN, "(positions <= queries[:, None]).T", "there is a row for each NEW token"),
        ("(past_len, past_len + seq_len)", "(seq_len, 2 * seq_len)",
         "the diagonal is moved by the number of NEW tokens; in front of them are past_len"),
        ("positions <= queries[:, None]", "(positions <= queries[:, None]).roll(-past_len, dims=1)",
         "the columns of the past come last; they are the earlier positions, so the first columns"),
    ])  # fmt: skip


def rope_case(rng, seq_len, past_len, head_dim, label):
    return Case(*(normal(rng, n, head_dim) for n in (seq_len, seq_len, past_len)), label=label)


PLACES = "torch.arange(past_len, past_len + len(Q))"
ROPE_CACHE = Task(
    grade_id="rope-cache", entry="cached_scores", compare=CLOSE,
    cases=lambda rng: [
        rope_case(rng, 5, 0, 4, "a prefill"),
        rope_case(rng, 3, 4, 4, "a chunk behind a past"),
        rope_case(rng, 1, between(rng, 20, 60), 8, "a decode step behind a long past"),
    ],
    misconceptions=[
        (PLACES, "torch.arange(len(Q))",
         "positions count from the start of the CALL; they continue at len(K_cache)"),
        ("(K_new, positions)", "(K_new, positions - past_len)",
         "the queries are at their places, but the new keys still count from 0"),
        ("(past_len, past_len + len(Q))", "(past_len + 1, past_len + 1 + len(Q))",
         "off by one: the cached keys have 0 to past_len - 1, so the first new one past_len"),
        (PLACES, "torch.full((len(Q),), past_len)",
         "all tokens of a chunk get the same position: they are past_len, past_len + 1, …"),
        ("rotate(K_new, positions)", "K_new", "torch.cat([K_cache, K_new])",
         "rotate(torch.cat([K_cache, K_new]), torch.arange(past_len + len(K_new)))",
         "the cached keys are rotated again at each call: rotate the new ones only"),
        ("rotate(K_new, positions)", "K_new", "Q @ K.T", "Q @ rotate(K, torch.arange(len(K))).T",
         "the new keys are cached before RoPE, but those in the cache are rotated"),
        ("rotate(Q, positions), rotate(K_new, positions)", "Q, K_new",
         "the new queries and keys are not rotated at all"),
        ("[K_cache, K_new]", "[K_new, K_cache]", "the new keys belong behind the cached ones"),
        *scales("Q.shape[-1]"),
        ("Q, K_new = rotate(Q, positions), ", "K_new = ",
         "the queries are not rotated; they have the positions of their keys"),
        ("math.sqrt(Q.shape[-1]), K", "math.sqrt(Q.shape[-1]), K_new",
         "only the new keys are returned; all S of them are cached next"),
        ("(Q, positions)", "(Q, positions - past_len)",
         "the new keys are at their places now, the queries still count from 0: use the same ones"),
        ("return Q @ K.T / math.sqrt(Q.shape[-1])",
         "hidden = torch.ones(len(Q), len(K)).triu(past_len + 1) > 0\n    return (Q @ K.T / "
         "math.sqrt(Q.shape[-1])).masked_fill(hidden, -math.inf)",
         "the scores are masked; here no mask is wanted, that was task 2"),
        ("Q, K_new = rotate", "Q, turned = rotate", "K = torch.cat([K_cache, K_new])",
         "K = torch.cat([K_cache, turned])", "math.sqrt(Q.shape[-1]), K",
         "math.sqrt(Q.shape[-1]), torch.cat([K_cache, K_new])",
         "the scores are right, but the new keys go into the cache as they came in; the cache "
         "holds keys AFTER RoPE"),
    ])  # fmt: skip


def use_decode_step(answer, X, W, prompt_len):
    """Prefill, then a step for each further token; what came back, and what project saw."""
    n_rows = []

    def project(rows):
        n_rows.append(len(rows) if rows.dim() == 2 else 0)
        return rows @ W[0], rows @ W[1], rows @ W[2]

    cache, steps = (X[:prompt_len] @ W[1], X[:prompt_len] @ W[2]), []
    for kv_len in range(prompt_len + 1, len(X) + 1):
        n_rows.clear()
        z, cache = answer.decode_step(X[:kv_len], cache, project)
        keys, values = cache
        steps.append({"z": z, "K": keys, "V": values, "rows sent through project": sum(n_rows)})
    return steps


def decode(rng, seq_len, d_model, head_dim, prompt_len, label, scale=2):
    W = [normal(rng, d_model, head_dim) / math.sqrt(d_model) for _ in range(3)]
    return Case(scale * normal(rng, seq_len, d_model), W, prompt_len, label=label)


DECODE_STEP = Task(
    grade_id="decode-step", entry="decode_step", drive=use_decode_step, compare=CLOSE,
    cases=lambda rng: [
        decode(rng, 7, 8, 4, 4, "a prompt and three steps"),
        decode(rng, 4, 6, 3, 1, "a prompt of one token"),
        decode(rng, 9, 8, 6, 4, "scores so large that exp gives infinity", scale=100),
    ],
    misconceptions=[
        ("project(X[-1:])", "(y[None] for y in project(X[-1]))",
         "project got X[-1], a vector (D,); X[-1:] is one row, (1, D)"),
        ("X[-1:]", "X", "torch.cat([cache[0], k])", "k", "torch.cat([cache[1], v])", "v",
         "softmax(q @", "softmax(q[-1:] @",
         "right numbers, but project saw every row again: send it X[-1:] only"),
        ("X[-1:]", "X[:1]", "the new token is the last row, X[-1:]"),
        ("q @ K.T", "q @ cache[0].T", "scores @ V", "scores @ cache[1]",
         "q attends to the old cache only: a token sees itself too, so append first"),
        ("q @ K.T", "q @ k.T", "scores @ V", "scores @ v",
         "q attends to its own k alone: it has to see all L + 1 keys"),
        ("@ V, (K, V)", "@ V, cache", "the old cache is returned"),
        ("torch.cat([cache[0], k])", "k", "torch.cat([cache[1], v])", "v",
         "the cache was replaced by the new key and value: append to it"),
        ("[cache[0], k]", "[k, cache[0]]", "[cache[1], v]", "[v, cache[1]]",
         "the new key and value are in front of the old ones: row s has to be position s"),
        ("@ V, (K, V)", "@ V, (V, K)", "the cache is (K, V), not (V, K)"),
        ("q @ K.T / math.sqrt(q.shape[-1])",
         "(q @ K.T).masked_fill(torch.arange(len(K)) > 0, -math.inf)",
         "a causal mask of one row leaves the first key only: the new token sees all"),
        ("dim=-1", "dim=0",
         "softmax over dim=0 has one entry per column: it runs over the keys, dim=-1"),
        *scales("q.shape[-1]"),
        ("scores @ V", "scores @ K", "the weights gather the values, not the keys"),
        ("math.sqrt(q.shape[-1])", "math.sqrt(X.shape[-1])",
         "the scores are divided by √D, the width of X; H is the width of a head"),
        ("X[-1:]", "X[-2:-1]", "off by one: the new token is the LAST row of X"),
        ("math.sqrt(q.shape[-1])", "math.sqrt(len(K))",
         "the scores are divided by the root of the number of keys; the scale is √H, whatever is "
         "cached"),
    ])  # fmt: skip


def honest(prompt_len, n):
    return [(prompt_len, 0)] + [(1, prompt_len + i) for i in range(n - 1)]


def cache_test_cases(rng):
    L, n = between(rng, 4, 20), between(rng, 5, 9)
    ids = rng.permutation(98)[:n].tolist()
    other, run, recomputed = [ids[0], 99, *ids[2:]], honest(L, n), [(L + i, 0) for i in range(n)]
    return [
        Case(run, L, ids, ids, label="an honest run"),
        Case(honest(L, 1), L, ids[:1], ids[:1], label="an honest run of one token"),
        Case(honest(1, n), 1, ids, ids, label="an honest run from a prompt of one token"),
        Case(run, L, other, ids, label="wrong tokens"),
        Case(recomputed, L, other, ids, label="wrong tokens, computed again"),
        Case(honest(L, n - 1), L, ids[:-1], ids, label="too few tokens (zip would not see that)"),
        Case(run, L, ids[1:] + ids[:1], ids, label="the right tokens in another order"),
        *(Case(calls, L, ids, ids, label=label) for label, calls in {
            "everything computed again": recomputed,
            "only the last step honest": [run[0], *recomputed[1:-1], run[-1]],
            "only the first step honest": [*run[:2], *recomputed[2:]],
            "a past that does not grow": [run[0]] + [(1, L)] * (n - 1),
            "one call too many": [*run, (L + n - 1, 0)],
            "one step too many": [*run, (1, L + n - 1)],
            "no prefill": run[1:],
            "a prefill behind a cache that is not empty": [(L, 3), *run[1:]],
            "one call too few": run[:-1],
            "steps in another order": [run[0], run[2], run[1], *run[3:]],
            "a prefill in two parts": [(2, 0), (L - 2, 2), *run[1:]],
            "a prefill of a part of the prompt": [(L - 1, 0), *run[1:]],
            "a prompt that was cached before": [(1, L - 1), *run[1:]],
        }.items()),
    ]  # fmt: skip


WANTED = "list(calls) == wanted"
CACHE_TEST = Task(
    grade_id="cache-test", entry="cache_was_used", cases=cache_test_cases, compare=Exact(),
    misconceptions=[
        ("len(naive_ids) - 1", "len(cached_ids) - 1", "cached_ids == naive_ids",
         "all(a == b for a, b in zip(cached_ids, naive_ids))",
         "zip stops at the shorter list, so tokens that are missing go unseen"),
        (WANTED, "sum(n for n, _ in calls) == prompt_len + len(naive_ids) - 1",
         "this counts tokens over all calls; each call has its own length and past"),
        ("cached_ids == naive_ids", "set(cached_ids) == set(naive_ids)",
         "the tokens are compared as sets; their order and number count, too"),
        (" and list(calls) == wanted", "",
         "this compares tokens only, and they are right without any cache, too"),
        ("cached_ids == naive_ids and ", "",
         "this looks at the calls only: a cache that gives wrong tokens passes"),
        (WANTED, "all(seq_len == 1 for seq_len, _ in calls[1:])",
         "what was cached before each step is not looked at: a past has to grow"),
        (WANTED, "(calls[-1][0] == 1 or len(calls) == 1)",
         "only the last call is looked at; the others may compute everything again"),
        (WANTED, "list(calls[: len(wanted)]) == wanted",
         "calls beyond the expected ones are not looked at (zip stops at the shorter list)"),
        (WANTED, "len(calls) == len(naive_ids)",
         "the naive loop makes just as many calls: look at how many tokens each of them saw"),
        ("range(len(naive_ids) - 1)", "range(len(naive_ids))",
         "n tokens take n - 1 decode steps: the prefill gives the first token"),
        (WANTED, "len(calls) == len(wanted) and list(calls)[1:] == wanted[1:]",
         "the first call has to see the whole prompt, behind an empty cache"),
        (WANTED, "list(calls) in [[(prompt_len, n), *wanted[1:]] for n in range(99)]",
         "the past of the FIRST call has to be 0: its cache is empty"),
        (WANTED,
         "all(past == sum(n for n, _ in calls[:i]) for i, (_, past) in enumerate(calls)) and sum(n "
         "for n, _ in calls) == prompt_len + len(naive_ids) - 1",
         "the calls follow one another and add up, but the prefill has to be ONE call"),
        ("list(calls) == wanted", "all(seq_len == 1 for seq_len, _ in calls[1:2])",
         "this looks at the first decode step only; a run may compute everything again after it"),
    ])  # fmt: skip


def use_generate(answer, tables, W, prompt_ids, max_new_tokens, end_id):
    """The tokens of a model with these weights, and of each pass: how many rows, the last state."""
    n_rows, states = [], []

    class Model:
        n_layers = len(W)

        def embed(self, token_ids):
            return tables[0][token_ids]

        def qkv(self, layer, X, positions):
            if layer == 0:
                n_rows.append(len(X))
            heads = (X + tables[1][positions]) @ W[layer, :3]  # (3, L, D)
            return heads.unflatten(-1, (2, -1)).transpose(1, 2)  # (3, n_H, L, H)

        def finish(self, layer, X, Z):
            return X + (Z.transpose(0, 1).flatten(1) @ W[layer, 3]).tanh()

        def logits(self, X):
            states.append(X.reshape(-1, X.shape[-1])[-1])
            return X @ tables[2]

    new_ids = answer.generate(Model(), prompt_ids, max_new_tokens, end_id)
    return {"tokens": new_ids, "tokens of each pass": n_rows, "last states": states}


def generation(rng, prompt_len, max_new_tokens, end_id, label, n_layers=2, d_model=8):
    tables = [normal(rng, n, d_model) for n in (5, 400)] + [normal(rng, d_model, 5)]
    prompt_ids = [max(end_id, 0), *(between(rng, 0, 5) for _ in range(prompt_len - 1))]
    W = normal(rng, n_layers, 4, d_model, d_model)
    return Case(tables, W, prompt_ids, max_new_tokens, end_id, label=label)


# Without any weights the next token is the last one + 1.
FOLLOW = [torch.eye(5, 8).double(), torch.eye(40, 8).double(), torch.eye(8, 5).double().roll(1, 1)]
GENERATE = Task(
    grade_id="generate", entry="generate", drive=use_generate, compare=CLOSE,
    cases=lambda rng: [
        generation(rng, 6, 9, -1, "a prompt and nine tokens", n_layers=3),
        generation(rng, 1, 6, -1, "a prompt of one token"),
        generation(rng, 7, 1, -1, "a single new token"),
        generation(rng, 3, 12, -1, "wider heads", d_model=20),
        # Of five tokens, one or the other soon ends a text.
        *(generation(rng, 4, 12, end_id, f"end token {end_id}, also in the prompt")
          for end_id in range(5)),
        Case(FOLLOW, torch.zeros(2, 4, 8, 8).double(), [3, 1], 4, 2, label="one token, the end"),
    ],
    misconceptions=[
        ("ids = [int(model.logits(X[-1:]).argmax())]\n        new_ids += ids",
         "new_ids.append(int(model.logits(X[-1:]).argmax()))\n        ids, past_len = "
         "list(prompt_ids) + new_ids, 0", "if ids[0] == end_id", "if new_ids[-1] == end_id",
         "right tokens, but the whole text went through the model for each of them"),
        ("past_len, past_len + len(ids)", "len(ids)",
         "positions count from 0 in every pass; they continue behind the cached ones"),
        ("scores.masked_fill(hidden_keys, -math.inf)", "scores",
         "in the prefill the tokens see their own future: mask it"),
        *scales("q.shape[-1]"),
        ("caches[layer][0]", "caches[-1][0]", "caches[layer][1]", "caches[-1][1]",
         "all layers share one cache; each has keys and values of its own"),
        ("math.sqrt(q.shape[-1])", "math.sqrt(X.shape[-1])",
         "the scores are divided by √D; H is the width of one head"),
        ("X[-1:]", "X[:1]", "the next token comes out of the LAST row of the last layer"),
        ("new_ids += ids", "new_ids += [i for i in ids if i != end_id]",
         "the end token belongs to the result"),
        ("ids[0] == end_id or ", "", "end_id is ignored: the text ends with it"),
        ("len(new_ids) == max_new_tokens", "len(new_ids) > max_new_tokens",
         "one token more than max_new_tokens"),
        ("len(new_ids) == max_new_tokens:\n            return new_ids",
         "len(new_ids) > max_new_tokens:\n            return new_ids[:max_new_tokens]",
         "right tokens, but the last one went through the model for nothing"),
        ("return new_ids", "return list(prompt_ids) + new_ids",
         "the prompt is in the result; return the new tokens only"),
        ("torch.arange(past_len, past_len + len(ids))",
         "torch.arange(past_len + (past_len > 0), past_len + (past_len > 0) + len(ids))",
         "off by one: behind past_len cached tokens, the new one has the position past_len"),
        ("ids[0] == end_id or", "ids[0] == end_id and new_ids[1:] or",
         "the first new token, out of the prefill, is not compared with end_id"),
        ("past_len = [], list(prompt_ids), 0",
         "past_len = [], list(prompt_ids), 0\n    if end_id in prompt_ids:\n        return []",
         "end_id in the PROMPT ends the text before it begins; only a new token can end it"),
        ("ids[0] == end_id", "end_id in [*prompt_ids, *new_ids]",
         "end_id is looked for in the prompt, too, which stops after one token"),
        ("        ids = [int(",
         "        if new_ids[-1:] == [end_id]:\n            return new_ids\n        ids = [int(",
         "ids[0] == end_id or ", "",
         "the tokens are right, but end_id went through the model, too, before the loop stopped"),
    ])  # fmt: skip

TASKS = [APPEND, CHUNK_MASK, ROPE_CACHE, DECODE_STEP, CACHE_TEST, GENERATE]
