# ruff: noqa: F821
"""Answers to exercise 11: other right ones, and wrong ones that are no edit of the solution."""


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


# %% logprobs: right
def logprobs(logits, token_ids, prompt_len, n):
    import torch

    logs = torch.tensor(logits, dtype=torch.float64).log_softmax(-1)[prompt_len - 1 : -1]
    answer = []
    for row, token in zip(logs.tolist(), token_ids[prompt_len:], strict=True):
        ranked = sorted(enumerate(row), key=lambda pair: (-pair[1], pair[0]))
        answer.append({"token": token, "log_prob": row[token], "top": ranked[:n]})
    return answer


# %% penalty: right
def penalised(logits, token_ids, penalty):
    # of x / penalty and x * penalty, the smaller one for a penalty above 1, else the larger one
    pick = min if penalty > 1 else max
    return [
        pick(x / penalty, x * penalty) if token in token_ids else x
        for token, x in enumerate(logits)
    ]


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
