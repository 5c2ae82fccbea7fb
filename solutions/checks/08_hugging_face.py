"""Hidden checks of exercise 8: pipelines, padding, label words, settings, resizing, shards.

The references are held against Transformers itself in tests/test_exercise_08.py; the last one is
huggingface_hub's own function.
"""

import math

import numpy as np

from grader.checks import Case, Close, Edit, Exact, Misconception, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)


def softmax(scores):
    weights = np.exp(np.asarray(scores) - np.max(scores))
    return (weights / weights.sum()).tolist()


# --- Task 1: the last step of a pipeline -------------------------------------------------------


def postprocess(logits, id2label, top_k=None):
    return [ranked(softmax(row), id2label)[:top_k] for row in logits]


def ranked(scores, id2label, best_first=True):
    answers = [{"label": id2label[i], "score": score} for i, score in enumerate(scores)]
    return sorted(answers, key=lambda a: a["score"], reverse=best_first)


def raw_logits(logits, id2label, top_k=None):
    return [ranked(row, id2label)[:top_k] for row in logits]


def whole_batch(logits, id2label, top_k=None):
    return [ranked(row, id2label)[:top_k] for row in softmax(logits)]


def worst_first(logits, id2label, top_k=None):
    return [ranked(softmax(row), id2label, best_first=False)[:top_k] for row in logits]


def unsorted(logits, id2label, top_k=None):
    return [
        [{"label": id2label[i], "score": p} for i, p in enumerate(softmax(row))][:top_k]
        for row in logits
    ]


def cut_first(logits, id2label, top_k=None):
    answers = raw_logits(logits, id2label, top_k)
    for entry in answers:
        for answer, score in zip(entry, softmax([a["score"] for a in entry]), strict=True):
            answer["score"] = score
    return answers


def ids_for_labels(logits, id2label, top_k=None):
    return postprocess(logits, {i: i for i in id2label}, top_k)


def bare_dict(logits, id2label, top_k=None):
    answers = postprocess(logits, id2label, top_k)
    return [entry[0] if top_k == 1 else entry for entry in answers]


def postprocess_cases(rng):
    stars = {i: f"{i + 1} stars" for i in range(5)}
    sentiment = {0: "NEGATIVE", 1: "POSITIVE"}
    return [
        Case(rng.normal(0, 2, (3, 5)).tolist(), stars, top_k=2),
        Case(rng.normal(0, 2, (2, 5)).tolist(), stars, label="all labels"),
        Case(rng.normal(0, 2, (4, 2)).tolist(), sentiment, top_k=1, label="the best only"),
        Case(rng.normal(0, 2, (1, 2)).tolist(), sentiment, top_k=7, label="top_k above the labels"),
        # The first text's best label is the last one, so that a list left unsorted shows.
        Case([[-1.0, 0.5, 3.0], [2.0, 0.0, -2.0]], {0: "A", 1: "B", 2: "C"}, top_k=2),
    ]


# --- Task 2: a batch, padded left --------------------------------------------------------------


def pad_left(prompts, pad_id):
    return padded(prompts, pad_id)


def padded(prompts, pad_id, left=True, mask_by_id=False, count_padding=False, first=0):
    """pad_left with the places where it goes wrong as arguments."""
    longest = max(map(len, prompts))
    batch = {"input_ids": [], "attention_mask": [], "position_ids": []}
    for prompt in prompts:
        pads = [None] * (longest - len(prompt))
        row = pads + list(prompt) if left else list(prompt) + pads
        ids = [pad_id if token is None else token for token in row]
        real = [a != pad_id if mask_by_id else b is not None for a, b in zip(ids, row, strict=True)]
        seen = np.cumsum(real) - 1 + first
        positions = [int(p) if r else 0 for p, r in zip(seen, real, strict=True)]
        batch["input_ids"].append(ids)
        batch["attention_mask"].append([int(r) for r in real])
        batch["position_ids"].append(list(range(longest)) if count_padding else positions)
    return batch


def mask_inverted(prompts, pad_id):
    batch = padded(prompts, pad_id)
    batch["attention_mask"] = [[1 - m for m in row] for row in batch["attention_mask"]]
    return batch


def cut_to_shortest(prompts, pad_id):
    return padded([prompt[: min(map(len, prompts))] for prompt in prompts], pad_id)


def padding_cases(rng):
    def prompt(length):
        return rng.integers(3, 100, size=length).tolist()

    n = int(rng.integers(2, 5))
    return [
        Case([prompt(n + 3), prompt(n), prompt(n + 1)], 0),
        Case([prompt(1), prompt(6)], 0, label="a prompt of one token"),
        Case([[*prompt(3), 2, *prompt(2)], [2, *prompt(2)]], 2, label="pad_id within a prompt"),
        Case([prompt(4)], 1, label="a batch of one"),
    ]


# --- Task 3: scores from label words -----------------------------------------------------------


def word_scores(prior=True, sign=-1, log_of_mean=True, per_token=False, normalise=True):
    """label_scores with the places where it goes wrong as arguments."""

    def word(log_probs):
        return sum(log_probs) / (len(log_probs) if per_token else 1)

    def label_scores(word_log_probs, content_free):
        scores = []
        for label, log_probs in word_log_probs.items():
            free = np.array([word(texts[label]) for texts in content_free])
            log_prior = np.log(np.exp(free).mean()) if log_of_mean else free.mean()
            scores.append(word(log_probs) + (sign * log_prior if prior else 0.0))
        values = softmax(scores) if normalise else scores
        return dict(zip(word_log_probs, values, strict=True))

    return label_scores


def not_a_log(word_log_probs, content_free):
    """Subtracts the probability of the prior, not its logarithm."""
    scores = []
    for label, log_probs in word_log_probs.items():
        prior = np.mean([math.exp(sum(texts[label])) for texts in content_free])
        scores.append(sum(log_probs) - prior)
    return dict(zip(word_log_probs, softmax(scores), strict=True))


def label_words_cases(rng):
    def measured(n_tokens):
        return {
            label: (-rng.uniform(0.1, 3.0, size=n)).round(4).tolist()
            for label, n in n_tokens.items()
        }

    one, some = {"NEGATIVE": 1, "POSITIVE": 1}, {"SPORT": 1, "POLITICS": 2, "SCIENCE": 3}
    return [
        Case(measured(one), [measured(one)], label="one text without content"),
        Case(measured(one), [measured(one), measured(one)]),
        Case(measured(some), [measured(some), measured(some)], label="words of several tokens"),
    ]


# --- Task 4: which setting wins? ---------------------------------------------------------------


def effective_settings(call, config, own, default):
    places = [config or {}, own, default]

    def value(name):
        if name in call:
            return call[name]
        return next((place[name] for place in places if place.get(name) is not None), None)

    return {name: value(name) for name in sorted({*call, *(config or {}), *own, *default})}


def config_replaces_own(call, config, own, default):
    names = effective_settings(call, config, own, default)
    found = effective_settings(call, config, own if config is None else {}, default)
    return {name: found.get(name) for name in names}


def plain_merge(call, config, own, default):
    return default | own | (config or {}) | call


def none_never_counts(call, config, own, default):
    given = {name: value for name, value in call.items() if value is not None}
    names = effective_settings(call, config, own, default)
    found = effective_settings(given, config, own, default)
    return {name: found.get(name) for name in names}


def falsy_is_unset(call, config, own, default):
    def is_set(place):
        return {name: value for name, value in place.items() if value}

    names = effective_settings(call, config, own, default)
    merged = default | is_set(own) | is_set(config or {}) | is_set(call)
    return {name: merged.get(name) for name in names}


def own_beats_config(call, config, own, default):
    return effective_settings(call, own, config or {}, default)


def default_beats_own(call, config, own, default):
    return effective_settings(call, config, default, own)


def precedence_cases(rng):
    def one_of(*values):
        return values[int(rng.integers(len(values)))]

    default = {
        "do_sample": False, "top_k": 50, "top_p": 1.0, "temperature": 1.0, "num_beams": 1,
        "max_length": 20, "max_new_tokens": None, "eos_token_id": None,
    }  # fmt: skip
    own = {
        "do_sample": True, "temperature": one_of(0.6, 0.7), "top_k": None,
        "top_p": one_of(0.9, 0.8), "eos_token_id": 2,
    }  # fmt: skip
    config = {"top_k": one_of(5, 20), "temperature": None, "top_p": 0.95, "max_length": 100}
    return [
        Case({}, None, own, default, label="nothing in the call"),
        Case({"max_new_tokens": one_of(8, 9), "temperature": 0.2}, None, own, default),
        Case({"do_sample": False, "top_k": 0}, None, own, default, label="False and 0 in the call"),
        Case({"top_k": None}, None, own, default, label="None in the call"),
        Case({}, config, own, default, label="a config"),
        Case({"top_p": None, "num_beams": 4}, config, own, default, label="a config and a call"),
        Case({}, {"do_sample": False}, own, default, label="False in a config"),
    ]


# --- Task 5: room for new tokens ---------------------------------------------------------------


def resize(embedding, output, n_tokens):
    new = rows_changed(embedding, n_tokens)
    return (new, new) if output is embedding else (new, rows_changed(output, n_tokens))


def rows_changed(matrix, n_tokens, fill=lambda matrix: matrix.mean(axis=0), in_front=False):
    new = np.empty((n_tokens, matrix.shape[1]))
    kept = min(n_tokens, len(matrix))
    new[:] = fill(matrix)
    new[n_tokens - kept if in_front else 0 :][:kept] = matrix[:kept]
    return new


def resizes(**how):
    def wrong(embedding, output, n_tokens):
        new = rows_changed(embedding, n_tokens, **how)
        return (new, new) if output is embedding else (new, rows_changed(output, n_tokens, **how))

    return wrong


def unties(embedding, output, n_tokens):
    return rows_changed(embedding, n_tokens), rows_changed(output, n_tokens)


def always_ties(embedding, output, n_tokens):
    new = rows_changed(embedding, n_tokens)
    return new, new


def output_from_embedding(embedding, output, n_tokens):
    new, new_output = resize(embedding, output, n_tokens)
    if output is not embedding:
        new_output[len(output) :] = embedding.mean(axis=0)
    return new, new_output


def resize_drive(answer, embedding, output, n_tokens):
    """output None: tied. Returns both matrices, and whether they are one object."""
    new, new_output = answer.resize(embedding, embedding if output is None else output, n_tokens)
    return new, new_output, new is new_output


def resize_cases(rng):
    def matrix(n_rows, width):
        return rng.normal(1, 2, (n_rows, width)).round(3)

    return [
        Case(matrix(6, 3), matrix(6, 3), 8),
        Case(matrix(5, 4), None, 6, label="tied weights"),
        Case(matrix(5, 2), matrix(5, 2), 3, label="fewer tokens"),
        Case(matrix(4, 2), matrix(4, 2), 4, label="as many tokens as before"),
    ]


# --- Task 6: the index of a sharded checkpoint -------------------------------------------------


def shard_index(sizes, max_shard_size):
    from huggingface_hub import split_state_dict_into_shards_factory

    split = split_state_dict_into_shards_factory(
        sizes,
        get_storage_size=lambda size: size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_size,
    )
    return {"metadata": split.metadata, "weight_map": split.tensor_to_filename}


def closes_for_big(sizes, max_shard_size):
    """A large tensor ends the open shard, which is the order one would expect."""
    limit = n_bytes(max_shard_size)
    shards, used = [], math.inf
    for name, size in sizes.items():
        if used + size > limit:
            shards, used = [*shards, []], 0
        shards[-1].append(name)
        used += size
    return index_of(shards, sizes)


def fills_gaps(sizes, max_shard_size):
    limit, shards = n_bytes(max_shard_size), []
    for name, size in sizes.items():
        fitting = (s for s in shards if sum(sizes[other] for other in s) + size <= limit)
        shard = next(fitting, None)
        if shard is None:
            shards.append(shard := [])
        shard.append(name)
    return index_of(shards, sizes)


def overshoots(sizes, max_shard_size):
    limit, shards, used = n_bytes(max_shard_size), [[]], 0
    for name, size in sizes.items():
        if used >= limit:
            shards, used = [*shards, []], 0
        shards[-1].append(name)
        used += size
    return index_of(shards, sizes)


def binary_units(sizes, max_shard_size):
    if isinstance(max_shard_size, int):
        return shard_index(sizes, max_shard_size)
    return shard_index(sizes, n_bytes(max_shard_size, base=1024))


def counts_from_0(sizes, max_shard_size):
    index = shard_index(sizes, max_shard_size)
    if len(set(index["weight_map"].values())) > 1:
        for name, file in index["weight_map"].items():
            index["weight_map"][name] = f"model-{int(file[6:11]) - 1:05d}{file[11:]}"
    return index


def one_is_numbered(sizes, max_shard_size):
    index = shard_index(sizes, max_shard_size)
    for name, file in index["weight_map"].items():
        if file == "model.safetensors":
            index["weight_map"][name] = "model-00001-of-00001.safetensors"
    return index


def n_bytes(size, base=1000):
    if isinstance(size, int):
        return size
    return int(float(size[:-2]) * base ** (["KB", "MB", "GB", "TB"].index(size[-2:]) + 1))


def index_of(shards, sizes):
    width = len(shards)
    files = {
        name: f"model-{i:05d}-of-{width:05d}.safetensors" if width > 1 else "model.safetensors"
        for i, names in enumerate(shards, start=1)
        for name in names
    }
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": files}


def shards_cases(rng):
    def model(*sizes):
        return {f"layers.{i}.weight": int(size) for i, size in enumerate(sizes)}

    return [
        Case(model(*rng.integers(1, 60, size=12)), 100),
        Case(model(*rng.integers(100, 900, size=9) * 1000), "1.5MB", label="a size with a unit"),
        Case(model(30, 40, 150, 20, 90, 5), 100, label="a tensor above the maximum"),
        Case(model(60, 40, 99), 100, label="exactly the maximum"),
        Case(model(30, 100, 20), 100, label="a tensor of exactly the maximum"),
        Case(model(70, 60, 25, 50), 100, label="a gap in an earlier shard"),
        Case(model(1000, 20, 1000), "1KB", label="between 1000 and 1024"),
        Case(model(*rng.integers(1, 20, size=4)), "2GB", label="everything in one file"),
    ]


TASKS = [
    Task(
        grade_id="postprocess",
        entry="postprocess",
        points=3,
        cases=postprocess_cases,
        reference=postprocess,
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "raw-logits", raw_logits, "these are the logits: the scores are their softmax"
            ),
            Misconception(
                "whole-batch", whole_batch,
                "the softmax runs over one text's labels: the texts of a batch don't share it",
            ),
            Misconception(
                "cut-before-softmax", cut_first,
                "the softmax is over ALL labels, then top_k cuts: the scores needn't sum to 1",
            ),
            Misconception(
                "unsorted", unsorted, "the labels stand in the order of their ids: best first"
            ),
            Misconception("worst-first", worst_first, "sorted the wrong way: the best comes first"),
            Misconception(
                "ids-for-labels", ids_for_labels,
                "a label is its name, not its number: look it up in id2label",
            ),
            Misconception(
                "bare-dict", bare_dict,
                "each text's entry is a list of dicts, also where top_k=1 leaves one",
            ),
        ],
    ),
    Task(
        grade_id="padding",
        entry="pad_left",
        points=3,
        cases=padding_cases,
        reference=pad_left,
        compare=Exact(),
        watch=("mutated",),
        misconceptions=[
            Misconception(
                "pads-right", lambda prompts, pad_id: padded(prompts, pad_id, left=False),
                "padded on the right: a decoder-only model would write behind the padding",
            ),
            Misconception(
                "mask-by-id", lambda prompts, pad_id: padded(prompts, pad_id, mask_by_id=True),
                "a prompt may contain pad_id as a token: take the mask from the lengths, "
                "not from the ids",
            ),
            Misconception(
                "padding-takes-positions",
                lambda prompts, pad_id: padded(prompts, pad_id, count_padding=True),
                "the positions count the padding: each prompt's first token is at position 0",
            ),
            Misconception(
                "positions-from-1", lambda prompts, pad_id: padded(prompts, pad_id, first=1),
                "a prompt's positions begin with 0",
            ),
            Misconception(
                "mask-inverted", mask_inverted, "the mask is the wrong way round: 1 is a token"
            ),
            Misconception(
                "cuts-to-shortest", cut_to_shortest,
                "the prompts are cut to the shortest: pad them to the longest instead",
            ),
        ],
    ),
    Task(
        grade_id="label-words",
        entry="label_scores",
        points=3,
        cases=label_words_cases,
        reference=word_scores(),
        compare=CLOSE,
        misconceptions=[
            Misconception(
                "no-prior", word_scores(prior=False),
                "the prior does nothing here: subtract its logarithm from the word's",
            ),
            Misconception(
                "adds-prior", word_scores(sign=1),
                "the prior is added, which favours the easy word twice: subtract it",
            ),
            Misconception(
                "mean-of-logs", word_scores(log_of_mean=False),
                "the prior is the mean of the PROBABILITIES: exp, mean, then log",
            ),
            Misconception(
                "mean-over-tokens", word_scores(per_token=True),
                "a word's log-probability is the sum over its tokens, not their mean",
            ),
            Misconception(
                "no-softmax", word_scores(normalise=False),
                "these are the scores before the softmax: over the labels they must sum to 1",
            ),
            Misconception(
                "prior-not-a-log", not_a_log,
                "a probability is subtracted from a log-probability: take the prior's logarithm",
            ),
        ],
    ),
    Task(
        grade_id="precedence",
        entry="effective_settings",
        points=3,
        cases=precedence_cases,
        reference=effective_settings,
        compare=Exact(),
        watch=("mutated",),
        misconceptions=[
            Misconception(
                "config-replaces-own", config_replaces_own,
                "what a config leaves open still comes from the model's own settings",
            ),
            Misconception(
                "none-overwrites", plain_merge,
                "None in config or own means 'not set': it must not hide the next place's value",
            ),
            Misconception(
                "none-in-call-ignored", none_never_counts,
                "None in the CALL counts: top_k=None switches the filter off",
            ),
            Misconception(
                "falsy-is-unset", falsy_is_unset,
                "0 and False are values: compare with None, don't ask whether they are true",
            ),
            Misconception(
                "own-beats-config", own_beats_config,
                "a config that is passed to generate beats the model's own",
            ),
            Misconception(
                "default-beats-own", default_beats_own,
                "the library's default is the weakest: the model's own settings beat it",
            ),
        ],
    ),
    Task(
        grade_id="resize",
        entry="resize",
        points=3,
        cases=resize_cases,
        drive=resize_drive,
        reference=resize,
        compare=CLOSE,
        watch=("mutated",),
        misconceptions=[
            Misconception(
                "zero-rows", resizes(fill=lambda matrix: 0.0),
                "new rows of zeros: each should be the mean of the old rows",
            ),
            Misconception(
                "one-number", resizes(fill=lambda matrix: matrix.mean()),
                "the mean of the whole matrix is one number: take it over the rows (axis 0)",
            ),
            Misconception(
                "new-in-front", resizes(in_front=True),
                "the new rows stand in front: token i must keep row i, they follow behind",
            ),
            Misconception(
                "unties", unties,
                "tied weights became two arrays: return the same object twice where "
                "output is embedding",
            ),
            Misconception(
                "always-ties", always_ties,
                "a model with its own output matrix keeps it: tie them only where they were one",
            ),
            Misconception(
                "output-from-embedding", output_from_embedding,
                "the output's new rows are the mean of the OUTPUT's old rows",
            ),
        ],
    ),
    Task(
        grade_id="shards",
        entry="shard_index",
        points=4,
        cases=shards_cases,
        reference=shard_index,
        compare=Exact(),
        watch=("mutated",),
        misconceptions=[
            Misconception(
                "closes-for-big", closes_for_big,
                "a tensor above the maximum gets its own shard while the open one stays open",
            ),
            Misconception(
                "fills-gaps", fills_gaps,
                "a shard that is closed stays so: don't go back to fill its gap",
            ),
            Misconception(
                "overshoots", overshoots,
                "shards hold more than the maximum: ask before the tensor is added, not after",
            ),
            Misconception(
                "binary-units", binary_units, "KB, MB, GB and TB are powers of 1000, not of 1024"
            ),
            Misconception("counts-from-0", counts_from_0, "shards are numbered from 1"),
            Misconception(
                "one-is-numbered", one_is_numbered, "a single shard is called model.safetensors"
            ),
            Misconception(
                "exactly-does-not-fit", Edit("+ size > max_shard_size", "+ size >= max_shard_size"),
                "exactly the maximum fits: close the shard only where it would hold more",
            ),
        ],
    ),
]  # fmt: skip
