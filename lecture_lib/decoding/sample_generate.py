"""Text by sampling: the course's engine with a Sampler that chooses, and notes, each token."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lecture_lib.checks import LARGEST, check_count, check_type, checked
from lecture_lib.engine import Engine, Generation
from lecture_lib.tokens import (
    check_logits,
    check_token_ids,
    encode_prompts,
    next_log_probs,
    to_float32,
)

from .sampling import SamplingSettings, filter_logits


class Sampler:
    """Draws the next token of every row: a ``next_token`` for ``Engine.generate`` and ``stream``.

    It uses the random numbers as Transformers' ``generate`` does, one ``multinomial`` over all
    rows in each step, so the same seed gives the same tokens.

    Args:
        settings: how the distribution is shaped.
        seed: the same seed gives the same text; without it PyTorch's global generator is used.
        prompt_ids: the prompts' token ids, a list for each row: the repetition penalty needs them.
    """

    @checked
    def __init__(
        self,
        settings: SamplingSettings | None = None,
        *,
        seed: int | None = None,
        prompt_ids: Sequence[Sequence[int]] | None = None,
    ):
        self.settings = settings or SamplingSettings()
        self._seed = None if seed is None else check_count("seed", seed, least=0)
        self._generator: torch.Generator | None = None  # made where the logits are
        self._ids: list[list[int]] | None = None  # each row so far, for the repetition penalty
        if self.settings.repetition_penalty != 1:
            if prompt_ids is None:
                raise ValueError("prompt_ids: the repetition penalty needs the prompts' tokens")
            for ids in prompt_ids:
                check_type("prompt_ids", ids, Iterable, "a list of token ids for each row")
                check_token_ids("prompt_ids", ids, LARGEST)
            self._ids = [list(ids) for ids in prompt_ids]
        self._steps: list[list[Tensor]] = []  # a step's three numbers, (B,) each

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits (B, V) to the tokens drawn, (B,)."""
        logits = to_float32(check_logits(logits))
        if self._seed is not None and self._generator is None:
            self._generator = torch.Generator(logits.device).manual_seed(self._seed)
        kept = filter_logits(logits, self.settings, previous_ids=self._ids)  # (B, V)
        probs = kept.softmax(-1)
        tokens = torch.multinomial(probs, 1, generator=self._generator)  # (B, 1)
        self._note(logits, kept, probs)
        if self._ids is not None:
            for ids, token in zip(self._ids, tokens[:, 0].tolist(), strict=True):
                ids.append(token)
        return tokens[:, 0]

    def _note(self, logits: Tensor, kept: Tensor, probs: Tensor) -> None:
        """Keep the step's numbers, not its (B, V) tensors: those would add up to gigabytes."""
        entropies = [
            torch.special.entr(p).sum(-1)  # entr(p) = -p log p, 0 for p = 0
            for p in (next_log_probs(logits).exp(), probs)
        ]
        self._steps.append([*entropies, (kept > -torch.inf).sum(-1)])

    def records(self) -> list[list[list[float]]]:
        """Entropy of the model's distribution, of the sampling distribution, and how many tokens
        could be drawn: for each of these numbers the rows, for each row the steps."""
        return [torch.stack(steps, 1).tolist() for steps in zip(*self._steps, strict=True)]


@checked
def sample_generate(
    engine: Engine,
    prompts,
    max_new_tokens: int = 32,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int | None = None,
    num_return_sequences: int = 1,
    **options,
) -> Generation | list[Generation]:
    """Continue prompts by sampling; with the KV cache, a step computes one token for each row.

    The same tokens as ``generate(do_sample=True, top_k=0, ...)`` after ``torch.manual_seed(seed)``
    (its default top_k is 50; here nothing is cut unless asked for).

    Args:
        prompts: text or token ids, or a list of either (a batch).
        temperature ... repetition_penalty: see ``SamplingSettings``.
        seed: see ``Sampler``. With a seed PyTorch's global generator is not touched.
        num_return_sequences: texts to draw for each prompt.
        options: ``stop``, ``eos_token_id``, ``ignore_eos``, ``use_cache`` of ``Engine.generate``.

    Returns:
        A Generation, with the numbers of each draw; for a batch or several sequences a list of
        them: all of the first prompt, then all of the second ...
    """
    settings = SamplingSettings(temperature, top_k, top_p, min_p, repetition_penalty)
    check_count("num_return_sequences", num_return_sequences, most=1_000)
    prompt_ids, single = encode_prompts(prompts, engine.tokenizer)
    rows = [ids for ids in prompt_ids for _ in range(num_return_sequences)]
    sampler = Sampler(settings, seed=seed, prompt_ids=rows)
    generations = engine.generate(rows, max_new_tokens, next_token=sampler, **options)
    for generation, *numbers in zip(generations, *sampler.records(), strict=True):
        # A row that ended early went on being drawn with the batch; that is no part of its text.
        kept = (steps[: len(generation.token_ids)] for steps in numbers)
        generation.entropies, generation.sampling_entropies, generation.n_kept = kept
    return generations[0] if single and num_return_sequences == 1 else generations
