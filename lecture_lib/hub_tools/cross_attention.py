"""An encoder-decoder at work: which input tokens each output token looked at."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CrossAttention:
    """A translation and its cross-attention.

    Attributes:
        source, target: the tokens of the input and of the output, T_in and T_out of them.
        scores: float32 tensor (n_layers, n_H, T_out, T_in); each row sums to 1.
        text: the output as text.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    scores: torch.Tensor
    text: str


@torch.inference_mode()
def translate_with_attention(
    model, tokenizer, text: str, *, max_new_tokens: int = 64
) -> CrossAttention:
    """Greedy output of an encoder-decoder with its cross-attention at each step.

    Raises:
        ValueError: the model has no cross-attention, or the text is empty.
    """
    if not model.config.is_encoder_decoder:
        raise ValueError(f"model: {type(model).__name__} is no encoder-decoder")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"text: needs at least one word, got {text!r}")
    encoded = tokenizer(text, return_tensors="pt").to(model.device)
    generated = model.generate(**encoded, max_new_tokens=max_new_tokens, do_sample=False)
    # One teacher-forced pass over the finished output shows what every step attended to: a
    # decoder's row depends on the rows to its left alone. (sdpa and flash return no scores.)
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        output = model(**encoded, decoder_input_ids=generated[:, :-1], output_attentions=True)
    finally:
        model.set_attn_implementation(before)
    scores = (
        torch.stack(output.cross_attentions)[:, 0].float().cpu()
    )  # (n_layers, n_H, T_out, T_in)
    return CrossAttention(
        tuple(tokenizer.convert_ids_to_tokens(encoded.input_ids[0])),
        tuple(tokenizer.convert_ids_to_tokens(generated[0, 1:])),
        scores,
        tokenizer.decode(generated[0], skip_special_tokens=True),
    )
