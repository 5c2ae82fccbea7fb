"""Beam search over the engine: one prefill, then one token per beam, and a cache that follows."""

from collections.abc import Iterable

import torch
from torch import Tensor

from lecture_lib.checks import checked
from lecture_lib.engine import Engine
from lecture_lib.tokens import encode_batch, end_tokens, next_log_probs

from .beam_cache import BeamCache
from .beam_search import BeamSettings, Search, run_searches
from .beam_trace import BeamTrace
from .sampling import SamplingSettings, filter_logits


@checked
def engine_beam_search(
    engine: Engine,
    prompt,
    *,
    num_beams: int,
    max_new_tokens: int,
    eos_token_id: int | Iterable[int] | None = None,
    ignore_eos: bool = False,
    do_sample: bool = False,
    generator: torch.Generator | None = None,
    sampling: SamplingSettings | None = None,
    **options,
) -> BeamTrace | list[BeamTrace]:
    """``beam_search`` over a real model, for one prompt or several together.

    The prompt is prefilled once, whatever the number of beams. Each step runs one token per beam,
    and the KV cache follows: see ``BeamCache``.

    Args:
        prompt: text or token ids; a list of either is a batch, padded on the left.
        eos_token_id: Default: the model's own. ignore_eos: no token ends a text.
        do_sample: beam-search multinomial sampling: each step's candidates are drawn in proportion
            to exp(score), not ranked. With one prompt, a ``generator`` with the same seed gives
            generate's texts; without it the draws are seeded by PyTorch's global generator.
        sampling: the filters for the draws; no repetition penalty, which needs each beam's text.
        options: ``length_penalty``, ``early_stopping``, ``num_return_sequences`` of
            ``beam_search``.

    Returns:
        A BeamTrace; for a batch a list of them in the order of the prompts. ``.calls`` holds what
        each pass saw (prefill first), ``.rows_copied`` how many of the prompt's rows of the cache
        were copied before each decode step.

    Raises:
        ValueError: as ``beam_search``; an empty prompt; one that with the new tokens is longer
            than the model's context.
    """
    ends = end_tokens(engine.hf_model, () if ignore_eos else eos_token_id)
    settings = BeamSettings(num_beams, max_new_tokens, eos_token_ids=ends, **options)
    settings.check_vocabulary(engine.vocab_size)
    if sampling is not None and sampling.repetition_penalty != 1:
        raise ValueError("repetition_penalty: must be 1 in beam-search sampling")
    model = _CachedModel(engine, prompt, settings, sampling)
    if do_sample and generator is None:
        seed = int(torch.randint(2**62, ()))
        generator = torch.Generator(engine.device).manual_seed(seed)
    with torch.inference_mode():
        run_searches(model.searches, model, generator if do_sample else None)
    traces = model.traces()
    return traces[0] if model.single else traces


class _CachedModel:
    """What ``run_searches`` asks: the prompts' prefill first, then a decode step for all beams."""

    def __init__(self, engine: Engine, prompt, settings: BeamSettings, sampling):
        self.engine, self.settings, self.sampling = engine, settings, sampling
        self.input_ids, self.attention_mask, _, self.single = encode_batch(
            prompt, engine.tokenizer, engine.vocab_size, engine.device
        )  # (B, L) both
        longest = self.input_ids.shape[1] + settings.max_new_tokens
        engine.check_context(longest, "prompt + max_new_tokens")
        self.searches = [Search(settings) for _ in self.input_ids]
        self.cache: BeamCache | None = None
        self.calls, self.rows_copied = [], []

    def traces(self) -> list[BeamTrace]:
        """Each prompt's search, with the passes that it took part in."""
        traces = []
        for i, search in enumerate(self.searches):
            n = len(search.steps)
            rows_copied = [copied[i] for copied in self.rows_copied[: n - 1]]
            traces.append(search.trace(calls=tuple(self.calls[:n]), rows_copied=rows_copied))
        return traces

    def __call__(self, running: list[Search]) -> Tensor:
        """Log-probabilities of the next token, (running, k, V), in the order of the beams."""
        log_probs = self._prefill() if self.cache is None else self._decode()
        self.calls.append(self.engine.calls[-1])
        if len(running) == len(self.searches):
            return log_probs
        return log_probs[[i for i, search in enumerate(self.searches) if search in running]]

    def _prefill(self) -> Tensor:
        """Each prompt is the only beam, k times. The cache then has k rows for each of them."""
        engine, k = self.engine, self.settings.num_beams
        batch_size, prompt_len = self.input_ids.shape
        prefilled = engine.new_cache(batch_size, prompt_len)
        logits = engine.prefill(self.input_ids, self.attention_mask, cache=prefilled)  # (B, V)
        # The last new token is chosen, but not run through the model.
        rows = engine.new_cache(batch_size * k, prompt_len + self.settings.max_new_tokens)
        self.cache = BeamCache(rows, prefilled)
        return self._log_probs(logits)[:, None].expand(-1, k, -1)

    def _decode(self) -> Tensor:
        beams = [[] if search.stop_reason else search.beams for search in self.searches]
        parents = [[beam.beam for beam in of_prompt] for of_prompt in beams]
        self.rows_copied.append(self.cache.follow(parents))
        token_ids = self.cache.place([[beam.token for beam in of_prompt] for of_prompt in beams])
        logits = self.engine.decode(token_ids, cache=self.cache)  # (B * k, V)
        return self.cache.in_beam_order(self._log_probs(logits))

    def _log_probs(self, logits: Tensor) -> Tensor:
        log_probs = next_log_probs(logits)  # (n, V)
        if self.sampling is None:
            return log_probs
        # As generate: the filters act on log-probabilities, nothing is normalised again, and one
        # more token is kept than those that end a text, so that a beam can always continue.
        n_keep = 1 + max(1, len(self.settings.eos_token_ids))
        return filter_logits(log_probs, self.sampling, min_tokens_to_keep=n_keep)
