"""Beam-search multinomial sampling: beam search that draws its candidates."""

import torch

from lecture_lib.engine import Engine
from lecture_lib.tokens import end_tokens

from .sampling import filter_logits
from .sampling_settings import SamplingSettings


def beam_sampling(engine: Engine, settings: SamplingSettings, seed: int) -> dict:
    """The arguments that turn ``engine_beam_search`` into beam-search sampling.

    Args:
        settings: how the distribution is shaped; without a repetition penalty, which would need
            each beam's own text.
        seed: the same seed gives ``generate``'s texts, for one prompt.

    Returns:
        ``do_sample``, ``warp`` and ``generator``.

    Raises:
        ValueError: a repetition penalty.
    """
    if settings.repetition_penalty != 1:
        raise ValueError("repetition_penalty: must be 1 in beam-search sampling")
    # One more than the tokens that end a text: a beam must always be able to go on.
    n_keep = 1 + max(1, len(end_tokens(engine.hf_model)))

    def warp(log_probs: torch.Tensor) -> torch.Tensor:
        return filter_logits(log_probs, settings, min_tokens_to_keep=n_keep)

    generator = torch.Generator(engine.device).manual_seed(seed)
    return {"do_sample": True, "warp": warp, "generator": generator}
