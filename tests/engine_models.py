"""Small random models of every kind that the engine runs, with a tokenizer of single bytes."""

from types import SimpleNamespace

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from lecture_lib.model_spec import ModelSpec

EOS = 256
VOCAB_SIZE = 260  # 256 bytes, EOS and three tokens that no text has
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
COMMON = {
    "vocab_size": VOCAB_SIZE, "bos_token_id": EOS, "eos_token_id": EOS, "pad_token_id": EOS,
    "num_hidden_layers": 3, "max_position_embeddings": 128,
}  # fmt: skip


def llama(**changes) -> LlamaConfig:
    sizes = {
        "hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 2,
        "intermediate_size": 80, "tie_word_embeddings": False,
    }  # fmt: skip
    return LlamaConfig(**COMMON | sizes | changes)


def opt(**changes) -> OPTConfig:
    sizes = {"hidden_size": 40, "num_attention_heads": 4, "ffn_dim": 96, "word_embed_proj_dim": 40}
    return OPTConfig(**COMMON | sizes | changes)


GROUPED = {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3}
CONFIGS = {
    "llama": llama(),
    "llama-mha": llama(num_key_value_heads=6),
    "llama-mqa": llama(num_key_value_heads=1),
    "llama-wide-heads": llama(head_dim=22),
    "llama-one-head": llama(hidden_size=14, num_attention_heads=1, num_key_value_heads=1),
    "llama-biases": llama(attention_bias=True, mlp_bias=True),
    "llama-tied": llama(tie_word_embeddings=True),
    "llama3-rope": llama(rope_parameters=LLAMA3),
    "linear-rope": llama(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}),
    "mistral": MistralConfig(**COMMON | GROUPED, intermediate_size=80, sliding_window=None),
    "qwen2": Qwen2Config(**COMMON | GROUPED, intermediate_size=80),
    "opt": opt(),
    "opt-odd-heads": opt(hidden_size=35, num_attention_heads=5, word_embed_proj_dim=35),
    "opt-without-biases": opt(enable_bias=False),
    "opt-350m-like": opt(do_layer_norm_before=False, word_embed_proj_dim=24),
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, so that a character of two bytes or more is always split."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left")
    fast.add_special_tokens({"eos_token": "</s>", "pad_token": "</s>"})  # takes the id EOS
    return fast


def sentencepiece_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """As Llama 2 and Mistral have it: ▁ for a space, one in front of a text, bytes to fall back on.

    Its pieces are all bytes, the letters a to z, and the words ("▁the" is one with its space).
    """
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += [chr(code) for code in range(ord("a"), ord("z") + 1)]
    merges = []
    for word in words:  # one letter after another is put to its beginning
        for n in range(2, len(word) + 1):
            if word[:n] not in pieces:
                pieces.append(word[:n])
                merges.append((word[: n - 1], word[n - 1]))
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    model = models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(spaces)
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*back, decoders.Strip(" ", 1, 0)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **special)


def random_model(config):
    """Seeded weights, ten times as wide as usual: attention and positions then matter, and the
    argmax is no near-tie. Norms and biases are random too, so that ignoring one is seen."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            torch.nn.init.normal_(parameter, mean=centre, std=0.2)
    return model.requires_grad_(False)


def loaded_model(config) -> SimpleNamespace:
    """What load_model returns, for a random model of this config."""
    return SimpleNamespace(
        model=random_model(config),
        tokenizer=byte_tokenizer(),
        spec=ModelSpec.from_config(config, name="random"),
        device=torch.device("cpu"),
    )


def token_ids(batch_size: int, seq_len: int, seed: int = 0) -> torch.Tensor:
    """(B, L) random tokens, EOS not among them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch_size, seq_len), generator=generator)


def prefill_in_chunks(engine, input_ids, chunk_size: int) -> torch.Tensor:
    """Logits after a prompt that is given to ``prefill`` piece by piece."""
    cache = engine.new_cache(*input_ids.shape)
    for chunk in input_ids.split(chunk_size, dim=1):
        logits = engine.prefill(chunk, cache=cache)
    return logits


def left_padded(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens and their attention mask, (B, longest) each; the padding is EOS."""
    longest = max(lengths)
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in lengths])
    return torch.where(mask == 1, token_ids(len(lengths), longest), EOS), mask


def hf_greedy(model, input_ids, attention_mask=None, **options) -> list[list[int]]:
    """The new tokens of Transformers' own greedy search."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    out = model.generate(input_ids, attention_mask=mask, do_sample=False, **options)
    return out[:, input_ids.shape[1] :].tolist()


def assert_logits_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Each to 5e-5 of the largest: rounding errors go with the size of what was added up. (Two
    ways through the same model differ by up to 7e-6 of that, on one processor or another.)"""
    atol = 5e-5 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
