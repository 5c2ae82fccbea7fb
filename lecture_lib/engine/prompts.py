"""From what a caller gives (text, lists, tensors) to token ids; the checks of bad input."""

from collections.abc import Sequence

import torch
from torch import Tensor

Prompt = str | Sequence[int] | Tensor


def end_tokens(hf_model) -> frozenset[int]:
    """The model's own end tokens: none, one or several."""
    config = hf_model.generation_config or hf_model.config
    eos = config.eos_token_id
    return frozenset([] if eos is None else [eos] if isinstance(eos, int) else eos)


def as_token_ids(name: str, ids, vocab_size: int, device) -> Tensor:
    """Token ids as a long tensor on the device, of the shape given, or ValueError."""
    try:
        ids = torch.as_tensor(ids, device=device)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: needs whole numbers in rows of one length (pad on the left and give "
            f"attention_mask, or call generate with a list of prompts): {error}"
        ) from None
    if ids.numel() == 0:
        raise ValueError(f"{name}: needs at least one token, got shape {tuple(ids.shape)}")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{name}: needs integers, got {ids.dtype}")
    lowest, highest = (int(bound) for bound in ids.aminmax())
    if lowest < 0 or highest >= vocab_size:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"{name}: {wrong} is outside the vocabulary, 0..{vocab_size - 1}")
    return ids.long()


def as_token_matrix(input_ids, vocab_size: int, device) -> Tensor:
    """Prompts as (B, L); a single row (L,) becomes (1, L)."""
    ids = as_token_ids("input_ids", input_ids, vocab_size, device)
    ids = ids[None] if ids.dim() == 1 else ids
    if ids.dim() != 2:
        raise ValueError(f"input_ids: needs shape (B, L) or (L,), got {tuple(ids.shape)}")
    return ids


def count_padding(attention_mask, input_ids: Tensor) -> Tensor | None:
    """How many padding tokens each row begins with, (B,), or None where no row has any.

    Raises:
        ValueError: a mask of another shape, padding that is not on the left, a row without tokens.
    """
    if attention_mask is None:
        return None
    mask = torch.as_tensor(attention_mask, device=input_ids.device)
    mask = mask[None] if mask.dim() == 1 else mask
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask: needs the shape of input_ids {tuple(input_ids.shape)}, "
            f"got {tuple(mask.shape)}"
        )
    mask = mask.long()
    steps_up = bool((mask.diff(dim=1) >= 0).all())
    if not steps_up or not bool((mask[:, -1] == 1).all()) or int(mask.min()) < 0:
        raise ValueError(
            "attention_mask: needs zeros (padding) on the left, then ones, and at least one 1 in "
            "each row; set tokenizer.padding_side = 'left'"
        )
    padding = (1 - mask).sum(1)  # (B,)
    return padding if bool(padding.any()) else None


def encode(prompt, tokenizer) -> tuple[list[list[int]], bool]:
    """One prompt or a list of prompts, each text or token ids, to lists of ids.

    Returns:
        The prompts' ids, and whether it was one prompt: a str, a list of ints, a tensor of shape
        (L,) or (1, L).
    """
    if isinstance(prompt, Tensor):
        prompt = prompt.tolist()
        single = not prompt or not isinstance(prompt[0], list) or len(prompt) == 1
        prompts = prompt if prompt and isinstance(prompt[0], list) else [prompt]
    elif isinstance(prompt, str) or (isinstance(prompt, Sequence) and _is_ids(prompt)):
        single, prompts = True, [prompt]
    elif isinstance(prompt, Sequence):
        single, prompts = False, list(prompt)
    else:
        raise ValueError(f"prompt: needs text, token ids or a list, got {type(prompt).__name__}")
    return [_encode_one(each, tokenizer) for each in prompts], single


def _is_ids(prompt: Sequence) -> bool:
    return len(prompt) == 0 or isinstance(prompt[0], int | float)


def _encode_one(prompt: Prompt, tokenizer) -> list[int]:
    if isinstance(prompt, str):
        ids = tokenizer(prompt).input_ids if prompt else []
    else:
        ids = prompt.tolist() if isinstance(prompt, Tensor) else list(prompt)
    if not ids:
        raise ValueError("prompt: needs at least one token, got an empty one")
    return ids


def pad_left(prompts: list[list[int]]) -> tuple[list[list[int]], list[list[int]] | None]:
    """Rows of one length for a batch: (input_ids, attention_mask), None where nothing is padded.

    The padding stands on the left, so that every row's newest token is in the last column. Which
    token it is does not matter: nothing looks at it.
    """
    longest = max(map(len, prompts))
    if all(len(ids) == longest for ids in prompts):
        return prompts, None
    n_pad = [longest - len(ids) for ids in prompts]
    input_ids = [[0] * n + ids for n, ids in zip(n_pad, prompts, strict=True)]
    attention_mask = [[0] * n + [1] * (longest - n) for n in n_pad]
    return input_ids, attention_mask
