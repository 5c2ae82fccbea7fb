"""Token ids and logits, checked: prompts to ids, the ends of texts, log-probabilities."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

from lecture_lib.checks import check_text, check_type

Prompt = str | Sequence[int] | Tensor


def end_tokens(
    model, eos_token_id: int | Iterable[int] | None = None, vocab_size: int | None = None
) -> frozenset[int]:
    """The tokens that end a text: those given, else the model's own. None, one or several.

    Args:
        model: a Transformers model, or None where there is no default.
        eos_token_id: one id, or several.
        vocab_size: ids that are given must be below it.
    """
    if eos_token_id is None:
        own = model and (model.generation_config or model.config).eos_token_id
        return frozenset() if own is None else end_tokens(None, own)
    try:
        ids = [eos_token_id] if isinstance(eos_token_id, Integral) else list(eos_token_id)
    except TypeError:
        ids = [None]
    if any(isinstance(i, bool) or not isinstance(i, Integral) or i < 0 for i in ids):
        raise ValueError(f"eos_token_id: needs a token id, several or None, got {eos_token_id!r}")
    if vocab_size is not None and max(ids, default=0) >= vocab_size:
        raise ValueError(f"eos_token_id: {max(ids)} is outside 0..{vocab_size - 1}")
    return frozenset(ids)


def log_probs_of(logits: Tensor, token_ids: Sequence[int] | Tensor) -> Tensor:
    """log p of one token per row of logits, in nats: (..., V) logits and (...) tokens to (...)."""
    token_ids = as_tensor("token_ids", token_ids, "token ids", logits.device)
    return next_log_probs(logits).gather(-1, token_ids[..., None])[..., 0]


def next_log_probs(logits: Tensor) -> Tensor:
    """Logits (..., V) of any dtype to log-probabilities, float32 (float64 stays float64)."""
    return to_float32(logits).log_softmax(-1)


def to_float32(logits: Tensor) -> Tensor:
    """Half precision is raised to float32 before a softmax, as ``generate`` does it."""
    return logits.float() if logits.element_size() < 4 else logits


def as_tensor(name: str, values, needs: str, device=None) -> Tensor:
    """Numbers, whatever holds them, as a tensor; else a ValueError that says what it ``needs``."""
    try:
        tensor = torch.as_tensor(values, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name}: needs {needs}, got {type(values).__name__}: {error}") from None
    if tensor.is_meta:
        raise ValueError(f"{name}: needs {needs}, got a tensor on the meta device, which has none")
    return tensor


def check_logits(logits) -> Tensor:
    """Logits as a floating-point tensor (V,) or (B, V).

    Raises:
        ValueError: another shape, NaN, +inf, or a row without a possible token (all -inf).
    """
    logits = as_tensor("logits", logits, "numbers in rows of one length")
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
    if all(map(math.isfinite, best.reshape(-1).tolist())):  # a list: one or few rows
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


def check_log_probs(log_probs: Tensor) -> None:
    """Raise ValueError unless log p(next token), (beams, V), lets a beam search go on."""
    best = float(log_probs.max())  # NaN if any is NaN
    if not log_probs.is_floating_point() or not best <= 1e-3:
        raise ValueError(
            "next_log_probs: must return log-probabilities (0 or less, none of them NaN), got "
            f"{log_probs.dtype} up to {best:.4g}; of logits take log_softmax(-1)"
        )
    if best == -torch.inf:
        raise ValueError("next_log_probs: all candidates have probability 0: no beam can go on")


def stable_topk(row: Tensor, n: int) -> Tensor:
    """Indices of the n largest numbers of a row, the largest first, of equal ones the first."""
    values, indices = row.topk(min(n + 1, len(row)))
    if bool((values[1:] < values[:-1]).all()):
        return indices[:n]
    # topk leaves the order of equals open, and which of them it takes: a picture must not.
    at_least = (row >= values[n - 1]).nonzero().flatten()
    return at_least[row[at_least].sort(descending=True, stable=True).indices[:n]]


def check_token_ids(name: str, ids, vocab_size: int, device="cpu") -> Tensor:
    """Token ids as a long tensor on the device, of the shape given, or ValueError."""
    needs = "whole numbers in rows of one length (for others call generate with a list of prompts)"
    ids = as_tensor(name, ids, needs, device)
    if ids.numel() == 0:
        raise ValueError(f"{name}: needs at least one token, got shape {tuple(ids.shape)}")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{name}: needs integers, got {ids.dtype}")
    ids = ids.long()  # torch compares no unsigned integers
    lowest, highest = (int(bound) for bound in ids.aminmax())
    if lowest < 0 or highest >= vocab_size:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"{name}: {wrong} is outside the vocabulary, 0..{vocab_size - 1}")
    return ids


def check_column(token_ids, vocab_size: int, device) -> Tensor:
    """One token for each row, given as (B,), (B, 1) or an int: (B, 1)."""
    ids = check_token_ids("token_ids", token_ids, vocab_size, device)
    if ids.dim() > 2 or (ids.dim() == 2 and ids.shape[1] != 1):
        raise ValueError(f"token_ids: needs shape (B,) or (B, 1), got {tuple(ids.shape)}")
    return ids.reshape(-1, 1)


def check_batch(input_ids, attention_mask, vocab_size: int, device) -> tuple[Tensor, Tensor | None]:
    """Token ids as (B, L), a single row (L,) as (1, L), and how many of each are padding.

    Returns:
        The ids, and the number of padding tokens that each row begins with, (B,), or None where
        no row has any.

    Raises:
        ValueError: a mask of another shape, padding that is not on the left, a row without tokens.
    """
    ids = check_token_ids("input_ids", input_ids, vocab_size, device)
    ids = ids[None] if ids.dim() == 1 else ids
    if ids.dim() != 2:
        raise ValueError(f"input_ids: needs shape (B, L) or (L,), got {tuple(ids.shape)}")
    if attention_mask is None:
        return ids, None
    mask = as_tensor("attention_mask", attention_mask, "zeros and ones", ids.device)
    mask = mask[None] if mask.dim() == 1 else mask
    if mask.shape != ids.shape:
        raise ValueError(
            f"attention_mask: needs the shape of input_ids {tuple(ids.shape)}, "
            f"got {tuple(mask.shape)}"
        )
    of_0_and_1 = bool(((mask == 0) | (mask == 1)).all())  # 0.5 is neither
    mask = mask.long()
    steps_up = bool((mask.diff(dim=1) >= 0).all())
    if not of_0_and_1 or not steps_up or not bool((mask[:, -1] == 1).all()):
        raise ValueError(
            "attention_mask: needs zeros (padding) on the left, then ones, and at least one 1 in "
            "each row; set tokenizer.padding_side = 'left'"
        )
    padding = (1 - mask).sum(1)  # (B,)
    return ids, padding if bool(padding.any()) else None


def encode_prompts(prompt, tokenizer) -> tuple[list[list[int]], bool]:
    """One prompt or a list of prompts, each text or token ids, to lists of ids.

    Returns:
        The prompts' ids, and whether it was one prompt: a str, a list of ints, a tensor of shape
        (L,) or (1, L).

    Raises:
        ValueError: an empty prompt, or none at all.
    """
    one_row = hasattr(prompt, "tolist")  # a tensor or an array
    if one_row:
        prompt = as_tensor("prompt", prompt, "token ids").tolist()
        one_row = isinstance(prompt, list) and len(prompt) == 1  # (1, L)
    check_type("prompt", prompt, Sequence, "text, token ids or a list")
    flat = isinstance(prompt, str) or len(prompt) == 0 or isinstance(prompt[0], Real)
    encoded = [_encode(each, tokenizer) for each in ([prompt] if flat else prompt)]
    if not all(encoded):
        raise ValueError("prompt: needs at least one token, got an empty one")
    return encoded, flat or one_row


def _encode(prompt: Prompt, tokenizer) -> list[int]:
    if isinstance(prompt, str):
        return tokenizer(check_text("prompt", prompt)).input_ids if prompt else []
    ids = prompt.tolist() if hasattr(prompt, "tolist") else prompt
    return list(check_type("prompt", ids, list | tuple | range, "a text or token ids, or a list"))


def encode_batch(
    prompt, tokenizer, vocab_size: int, device
) -> tuple[Tensor, Tensor | None, list[int], bool]:
    """Prompts, as ``encode_prompts`` takes them, as a batch that is padded on the left.

    The padding is on the left, so that every row's newest token is in the last column. Which
    token it is does not matter: nothing looks at it.

    Returns:
        input_ids (B, L) on the device; attention_mask (B, L), None where nothing is padded; the
        length of each prompt; whether it was one prompt.
    """
    prompts, single = encode_prompts(prompt, tokenizer)
    lengths = [len(ids) for ids in prompts]
    longest = max(lengths)
    rows = [[0] * (longest - len(ids)) + ids for ids in prompts]
    mask = None
    if min(lengths) < longest:
        mask = torch.tensor([[0] * (longest - n) + [1] * n for n in lengths], device=device)
    return check_token_ids("prompt", rows, vocab_size, device), mask, lengths, single


def model_inputs(tokenizer, texts: str | list[str], device="cpu", **options) -> dict[str, Tensor]:
    """input_ids and attention_mask (B, L) of texts, padded where they differ in length.

    Some tokenizers return token_type_ids as well, which most models refuse.
    """
    for text in [texts] if isinstance(texts, str) else texts:
        check_text("text", text, "")
    padding = isinstance(texts, list) and len(texts) > 1
    encoded = tokenizer(texts, return_tensors="pt", padding=padding, **options).to(device)
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def special_tokens(tokenizer) -> dict[str, int]:
    """The ids of the special tokens, by name: those that a decoded text leaves out."""
    return {str(token): i for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def decode_text(tokenizer, token_ids: Sequence[int]) -> str:
    """The text of tokens, as it was written: no special tokens, and no space is tidied away."""
    return tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
