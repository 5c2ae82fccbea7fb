"""Greedy search: the likeliest token, appended, again and again."""

from collections.abc import Callable, Iterable, Sequence

import torch

NextLogProbs = Callable[[Sequence[Sequence[int]]], torch.Tensor]


def greedy_search(
    next_log_probs: NextLogProbs,
    *,
    max_new_tokens: int,
    eos_token_id: int | Iterable[int] | None = None,
) -> list[int]:
    """Choose argmax p(next | tokens so far) until ``max_new_tokens`` or an end-of-sequence token.

    Args:
        next_log_probs: takes a list of token-id lists, each the tokens after the prompt, and
            returns their next-token log-probabilities, shape (n, V). A ``ToyLM`` is one.
        max_new_tokens: how many tokens at most, 1 or more.
        eos_token_id: one id, or several, that end the text. The end token is kept.

    Returns:
        The new token ids. Of equally likely tokens the one with the lowest id is taken.

    Raises:
        ValueError: ``max_new_tokens`` below 1, or a step at which every token is impossible.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens: needs 1 or more, got {max_new_tokens}")
    ends = {eos_token_id} if isinstance(eos_token_id, int) else set(eos_token_id or ())
    token_ids: list[int] = []
    while len(token_ids) < max_new_tokens:
        log_probs = next_log_probs([token_ids])[0]  # (V,)
        best = log_probs.max()
        if not torch.isfinite(best):
            raise ValueError(f"next_log_probs: no possible token after {token_ids} (best {best})")
        token_ids.append(int(log_probs.argmax()))
        if token_ids[-1] in ends:
            break
    return token_ids
