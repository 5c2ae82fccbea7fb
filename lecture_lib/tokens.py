"""Token ids and logits, checked: prompts to ids, the ends of texts, log-probabilities."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral

import torch
from torch import Tensor

Prompt = str | Sequence[int] | Tensor


def end_tokens(model, eos_token_id: int | Iterable[int] | None = None) -> frozenset[int]:
    """The tokens that end a text: those given, else the model's own. None, one or several.

    Args:
        model: a Transformers model, or None where there is no default.
        eos_token_id: one id, or several.

    Raises:
        ValueError: something other than token ids.
    """
    if eos_token_id is None and model is not None:
        eos_token_id = (model.generation_config or model.config).eos_token_id
    if eos_token_id is None:
        return frozenset()
    try:
        ids = [eos_token_id] if isinstance(eos_token_id, Integral) else list(eos_token_id)
    except TypeError:
        ids = [None]
    if any(isinstance(i, bool) or not isinstance(i, Integral) or i < 0 for i in ids):
        raise ValueError(f"eos_token_id: needs a token id, several or None, got {eos_token_id!r}")
    return frozenset(ids)


def log_probs_of(logits: Tensor, token_ids: Sequence[int] | Tensor) -> Tensor:
    """log p of one token per row of logits, in nats: (n, V) logits and (n,) tokens to (n,)."""
    token_ids = torch.as_tensor(token_ids, device=logits.device)
    return next_log_probs(logits).gather(-1, token_ids[:, None])[:, 0]


def next_log_probs(logits: Tensor) -> Tensor:
    """Logits (..., V) of any dtype to log-probabilities, float32 (float64 stays float64)."""
    return to_float32(logits).log_softmax(-1)


def to_float32(logits: Tensor) -> Tensor:
    """Half precision is raised to float32 before a softmax, as ``generate`` does it."""
    return logits.float() if logits.element_size() < 4 else logits


def check_logits(logits) -> Tensor:
    """Logits as a floating-point tensor (V,) or (B, V).

    Raises:
        ValueError: another shape, NaN, +inf, or a row without a possible token (all -inf).
    """
    try:
        logits = torch.as_tensor(logits)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"logits: needs numbers in rows of one length: {error}") from None
    if logits.dtype == torch.bool or logits.is_complex():
        raise ValueError(f"logits: needs floating-point numbers, got {logits.dtype}")
    logits = logits if logits.is_floating_point() else logits.float()
    if logits.dim() not in (1, 2) or logits.numel() == 0:
        raise ValueError(f"logits: needs shape (V,) or (B, V), got {tuple(logits.shape)}")
    check_possible(logits)
    return logits


def check_possible(logits: Tensor, why: str = "") -> None:
    """Raise ValueError unless every row of logits (..., V) has a softmax."""
    best = logits.amax(-1)  # NaN if any is NaN: one pass over the vocabulary sees all three faults
    if bool(torch.isfinite(best).all()):
        return
    row = int((~torch.isfinite(best)).reshape(-1).nonzero()[0])
    where = f"row {row}" if logits.dim() > 1 else "the row"
    worst = float(best.reshape(-1)[row])
    if math.isnan(worst):
        fault = "holds NaN; did the model overflow?"
    elif worst > 0:
        fault = "holds +inf, which has no softmax"
    else:
        fault = "is -inf everywhere: no token is possible"
    raise ValueError(f"logits: {where} {fault}{why}")


def check_token_ids(name: str, ids, vocab_size: int, device="cpu") -> Tensor:
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


def check_token_matrix(input_ids, vocab_size: int, device) -> Tensor:
    """Prompts as (B, L); a single row (L,) becomes (1, L)."""
    ids = check_token_ids("input_ids", input_ids, vocab_size, device)
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


def encode_prompts(prompt, tokenizer) -> tuple[list[list[int]], bool]:
    """One prompt or a list of prompts, each text or token ids, to lists of ids.

    Returns:
        The prompts' ids, and whether it was one prompt: a str, a list of ints, a tensor of shape
        (L,) or (1, L).

    Raises:
        ValueError: an empty prompt, or none at all.
    """
    if isinstance(prompt, Tensor):
        prompt = prompt.tolist()
        single = not prompt or not isinstance(prompt[0], list) or len(prompt) == 1
        prompts = prompt if prompt and isinstance(prompt[0], list) else [prompt]
    elif isinstance(prompt, str) or (isinstance(prompt, Sequence) and _is_token_ids(prompt)):
        single, prompts = True, [prompt]
    elif isinstance(prompt, Sequence):
        single, prompts = False, list(prompt)
    else:
        raise ValueError(f"prompt: needs text, token ids or a list, got {type(prompt).__name__}")
    return [_encode_one(each, tokenizer) for each in prompts], single


def _is_token_ids(prompt: Sequence) -> bool:
    return len(prompt) == 0 or isinstance(prompt[0], int | float)


def _encode_one(prompt: Prompt, tokenizer) -> list[int]:
    if isinstance(prompt, str):
        ids = tokenizer(prompt).input_ids if prompt else []
    else:
        ids = prompt.tolist() if isinstance(prompt, Tensor) else list(prompt)
    if not ids:
        raise ValueError("prompt: needs at least one token, got an empty one")
    return ids


def decode_text(tokenizer, token_ids: Sequence[int]) -> str:
    """The text of tokens, as it was written: no special tokens, and no space is tidied away."""
    return tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def pad_left(prompts: list[list[int]]) -> tuple[list[list[int]], list[list[int]] | None]:
    """Rows of one length for a batch: (input_ids, attention_mask), None where nothing is padded.

    The padding is on the left, so that every row's newest token is in the last column. Which
    token it is does not matter: nothing looks at it.
    """
    longest = max(map(len, prompts))
    if all(len(ids) == longest for ids in prompts):
        return prompts, None
    n_pad = [longest - len(ids) for ids in prompts]
    input_ids = [[0] * n + ids for n, ids in zip(n_pad, prompts, strict=True)]
    attention_mask = [[0] * n + [1] * (longest - n) for n in n_pad]
    return input_ids, attention_mask
