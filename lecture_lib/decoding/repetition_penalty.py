"""The repetition penalty: tokens that already occurred become less likely."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_lib.checks import check_number
from lecture_lib.tokens import check_logits, check_possible, check_token_ids


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
    logits = check_logits(logits)
    check_number("repetition_penalty", penalty, above=0)
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    penalised = torch.where(_seen_tokens(previous_ids, logits), penalised, logits)
    check_possible(penalised, f" (after the repetition penalty {penalty})")
    return penalised


def _seen_tokens(previous_ids, logits: Tensor) -> Tensor:
    """Which tokens occur in ``previous_ids``: bool, of the logits' shape."""
    vocab_size = logits.shape[-1]
    seen = torch.zeros_like(logits, dtype=torch.bool)
    rows = list(previous_ids) if logits.dim() == 2 else [previous_ids]
    if logits.dim() == 2 and len(rows) != len(logits):
        raise ValueError(f"previous_ids: needs {len(logits)} rows (as logits), got {len(rows)}")
    for mask, ids in zip(seen.view(-1, vocab_size), rows, strict=True):
        if len(ids):
            ids = check_token_ids("previous_ids", ids, vocab_size, mask.device)
            if ids.dim() != 1:
                raise ValueError("previous_ids: needs one row of ids for each row of logits")
            mask[ids] = True
    return seen
