"""Answers to exercise 02: other right ones, and wrong ones that are no edit of the solution."""


# %% stream-text: right
def stream_text(decode, token_ids):
    texts = [decode(token_ids[: n + 1]) for n in range(len(token_ids))]
    shown = [text.rstrip("\ufffd") for text in texts[:-1]] + texts[-1:]
    return [text[len(before) :] for before, text in zip(["", *shown], shown, strict=False)]


# %% generate-batch: right
def generate_batch(model, prompts, max_new_tokens, eos_token_id, pad_id):
    texts = prompts  # padded anew in each step; rows that have ended grow as well
    for _ in range(max_new_tokens):
        best = model(*left_pad(texts, pad_id))[:, -1].argmax(-1).tolist()
        texts = [[*text, token] for text, token in zip(texts, best, strict=True)]
        rows = [text[len(p) :] for text, p in zip(texts, prompts, strict=True)]
        if all(eos_token_id in row for row in rows):
            break
    ends = [row.index(eos_token_id) + 1 if eos_token_id in row else None for row in rows]
    return [row[:end] for row, end in zip(rows, ends, strict=True)]
