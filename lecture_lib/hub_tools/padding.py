"""Why a batch is padded on the left: what a decoder-only model writes behind padding."""

from collections.abc import Sequence

import pandas as pd
import torch

from ..loading.quiet import quiet_transformers


@torch.inference_mode()
def compare_padding_sides(
    loaded, prompts: Sequence[str], *, max_new_tokens: int = 8
) -> pd.DataFrame:
    """Greedy continuations of each prompt alone, and in one batch padded left and right.

    Transformers warns of padding on the right before a decoder-only model writes; here it is meant,
    so the warning is left out.

    Returns:
        One row a prompt: prompt, padding (tokens), alone, left, right.

    Raises:
        ValueError: fewer than two prompts, or all of one length (then nothing is padded).
    """
    if isinstance(prompts, str) or len(prompts) < 2:
        raise ValueError(f"prompts: needs a list of two or more, got {prompts!r}")
    tokenizer, model = loaded.tokenizer, loaded.model
    lengths = [len(tokenizer(prompt).input_ids) for prompt in prompts]
    if len(set(lengths)) == 1:
        raise ValueError(f"prompts: all have {lengths[0]} tokens, so nothing would be padded")
    options = {
        "max_new_tokens": max_new_tokens, "do_sample": False, "pad_token_id": tokenizer.pad_token_id
    }  # fmt: skip

    def run(texts: list[str], side: str) -> list[str]:
        batch = tokenizer(texts, padding=True, padding_side=side, return_tensors="pt")
        with quiet_transformers():
            output = model.generate(**batch.to(model.device), **options)
        new = output[:, batch.input_ids.shape[1] :]
        return tokenizer.batch_decode(new, skip_special_tokens=True)

    prompts = list(prompts)
    return pd.DataFrame({
        "prompt": prompts,
        "padding": [max(lengths) - length for length in lengths],
        "alone": [run([prompt], "left")[0] for prompt in prompts],
        "left": run(prompts, "left"),
        "right": run(prompts, "right"),
    })  # fmt: skip
