"""What generate() does: its defaults found out by running, how it stops, what it looks at."""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import torch
from transformers import StoppingCriteria

from ..checks import check_count, check_text, checked
from ..tokens import end_tokens, model_inputs

SENTENCE_ENDS = (".", "!", "?")


@dataclass(frozen=True)
class Observation:
    """What one ``generate`` call did.

    Attributes:
        n_prompt, n_new: tokens before, and tokens added (the end token counts).
        n_candidates: tokens that could have been drawn in the first step; 1 when it was greedy.
        sampled: whether it drew at random.
    """

    n_prompt: int
    n_new: int
    n_candidates: int
    sampled: bool


@checked
def observe_generation(loaded, prompt: str, **generate_kwargs) -> Observation:
    """Runs ``model.generate`` once with these arguments and reports what happened.

    The end token is forbidden, so that a length limit is what ends it (pass ``eos_token_id`` to
    keep it).

    Raises:
        ValueError: an empty prompt, more than one beam or sequence, or what generate() refuses.
    """
    check_text("prompt", prompt)
    for name in ("num_beams", "num_return_sequences"):
        if generate_kwargs.get(name, 1) != 1:
            raise ValueError(
                f"{name}: the probe looks at one sequence, got {generate_kwargs[name]}"
            )
    model, tokenizer = loaded.model, loaded.tokenizer
    encoded = model_inputs(tokenizer, prompt, model.device)
    if "eos_token_id" not in generate_kwargs:
        generate_kwargs["suppress_tokens"] = sorted(end_tokens(model)) or None
    before = _random_state(model.device)
    output = model.generate(
        **encoded, **generate_kwargs, return_dict_in_generate=True, output_scores=True
    )
    sampled = not torch.equal(before, _random_state(model.device))
    n_prompt = 1 if model.config.is_encoder_decoder else encoded["input_ids"].shape[1]
    n_new = output.sequences.shape[1] - n_prompt
    n_finite = int(torch.isfinite(output.scores[0][0]).sum())
    return Observation(n_prompt, n_new, n_finite if sampled else 1, sampled)


@checked
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


class StopAtSentenceEnd(StoppingCriteria):
    """Ends each row of a batch when its new text ends with ``.``, ``!`` or ``?``.

    ``generate()`` asks after each step and continues until every row is done; a row that is done
    gets padding. (A number such as 3.14 ends a row too, after its point: only the text so far is
    known.)

    Args:
        tokenizer: turns the new tokens into text.
        prompt_len: tokens before the new ones (1 for an encoder-decoder, its start token).

    Raises:
        ValueError: a negative prompt_len.
    """

    def __init__(self, tokenizer, prompt_len: int):
        self.tokenizer, self.prompt_len = tokenizer, check_count("prompt_len", prompt_len, least=0)

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **kwargs
    ) -> torch.Tensor:
        """Which rows are done: bool tensor (B,). input_ids is (B, prompt and new tokens)."""
        new = input_ids[:, self.prompt_len :]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        done = [text.rstrip().endswith(SENTENCE_ENDS) for text in texts]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)


@dataclass(frozen=True)
class CrossAttention:
    """A translation and its cross-attention.

    Attributes:
        source, target: the tokens of the input and of the output, T_in and T_out of them.
        scores: float32 tensor (n_layers, n_H, T_out, T_in); each row sums to 1.
        text: the output as text.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    scores: torch.Tensor
    text: str


@checked
@torch.inference_mode()
def translate_with_attention(model, tokenizer, text: str) -> CrossAttention:
    """Greedy output of an encoder-decoder with its cross-attention at each step.

    Raises:
        ValueError: the model has no cross-attention; no text, or more than 512 tokens of it.
    """
    if not model.config.is_encoder_decoder:
        raise ValueError(f"model: {type(model).__name__} is no encoder-decoder")
    check_text("text", text, "word")
    encoded = model_inputs(tokenizer, text, model.device)
    if (n_tokens := encoded["input_ids"].shape[1]) > 512:  # the scores of every pair are kept
        raise ValueError(f"text: {n_tokens:,} tokens, at most 512 can be looked at together")
    generated = model.generate(**encoded, max_new_tokens=64, do_sample=False)
    # One teacher-forced pass over the finished output shows what every step attended to: a
    # decoder's row depends on the rows to its left alone. (sdpa and flash return no scores.)
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        output = model(**encoded, decoder_input_ids=generated[:, :-1], output_attentions=True)
    finally:
        model.set_attn_implementation(before)
    return CrossAttention(
        source=tuple(tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])),
        target=tuple(tokenizer.convert_ids_to_tokens(generated[0, 1:])),
        scores=torch.stack(output.cross_attentions)[:, 0].float().cpu(),
        text=tokenizer.decode(generated[0], skip_special_tokens=True),
    )
