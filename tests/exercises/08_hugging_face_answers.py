# ruff: noqa: F821
"""Answers to exercise 08: other right ones, and wrong ones that are no edit of the solution."""


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


# %% padding: right
def pad_left(prompts, pad_id):
    lengths = np.array([len(prompt) for prompt in prompts])
    columns = np.arange(lengths.max()) - (lengths.max() - lengths)[:, None]
    ids = np.full(columns.shape, pad_id)
    ids[columns >= 0] = [token for prompt in prompts for token in prompt]
    mask = (columns >= 0).astype(int)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": np.maximum(columns, 0)}
