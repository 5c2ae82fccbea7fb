# ruff: noqa: B007, F811, F821, RUF007
"""Answers to exercise 11: other right ones, and wrong ones by the misconception they must show."""

# %% settings: right
answers = {
    "prompt_seqs": "acts",
    "seed": "no effect",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "never read",
    "top_p": "no effect",
    "temperature": "no effect",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "no effect",
    "repetition_penalty": "acts",
    "stop": "never read",
    "logprobs": "never read",
}


# %% settings: passed-on-acts
answers = {
    "prompt_seqs": "acts",
    "seed": "no effect",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "never read",
    "top_p": "acts",
    "temperature": "acts",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "no effect",
    "repetition_penalty": "acts",
    "stop": "never read",
    "logprobs": "never read",
}


# %% settings: seed-acts
answers = {
    "prompt_seqs": "acts",
    "seed": "acts",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "never read",
    "top_p": "no effect",
    "temperature": "no effect",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "no effect",
    "repetition_penalty": "acts",
    "stop": "never read",
    "logprobs": "never read",
}


# %% settings: penalty-is-lost
answers = {
    "prompt_seqs": "acts",
    "seed": "no effect",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "never read",
    "top_p": "no effect",
    "temperature": "no effect",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "no effect",
    "repetition_penalty": "no effect",
    "stop": "never read",
    "logprobs": "never read",
}


# %% settings: len-penalty-acts
answers = {
    "prompt_seqs": "acts",
    "seed": "no effect",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "never read",
    "top_p": "no effect",
    "temperature": "no effect",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "acts",
    "repetition_penalty": "acts",
    "stop": "never read",
    "logprobs": "never read",
}


# %% settings: scores-are-logprobs
answers = {
    "prompt_seqs": "acts",
    "seed": "no effect",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "never read",
    "top_p": "no effect",
    "temperature": "no effect",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "no effect",
    "repetition_penalty": "acts",
    "stop": "never read",
    "logprobs": "no effect",
}


# %% settings: top-k-is-read
answers = {
    "prompt_seqs": "acts",
    "seed": "no effect",
    "output_len": "acts",
    "beam_width": "never read",
    "top_k": "no effect",
    "top_p": "no effect",
    "temperature": "no effect",
    "beam_search_diversity_rate": "never read",
    "len_penalty": "no effect",
    "repetition_penalty": "acts",
    "stop": "never read",
    "logprobs": "never read",
}


# %% stop: right
def shown(pieces, stops):
    entries, text, sent = [], "", 0
    for piece in pieces:
        text += piece
        places = [place for place in range(sent, len(text)) for stop in stops
                  if text[place : place + len(stop)] == stop]  # fmt: skip
        if places:
            entries.append(text[sent : places[0]])
            return entries
        safe = sent
        while safe < len(text) and not any(stop.startswith(text[safe:]) for stop in stops):
            safe += 1
        entries.append(text[sent:safe])
        sent = safe
    entries.append(text[sent:])
    return entries


# %% stop: piece-by-piece
def shown(pieces, stops):
    entries = []
    for piece in pieces:
        first = min((piece.find(stop) for stop in stops if stop in piece), default=None)
        if first is not None:
            entries.append(piece[:first])
            return entries
        entries.append(piece)
    entries.append("")
    return entries


# %% stop: shows-the-beginning
def shown(pieces, stops):
    entries, text = [], ""
    for piece in pieces:
        before = len(text)
        text += piece
        places = [text.find(stop) for stop in stops if stop in text]
        if places:
            entries.append(text[before : max(before, min(places))])
            return entries
        entries.append(piece)
    return [*entries, ""]


# %% stop: stop-included
def shown(pieces, stops):
    entries, held = [], ""
    for piece in pieces:
        held += piece
        places = [(held.find(stop), stop) for stop in stops if stop in held]
        if places:
            place, stop = min(places)
            return [*entries, held[: place + len(stop)]]
        n = 0
        while n < len(held) and not any(stop.startswith(held[n:]) for stop in stops):
            n += 1
        entries.append(held[:n])
        held = held[n:]
    return [*entries, held]


# %% stop: waits-too-long
def shown(pieces, stops):
    entries, held = [], ""
    longest = max(map(len, stops), default=1) - 1
    for piece in pieces:
        held += piece
        places = [held.find(stop) for stop in stops if stop in held]
        if places:
            return [*entries, held[: min(places)]]
        ready = max(0, len(held) - longest)
        entries.append(held[:ready])
        held = held[ready:]
    return [*entries, held]


# %% stop: loses-the-end
def shown(pieces, stops):
    entries, held = [], ""
    for piece in pieces:
        held += piece
        places = [held.find(stop) for stop in stops if stop in held]
        if places:
            return [*entries, held[: min(places)]]
        n = 0
        while n < len(held) and not any(stop.startswith(held[n:]) for stop in stops):
            n += 1
        entries.append(held[:n])
        held = held[n:]
    return [*entries, ""]


# %% stop: first-listed
def shown(pieces, stops):
    entries, held = [], ""
    for piece in pieces:
        held += piece
        for stop in stops:
            if stop in held:
                return [*entries, held.split(stop)[0]]
        n = 0
        while n < len(held) and not any(stop.startswith(held[n:]) for stop in stops):
            n += 1
        entries.append(held[:n])
        held = held[n:]
    return [*entries, held]


# %% stop: whole-or-nothing
def shown(pieces, stops):
    entries, held = [], ""
    for piece in pieces:
        held += piece
        places = [held.find(stop) for stop in stops if stop in held]
        if places:
            return [*entries, held[: min(places)]]
        if any(stop.startswith(held) for stop in stops):
            entries.append("")
            continue
        entries.append(held)
        held = ""
    return [*entries, held]


# %% logprobs: right
def logprobs(logits, token_ids, prompt_len, n):
    import torch

    logs = torch.tensor(logits, dtype=torch.float64).log_softmax(-1)[prompt_len - 1 : -1]
    answer = []
    for row, token in zip(logs.tolist(), token_ids[prompt_len:], strict=True):
        ranked = sorted(enumerate(row), key=lambda pair: (-pair[1], pair[0]))
        answer.append({"token": token, "log_prob": row[token], "top": ranked[:n]})
    return answer


# %% logprobs: own-row
def logprobs(logits, token_ids, prompt_len, n):
    answer = []
    for row, token in zip(logits[prompt_len:], token_ids[prompt_len:], strict=True):
        top = max(row)
        total = top + math.log(sum(math.exp(x - top) for x in row))
        ranked = sorted(enumerate(row), key=lambda pair: -pair[1])[:n]
        best = [(i, x - total) for i, x in ranked]
        answer.append({"token": token, "log_prob": row[token] - total, "top": best})
    return answer


# %% logprobs: raw-logits
def logprobs(logits, token_ids, prompt_len, n):
    answer = []
    for row, token in zip(logits[prompt_len - 1 :], token_ids[prompt_len:], strict=False):
        ranked = sorted(enumerate(row), key=lambda pair: -pair[1])[:n]
        answer.append({"token": token, "log_prob": row[token], "top": ranked})
    return answer


# %% logprobs: probabilities
def logprobs(logits, token_ids, prompt_len, n):
    answer = []
    for row, token in zip(logits[prompt_len - 1 :], token_ids[prompt_len:], strict=False):
        weights = [math.exp(x - max(row)) for x in row]
        probs = [w / sum(weights) for w in weights]
        ranked = sorted(enumerate(row), key=lambda pair: -pair[1])[:n]
        best = [(i, probs[i]) for i, _ in ranked]
        answer.append({"token": token, "log_prob": probs[token], "top": best})
    return answer


# %% logprobs: chosen-is-likeliest
def logprobs(logits, token_ids, prompt_len, n):
    answer = []
    for row, token in zip(logits[prompt_len - 1 :], token_ids[prompt_len:], strict=False):
        top = max(row)
        total = top + math.log(sum(math.exp(x - top) for x in row))
        ranked = sorted(enumerate(row), key=lambda pair: -pair[1])[:n]
        best = [(i, x - total) for i, x in ranked]
        answer.append({"token": token, "log_prob": best[0][1], "top": best})
    return answer


# %% logprobs: only-over-the-top
def logprobs(logits, token_ids, prompt_len, n):
    answer = []
    for row, token in zip(logits[prompt_len - 1 :], token_ids[prompt_len:], strict=False):
        ranked = sorted(enumerate(row), key=lambda pair: -pair[1])[:n]
        top = ranked[0][1]
        total = top + math.log(sum(math.exp(x - top) for _, x in ranked))
        best = [(i, x - total) for i, x in ranked]
        answer.append({"token": token, "log_prob": row[token] - total, "top": best})
    return answer


# %% logprobs: overflows
def logprobs(logits, token_ids, prompt_len, n):
    answer = []
    for row, token in zip(logits[prompt_len - 1 :], token_ids[prompt_len:], strict=False):
        total = math.log(sum(math.exp(x) for x in row))
        ranked = sorted(enumerate(row), key=lambda pair: -pair[1])[:n]
        best = [(i, x - total) for i, x in ranked]
        answer.append({"token": token, "log_prob": row[token] - total, "top": best})
    return answer


# %% logprobs: log-of-zero
def logprobs(logits, token_ids, prompt_len, n):
    answer = []
    for row, token in zip(logits[prompt_len - 1 :], token_ids[prompt_len:], strict=False):
        weights = [math.exp(x - max(row)) for x in row]
        logs = [math.log(w / sum(weights)) for w in weights]
        ranked = sorted(enumerate(logs), key=lambda pair: -pair[1])[:n]
        answer.append({"token": token, "log_prob": logs[token], "top": ranked})
    return answer


# %% penalty: right
def penalised(logits, token_ids, penalty):
    # of x / penalty and x * penalty, the smaller one for a penalty above 1, else the larger one
    pick = min if penalty > 1 else max
    return [
        pick(x / penalty, x * penalty) if token in token_ids else x
        for token, x in enumerate(logits)
    ]


# %% penalty: divides-all
def penalised(logits, token_ids, penalty):
    return [x / penalty if i in token_ids else x for i, x in enumerate(logits)]


# %% penalty: multiplies-all
def penalised(logits, token_ids, penalty):
    return [x * penalty if i in token_ids else x for i, x in enumerate(logits)]


# %% penalty: each-time
def penalised(logits, token_ids, penalty):
    new = logits.copy()
    for token in token_ids:
        if new[token] < 0:
            new[token] *= penalty
        else:
            new[token] /= penalty
    return new


# %% penalty: subtracts
def penalised(logits, token_ids, penalty):
    return [x - penalty * (i in token_ids) for i, x in enumerate(logits)]


# %% penalty: penalises-the-others
def penalised(logits, token_ids, penalty):
    new = []
    for i, x in enumerate(logits):
        if i in token_ids:
            new.append(x)
        else:
            new.append(x * penalty if x < 0 else x / penalty)
    return new


# %% penalty: last-token-only
def penalised(logits, token_ids, penalty):
    new, last = list(logits), token_ids[-1]
    new[last] = new[last] * penalty if new[last] < 0 else new[last] / penalty
    return new


# %% penalty: changes-its-argument
def penalised(logits, token_ids, penalty):
    for token in set(token_ids):
        if logits[token] < 0:
            logits[token] *= penalty
        else:
            logits[token] /= penalty
    return logits


# %% latency: right
def latencies(calls):
    import statistics

    _, *calls = calls
    ttft = statistics.fmean(first - start for start, first, *_ in calls)
    n_steps = sum(len(call) - 2 for call in calls)
    if n_steps == 0:
        return {"ttft_ms": ttft * 1e3, "tpot_ms": None, "tokens_per_s": None}
    seconds = sum(call[-1] - call[1] for call in calls)
    return {
        "ttft_ms": ttft * 1e3,
        "tpot_ms": seconds / n_steps * 1e3,
        "tokens_per_s": n_steps / seconds,
    }


# %% latency: keeps-the-warm-up
def latencies(calls):
    ttft = sum(call[1] - call[0] for call in calls) / len(calls)
    steps = [b - a for call in calls for a, b in zip(call[1:-1], call[2:], strict=True)]
    if not steps:
        return {"ttft_ms": ttft * 1000, "tpot_ms": None, "tokens_per_s": None}
    tpot = sum(steps) / len(steps)
    return {"ttft_ms": ttft * 1000, "tpot_ms": tpot * 1000, "tokens_per_s": 1 / tpot}


# %% latency: prefill-in-tpot
def latencies(calls):
    calls = calls[1:]
    ttft = sum(call[1] - call[0] for call in calls) / len(calls)
    if all(len(call) == 2 for call in calls):
        return {"ttft_ms": ttft * 1000, "tpot_ms": None, "tokens_per_s": None}
    steps = [b - a for call in calls for a, b in zip(call[:-1], call[1:], strict=True)]
    tpot = sum(steps) / len(steps)
    return {"ttft_ms": ttft * 1000, "tpot_ms": tpot * 1000, "tokens_per_s": 1 / tpot}


# %% latency: n-intervals
def latencies(calls):
    calls = calls[1:]
    ttft = sum(call[1] - call[0] for call in calls) / len(calls)
    if all(len(call) == 2 for call in calls):
        return {"ttft_ms": ttft * 1000, "tpot_ms": None, "tokens_per_s": None}
    n_tokens = sum(len(call[1:]) for call in calls)
    tpot = sum(call[-1] - call[1] for call in calls) / n_tokens
    return {"ttft_ms": ttft * 1000, "tpot_ms": tpot * 1000, "tokens_per_s": 1 / tpot}


# %% latency: mean-of-means
def latencies(calls):
    calls = calls[1:]
    ttft = sum(call[1] - call[0] for call in calls) / len(calls)
    means = [(call[-1] - call[1]) / (len(call) - 2) for call in calls if len(call) > 2]
    if not means:
        return {"ttft_ms": ttft * 1000, "tpot_ms": None, "tokens_per_s": None}
    tpot = sum(means) / len(means)
    return {"ttft_ms": ttft * 1000, "tpot_ms": tpot * 1000, "tokens_per_s": 1 / tpot}


# %% latency: seconds
def latencies(calls):
    calls = calls[1:]
    ttft = sum(call[1] - call[0] for call in calls) / len(calls)
    steps = [b - a for call in calls for a, b in zip(call[1:-1], call[2:], strict=True)]
    if not steps:
        return {"ttft_ms": ttft, "tpot_ms": None, "tokens_per_s": None}
    tpot = sum(steps) / len(steps)
    return {"ttft_ms": ttft, "tpot_ms": tpot, "tokens_per_s": 1 / tpot}


# %% latency: rate-with-prefill
def latencies(calls):
    calls = calls[1:]
    ttft = sum(call[1] - call[0] for call in calls) / len(calls)
    steps = [b - a for call in calls for a, b in zip(call[1:-1], call[2:], strict=True)]
    if not steps:
        return {"ttft_ms": ttft * 1000, "tpot_ms": None, "tokens_per_s": None}
    n_tokens = sum(len(call) - 1 for call in calls)
    seconds = sum(call[-1] - call[0] for call in calls)
    tpot = sum(steps) / len(steps)
    return {"ttft_ms": ttft * 1000, "tpot_ms": tpot * 1000, "tokens_per_s": n_tokens / seconds}


# %% latency: divides-by-zero
def latencies(calls):
    calls = calls[1:]
    ttft = sum(call[1] - call[0] for call in calls) / len(calls)
    steps = [b - a for call in calls for a, b in zip(call[1:-1], call[2:], strict=True)]
    tpot = sum(steps) / len(steps)
    return {"ttft_ms": ttft * 1000, "tpot_ms": tpot * 1000, "tokens_per_s": 1 / tpot}


# %% check: right
def check_settings(given):
    def demand(name, fine):
        if not fine:
            raise ValueError(f"{name}: can't be {s[name]!r} here")

    s = dict(DEFAULTS)
    for name, value in given.items():
        s[name] = value
        demand(name, name in DEFAULTS)
        demand(name, isinstance(value, int | float) and not isinstance(value, bool))
        demand(name, not math.isnan(value) and not math.isinf(value))
    for name in ("output_len", "beam_width", "top_k"):
        demand(name, isinstance(s[name], int) and s[name] >= (name != "top_k"))
    demand("temperature", s["temperature"] >= 0)
    demand("top_p", 0 < s["top_p"] <= 1)
    demand("repetition_penalty", s["repetition_penalty"] > 0)
    demand("beam_search_diversity_rate", not s["beam_search_diversity_rate"])
    if s["beam_width"] == 1:
        demand("len_penalty", s["len_penalty"] == 0)
    if s["temperature"] == 0 or s["top_k"] == 1:
        demand("top_p", s["top_p"] == 1)
    return s


# %% check: nameless
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name in given:
        if name not in DEFAULTS:
            raise ValueError("bad setting, unknown setting")
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("bad setting, must be a number")
        if not math.isfinite(value):
            raise ValueError("bad setting, must be finite")
    for name in ("output_len", "beam_width", "top_k"):
        if not isinstance(settings[name], int):
            raise ValueError("bad setting, must be an int")
    if settings["output_len"] < 1:
        raise ValueError("bad setting, must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("bad setting, must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("bad setting, must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("bad setting, must be 0 or more")
    if settings["top_p"] <= 0 or settings["top_p"] > 1:
        raise ValueError("bad setting, must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("bad setting, must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("bad setting, must be 0")
    if settings["len_penalty"] != 0 and settings["beam_width"] == 1:
        raise ValueError("bad setting, does nothing without beams")
    if settings["top_p"] < 1 and (settings["temperature"] == 0 or settings["top_k"] == 1):
        raise ValueError("bad setting, does nothing, it is greedy")
    return settings


# %% check: nan-and-infinity-pass
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name in given:
        if name not in DEFAULTS:
            raise ValueError(f"{name}: unknown setting")
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name}: must be a number")
    for name in ("output_len", "beam_width", "top_k"):
        if not isinstance(settings[name], int):
            raise ValueError(f"{name}: must be an int")
    if settings["output_len"] < 1:
        raise ValueError("output_len: must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("beam_width: must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("top_k: must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("temperature: must be 0 or more")
    if settings["top_p"] <= 0 or settings["top_p"] > 1:
        raise ValueError("top_p: must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("repetition_penalty: must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("beam_search_diversity_rate: must be 0")
    if settings["len_penalty"] != 0 and settings["beam_width"] == 1:
        raise ValueError("len_penalty: does nothing without beams")
    if settings["top_p"] < 1 and (settings["temperature"] == 0 or settings["top_k"] == 1):
        raise ValueError("top_p: does nothing, it is greedy")
    return settings


# %% check: true-is-one
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name in given:
        if name not in DEFAULTS:
            raise ValueError(f"{name}: unknown setting")
    for name, value in settings.items():
        if not isinstance(value, (int, float)):
            raise ValueError(f"{name}: must be a number")
        if not math.isfinite(value):
            raise ValueError(f"{name}: must be finite")
    for name in ("output_len", "beam_width", "top_k"):
        if not isinstance(settings[name], int):
            raise ValueError(f"{name}: must be an int")
    if settings["output_len"] < 1:
        raise ValueError("output_len: must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("beam_width: must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("top_k: must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("temperature: must be 0 or more")
    if settings["top_p"] <= 0 or settings["top_p"] > 1:
        raise ValueError("top_p: must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("repetition_penalty: must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("beam_search_diversity_rate: must be 0")
    if settings["len_penalty"] != 0 and settings["beam_width"] == 1:
        raise ValueError("len_penalty: does nothing without beams")
    if settings["top_p"] < 1 and (settings["temperature"] == 0 or settings["top_k"] == 1):
        raise ValueError("top_p: does nothing, it is greedy")
    return settings


# %% check: unknown-passes
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name}: must be a number")
        if not math.isfinite(value):
            raise ValueError(f"{name}: must be finite")
    for name in ("output_len", "beam_width", "top_k"):
        if not isinstance(settings[name], int):
            raise ValueError(f"{name}: must be an int")
    if settings["output_len"] < 1:
        raise ValueError("output_len: must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("beam_width: must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("top_k: must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("temperature: must be 0 or more")
    if settings["top_p"] <= 0 or settings["top_p"] > 1:
        raise ValueError("top_p: must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("repetition_penalty: must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("beam_search_diversity_rate: must be 0")
    if settings["len_penalty"] != 0 and settings["beam_width"] == 1:
        raise ValueError("len_penalty: does nothing without beams")
    if settings["top_p"] < 1 and (settings["temperature"] == 0 or settings["top_k"] == 1):
        raise ValueError("top_p: does nothing, it is greedy")
    return settings


# %% check: no-combinations
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name in given:
        if name not in DEFAULTS:
            raise ValueError(f"{name}: unknown setting")
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name}: must be a number")
        if not math.isfinite(value):
            raise ValueError(f"{name}: must be finite")
    for name in ("output_len", "beam_width", "top_k"):
        if not isinstance(settings[name], int):
            raise ValueError(f"{name}: must be an int")
    if settings["output_len"] < 1:
        raise ValueError("output_len: must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("beam_width: must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("top_k: must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("temperature: must be 0 or more")
    if settings["top_p"] <= 0 or settings["top_p"] > 1:
        raise ValueError("top_p: must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("repetition_penalty: must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("beam_search_diversity_rate: must be 0")
    return settings


# %% check: top-p-zero-passes
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name in given:
        if name not in DEFAULTS:
            raise ValueError(f"{name}: unknown setting")
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name}: must be a number")
        if not math.isfinite(value):
            raise ValueError(f"{name}: must be finite")
    for name in ("output_len", "beam_width", "top_k"):
        if not isinstance(settings[name], int):
            raise ValueError(f"{name}: must be an int")
    if settings["output_len"] < 1:
        raise ValueError("output_len: must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("beam_width: must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("top_k: must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("temperature: must be 0 or more")
    if settings["top_p"] < 0 or settings["top_p"] > 1:
        raise ValueError("top_p: must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("repetition_penalty: must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("beam_search_diversity_rate: must be 0")
    if settings["len_penalty"] != 0 and settings["beam_width"] == 1:
        raise ValueError("len_penalty: does nothing without beams")
    if settings["top_p"] < 1 and (settings["temperature"] == 0 or settings["top_k"] == 1):
        raise ValueError("top_p: does nothing, it is greedy")
    return settings


# %% check: only-the-given
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name in given:
        if name not in DEFAULTS:
            raise ValueError(f"{name}: unknown setting")
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name}: must be a number")
        if not math.isfinite(value):
            raise ValueError(f"{name}: must be finite")
    for name in ("output_len", "beam_width", "top_k"):
        if not isinstance(settings[name], int):
            raise ValueError(f"{name}: must be an int")
    if settings["output_len"] < 1:
        raise ValueError("output_len: must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("beam_width: must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("top_k: must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("temperature: must be 0 or more")
    if settings["top_p"] <= 0 or settings["top_p"] > 1:
        raise ValueError("top_p: must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("repetition_penalty: must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("beam_search_diversity_rate: must be 0")
    if settings["len_penalty"] != 0 and settings["beam_width"] == 1:
        raise ValueError("len_penalty: does nothing without beams")
    if settings["top_p"] < 1 and (settings["temperature"] == 0 or settings["top_k"] == 1):
        raise ValueError("top_p: does nothing, it is greedy")
    return given


# %% check: asserts
def check_settings(given):
    s = {**DEFAULTS, **given}
    for name in s:
        assert name in DEFAULTS, f"{name}: unknown"
        assert type(s[name]) in (int, float), f"{name}: must be a number"
        assert math.isfinite(s[name]), f"{name}: must be finite"
    for name in ("output_len", "beam_width", "top_k"):
        assert type(s[name]) is int, f"{name}: must be an int"
        assert s[name] >= (0 if name == "top_k" else 1), f"{name}: too small"
    assert s["temperature"] >= 0, "temperature: too small"
    assert 0 < s["top_p"] <= 1, "top_p: above 0 and at most 1"
    assert s["repetition_penalty"] > 0, "repetition_penalty: too small"
    assert s["beam_search_diversity_rate"] == 0, "beam_search_diversity_rate: must be 0"
    assert s["len_penalty"] == 0 or s["beam_width"] > 1, "len_penalty: needs beams"
    greedy = s["temperature"] == 0 or s["top_k"] == 1
    assert s["top_p"] == 1 or not greedy, "top_p: does nothing"
    return s


# %% check: type-error
def check_settings(given):
    settings = {**DEFAULTS, **given}
    for name in given:
        if name not in DEFAULTS:
            raise ValueError(f"{name}: unknown setting")
    for name in ("temperature", "top_p", "repetition_penalty", "len_penalty"):
        if not settings[name] < math.inf:
            raise ValueError(f"{name}: must be finite")
    for name in ("output_len", "beam_width", "top_k"):
        if type(settings[name]) is not int:
            raise ValueError(f"{name}: must be an int")
    if settings["output_len"] < 1:
        raise ValueError("output_len: must be 1 or more")
    if settings["beam_width"] < 1:
        raise ValueError("beam_width: must be 1 or more")
    if settings["top_k"] < 0:
        raise ValueError("top_k: must be 0 or more")
    if settings["temperature"] < 0:
        raise ValueError("temperature: must be 0 or more")
    if settings["top_p"] <= 0 or settings["top_p"] > 1:
        raise ValueError("top_p: must be above 0 and at most 1")
    if settings["repetition_penalty"] <= 0:
        raise ValueError("repetition_penalty: must be above 0")
    if settings["beam_search_diversity_rate"] != 0:
        raise ValueError("beam_search_diversity_rate: must be 0")
    if settings["len_penalty"] != 0 and settings["beam_width"] == 1:
        raise ValueError("len_penalty: does nothing without beams")
    if settings["top_p"] < 1 and (settings["temperature"] == 0 or settings["top_k"] == 1):
        raise ValueError("top_p: does nothing, it is greedy")
    return settings
