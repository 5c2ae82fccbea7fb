"""A small random model in a folder, as the ranks of a parallel run read it."""

from pathlib import Path

import torch
from engine_models import byte_tokenizer, llama, random_model

# 12 heads, 6 KV heads and F = 96 can be split over 2, 3 or 6 ranks, 6 layers over 2, 3 or 6 stages.
SIZES = {
    "num_hidden_layers": 6, "hidden_size": 48, "num_attention_heads": 12,
    "num_key_value_heads": 6, "intermediate_size": 96,
}  # fmt: skip
WITH_BIASES = llama(**SIZES, attention_bias=True, mlp_bias=True)
TIED = llama(**SIZES | {"tie_word_embeddings": True})
PROMPT = list(b"The quick brown")


def save_model(folder: Path, config) -> torch.nn.Module:
    """Write the model and its tokenizer; returns the Transformers model."""
    model = random_model(config)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return model


def greedy_with_logits(model, prompt: list[int], n: int) -> tuple[list[int], torch.Tensor]:
    """Transformers' own next tokens, the whole sequence again each time, and (n, V) logits."""
    ids, rows = list(prompt), []
    for _ in range(n):
        rows.append(model(torch.tensor([ids])).logits[0, -1])
        ids.append(int(rows[-1].argmax()))
    return ids[len(prompt) :], torch.stack(rows)
