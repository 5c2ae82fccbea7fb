"""The repetition penalty: tokens that already occurred become less likely."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .sampling_settings import check_logits, check_penalty, check_possible


def apply_repetition_penalty(
    logits: Tensor, previous_ids: Sequence[int] | Sequence[Sequence[int]] | Tensor, penalty: float
) -> Tensor:
    """Make every token that already occurred less likely (Keskar et al. 2019, arXiv 1909.05858).

    A positive logit is divided by the penalty, a negative one multiplied: once a token, however
    often it occurred. (So the result depends on where the model's logits have their zero, which
    a softmax never sees.) The prompt counts too.

    Args:
        logits: (V,) or (B, V).
        previous_ids: the token ids so far: of shape (L,) for (V,), B rows for (B, V). Rows may have
            different lengths; leave padding out.
        penalty: above 0; above 1 penalises, below 1 rewards.

    Returns:
        Logits of the same shape.

    Raises:
        ValueError: a penalty of 0 or below, ids outside the vocabulary, another number of rows.
    """
    logits, penalty = check_logits(logits), check_penalty(penalty)
    penalised = penalise_seen(logits, seen_tokens(previous_ids, logits), penalty)
    check_possible(penalised, f" (after the repetition penalty {penalty})")
    return penalised


def penalise_seen(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """The repetition penalty where ``seen`` (same shape as the logits) is True."""
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalised, logits)


def seen_tokens(previous_ids, logits: Tensor) -> Tensor:
    """Which tokens occur in ``previous_ids``: bool, of the logits' shape."""
    vocab_size = logits.shape[-1]
    seen = torch.zeros_like(logits, dtype=torch.bool)
    rows = list(previous_ids) if logits.dim() == 2 else [previous_ids]
    if logits.dim() == 2 and len(rows) != len(logits):
        raise ValueError(f"previous_ids: needs {len(logits)} rows (as logits), got {len(rows)}")
    for mask, ids in zip(seen.view(-1, vocab_size), rows, strict=True):
        mask[_as_ids(ids, vocab_size).to(mask.device)] = True
    return seen


def _as_ids(ids: Sequence[int], vocab_size: int) -> Tensor:
    try:
        ids = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"previous_ids: needs rows of token ids: {error}") from None
    if ids.numel() == 0:
        return ids.long().reshape(-1)
    if ids.dim() != 1 or ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(
            f"previous_ids: needs one row of integers for each row of logits, got "
            f"{ids.dtype} of shape {tuple(ids.shape)}"
        )
    lowest, highest = (int(bound) for bound in ids.aminmax())
    if lowest < 0 or highest >= vocab_size:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"previous_ids: {wrong} is outside the vocabulary, 0..{vocab_size - 1}")
    return ids.long()
