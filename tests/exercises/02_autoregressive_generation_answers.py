# ruff: noqa: F821
"""Answers to exercise 02: other right ones, and wrong ones that are no edit of the solution."""


# %% generate-with-choice: right
def generate_with_choice(model, prompt_ids, max_new_tokens, choose):
    tokens, probabilities = [], []
    while len(tokens) < max_new_tokens:
        logits = model(prompt_ids + tokens)[-1]
        probs = (logits - logits.logsumexp(0)).exp()
        tokens.append(choose(probs))
        probabilities.append(probs[tokens[-1]])
    return list(zip(tokens, probabilities, strict=True))


# %% stream-text: right
def stream_text(decode, token_ids):
    """Counts how many characters at the end may still change."""
    pieces, n_shown = [], 0
    for n in range(len(token_ids)):
        text = decode(token_ids[: n + 1])
        ready = len(text)
        while n + 1 < len(token_ids) and ready > n_shown and text[ready - 1] == "\ufffd":
            ready -= 1
        pieces.append(text[n_shown:ready])
        n_shown = ready
    return pieces


# %% left-pad: right
def left_pad(prompts, pad_id):
    """Tensors that are filled row by row, as numpy arrays."""
    import numpy as np

    width = max(map(len, prompts))
    ids = np.full((len(prompts), width), pad_id)
    mask, positions = np.zeros_like(ids), np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        first = width - len(prompt)
        ids[row, first:] = prompt
        mask[row, first:] = 1
        positions[row, first:] = range(len(prompt))
    return ids, mask, positions


# %% generate-batch: right
def generate_batch(model, prompts, max_new_tokens, eos_token_id, pad_id):
    """Rows that have ended are fed their end token again, as Transformers feeds padding."""
    ids, mask, positions = left_pad(prompts, pad_id)
    width, done = ids.shape[1], torch.zeros(len(prompts), dtype=torch.bool)
    for _ in range(max_new_tokens):
        token = model(ids, mask, positions)[:, -1].argmax(-1)
        token = torch.where(done, eos_token_id, token)
        ids = torch.cat([ids, token[:, None]], 1)
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], 1)
        positions = torch.cat([positions, positions[:, -1:] + 1], 1)
        done |= token == eos_token_id
        if done.all():
            break
    rows = ids[:, width:].tolist()
    return [r[: r.index(eos_token_id) + 1] if eos_token_id in r else r for r in rows]
