"""Random models of a few kilobytes, with a tokenizer of a few words, for tests."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BloomConfig,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

WORDS = ["<unk>", "</s>", "the", "quick", "brown", "fox", "mouse", "ate", "cheese"]


def tiny_config(family: str = "llama") -> PreTrainedConfig:
    """A config of the family, two layers of width 16."""
    common = {"vocab_size": len(WORDS), "eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 1}
    if family == "llama":
        return LlamaConfig(
            num_hidden_layers=2, hidden_size=16, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=24, max_position_embeddings=64, **common,
        )  # fmt: skip
    if family == "opt":
        return OPTConfig(
            num_hidden_layers=2, hidden_size=16, num_attention_heads=4, ffn_dim=24,
            max_position_embeddings=64, word_embed_proj_dim=16, **common,
        )  # fmt: skip
    if family == "gpt2":
        return GPT2Config(n_layer=2, n_embd=16, n_head=4, n_positions=64, **common)
    if family == "bloom":
        return BloomConfig(n_layer=2, hidden_size=16, n_head=4, **common)
    if family == "bert":
        return BertConfig(
            num_hidden_layers=2, hidden_size=16, num_attention_heads=4, intermediate_size=24,
            is_decoder=True, **common,
        )  # fmt: skip
    raise ValueError(f"family: {family!r} is not one that this makes")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", model_max_length=64
    )


def save_tiny_model(
    folder: Path, family: str = "llama", *, as_bin: bool = False, max_shard_size: str = "5GB"
) -> torch.nn.Module:
    """Writes a model with seeded random weights and its tokenizer; returns the model."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(family)).eval()
    torch.set_rng_state(generator_state)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tiny_tokenizer().save_pretrained(folder)
    if as_bin:
        for path in Path(folder).glob("*.safetensors*"):
            path.unlink()
        torch.save(model.state_dict(), Path(folder) / "pytorch_model.bin")
    return model
