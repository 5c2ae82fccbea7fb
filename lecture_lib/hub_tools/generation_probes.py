"""Generation settings found out by running: what a call does, not what a page says it does."""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import torch

from ..tokens import end_tokens


@dataclass(frozen=True)
class Observation:
    """What one ``generate`` call did.

    Attributes:
        n_prompt, n_new: tokens before, and tokens added (the end token counts).
        n_candidates: tokens that could have been drawn in the first step; 1 when it was greedy.
        sampled: whether it drew at random.
        token_ids: the new tokens.
    """

    n_prompt: int
    n_new: int
    n_candidates: int
    sampled: bool
    token_ids: tuple[int, ...]


def observe_generation(loaded, prompt: str, **generate_kwargs) -> Observation:
    """Runs ``model.generate`` once with these arguments and reports what happened.

    The end token is forbidden, so that a length limit is what ends it (pass ``eos_token_id`` to
    keep it).

    Raises:
        ValueError: an empty prompt, more than one beam or sequence, or what generate() refuses.
    """
    if not isinstance(prompt, str) or not prompt:
        raise ValueError(f"prompt: needs at least one character, got {prompt!r}")
    for name in ("num_beams", "num_return_sequences"):
        if generate_kwargs.get(name, 1) != 1:
            raise ValueError(
                f"{name}: the probe looks at one sequence, got {generate_kwargs[name]}"
            )
    model, tokenizer = loaded.model, loaded.tokenizer
    encoded = tokenizer(prompt, return_tensors="pt").to(model.device)
    if "eos_token_id" not in generate_kwargs:
        generate_kwargs["suppress_tokens"] = sorted(end_tokens(model)) or None
    before = _random_state(model.device)
    output = model.generate(
        **encoded, **generate_kwargs, return_dict_in_generate=True, output_scores=True
    )
    sampled = not torch.equal(before, _random_state(model.device))
    n_prompt = 1 if model.config.is_encoder_decoder else encoded.input_ids.shape[1]
    new = output.sequences[0, n_prompt:].tolist()
    n_finite = int(torch.isfinite(output.scores[0][0]).sum())
    return Observation(n_prompt, len(new), n_finite if sampled else 1, sampled, tuple(new))


@contextlib.contextmanager
def model_settings(model, **settings) -> Iterator[None]:
    """Inside: the model's own generation_config says this too. Afterwards it is as it was.

    Settings come from three places: what the call says goes before what the model's own
    generation_config says, and that goes before Transformers' defaults.

    Raises:
        ValueError: a setting that GenerationConfig doesn't have.
    """
    before = model.generation_config
    own = copy.deepcopy(before)
    if unknown := own.update(**settings):
        raise ValueError(f"settings: GenerationConfig has no {', '.join(unknown)}")
    model.generation_config = own
    try:
        yield
    finally:
        model.generation_config = before


@contextlib.contextmanager
def pipeline_arguments() -> Iterator[list[dict]]:
    """Inside, collects the keyword arguments with which pipelines call ``generate``."""
    from transformers import GenerationMixin

    calls: list[dict] = []
    original = GenerationMixin.generate

    def generate(self, *args, **kwargs):
        calls.append(dict(kwargs))
        return original(self, *args, **kwargs)

    # A pipeline has no public hook between its own arguments and generate().
    with mock.patch.object(GenerationMixin, "generate", generate):
        yield calls


def _random_state(device: torch.device) -> torch.Tensor:
    """The state of the generator that draws on the device; each draw changes it."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
