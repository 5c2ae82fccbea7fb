"""One token after another: greedy search, and a session that chooses, and takes back, by hand."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch

from lecture_lib.checks import LARGEST, check_count, check_type, checked
from lecture_lib.tokens import check_token_ids, end_tokens

from .toy_lm import MOST_TOKENS, NextLogProbs, ask


@checked
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
        max_new_tokens: how many tokens at most, 1 to 1,000.
        eos_token_id: one id, or several, that end the text. The end token is kept.

    Returns:
        The new token ids. Of equally likely tokens the one with the lowest id is taken.
    """
    check_count("max_new_tokens", max_new_tokens, most=MOST_TOKENS)
    ends = end_tokens(None, eos_token_id)
    token_ids: list[int] = []
    vocab_size = None
    while len(token_ids) < max_new_tokens:
        (log_probs,) = ask(next_log_probs, [token_ids], vocab_size)  # (V,)
        vocab_size, best = len(log_probs), log_probs.max()
        if not torch.isfinite(best):
            raise ValueError(f"next_log_probs: no possible token after {token_ids} (best {best})")
        token_ids.append(int(log_probs.argmax()))
        if token_ids[-1] in ends:
            break
    return token_ids


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
    new_ids: list[int] = field(default_factory=list, init=False)

    def __post_init__(self):
        self.max_tokens = check_count("max_tokens", self.max_tokens)
        if isinstance(self.prompt_ids, Sequence) and len(self.prompt_ids) == 0:
            raise ValueError("prompt_ids: is empty; the model needs at least one token")
        self.prompt_ids = check_token_ids("prompt_ids", self.prompt_ids, LARGEST).tolist()
        check_type("next_token_probs", self.next_token_probs, Callable, "a function of token ids")
        if len(self.prompt_ids) >= self.max_tokens:
            raise ValueError(
                f"prompt_ids: {len(self.prompt_ids)} tokens leave no room below {self.max_tokens}"
            )
        # Kept, so that going back shows the old distribution without running the model.
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
            probs = self.next_token_probs(self.token_ids)
            if not bool((probs >= 0).all()):
                raise ValueError("next_token_probs: returned NaN, or numbers below 0")
            self._distributions[key] = probs
        return self._distributions[key]

    def step(self) -> int:
        """Append the likeliest token; returns its id."""
        return self.choose(int(self.distribution().argmax()))

    def choose(self, token_id: int) -> int:
        """Append a token of your own choice; returns its id."""
        vocab_size = self.distribution().shape[-1]
        token_id = check_count("token_id", token_id, least=0, most=vocab_size - 1)
        if self.is_full:
            raise ValueError(f"max_tokens: the text already has {self.max_tokens} tokens")
        self.new_ids.append(token_id)
        return token_id

    def back(self) -> int | None:
        """Take the last new token off; returns its id, or None where only the prompt is left."""
        return self.new_ids.pop() if self.new_ids else None

    def reset(self) -> None:
        """Back to the prompt."""
        self.new_ids.clear()
