"""Logprobs: the likeliest tokens of each position, with the one that was chosen."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lecture_lib.tokens import next_log_probs


@dataclass(frozen=True)
class TokenLogprobs:
    """One position of a text; log p is the model's own, in nats, without filters and penalties."""

    token_id: int  # the token that was chosen
    log_prob: float
    top: tuple[tuple[int, float], ...]  # (id, log p), the likeliest first


class Recorder:
    """A ``next_token`` that lets another one choose, and notes the ``n_top`` likeliest tokens.

    ``rows`` are the positions of each row of the batch so far; [] if nothing is to be noted.
    """

    def __init__(self, choose, n_top: int, n_rows: int):
        self.choose, self.n_top = choose, n_top
        self.rows: list[list[TokenLogprobs]] = [[] for _ in range(n_rows)]

    def __call__(self, logits: Tensor) -> Tensor:
        tokens = self.choose(logits)
        if self.n_top:
            found = positions(logits, tokens.tolist(), self.n_top)
            for row, position in zip(self.rows, found, strict=True):
                row.append(position)
        return tokens


@torch.inference_mode()
def score_afterwards(engine, prompt_ids: list[int], token_ids: list[int], n_top: int):
    """The same for a text that is there already (a beam's), by one pass over all of it."""
    if not n_top or not token_ids:
        return []
    logits = engine.logits([prompt_ids + token_ids])[0]  # (S, V)
    return positions(logits[len(prompt_ids) - 1 : -1], token_ids, n_top)


def positions(logits: Tensor, token_ids: list[int], n_top: int) -> list[TokenLogprobs]:
    """A TokenLogprobs for each of n tokens, from the logits (n, V) that they were chosen by."""
    log_probs = next_log_probs(logits)  # (n, V)
    values, ids = (x.tolist() for x in log_probs.topk(min(n_top, log_probs.shape[-1]), -1))
    chosen = log_probs[range(len(token_ids)), token_ids].tolist()
    return [
        TokenLogprobs(token, p, tuple(zip(*top, strict=True)))
        for token, p, *top in zip(token_ids, chosen, ids, values, strict=True)
    ]
