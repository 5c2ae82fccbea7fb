"""A StoppingCriteria of our own: generation ends with a sentence."""

import torch
from transformers import StoppingCriteria

SENTENCE_ENDS = (".", "!", "?")


class StopAtSentenceEnd(StoppingCriteria):
    """Ends each row of a batch when its new text ends with ``.``, ``!`` or ``?``.

    ``generate()`` asks after each step and goes on until every row is done; a row that is done gets
    padding. (A number such as 3.14 ends a row too: only the text so far is seen.)

    Args:
        tokenizer: turns the new tokens into text.
        prompt_len: tokens before the new ones (1 for an encoder-decoder, its start token).

    Raises:
        ValueError: a negative prompt_len.
    """

    def __init__(self, tokenizer, prompt_len: int):
        if prompt_len < 0:
            raise ValueError(f"prompt_len: must be 0 or more, got {prompt_len}")
        self.tokenizer, self.prompt_len = tokenizer, prompt_len

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **kwargs
    ) -> torch.Tensor:
        """Which rows are done: bool tensor (B,). input_ids is (B, prompt and new tokens)."""
        new = input_ids[:, self.prompt_len :]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        done = [text.rstrip().endswith(SENTENCE_ENDS) for text in texts]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
