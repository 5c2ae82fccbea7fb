"""Hidden checks of exercise 04: bytes, append, chunk mask, RoPE positions, decode step, a test."""

import math

import torch
import torch.nn.functional as F

from grader.checks import Case, Close, Exact, Misconception, Task

CLOSE = Close(rtol=1e-5, atol=1e-7)  # cases are float64; an answer may compute its scale in float32


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def between(rng, low, high):
    return int(rng.integers(low, high))


# --- Task 1: how big is it? -------------------------------------------------------------------


def kv_cache_bytes(spec, seq_len, batch_size, bits):
    bits_of_a_vector = spec["head_dim"] * bits
    vectors = 2 * spec["n_layers"] * spec["n_kv_heads"] * batch_size * seq_len
    return vectors * bits_of_a_vector // 8


def max_context(spec, memory_gb, batch_size, bits):
    return memory_gb * 10**9 // kv_cache_bytes(spec, 1, batch_size, bits)


def both(bytes_of):
    """Who has a wrong formula of the bytes uses it in both functions."""
    return {
        "kv_cache_bytes": bytes_of,
        "max_context": lambda spec, gb, batch, bits: gb * 10**9 // bytes_of(spec, 1, batch, bits),
    }


def only_context(memory=lambda gb: gb * 10**9, rounding=math.floor, batch=lambda batch: batch):
    def wrong(spec, memory_gb, batch_size, bits):
        return rounding(memory(memory_gb) / kv_cache_bytes(spec, 1, batch(batch_size), bits))

    return {"max_context": wrong}


def changed_spec(**changes):
    """kv_cache_bytes of another model: each change is a function of the real one."""

    def wrong(spec, *rest):
        new = {name: change(spec) for name, change in changes.items()}
        return kv_cache_bytes({**spec, **new}, *rest)

    return wrong


def kv_bytes_cases(rng):
    def spec(n_layers, n_kv_heads, group, head_dim, d_model):
        return {"n_layers": n_layers, "d_model": d_model, "n_heads": n_kv_heads * group,
                "n_kv_heads": n_kv_heads, "head_dim": head_dim}  # fmt: skip

    small = spec(between(rng, 3, 9), 2, 3, 10, 64)
    grouped = spec(between(rng, 20, 50), 8, 4, 128, 4096)
    wide = spec(between(rng, 20, 50), 4, 4, 128, 1024)
    contexts = [
        Case(grouped, between(rng, 8, 80), between(rng, 2, 9), 16, entry="max_context",
             label="the longest context"),
        Case(wide, between(rng, 2, 9), between(rng, 3, 9), 4, entry="max_context",
             label="the longest context in 4 bits"),
        # 40,000 bytes for a position of both sequences: nothing of the memory is left over
        Case(spec(25, 2, 2, 100, 500), 3, 2, 16, entry="max_context",
             label="a memory that is used up exactly"),
    ]  # fmt: skip
    sizes = [
        Case(small, between(rng, 3, 99), 1, 16, label="one sequence"),
        Case(grouped, between(rng, 99, 9999), between(rng, 2, 99), 16, label="a batch"),
        Case(wide, between(rng, 99, 9999), between(rng, 2, 99), 8, label="8 bits an element"),
        Case(wide, between(rng, 99, 9999), 3, 4, label="4 bits an element"),
        Case(small, 1, 5, 32, label="a single position"),
    ]
    return [*sizes, *contexts]


KV_BYTES = Task(
    grade_id="kv-bytes",
    entry=("kv_cache_bytes", "max_context"),
    points=3,
    cases=kv_bytes_cases,
    reference={"kv_cache_bytes": kv_cache_bytes, "max_context": max_context},
    compare=Close(rtol=1e-9),
    misconceptions=[
        Misconception(
            "keys-only",
            both(lambda *args: kv_cache_bytes(*args) // 2),
            "the factor 2 is missing: each token leaves a key AND a value",
        ),
        Misconception(
            "query-heads",
            both(changed_spec(n_kv_heads=lambda spec: spec["n_heads"])),
            "counted with the n_heads query heads; queries are never cached. Keys and values exist "
            "for the n_kv_heads only",
        ),
        Misconception(
            "model-width",
            both(changed_spec(n_kv_heads=lambda spec: 1, head_dim=lambda spec: spec["d_model"])),
            "counted with D, as on the slide; with grouped-query attention the cached vectors of a "
            "token are only n_kv_heads · H wide",
        ),
        Misconception(
            "one-head",
            both(changed_spec(n_kv_heads=lambda spec: 1)),
            "counted for a single head; there are n_kv_heads of them",
        ),
        Misconception(
            "one-layer",
            both(changed_spec(n_layers=lambda spec: 1)),
            "counted for a single layer; each of the n_layers has its own keys and values",
        ),
        Misconception(
            "bits-for-bytes",
            both(lambda *args: 8 * kv_cache_bytes(*args)),
            "these are bits; a byte has 8 of them, so FP16 is 2 bytes an element, not 16",
        ),
        Misconception(
            "always-fp16",
            both(lambda spec, seq_len, batch, bits: kv_cache_bytes(spec, seq_len, batch, 16)),
            "always counted with 2 bytes an element; `bits` says how large an element is",
        ),
        Misconception(
            "one-sequence",
            both(lambda spec, seq_len, batch, bits: kv_cache_bytes(spec, seq_len, 1, bits)),
            "batch_size is forgotten: every sequence has its own keys and values (the weights are "
            "what a batch shares)",
        ),
        Misconception(
            "one-position",
            {"kv_cache_bytes": lambda s, seq_len, b, bits: kv_cache_bytes(s, 1, b, bits)},
            "these are the bytes of one position; multiply by seq_len",
        ),
        Misconception(
            "returns-gigabytes",
            {"kv_cache_bytes": lambda *args: kv_cache_bytes(*args) / 1e9},
            "kv_cache_bytes returns GB; its name says bytes",
        ),
        Misconception(
            "gib-for-gb",
            only_context(memory=lambda gb: gb * 2**30),
            "max_context counts in GiB, 2³⁰ bytes; a GB has 10⁹. It is 7 % too much, enough to run "
            "out of memory",
        ),
        Misconception(
            "rounds-up",
            only_context(rounding=math.ceil),
            "max_context rounds up: the last position does not fit any more",
        ),
        Misconception(
            "context-of-one-sequence",
            only_context(batch=lambda batch: 1),
            "max_context gives all the memory to one sequence; batch_size of them share it",
        ),
    ],
)

# --- Task 2: append ---------------------------------------------------------------------------


def append(keys, values, length, k, v):
    seq_len = k.shape[1]
    if keys.shape[1] - length < seq_len:
        raise ValueError("no room")
    for reserved, new in ((keys, k), (values, v)):
        reserved.narrow(1, length, seq_len).copy_(new)
    return keys.narrow(1, 0, length + seq_len), values.narrow(1, 0, length + seq_len)


def use_append(answer, keys, values, chunks):
    """Append all chunks; what came back each time, whether as views, and what stands in memory."""
    steps, length = [], 0
    for k, v in chunks:
        K, V = answer.append(keys, values, length, k, v)
        length += k.shape[1]
        views = [
            new.untyped_storage().data_ptr() == old.untyped_storage().data_ptr()
            for new, old in ((K, keys), (V, values))
        ]
        steps.append({"K": K.clone(), "V": V.clone(), "views": views})
    return {"steps": steps, "reserved keys": keys, "reserved values": values}


def append_with(
    start=lambda length, end, room: length,
    write=lambda reserved, start, new: reserved[:, start : start + new.shape[1]].copy_(new),
    read=lambda reserved, length, end, new: reserved[:, :end],
    second=lambda k, v: v,
):
    """An append with one thing changed."""

    def wrong(keys, values, length, k, v):
        end, room = length + k.shape[1], keys.shape[1]
        if end > room:
            raise ValueError("no room")
        pairs = ((keys, k), (values, second(k, v)))
        for reserved, new in pairs:
            write(reserved, start(length, end, room), new)
        return tuple(read(reserved, length, end, new) for reserved, new in pairs)

    return wrong


def only_keys_written(keys, values, length, k, v):
    K, _ = append(keys, values.clone(), length, k, v)
    return K, values[:, : K.shape[1]]


def no_room_check(keys, values, length, k, v):
    end = length + k.shape[1]
    keys[:, length:end], values[:, length:end] = k, v
    return keys[:, :end], values[:, :end]


def append_cases(rng):
    def case(n_kv_heads, max_seq_len, head_dim, lengths, label):
        keys, values = (normal(rng, n_kv_heads, max_seq_len, head_dim) for _ in range(2))
        chunks = [
            tuple(normal(rng, n_kv_heads, length, head_dim) for _ in range(2)) for length in lengths
        ]
        return Case(keys, values, chunks, label=label)

    return [
        case(2, 9, 4, [4, 1, 1], "a prefill and two decode steps"),
        case(3, 6, 2, [1, 1, 1], "decode steps from nothing"),
        case(1, 8, 3, [2, 3, 1], "a prefill in chunks"),
        case(2, 5, 3, [4, 1], "filled to the last position"),
        case(2, 3, 2, [2, 1, 1], "one position too many"),
    ]


APPEND = Task(
    grade_id="append",
    entry="append",
    points=3,
    cases=append_cases,
    reference=append,
    drive=use_append,
    compare=Exact(),
    misconceptions=[
        Misconception(
            "concat",
            lambda keys, values, length, k, v: (
                torch.cat([keys[:, :length], k], dim=1),
                torch.cat([values[:, :length], v], dim=1),
            ),  # without a check for room: a concat always has some
            "concat makes a new tensor and leaves the reserved one as it was: write into it, "
            "keys[:, a:b] = k",
        ),
        Misconception(
            "writes-at-the-start",
            append_with(start=lambda length, end, room: 0),
            "the new rows overwrite the first ones: they go behind the filled part, from `length` "
            "on",
        ),
        Misconception(
            "writes-at-the-end",
            append_with(start=lambda length, end, room: room - end + length),
            "the new rows are written at the very end of the reserved room; they go right behind "
            "the filled part, from `length` on",
        ),
        Misconception(
            "returns-everything",
            append_with(read=lambda reserved, length, end, new: reserved),
            "all of the reserved room is returned; what lies behind the filled part is no one's, "
            "and attention must not see it",
        ),
        Misconception(
            "returns-the-past",
            append_with(read=lambda reserved, length, end, new: reserved[:, :length]),
            "only the old part is returned: a token attends to itself too, so the new rows belong "
            "to it",
        ),
        Misconception(
            "returns-the-new",
            append_with(read=lambda reserved, length, end, new: reserved[:, length:end]),
            "only the new rows are returned: attention needs the past as well, from position 0 on",
        ),
        Misconception(
            "returns-copies",
            append_with(read=lambda reserved, length, end, new: reserved[:, :end].clone()),
            "right numbers, but copies: that moves the whole past at each step, which is what the "
            "reserved room was to avoid. A slice is a view",
        ),
        Misconception(
            "one-token-only",
            append_with(
                write=lambda reserved, start, new: reserved[:, start : start + 1].copy_(new)
            ),
            "this writes a single position; a prefill brings several at once, k.shape[1] of them",
        ),
        Misconception(
            "keys-for-values",
            append_with(second=lambda k, v: k),
            "the values got the keys k: a slip of copy and paste",
        ),
        Misconception(
            "values-forgotten",
            only_keys_written,
            "only the keys are written; the values v belong into the reserved values",
        ),
        Misconception(
            "no-room-check",
            no_room_check,
            "right while there is room; but where none is left, the new token vanishes without a "
            "word (a slice behind the end is empty): raise ValueError",
        ),
    ],
)

# --- Task 3: the mask of a chunk --------------------------------------------------------------


def chunk_mask(seq_len, past_len):
    return torch.tensor(
        [[s <= past_len + l for s in range(past_len + seq_len)] for l in range(seq_len)]
    )


def lower(seq_len, past_len, diagonal=0):
    return torch.ones(seq_len, past_len + seq_len, dtype=torch.bool).tril(diagonal)


def square(seq_len, past_len):
    return lower(seq_len, 0)


def skips_behind_a_cache(seq_len, past_len):
    return lower(seq_len, past_len, past_len + seq_len if past_len else 0)


def additive(seq_len, past_len):
    hidden = ~chunk_mask(seq_len, past_len)
    return torch.zeros(hidden.shape).masked_fill(hidden, -math.inf)


def past_and(past, order=1):
    """The past, all True or all False, beside the causal square; order -1: behind it."""

    def wrong(seq_len, past_len):
        parts = [torch.full((seq_len, past_len), past), square(seq_len, 0)]
        return torch.cat(parts[::order], dim=1)

    return wrong


def chunk_cases(rng):
    return [
        Case(3, 4, label="a chunk behind a past"),
        Case(5, 2, label="a chunk longer than the past"),
        Case(4, 0, label="a prefill"),
        Case(1, between(rng, 3, 9), label="a decode step"),
        Case(1, 0, label="the first token"),
        Case(between(rng, 2, 7), between(rng, 10, 30), label="a long past"),
    ]


CHUNK_MASK = Task(
    grade_id="chunk-mask",
    entry="chunk_mask",
    points=3,
    cases=chunk_cases,
    reference=chunk_mask,
    compare=Exact(),
    misconceptions=[
        Misconception(
            "no-mask-behind-a-cache",
            skips_behind_a_cache,
            "no mask as soon as there is a past: right for one new token, but in a chunk of "
            "several the first ones then see their own future",
        ),
        Misconception(
            "square",
            square,
            "this is the (L, L) square of the new tokens; there are S = past_len + L columns, and "
            "the first past_len are visible to all",
        ),
        Misconception(
            "diagonal-not-moved",
            lower,
            "the diagonal starts at column 0, as if the chunk were the beginning of the text: new "
            "token l is position past_len + l, so it moves by past_len",
        ),
        Misconception(
            "sees-the-next",
            lambda seq_len, past_len: lower(seq_len, past_len, past_len + 1),
            "off by one: each new token still sees the one right after it",
        ),
        Misconception(
            "hides-itself",
            lambda seq_len, past_len: lower(seq_len, past_len, past_len - 1),
            "off by one: the new tokens do not see themselves",
        ),
        Misconception(
            "hides-the-past",
            past_and(False),
            "the past is hidden: the new tokens see only one another, and the cache is for nothing",
        ),
        Misconception(
            "past-behind",
            past_and(True, order=-1),
            "the columns of the past stand last; the cache holds the earlier positions, so they "
            "come first",
        ),
        Misconception(
            "upside-down",
            lambda seq_len, past_len: ~chunk_mask(seq_len, past_len),
            "upside down: True marks what is hidden here; it should mark what may be looked at",
        ),
        Misconception(
            "additive",
            additive,
            "this is the additive form, 0 and -inf, to be added to scores; bools are wanted",
        ),
        Misconception(
            "transposed",
            lambda seq_len, past_len: chunk_mask(seq_len, past_len).T,
            "rows and columns are exchanged: a row for each NEW token, a column for each position",
        ),
    ],
)

# --- Task 4: the cache that forgot positions --------------------------------------------------


def rotate(X, positions, base=100_000.0):
    half = X.shape[-1] // 2
    speeds = base ** (-torch.arange(half, dtype=X.dtype) / half)
    turns = torch.polar(torch.ones(len(X), half, dtype=X.dtype), positions[:, None] * speeds)
    turned = torch.complex(X[:, :half], X[:, half:]) * turns  # a pair of numbers is a complex one
    return torch.cat([turned.real, turned.imag], dim=-1)


def positions_from(first, n):
    return torch.arange(first, first + n)


def scores_with(
    at_q=lambda past, n: positions_from(past, n),
    at_k=lambda past, n: positions_from(past, n),
    join=lambda K_cache, K_new: torch.cat([K_cache, K_new]),
    scale=math.sqrt,
):
    """The scores with one thing changed."""

    def wrong(Q, K_new, K_cache):
        past_len, n = len(K_cache), len(Q)
        K = join(K_cache, rotate(K_new, at_k(past_len, n)))
        return rotate(Q, at_q(past_len, n)) @ K.T / scale(Q.shape[-1]), K

    return wrong


cached_scores = scores_with()


def in_the_chunk(past_len, n):
    return torch.arange(n)


def rotates_all_keys(keep_rotated):
    def wrong(Q, K_new, K_cache):
        raw = torch.cat([K_cache, K_new])
        K = rotate(raw, torch.arange(len(raw)))
        scores = rotate(Q, positions_from(len(K_cache), len(Q))) @ K.T / math.sqrt(Q.shape[-1])
        return scores, K if keep_rotated else raw

    return wrong


def rope_cases(rng):
    def case(seq_len, past_len, head_dim, label):
        Q, K_new = (normal(rng, seq_len, head_dim) for _ in range(2))
        K_cache = rotate(normal(rng, past_len, head_dim), torch.arange(past_len))
        return Case(Q, K_new, K_cache, label=label)

    return [
        case(5, 0, 4, "a prefill"),
        case(1, 6, 6, "a decode step"),
        case(3, 4, 4, "a chunk behind a past"),
        case(1, between(rng, 20, 60), 8, "a decode step behind a long past"),
    ]


ROPE_CACHE = Task(
    grade_id="rope-cache",
    entry="cached_scores",
    points=3,
    cases=rope_cases,
    reference=cached_scores,
    compare=CLOSE,
    misconceptions=[
        Misconception(
            "position-in-the-chunk",
            scores_with(at_q=in_the_chunk, at_k=in_the_chunk),
            "the bug is still there: positions count from the start of the CALL, so each decoded "
            "token is rotated to position 0. They go on where the cache ends, at len(K_cache)",
        ),
        Misconception(
            "only-queries-moved",
            scores_with(at_k=in_the_chunk),
            "the queries stand at their places now, the new keys still count from 0: both are of "
            "the same tokens",
        ),
        Misconception(
            "only-keys-moved",
            scores_with(at_q=in_the_chunk),
            "the new keys stand at their places now, the queries still count from 0: both are of "
            "the same tokens",
        ),
        Misconception(
            "off-by-one",
            scores_with(
                at_q=lambda past, n: positions_from(past + 1, n),
                at_k=lambda past, n: positions_from(past + 1, n),
            ),
            "off by one: past_len keys have the positions 0 to past_len - 1, so the first new "
            "token stands at past_len",
        ),
        Misconception(
            "one-position-for-all",
            scores_with(
                at_q=lambda past, n: torch.full((n,), past),
                at_k=lambda past, n: torch.full((n,), past),
            ),
            "all tokens of a chunk stand at the same position: right for a decode step, but "
            "several new tokens take past_len, past_len + 1, …",
        ),
        Misconception(
            "rotates-twice",
            rotates_all_keys(keep_rotated=True),
            "the cached keys are rotated once more at each call; they were rotated when they came "
            "in: rotate the new ones only",
        ),
        Misconception(
            "caches-before-rope",
            rotates_all_keys(keep_rotated=False),
            "all keys are rotated here and the new ones cached without rotation; but those in the "
            "cache ARE rotated: rotate the new ones only, and cache them so",
        ),
        Misconception(
            "no-rotation",
            lambda Q, K_new, K_cache: (
                Q @ torch.cat([K_cache, K_new]).T / math.sqrt(Q.shape[-1]),
                torch.cat([K_cache, K_new]),
            ),
            "the new queries and keys are not rotated at all",
        ),
        Misconception(
            "new-keys-in-front",
            scores_with(join=lambda K_cache, K_new: torch.cat([K_new, K_cache])),
            "the new keys stand in front of the cached ones; they are later in the text, so behind",
        ),
        Misconception(
            "no-scale",
            scores_with(scale=lambda head_dim: 1),
            "the scores lost their scale, 1/√H; the bug was elsewhere",
        ),
    ],
)

# --- Task 5: the decode step ------------------------------------------------------------------


def attend(q, K, V):
    """(1, H) over (S, H): one query, nothing hidden."""
    weights = (K @ q[0] / math.sqrt(q.shape[-1])).softmax(0)  # (S,)
    return (weights @ V)[None]


def decode_step(X, cache, project):
    q, k, v = project(X[-1:])
    K, V = (torch.cat(pair) for pair in zip(cache, (k, v), strict=True))
    return attend(q, K, V), (K, V)


def use_decode_step(answer, X, W, prompt_len):
    """Prefill, then a step for each further token; what came back, and what project saw."""
    n_rows = []

    def project(rows):
        n_rows.append(len(rows) if rows.dim() > 1 else 1)
        return rows @ W[0], rows @ W[1], rows @ W[2]

    cache, steps = (X[:prompt_len] @ W[1], X[:prompt_len] @ W[2]), []
    for kv_len in range(prompt_len + 1, len(X) + 1):
        n_rows.clear()
        z, cache = answer.decode_step(X[:kv_len], cache, project)
        keys, values = cache
        steps.append({"z": z, "K": keys, "V": values, "rows sent through project": sum(n_rows)})
    return steps


def step_with(
    rows=lambda X: X[-1:],
    grow=lambda cache, k, v: (torch.cat([cache[0], k]), torch.cat([cache[1], v])),
    attend=lambda q, k, v, cache, K, V: attend(q, K, V),
    keep=lambda cache, K, V: (K, V),
):
    """A decode step with one thing changed."""

    def wrong(X, cache, project):
        q, k, v = project(rows(X))
        K, V = grow(cache, k, v)
        return attend(q[-1:], k, v, cache, K, V), keep(cache, K, V)

    return wrong


def sdpa_causal(q, k, v, cache, K, V):
    return F.scaled_dot_product_attention(q[None], K[None], V[None], is_causal=True)[0]


def decode_cases(rng):
    def case(seq_len, d_model, head_dim, prompt_len, label):
        W = [normal(rng, d_model, head_dim) / math.sqrt(d_model) for _ in range(3)]
        return Case(2 * normal(rng, seq_len, d_model), W, prompt_len, label=label)

    return [
        case(7, 8, 4, 4, "a prompt and three steps"),
        case(4, 6, 3, 1, "a prompt of one token"),
        case(6, 5, 5, 5, "a single step"),
    ]


DECODE_STEP = Task(
    grade_id="decode-step",
    entry="decode_step",
    points=4,
    cases=decode_cases,
    reference=decode_step,
    drive=use_decode_step,
    compare=CLOSE,
    misconceptions=[
        Misconception(
            "projects-everything",
            step_with(rows=lambda X: X, grow=lambda cache, k, v: (k, v)),
            "all the numbers are right, and the cache is useless: project saw every row again. "
            "Send it X[-1:] only and take the past from the cache",
        ),
        Misconception(
            "appends-the-past-again",
            step_with(rows=lambda X: X),
            "all rows were projected and ALL of them appended, so the past stands twice in the "
            "cache: project and append the new row only",
        ),
        Misconception(
            "first-row",
            step_with(rows=lambda X: X[:1]),
            "the first row of X was projected; the new token is the last one, X[-1:]",
        ),
        Misconception(
            "does-not-see-itself",
            step_with(attend=lambda q, k, v, cache, K, V: attend(q, *cache)),
            "q attends to the old cache only: a token sees itself too, so append k and v first",
        ),
        Misconception(
            "sees-only-itself",
            step_with(attend=lambda q, k, v, cache, K, V: attend(q, k, v)),
            "q attends to its own k alone, so z is just v: it has to see all L + 1 keys",
        ),
        Misconception(
            "cache-does-not-grow",
            step_with(keep=lambda cache, K, V: cache),
            "the cache is returned as it came: the next step will know nothing of this token",
        ),
        Misconception(
            "forgets-the-past",
            step_with(grow=lambda cache, k, v: (k, v)),
            "the cache was replaced by the new key and value: append to what it holds",
        ),
        Misconception(
            "new-in-front",
            step_with(
                grow=lambda cache, k, v: (torch.cat([k, cache[0]]), torch.cat([v, cache[1]]))
            ),
            "the new key and value stand in front of the old ones. z does not show it (a sum has "
            "no order), but row s of the cache has to be position s",
        ),
        Misconception(
            "swaps-keys-and-values",
            step_with(keep=lambda cache, K, V: (V, K)),
            "the cache comes back as (V, K); it is (K, V)",
        ),
        Misconception(
            "masked-like-a-square",
            step_with(attend=sdpa_causal),
            "a causal mask (tril, is_causal=True) of a single row leaves the first key only: the "
            "new token is the last one and may see everything, so no mask",
        ),
        Misconception(
            "softmax-over-one",
            step_with(attend=lambda q, k, v, cache, K, V: (q @ K.T).softmax(0) @ V),
            "softmax runs over dim=0 of (1, L + 1), where each column has one entry, so that all "
            "weights are 1: it runs over the keys, dim=-1",
        ),
        Misconception(
            "no-scale",
            step_with(attend=lambda q, k, v, cache, K, V: (q @ K.T).softmax(-1) @ V),
            "the scores are not scaled: divide by √H, as the prefill does",
        ),
    ],
)

# --- Task 6: a test that can fail -------------------------------------------------------------


def cache_was_used(calls, prompt_len, cached_ids, naive_ids):
    if cached_ids != naive_ids or len(calls) != len(naive_ids):
        return False
    for i, (seq_len, past_len) in enumerate(calls):
        if (seq_len, past_len) != ((1, prompt_len + i - 1) if i else (prompt_len, 0)):
            return False
    return True


def honest(prompt_len, n):
    return [(prompt_len, 0)] + [(1, prompt_len + i) for i in range(n - 1)]


def one_at_a_time(calls):
    return all(seq_len == 1 for seq_len, _ in calls)


def cache_test_cases(rng):
    L, n = between(rng, 4, 20), between(rng, 5, 9)
    ids = [between(rng, 1, 99) for _ in range(n)]
    other = [*ids[:-1], ids[-1] + 1]
    run = honest(L, n)
    recomputed = [(L + i, 0) for i in range(n)]
    return [
        Case(run, L, ids, ids, label="an honest run"),
        Case(honest(L, 1), L, ids[:1], ids[:1], label="an honest run of one token"),
        Case(honest(1, n), 1, ids, ids, label="an honest run from a prompt of one token"),
        Case(recomputed, L, ids, ids, label="everything computed again"),
        Case(run, L, other, ids, label="wrong tokens"),
        Case(recomputed, L, other, ids, label="wrong tokens, computed again"),
        Case(honest(L, n - 1), L, ids[:-1], ids, label="too few tokens"),
        Case([run[0], *recomputed[1:-1], run[-1]], L, ids, ids, label="only the last step honest"),
        Case([*run[:2], *recomputed[2:]], L, ids, ids, label="only the first step honest"),
        Case([run[0]] + [(1, L)] * (n - 1), L, ids, ids, label="a past that does not grow"),
        Case([run[0]] + [(1, 0)] * (n - 1), L, ids, ids, label="steps without a past"),
        Case([*run, (L + n - 1, 0)], L, ids, ids, label="one call too many"),
        Case([*run, (1, L + n - 1)], L, ids, ids, label="one step too many"),
        Case([(L, 0), *run], L, ids, ids, label="the prompt twice"),
        Case(run[1:], L, ids, ids, label="no prefill"),
    ]


CACHE_TEST = Task(
    grade_id="cache-test",
    entry="cache_was_used",
    points=2,
    cases=cache_test_cases,
    reference=cache_was_used,
    compare=Exact(),
    misconceptions=[
        Misconception(
            "compares-tokens-only",
            lambda calls, prompt_len, cached_ids, naive_ids: cached_ids == naive_ids,
            "this looks at the tokens only, which are right without any cache too: it can never "
            "tell whether the cache was used",
        ),
        Misconception(
            "looks-at-calls-only",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                calls == honest(prompt_len, len(naive_ids))
            ),
            "this looks at the calls only: a cache that is used and gives wrong tokens passes",
        ),
        Misconception(
            "prefill-of-one-token",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids and one_at_a_time(calls)
            ),
            "this wants one token of EVERY call; the first one is the prefill and sees the whole "
            "prompt",
        ),
        Misconception(
            "ignores-the-past",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids and one_at_a_time(calls[1:])
            ),
            "this checks that each step saw one token, and not what was cached before it: a past "
            "that does not grow, or is empty, passes",
        ),
        Misconception(
            "last-call-only",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids and (calls[-1][0] == 1 or len(calls) == 1)
            ),
            "this looks at the last call only; a run may compute everything again before it",
        ),
        Misconception(
            "first-step-only",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids and one_at_a_time(calls[1:2])
            ),
            "this looks at the first decode step only; a run may compute everything again after it",
        ),
        Misconception(
            "past-of-zero-only",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids and all(past > 0 for _, past in calls[1:])
            ),
            "this only asks whether there was SOME past; each step has to see one token, and the "
            "past has to grow by one",
        ),
        Misconception(
            "number-not-checked",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids
                and calls[: len(naive_ids)] == honest(prompt_len, len(naive_ids))
            ),
            "calls beyond the expected ones are not looked at (zip stops at the shorter list): a "
            "run may compute everything again at the end",
        ),
        Misconception(
            "counts-calls",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids and len(calls) == len(naive_ids)
            ),
            "this counts the calls; the naive loop makes just as many. What counts is how many "
            "tokens each of them saw",
        ),
        Misconception(
            "one-step-more",
            lambda calls, prompt_len, cached_ids, naive_ids: (
                cached_ids == naive_ids and calls == honest(prompt_len, len(naive_ids) + 1)
            ),
            "this wants n decode steps; the prefill gives the first token and the last one is "
            "never put in, so n tokens take n - 1 steps",
        ),
    ],
)

TASKS = [KV_BYTES, APPEND, CHUNK_MASK, ROPE_CACHE, DECODE_STEP, CACHE_TEST]
