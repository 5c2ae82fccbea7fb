"""Answers to exercise 08: other right ones, and wrong ones that are no edit of the solution."""


# %% tags: right
def add_tags(model, tokenizer, tags, folder):
    special = [*tokenizer.extra_special_tokens, *tags]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    if len(tokenizer) > len(model.get_input_embeddings().weight):
        model.resize_token_embeddings(len(tokenizer))
    for each in (model, tokenizer):
        each.save_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder), PreTrainedTokenizerFast.from_pretrained(folder)
