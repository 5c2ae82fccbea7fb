# ruff: noqa: F811, F821
"""Answers to exercise 8: other right ones, and wrong ones by the misconception they must show."""


# %% postprocess: right
def postprocess(logits, id2label, top_k=None):
    exps = np.exp(np.array(logits))
    probs = exps / exps.sum(axis=1, keepdims=True)
    order = np.argsort(-probs, axis=1)
    n = order.shape[1] if top_k is None else min(top_k, order.shape[1])
    return [
        [{"label": id2label[int(i)], "score": float(row[i])} for i in ids[:n]]
        for row, ids in zip(probs, order, strict=True)
    ]


# %% postprocess: raw-logits
def postprocess(logits, id2label, top_k=None):
    out = []
    for row in logits:
        pairs = sorted(zip(row, id2label.values(), strict=True), reverse=True)
        out.append([{"label": name, "score": x} for x, name in pairs[:top_k]])
    return out


# %% postprocess: whole-batch
def postprocess(logits, id2label, top_k=None):
    total = sum(math.exp(x) for row in logits for x in row)
    out = []
    for row in logits:
        entry = [{"label": id2label[i], "score": math.exp(x) / total} for i, x in enumerate(row)]
        entry.sort(key=lambda a: -a["score"])
        out.append(entry[:top_k])
    return out


# %% postprocess: cut-before-softmax
def postprocess(logits, id2label, top_k=None):
    out = []
    for row in logits:
        best = sorted(enumerate(row), key=lambda pair: -pair[1])[:top_k]
        total = sum(math.exp(x) for _, x in best)
        out.append([{"label": id2label[i], "score": math.exp(x) / total} for i, x in best])
    return out


# %% postprocess: unsorted
def postprocess(logits, id2label, top_k=None):
    out = []
    for row in logits:
        total = sum(map(math.exp, row))
        probs = [math.exp(x) / total for x in row]
        n = len(row) if top_k is None else min(top_k, len(row))
        out.append([{"label": id2label[i], "score": probs[i]} for i in range(n)])
    return out


# %% postprocess: worst-first
def postprocess(logits, id2label, top_k=None):
    out = []
    for row in logits:
        total = sum(map(math.exp, row))
        pairs = sorted((math.exp(x) / total, id2label[i]) for i, x in enumerate(row))
        out.append([{"label": name, "score": p} for p, name in pairs[:top_k]])
    return out


# %% postprocess: ids-for-labels
def postprocess(logits, id2label, top_k=None):
    out = []
    for row in logits:
        total = sum(map(math.exp, row))
        pairs = sorted(((math.exp(x) / total, i) for i, x in enumerate(row)), reverse=True)
        out.append([{"label": i, "score": p} for p, i in pairs[:top_k]])
    return out


# %% postprocess: bare-dict
def postprocess(logits, id2label, top_k=None):
    out = []
    for row in logits:
        total = sum(map(math.exp, row))
        entry = [{"label": id2label[i], "score": math.exp(x) / total} for i, x in enumerate(row)]
        entry.sort(key=lambda a: a["score"], reverse=True)
        out.append(entry[0] if top_k == 1 else entry[:top_k])
    return out


# %% padding: right
def pad_left(prompts, pad_id):
    lengths = np.array([len(prompt) for prompt in prompts])
    columns = np.arange(lengths.max()) - (lengths.max() - lengths)[:, None]
    ids = np.full(columns.shape, pad_id)
    ids[columns >= 0] = [token for prompt in prompts for token in prompt]
    mask = (columns >= 0).astype(int)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": np.maximum(columns, 0)}


# %% padding: pads-right
def pad_left(prompts, pad_id):
    n = max(len(p) for p in prompts)
    return {
        "input_ids": [p + [pad_id] * (n - len(p)) for p in prompts],
        "attention_mask": [[1] * len(p) + [0] * (n - len(p)) for p in prompts],
        "position_ids": [[*range(len(p))] + [0] * (n - len(p)) for p in prompts],
    }


# %% padding: mask-by-id
def pad_left(prompts, pad_id):
    n = max(len(p) for p in prompts)
    ids = np.array([[pad_id] * (n - len(p)) + p for p in prompts])
    mask = (ids != pad_id).astype(int)
    positions = mask.cumsum(axis=1) - 1
    positions[mask == 0] = 0
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


# %% padding: padding-takes-positions
def pad_left(prompts, pad_id):
    n = max(len(p) for p in prompts)
    return {
        "input_ids": [[pad_id] * (n - len(p)) + p for p in prompts],
        "attention_mask": [[0] * (n - len(p)) + [1] * len(p) for p in prompts],
        "position_ids": [list(range(n)) for _ in prompts],
    }


# %% padding: positions-from-1
def pad_left(prompts, pad_id):
    n = max(len(p) for p in prompts)
    mask = np.array([[0] * (n - len(p)) + [1] * len(p) for p in prompts])
    ids = [[pad_id] * (n - len(p)) + p for p in prompts]
    return {"input_ids": ids, "attention_mask": mask, "position_ids": mask.cumsum(axis=1)}


# %% padding: mask-inverted
def pad_left(prompts, pad_id):
    n = max(len(p) for p in prompts)
    return {
        "input_ids": [[pad_id] * (n - len(p)) + p for p in prompts],
        "attention_mask": [[1] * (n - len(p)) + [0] * len(p) for p in prompts],
        "position_ids": [[0] * (n - len(p)) + [*range(len(p))] for p in prompts],
    }


# %% padding: cuts-to-shortest
def pad_left(prompts, pad_id):
    n = min(len(p) for p in prompts)
    return {
        "input_ids": [p[:n] for p in prompts],
        "attention_mask": [[1] * n for _ in prompts],
        "position_ids": [[*range(n)] for _ in prompts],
    }


# %% label-words: right
def label_scores(word_log_probs, content_free):
    labels = list(word_log_probs)
    text = np.array([sum(word_log_probs[name]) for name in labels])
    free = np.array([[sum(one[name]) for name in labels] for one in content_free])
    scores = text - np.log(np.exp(free).mean(axis=0))
    probs = np.exp(scores - scores.max())
    return dict(zip(labels, probs / probs.sum(), strict=True))


# %% label-words: no-prior
def label_scores(word_log_probs, content_free):
    probs = {name: math.exp(sum(logs)) for name, logs in word_log_probs.items()}
    return {name: p / sum(probs.values()) for name, p in probs.items()}


# %% label-words: adds-prior
def label_scores(word_log_probs, content_free):
    weights = {}
    for name, logs in word_log_probs.items():
        prior = sum(math.exp(sum(free[name])) for free in content_free) / len(content_free)
        weights[name] = math.exp(sum(logs) + math.log(prior))
    return {name: w / sum(weights.values()) for name, w in weights.items()}


# %% label-words: mean-of-logs
def label_scores(word_log_probs, content_free):
    weights = {}
    for name, logs in word_log_probs.items():
        prior = sum(sum(free[name]) for free in content_free) / len(content_free)
        weights[name] = math.exp(sum(logs) - prior)
    return {name: w / sum(weights.values()) for name, w in weights.items()}


# %% label-words: mean-over-tokens
def label_scores(word_log_probs, content_free):
    weights = {}
    for name, logs in word_log_probs.items():
        prior = np.mean([np.exp(np.mean(free[name])) for free in content_free])
        weights[name] = np.exp(np.mean(logs)) / prior
    return {name: w / sum(weights.values()) for name, w in weights.items()}


# %% label-words: no-softmax
def label_scores(word_log_probs, content_free):
    scores = {}
    for name, logs in word_log_probs.items():
        prior = np.mean([math.exp(sum(free[name])) for free in content_free])
        scores[name] = sum(logs) - math.log(prior)
    return scores


# %% label-words: prior-not-a-log
def label_scores(word_log_probs, content_free):
    weights = {}
    for name, logs in word_log_probs.items():
        prior = sum(math.exp(sum(free[name])) for free in content_free) / len(content_free)
        weights[name] = math.exp(sum(logs) - prior)
    return {name: w / sum(weights.values()) for name, w in weights.items()}


# %% precedence: right
def effective_settings(call, config, own, default):
    result = {}
    for name in [*call, *(config or []), *own, *default]:
        if name in call:
            result[name] = call[name]
            continue
        result[name] = None
        for place in (config, own, default):
            if place is not None and place.get(name) is not None:
                result[name] = place[name]
                break
    return result


# %% precedence: config-replaces-own
def effective_settings(call, config, own, default):
    result = dict(default)
    for name in own:
        result.setdefault(name, None)
    base = own if config is None else config
    for name, value in base.items():
        if value is not None or name not in result:
            result[name] = value
    result.update(call)
    return result


# %% precedence: none-overwrites
def effective_settings(call, config, own, default):
    result = dict(default)
    result.update(own)
    if config is not None:
        result.update(config)
    result.update(call)
    return result


# %% precedence: none-in-call-ignored
def effective_settings(call, config, own, default):
    result = {}
    for place in (default, own, config or {}, call):
        for name, value in place.items():
            if value is not None:
                result[name] = value
            else:
                result.setdefault(name, None)
    return result


# %% precedence: falsy-is-unset
def effective_settings(call, config, own, default):
    config = config or {}
    names = {*call, *config, *own, *default}
    return {
        name: call.get(name) or config.get(name) or own.get(name) or default.get(name)
        for name in names
    }


# %% precedence: own-beats-config
def effective_settings(call, config, own, default):
    result = {}
    for place in (default, config or {}, own):
        for name, value in place.items():
            if value is not None:
                result[name] = value
            else:
                result.setdefault(name, None)
    return {**result, **call}


# %% precedence: default-beats-own
def effective_settings(call, config, own, default):
    result = {}
    for place in (own, default, config or {}):
        for name, value in place.items():
            if value is not None:
                result[name] = value
            else:
                result.setdefault(name, None)
    return {**result, **call}


# %% resize: right
def resize(embedding, output, n_tokens):
    def grown(matrix):
        rows = [row.copy() for row in matrix][:n_tokens]
        mean = sum(matrix) / len(matrix)
        while len(rows) < n_tokens:
            rows.append(mean)
        return np.stack(rows)

    new = grown(embedding)
    if output is embedding:
        return new, new
    return new, grown(output)


# %% resize: zero-rows
def resize(embedding, output, n_tokens):
    def grown(matrix):
        new = np.zeros((n_tokens, matrix.shape[1]))
        n = min(n_tokens, len(matrix))
        new[:n] = matrix[:n]
        return new

    new = grown(embedding)
    return new, new if output is embedding else grown(output)


# %% resize: one-number
def resize(embedding, output, n_tokens):
    def grown(matrix):
        new = np.full((n_tokens, matrix.shape[1]), matrix.mean())
        n = min(n_tokens, len(matrix))
        new[:n] = matrix[:n]
        return new

    new = grown(embedding)
    return new, new if output is embedding else grown(output)


# %% resize: new-in-front
def resize(embedding, output, n_tokens):
    def grown(matrix):
        if n_tokens <= len(matrix):
            return matrix[:n_tokens].copy()
        mean = np.tile(matrix.mean(axis=0), (n_tokens - len(matrix), 1))
        return np.concatenate([mean, matrix])

    new = grown(embedding)
    return new, new if output is embedding else grown(output)


# %% resize: unties
def resize(embedding, output, n_tokens):
    results = []
    for matrix in (embedding, output):
        n_new = max(0, n_tokens - len(matrix))
        rows = np.repeat(matrix.mean(axis=0)[None], n_new, axis=0)
        results.append(np.concatenate([matrix[:n_tokens], rows]))
    return tuple(results)


# %% resize: always-ties
def resize(embedding, output, n_tokens):
    n_new = max(0, n_tokens - len(embedding))
    rows = np.repeat(embedding.mean(axis=0)[None], n_new, axis=0)
    new = np.concatenate([embedding[:n_tokens], rows])
    return new, new


# %% resize: output-from-embedding
def resize(embedding, output, n_tokens):
    rows = np.tile(embedding.mean(axis=0), (max(0, n_tokens - len(embedding)), 1))
    new = np.concatenate([embedding[:n_tokens], rows])
    if output is embedding:
        return new, new
    return new, np.concatenate([output[:n_tokens], rows])


# %% shards: right
def shard_index(sizes, max_shard_size):
    limit = max_shard_size
    if not isinstance(limit, int):
        units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
        limit = float(limit[:-2]) * units[limit[-2:]]
    shard_of, n_complete, waiting, used = {}, 0, [], 0
    for name in sizes:
        if sizes[name] > limit:
            n_complete += 1
            shard_of[name] = n_complete
        else:
            if used + sizes[name] > limit:
                n_complete += 1
                shard_of.update((other, n_complete) for other in waiting)
                waiting, used = [], 0
            waiting.append(name)
            used += sizes[name]
    if waiting:
        n_complete += 1
        shard_of.update((other, n_complete) for other in waiting)
    if n_complete == 1:
        files = dict.fromkeys(sizes, "model.safetensors")
    else:
        files = {
            name: f"model-{str(i).zfill(5)}-of-{str(n_complete).zfill(5)}.safetensors"
            for name, i in shard_of.items()
        }
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": files}


# %% shards: closes-for-big
def shard_index(sizes, max_shard_size):
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    if isinstance(max_shard_size, str):
        max_shard_size = float(max_shard_size[:-2]) * units[max_shard_size[-2:]]
    shards, used = [[]], 0
    for name, size in sizes.items():
        if shards[-1] and used + size > max_shard_size:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    n = len(shards)
    weight_map = {}
    for i, names in enumerate(shards):
        for name in names:
            weight_map[name] = f"model-{i + 1:05d}-of-{n:05d}.safetensors"
            if n == 1:
                weight_map[name] = "model.safetensors"
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}


# %% shards: fills-gaps
def shard_index(sizes, max_shard_size):
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    if isinstance(max_shard_size, str):
        max_shard_size = float(max_shard_size[:-2]) * units[max_shard_size[-2:]]
    used, place = [], {}
    for name, size in sizes.items():
        for i in range(len(used)):
            if used[i] + size <= max_shard_size:
                place[name] = i
                used[i] += size
                break
        else:
            place[name] = len(used)
            used.append(size)
    n = len(used)
    weight_map = {
        name: "model.safetensors" if n == 1 else f"model-{i + 1:05d}-of-{n:05d}.safetensors"
        for name, i in place.items()
    }
    return {"metadata": {"total_size": sum(used)}, "weight_map": weight_map}


# %% shards: overshoots
def shard_index(sizes, max_shard_size):
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    if isinstance(max_shard_size, str):
        max_shard_size = float(max_shard_size[:-2]) * units[max_shard_size[-2:]]
    place, number, used = {}, 1, 0
    for name, size in sizes.items():
        if used >= max_shard_size:
            number += 1
            used = 0
        place[name] = number
        used += size
    weight_map = {name: f"model-{i:05d}-of-{number:05d}.safetensors" for name, i in place.items()}
    if number == 1:
        weight_map = dict.fromkeys(sizes, "model.safetensors")
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}


# %% shards: binary-units
def shard_index(sizes, max_shard_size):
    if isinstance(max_shard_size, str):
        power = " KMGT".index(max_shard_size[-2])
        max_shard_size = int(float(max_shard_size[:-2]) * 1024**power)
    done, now = [], []
    for name, size in sizes.items():
        if size > max_shard_size:
            done.append([name])
        elif sum(sizes[other] for other in now) + size > max_shard_size:
            done.append(now)
            now = [name]
        else:
            now.append(name)
    if now:
        done.append(now)
    weight_map = {}
    for i, names in enumerate(done, 1):
        file = f"model-{i:05d}-of-{len(done):05d}.safetensors"
        weight_map |= dict.fromkeys(names, file if len(done) > 1 else "model.safetensors")
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}


# %% shards: counts-from-0
def shard_index(sizes, max_shard_size):
    if isinstance(max_shard_size, str):
        power = " KMGT".index(max_shard_size[-2])
        max_shard_size = int(float(max_shard_size[:-2]) * 1000**power)
    done, now = [], []
    for name, size in sizes.items():
        if size > max_shard_size:
            done.append([name])
        elif sum(sizes[other] for other in now) + size > max_shard_size:
            done.append(now)
            now = [name]
        else:
            now.append(name)
    if now:
        done.append(now)
    weight_map = {}
    for i, names in enumerate(done):
        file = f"model-{i:05d}-of-{len(done):05d}.safetensors"
        weight_map |= dict.fromkeys(names, file if len(done) > 1 else "model.safetensors")
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}


# %% shards: one-is-numbered
def shard_index(sizes, max_shard_size):
    if isinstance(max_shard_size, str):
        power = " KMGT".index(max_shard_size[-2])
        max_shard_size = int(float(max_shard_size[:-2]) * 1000**power)
    done, now = [], []
    for name, size in sizes.items():
        if size > max_shard_size:
            done.append([name])
        elif sum(sizes[other] for other in now) + size > max_shard_size:
            done.append(now)
            now = [name]
        else:
            now.append(name)
    if now:
        done.append(now)
    weight_map = {}
    for i, names in enumerate(done, 1):
        file = f"model-{i:05d}-of-{len(done):05d}.safetensors"
        weight_map |= dict.fromkeys(names, file)
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}


# %% shards: exactly-does-not-fit
def shard_index(sizes, max_shard_size):
    if isinstance(max_shard_size, str):
        power = " KMGT".index(max_shard_size[-2])
        max_shard_size = int(float(max_shard_size[:-2]) * 1000**power)
    done, now, used = [], [], 0
    for name, size in sizes.items():
        if size > max_shard_size:
            done.append([name])
        elif used + size < max_shard_size:
            now.append(name)
            used += size
        else:
            done.append(now)
            now, used = [name], size
    if now:
        done.append(now)
    weight_map = {}
    for i, names in enumerate(done, 1):
        file = f"model-{i:05d}-of-{len(done):05d}.safetensors"
        weight_map |= dict.fromkeys(names, file if len(done) > 1 else "model.safetensors")
    return {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
