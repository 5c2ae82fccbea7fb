"""Logprobs: the likeliest tokens of each position, with the one that was chosen."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenLogprobs:
    """One position of a text.

    Attributes:
        token_id, log_prob: the token that was chosen, and log p by the model itself, in nats: no
            temperature, no filter, no penalty.
        top: the likeliest tokens, (id, log p), the likeliest first.
    """

    token_id: int
    log_prob: float
    top: tuple[tuple[int, float], ...]


class Recorder:
    """A ``next_token`` for the engine that notes what the model thought before it lets choose.

    Args:
        choose: the ``next_token`` that chooses: logits (B, V) to tokens (B,).
        n_top: how many of the likeliest tokens to note at each position.
    """

    def __init__(self, choose, n_top: int):
        self.choose, self.n_top = choose, n_top
        self._steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def __call__(self, logits: Tensor) -> Tensor:
        tokens = self.choose(logits)
        if self.n_top:
            log_probs = logits.float().log_softmax(-1)  # (B, V)
            top = log_probs.topk(min(self.n_top, log_probs.shape[-1]), -1)
            chosen = log_probs.gather(-1, tokens[:, None])[:, 0]
            self._steps.append((tokens, chosen, top.indices, top.values))
        return tokens

    def row(self, index: int, length: int) -> list[TokenLogprobs]:
        """The first ``length`` positions of a row; [] where nothing was to be noted."""
        return [_position(*(values[index] for values in step)) for step in self._steps[:length]]


@torch.inference_mode()
def score_afterwards(engine, prompt_ids: list[int], token_ids: list[int], n_top: int):
    """The same for a text that is there already (a beam's), by one pass over all of it."""
    if not n_top or not token_ids:
        return []
    logits = engine.logits([prompt_ids + token_ids])[0]  # (S, V)
    log_probs = logits[len(prompt_ids) - 1 : -1].float().log_softmax(-1)  # (L, V)
    tokens = torch.tensor(token_ids, device=log_probs.device)
    chosen = log_probs.gather(-1, tokens[:, None])[:, 0]
    top = log_probs.topk(min(n_top, log_probs.shape[-1]), -1)
    rows = zip(tokens, chosen, top.indices, top.values, strict=True)
    return [_position(*row) for row in rows]


def _position(token: Tensor, chosen: Tensor, ids: Tensor, values: Tensor) -> TokenLogprobs:
    top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return TokenLogprobs(int(token), float(chosen), top)
