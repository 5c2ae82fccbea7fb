# ruff: noqa: F821
"""Answers to exercise 11: other right ones, as different from the solution as a student's."""


# %% logprobs: right
def logprobs(logits, token_ids, prompt_len, n):
    import torch

    logs = torch.tensor(logits, dtype=torch.float64).log_softmax(-1)[prompt_len - 1 : -1]
    rows = zip(logs.tolist(), token_ids[prompt_len:], strict=True)
    return [{"token": token, "log_prob": row[token],
             "top": sorted(enumerate(row), key=lambda pair: (-pair[1], pair[0]))[:n]}
            for row, token in rows]  # fmt: skip


# %% stream: right
def stream(model, prompt_ids, stops, max_new_tokens, end_id):
    ids, sent, text = [], 0, ""
    while len(ids) < max_new_tokens:
        logits = model.decode(ids[-1]) if ids else model.prefill(prompt_ids)
        if (token := logits.index(max(logits))) == end_id:
            break
        ids.append(token)
        text = model.text(ids)
        whole = text.rstrip("\ufffd")  # what is in front of half a character is certain
        places = [whole.index(stop) for stop in stops if stop in whole]
        upto = min(places) if places else len(whole) - waits(whole, stops)
        yield whole[sent:upto]
        sent = max(sent, upto)
        if places:
            return
    yield text[sent:]
