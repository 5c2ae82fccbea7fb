"""Text by sampling: the course's engine with a Sampler that draws each token."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lecture_lib.checks import LARGEST, check_count, check_type, checked
from lecture_lib.engine import Engine, Generation
from lecture_lib.tokens import check_logits, check_token_ids, encode_prompts

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
        self._generator = None  # made where the logits are
        self._ids = None  # each row so far, for the repetition penalty
        if self.settings.repetition_penalty != 1:
            if prompt_ids is None:
                raise ValueError("prompt_ids: the repetition penalty needs the prompts' tokens")
            for ids in prompt_ids:
                check_type("prompt_ids", ids, Iterable, "a list of token ids for each row")
                check_token_ids("prompt_ids", ids, LARGEST)
            self._ids = [list(ids) for ids in prompt_ids]

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits (B, V) to the tokens drawn, (B,)."""
        probs = self.distribution(logits, self._ids)  # (B, V)
        tokens = torch.multinomial(probs, 1, generator=self.generator_on(probs.device))[:, 0]
        if self._ids is not None:
            for ids, token in zip(self._ids, tokens.tolist(), strict=True):
                ids.append(token)
        return tokens

    def distribution(self, logits: Tensor, previous_ids: Sequence | None) -> Tensor:
        """Logits (B, V) to the probabilities that the tokens are drawn from, (B, V). Speculative
        decoding asks for them, with each row's ``previous_ids``."""
        logits = check_logits(logits)
        return filter_logits(logits, self.settings, previous_ids=previous_ids).softmax(-1)

    def generator_on(self, device) -> torch.Generator | None:
        """The seed's random numbers, made where the logits are; None is PyTorch's generator."""
        if self._seed is not None and self._generator is None:
            self._generator = torch.Generator(device).manual_seed(self._seed)
        return self._generator


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
        prompts, options: as in ``Engine.generate``, without ``next_token``. With ``speculate`` a
            seed gives another text than without, of the same distribution.
        temperature ... repetition_penalty: see ``SamplingSettings``.
        seed: see ``Sampler``. With a seed PyTorch's global generator is not touched.
        num_return_sequences: texts to draw for each prompt; the list has all of the first prompt,
            then all of the second ...
    """
    settings = SamplingSettings(temperature, top_k, top_p, min_p, repetition_penalty)
    check_count("num_return_sequences", num_return_sequences, most=1_000)
    prompt_ids, single = encode_prompts(prompts, engine.tokenizer)
    rows = [ids for ids in prompt_ids for _ in range(num_return_sequences)]
    sampler = Sampler(settings, seed=seed, prompt_ids=rows)
    generations = engine.generate(rows, max_new_tokens, next_token=sampler, **options)
    return generations[0] if single and num_return_sequences == 1 else generations
