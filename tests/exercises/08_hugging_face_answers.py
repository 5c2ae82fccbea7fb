# ruff: noqa: F821
"""Answers to exercise 08: other right ones, and wrong ones that are no edit of the solution."""


# %% padding: right
def pad_left(prompts, pad_id):
    lengths = np.array([len(prompt) for prompt in prompts])
    columns = np.arange(lengths.max()) - (lengths.max() - lengths)[:, None]
    ids = np.full(columns.shape, pad_id)
    ids[columns >= 0] = [token for prompt in prompts for token in prompt]
    mask = (columns >= 0).astype(int)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": np.maximum(columns, 0)}


# %% tags: right
def add_tags(model, tokenizer, tags, folder):
    special = [*tokenizer.extra_special_tokens, *tags]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    if len(tokenizer) > len(model.get_input_embeddings().weight):
        model.resize_token_embeddings(len(tokenizer))
    for each in (model, tokenizer):
        each.save_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder), PreTrainedTokenizerFast.from_pretrained(folder)
