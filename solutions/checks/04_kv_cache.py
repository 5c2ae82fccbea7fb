"""Hidden checks of exercise 04: append, chunk mask, RoPE, decode step, a test, a whole generate."""

import math

import torch

from grader.checks import Case, Close, Exact, Task, between, normal

CLOSE = Close(rtol=1e-5, atol=1e-7)  # cases are float64; an answer may compute its scale in float32


def scales(width):
    """Mistakes of the scale 1/√H, where `width` is how the solution writes H."""
    return (f" / math.sqrt({width})", {
        "": "the scores are not scaled: divide by √H",
        f" / ({width} / 2)": "divided by H / 2, which is √H where H = 4 only; divide by √H",
        f" / {width}": "divided by H, or twice by √H; divide by √H once"})  # fmt: skip


def use_append(answer, keys, values, chunks):
    """Append all chunks; what came back each time, whether as views, and what is in memory."""
    steps, length = [], 0
    for k, v in chunks:
        K, V = answer.append(keys, values, length, k, v)
        length += k.shape[1]
        views = all(new.untyped_storage().data_ptr() == old.untyped_storage().data_ptr()
                    for new, old in ((K, keys), (V, values)))  # fmt: skip
        steps.append({"K": K.clone(), "V": V.clone(), "both are views, not copies": views})
    return {"steps": steps, "reserved keys": keys, "reserved values": values}


def append_case(rng, n_kv_heads, max_seq_len, lengths, label):
    (reserved, *new) = (list(normal(rng, 2, n_kv_heads, n, 3)) for n in (max_seq_len, *lengths))
    return Case(*reserved, new, label=label)


APPEND = Task(
    grade_id="append", drive=use_append, compare=Exact(),
    cases=lambda rng: [
        append_case(rng, 3, 9, [4, 1, 1], "a prefill, two steps: heads are axis 0, L is k.shape[1];"
                    " the rest stays"),
        append_case(rng, 3, 6, [1, 1, 1], "decode steps, in all heads (axis 0)"),
        append_case(rng, 2, 6, [2, 3, 1], "a prefill in chunks, to the last position"),
        append_case(rng, 2, 3, [2, 1, 1], "one position too many: ValueError"),
        append_case(rng, 2, 3, [2, 2], "a chunk of which only a part fits: ValueError"),
    ], misconceptions=[
        ("    end = length + k.shape[1]", {
         "    return torch.cat([keys[:, :length], k], dim=1), torch.cat([values[:, :length], v], "
         "dim=1)"}),
        ("keys[:, length:end] = k", "keys[:, : k.shape[1]] = k", "values[:, length:end] = v",
         {"values[:, : v.shape[1]] = v"}),
        ("keys[:, length:end] = k", "keys[:, length : length + 1] = k", "values[:, length:end] = v",
         "values[:, length : length + 1] = v", "one position is written; a prefill has k.shape[1]"),
        ("keys[:, :end], values[:, :end]", {"keys, values", "keys[:, :length], values[:, :length]",
         "keys[:, length:end], values[:, length:end]",
         "keys[:, :end].clone(), values[:, :end].clone()", "values[:, :end], keys[:, :end]"}),
        ("end > keys.shape[1]", {
         "length >= keys.shape[1]": "a chunk may fit in part: compare length + L",
         "False": "where no room is left, a token is lost: raise ValueError",
         "end >= keys.shape[1]": "the last position is refused: max_seq_len positions fit"}),
        ("keys[:, length:end] = k", "keys[0, length:end] = k[0]", "values[:, length:end] = v",
         "values[0, length:end] = v[0]", "only head 0 is written; axis 0 holds all n_KV heads"),
        ("values[:, length:end] = v", {"values[:, length:end] = k", "",
         "values[:, length:end] = v; keys[:, end:] = 0",
         "values[:, length:] = 0; values[:, length:end] = v"}),
    ])  # fmt: skip

CHUNK_MASK = Task(
    grade_id="chunk-mask", compare=Exact(),
    cases=lambda rng: [
        Case(3, 4, label="a chunk of three: a token sees the past, itself, and none after it"),
        Case(4, 0, label="a prefill: each token sees itself and those before it"),
        Case(1, between(rng, 3, 9), label="a decode step"),
        Case(1, 0, label="the first token"),
    ], misconceptions=[
        ("positions <= queries[:, None]", {"(positions <= queries[:, None]) | (past_len > 0)",
         "(positions < past_len) | (positions == queries[:, None])", "positions - 1 <= queries[:, "
         "None]", "positions < queries[:, None]", "positions > queries[:, None]",
         "torch.zeros(seq_len, len(positions)).masked_fill(positions > queries[:, None], "
         "-math.inf)", "(positions <= queries[:, None]).T"}),
        ("torch.arange(past_len + seq_len)", "torch.arange(seq_len)",
         "(past_len, past_len + seq_len)", {"(seq_len)"}),
        ("(past_len, past_len + seq_len)", {"(past_len + seq_len)", "(seq_len)"}),
    ])  # fmt: skip


def rope_case(rng, seq_len, past_len, head_dim, label):
    return Case(*(normal(rng, n, head_dim) for n in (seq_len, seq_len, past_len)), label=label)


ROPE_CACHE = Task(
    grade_id="rope-cache", entry="cached_scores", compare=CLOSE,
    cases=lambda rng: [
        rope_case(rng, 5, 0, 4, "a prefill: positions 0, 1, …"),
        rope_case(rng, 3, 4, 4, "a chunk: positions past_len, past_len + 1, …"),
        rope_case(rng, 1, between(rng, 20, 60), 8, "a decode step after a long past: scale √H"),
    ], misconceptions=[
        ("torch.arange(past_len, past_len + len(Q))", {"torch.arange(len(Q))": "",
         "torch.arange(past_len + 1, past_len + 1 + len(Q))": "",
         "torch.full((len(Q),), past_len)": "a chunk's tokens are past_len, past_len + 1, …"}),
        ("(K_new, positions)", {"(K_new, positions - past_len)"}),
        ("(Q, positions)", {"(Q, positions - past_len)"}),
        ("rotate(K_new, positions)", "K_new", "torch.cat([K_cache, K_new])",
         {"rotate(torch.cat([K_cache, K_new]), torch.arange(past_len + len(K_new)))"}),
        ("rotate(K_new, positions)", "K_new", "Q @ K.T", {"Q @ rotate(K, torch.arange(len(K))).T"}),
        ("rotate(Q, positions), rotate(K_new, positions)", "Q, K_new", "nothing new is rotated"),
        ("[K_cache, K_new]", "[K_new, K_cache]", "the new keys come after the cached ones"),
        scales("Q.shape[-1]"),
        ("Q, K_new = rotate(Q, positions), ", "K_new = ",
         "the queries are not rotated, only the keys"),
        ("math.sqrt(Q.shape[-1]), K", {"math.sqrt(Q.shape[-1]), K_new"}),
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
        steps.append({"z": z, "K": keys, "V": values, "rows that project got, in all": sum(n_rows)})
    return steps


def decode(rng, seq_len, d_model, head_dim, prompt_len, label, scale=2):
    W = [normal(rng, d_model, head_dim) / math.sqrt(d_model) for _ in range(3)]
    return Case(scale * normal(rng, seq_len, d_model), W, prompt_len, label=label)


DECODE_STEP = Task(
    grade_id="decode-step", drive=use_decode_step, compare=CLOSE,
    cases=lambda rng: [
        decode(rng, 7, 8, 4, 4, "a prompt and three steps: append, attend to all, scale √H"),
        decode(rng, 4, 6, 3, 1, "a prompt of one token"),
        decode(rng, 9, 8, 6, 4, "scores so large that exp is infinite: softmax", scale=100),
    ], misconceptions=[
        ("X[-1:]", "X", "torch.cat([cache[0], k])", "k", "torch.cat([cache[1], v])", "v",
         "softmax(q @", {"softmax(q[-1:] @"}),
        ("X[-1:]", {"X[:1]", "X[-2:-1]"}),
        ("q @ K.T", "q @ cache[0].T", "scores @ V", "scores @ cache[1]",
         "q attends to the old cache only: a token sees itself too, so append first"),
        ("q @ K.T", "q @ k.T", "scores @ V", {"scores @ v"}),
        ("@ V, (K, V)", {"@ V, cache", "@ V, (V, K)"}),
        ("@ V, (K, V)", "@ K, (K, V)", "the weights gather the values, not the keys"),
        ("torch.cat([cache[0], k])", "k", "torch.cat([cache[1], v])", {"v"}),
        ("[cache[0], k]", "[k, cache[0]]", "[cache[1], v]", {"[v, cache[1]]"}),
        ("dim=-1", {"dim=0"}),
        scales("q.shape[-1]"),
        ("math.sqrt(q.shape[-1])", {"math.sqrt(X.shape[-1])", "math.sqrt(len(K))"}),
        ("q @ K.T", {"(q @ K.T).masked_fill(torch.arange(len(K)) > 0, -math.inf)"}),
        ("q, k, v = project(X[-1:])", {"q, k, v = (project(X[-1:])[i] for i in range(3))"}),
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
        Case(honest(L, n - 1), L, ids[:-1], ids, label="too few tokens: compare whole lists"),
        Case(run, L, ids[1:] + ids[:1], ids, label="the right tokens in another order"),
        *(Case(run, L, new, ids, label="not as many tokens as the naive ones: zip misses that")
          for new in (ids[:-1], [*ids, 99])),
        *(Case(calls, L, ids, ids, label=f"no honest run: {label}") for label, calls in {
            "everything computed again": recomputed,
            "only the last step honest": [run[0], *recomputed[1:-1], run[-1]],
            "only the first step honest": [*run[:2], *recomputed[2:]],
            "a past that does not grow": [run[0]] + [(1, L)] * (n - 1),
            "a past that grows, but begins with L + 1": [run[0], *honest(L + 1, n)[1:]],
            "a past that grows by two": [run[0]] + [(1, L + 2 * i) for i in range(n - 1)],
            "two tokens in each step": [run[0], *((2, past) for _, past in run[1:])],
            "one call too many": [*run, (L + n - 1, 0)],
            "one step too many (n tokens take n calls)": [*run, (1, L + n - 1)],
            "no prefill": run[1:],
            "a prefill after a cache that is not empty": [(L, 3), *run[1:]],
            "one call too few": run[:-1],
            "steps in another order": [run[0], run[2], run[1], *run[3:]],
            "a prefill in two parts": [(2, 0), (L - 2, 2), *run[1:]],
            "a prefill of a part: its length is prompt_len": [(L - 1, 0), *run[1:]],
            "a part of the prompt alone: compare the first call with prompt_len": honest(L - 1, n),
            "a prompt that was cached before": [(1, L - 1), *run[1:]],
        }.items()),
    ]  # fmt: skip


CACHE_TEST = Task(
    grade_id="cache-test", entry="cache_was_used", cases=cache_test_cases, compare=Exact(),
    misconceptions=[
        ("cached_ids == naive_ids", "all(a == b for a, b in zip(cached_ids, naive_ids))",
         "zip stops at the shorter list: compare the lists, cached_ids == naive_ids"),
        ("cached_ids == naive_ids and ", {""}),
        (" and list(calls) == wanted", {""}),
        ("(prompt_len, 0)", "(calls[0][0], 0)", "(1, prompt", {"(1, calls[0][0] + 0 * prompt"}),
        ("list(calls) == wanted", {"len(calls) == len(naive_ids)": "",
         "sum(n for n, _ in calls) == prompt_len + len(naive_ids) - 1":
         "this counts tokens over all calls; each call has its own length and past",
         "all(seq_len == 1 for seq_len, _ in calls[1:])": "each step's past has to grow",
         "len(calls) == len(wanted) and list(calls)[1:] == wanted[1:]":
         "the first call has to see the whole prompt, after an empty cache",
         "all(past == sum(n for n, _ in calls[:i]) for i, (_, past) in enumerate(calls)) and sum(n "
         "for n, _ in calls) == prompt_len + len(naive_ids) - 1": "the calls follow one another "
         "and add up, but the prefill has to be ONE call"}),
    ])  # fmt: skip


def use_generate(answer, tables, W, prompt_ids, max_new_tokens, end_id):
    """The tokens of a model with these weights, and of each pass: how many rows, the last state."""
    n_rows, states = [], []

    class Model:
        n_layers = len(W)

        def embed(self, token_ids):
            return tables[0][token_ids]

        def qkv(self, layer, X, positions):
            assert type(positions).__name__ == "Tensor", "qkv needs the positions as a tensor"
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
    are_tensors = any(type(token_id).__name__ == "Tensor" for token_id in new_ids)
    return {"tokens": new_ids, "some are tensors, not ints": are_tensors,
            "tokens of each pass": n_rows, "last states": states}  # fmt: skip


def generation(rng, prompt_len, max_new_tokens, end_id, label, n_layers=2, d_model=8):
    tables = [normal(rng, n, d_model) for n in (5, 400)] + [normal(rng, d_model, 5)]
    prompt_ids = [*(between(rng, 0, 5) for _ in range(prompt_len - 1)), max(end_id, 0)]
    W = normal(rng, n_layers, 4, d_model, d_model)
    return Case(tables, W, prompt_ids, max_new_tokens, end_id, label=label)


# Without any weights the next token is the last one + 1.
FOLLOW = [torch.eye(5, 8).double(), torch.eye(40, 8).double(), torch.eye(8, 5).double().roll(1, 1)]
GENERATE = Task(
    grade_id="generate", drive=use_generate, compare=CLOSE,
    cases=lambda rng: [
        generation(rng, 6, 9, -1, "another model: √H, n_layers, n_H from it", n_layers=3),
        generation(rng, 1, 6, -1, "a prompt of one token"),
        generation(rng, 7, 1, -1, "a single new token"),
        generation(rng, 3, 12, -1, "wider heads, scaled by √H", d_model=20),
        *(generation(rng, 4, 12, end_id, "only a NEW end token ends it, not the prompt's last")
          for end_id in range(5)),
        *(Case(FOLLOW, torch.zeros(2, 4, 8, 8).double(), [3, 1], n, end, label="end_id is "
               "kept, as the first and as the last token") for n, end in ((4, 2), (1, 2), (3, 4))),
    ], misconceptions=[
        ("ids = [int(model.logits(X[-1:]).argmax())]\n        new_ids += ids",
         "new_ids.append(int(model.logits(X[-1:]).argmax()))\n        ids, past_len = "
         "list(prompt_ids) + new_ids, 0", "if ids[0] == end_id", {"if new_ids[-1] == end_id"}),
        ("past_len, past_len + len(ids)", {
         "len(ids)": "positions count from 0 in every pass; they continue after the cached ones",
         "past_len + (past_len > 0), past_len + (past_len > 0) + len(ids)":
         "off by one: after past_len cached tokens, the new position is past_len"}),
        ("scores.masked_fill(hidden_keys, -math.inf)", "scores",
         "the prefill sees its own future: mask it"),
        ("chunk_mask(len(ids), past_len)", "(torch.ones(len(ids), past_len + len(ids)).tril() > 0)",
         "a mask for a square shows a decode step one key only; it sees all of the past"),
        scales("q.shape[-1]"),
        ("caches[layer][0]", "caches[-1][0]", "caches[layer][1]", "caches[-1][1]",
         "all layers share one cache; each needs its own keys and values"),
        ("math.sqrt(q.shape[-1])", {
         "math.sqrt(X.shape[-1])": "√D is the model's width; √H a head's",
         "math.sqrt(6)": "√6 belongs to TinyModel; H is the last axis of this model's q",
         "math.sqrt(k.shape[1])": "divided by the root of the number of keys; it is √H"}),
        ("range(model.n_layers)", "range(2)", "two layers belong to TinyModel: model.n_layers"),
        ("X[-1:]", "X[:1]", "the next token comes out of the LAST row of the last layer"),
        ("new_ids += ids", {"new_ids += [i for i in ids if i != end_id]"}),
        ("ids[0] == end_id or", {"": "",
         "ids[0] == end_id and new_ids[1:] or": "the FIRST new token can be the end, too",
         "end_id in [*prompt_ids, *new_ids] or": "end_id in the prompt ends nothing"}),
        ("len(new_ids) == max_new_tokens", "len(new_ids) > max_new_tokens", "one token too many"),
        ("ids[0] == end_id or ", "", "return new_ids",
         {"return new_ids[: [*new_ids, end_id].index(end_id) + 1]"}),
        ("len(new_ids) == max_new_tokens:\n            return new_ids",
         {"len(new_ids) > max_new_tokens:\n            return new_ids[:max_new_tokens]"}),
        ("return new_ids", "return list(prompt_ids) + new_ids", "the prompt is in the result, too"),
        ("past_len = [], list(prompt_ids), 0",
         "past_len = [], list(prompt_ids), 0\n    if end_id in prompt_ids:\n        return []",
         "end_id in the PROMPT ends nothing; only a new one does"),
        ("        ids = [int(", "        if new_ids[-1:] == [end_id]:\n            return "
         "new_ids\n        ids = [int(", "ids[0] == end_id or ", "", "the tokens are right, but "
         "end_id went through the model, too, before the loop stopped"),
        ("ids = [int(model.logits(X[-1:]).argmax())]", "ids = [model.logits(X[-1:]).argmax()]",
         "the tokens are tensors; return a list of ints: int(...)"),
    ])  # fmt: skip
