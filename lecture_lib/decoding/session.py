"""A text that grows by one token at a time, and can be taken back: the state of the stepper."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch


@dataclass
class GenerationSession:
    """Next, back, choose: one prompt, the tokens chosen after it, and each step's distribution.

    Args:
        next_token_probs: takes all token ids so far and returns p(next | them), shape (V,).
        prompt_ids: the prompt, at least one token.
        max_tokens: prompt and new tokens together never get longer than this.
    """

    next_token_probs: Callable[[Sequence[int]], torch.Tensor]
    prompt_ids: Sequence[int]
    max_tokens: int = 512
    new_ids: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.prompt_ids = [int(i) for i in self.prompt_ids]
        if not self.prompt_ids:
            raise ValueError("prompt_ids: is empty; the model needs at least one token")
        if len(self.prompt_ids) >= self.max_tokens:
            raise ValueError(
                f"prompt_ids: {len(self.prompt_ids)} tokens leave no room below {self.max_tokens}"
            )
        # One distribution a step, kept: going back shows the old one without running the model.
        self._distributions: dict[tuple[int, ...], torch.Tensor] = {}

    @property
    def token_ids(self) -> list[int]:
        """Prompt and new tokens."""
        return [*self.prompt_ids, *self.new_ids]

    @property
    def is_full(self) -> bool:
        return len(self.token_ids) >= self.max_tokens

    def distribution(self) -> torch.Tensor:
        """p(next | tokens so far), shape (V,)."""
        key = tuple(self.new_ids)
        if key not in self._distributions:
            self._distributions[key] = self.next_token_probs(self.token_ids)
        return self._distributions[key]

    def step(self) -> int:
        """Append the likeliest token; returns its id."""
        return self.choose(int(self.distribution().argmax()))

    def choose(self, token_id: int) -> int:
        """Append a token of your own choice; returns its id.

        Raises:
            ValueError: an id outside the vocabulary, or no room left.
        """
        vocab_size = self.distribution().shape[-1]
        if not 0 <= token_id < vocab_size:
            raise ValueError(f"token_id: {token_id} is outside 0..{vocab_size - 1}")
        if self.is_full:
            raise ValueError(f"max_tokens: the text already has {self.max_tokens} tokens")
        self.new_ids.append(int(token_id))
        return int(token_id)

    def back(self) -> int | None:
        """Take the last new token off; returns its id, or None where only the prompt is left."""
        return self.new_ids.pop() if self.new_ids else None

    def reset(self) -> None:
        """Back to the prompt."""
        self.new_ids.clear()
