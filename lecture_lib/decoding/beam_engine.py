"""Beam search over the engine: one prefill, then one token per beam, and a cache that follows."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lecture_lib.engine import Engine
from lecture_lib.tokens import (
    check_token_ids,
    encode_prompts,
    end_tokens,
    next_log_probs,
    pad_left,
)

from .beam_cache import BeamCache
from .beam_search import BeamSettings, Search, run_searches
from .beam_trace import BeamTrace
from .sampling import SamplingSettings, filter_logits


def engine_beam_search(
    engine: Engine,
    prompt,
    *,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    eos_token_id: int | Iterable[int] | None = None,
    ignore_eos: bool = False,
    num_return_sequences: int = 1,
    do_sample: bool = False,
    generator: torch.Generator | None = None,
    warp: Callable[[Tensor], Tensor] | None = None,
) -> BeamTrace | list[BeamTrace]:
    """``beam_search`` over a real model, for one prompt or several together.

    The prompt is prefilled once, whatever the number of beams. Each step runs one token per beam,
    and the KV cache follows: see ``BeamCache``.

    Args:
        engine: an Engine.
        prompt: text or token ids; a list of either is a batch, padded on the left.
        eos_token_id: Default: the model's own. ignore_eos: no token ends a text.
        warp: changes the log-probabilities (n, V) before they are added to the running scores, as
            Transformers does with temperature and filters when it samples. Nothing is normalised
            again.
        The others are those of ``beam_search``.

    Returns:
        A BeamTrace; for a batch a list of them in the order of the prompts. ``.calls`` holds what
        each pass saw (prefill first), ``.rows_copied`` how many of the prompt's rows of the cache
        were copied before each decode step. With ``do_sample`` and one prompt, the
        same seed gives generate's texts.

    Raises:
        ValueError: as ``beam_search``; an empty prompt; one that with the new tokens is longer
            than the model's context.
    """
    settings = BeamSettings(
        num_beams,
        max_new_tokens,
        length_penalty,
        early_stopping,
        end_tokens(engine.hf_model, () if ignore_eos else eos_token_id),
        num_return_sequences,
        do_sample,
    )
    settings.check_vocabulary(engine.vocab_size)
    prompts, single = encode_prompts(prompt, engine.tokenizer)
    searches = [Search(settings) for _ in prompts]
    model = _CachedModel(engine, prompts, searches, warp)
    with torch.inference_mode():
        run_searches(searches, model, generator)
    traces = []
    for i, search in enumerate(searches):
        trace = search.trace()
        trace.calls = tuple(model.calls[: trace.n_steps])
        trace.rows_copied = [copied[i] for copied in model.rows_copied[: trace.n_steps - 1]]
        traces.append(trace)
    return traces[0] if single else traces


class _CachedModel:
    """What ``run_searches`` asks: the prompts' prefill first, then a decode step for all beams."""

    def __init__(self, engine: Engine, prompts: list[list[int]], searches: list[Search], warp):
        self.engine, self.searches, self.warp = engine, searches, warp
        input_ids, self.attention_mask = pad_left(prompts)
        self.input_ids = check_token_ids("prompt", input_ids, engine.vocab_size, engine.device)
        settings = searches[0].settings
        # The last new token is chosen, but not run through the model.
        self.max_seq_len = self.input_ids.shape[1] + settings.max_new_tokens
        engine.check_context(self.max_seq_len, "prompt + max_new_tokens")
        self.cache: BeamCache | None = None
        self.calls, self.rows_copied = [], []

    def __call__(self, running: list[Search]) -> Tensor:
        """Log-probabilities of the next token, (running, beams, V)."""
        log_probs = self._prefill() if self.cache is None else self._decode()
        self.calls.append(self.engine.calls[-1])
        if len(running) == len(self.searches):
            return log_probs
        return log_probs[[i for i, search in enumerate(self.searches) if search in running]]

    def _prefill(self) -> Tensor:
        """(B, 1, V): each prompt is the only beam. The cache then has k rows for each of them."""
        prefilled = self.engine.new_cache(*self.input_ids.shape)
        logits = self.engine.prefill(self.input_ids, self.attention_mask, cache=prefilled)
        num_beams = self.searches[0].settings.num_beams
        self.cache = BeamCache(prefilled, num_beams, self.max_seq_len)
        return self._log_probs(logits)[:, None]

    def _decode(self) -> Tensor:
        """(B, k, V), in the order of the beams."""
        beams = [[] if search.stop_reason else search.beams for search in self.searches]
        parents = [[beam.beam for beam in of_prompt] for of_prompt in beams]
        self.rows_copied.append(self.cache.follow(parents))
        token_ids = self.cache.place([[beam.token for beam in of_prompt] for of_prompt in beams])
        logits = self.engine.decode(token_ids, cache=self.cache)  # (B * k, V)
        return self.cache.in_beam_order(self._log_probs(logits))

    def _log_probs(self, logits: Tensor) -> Tensor:
        log_probs = next_log_probs(logits)
        return log_probs if self.warp is None else self.warp(log_probs)


def beam_sampling(engine: Engine, settings: SamplingSettings, seed: int) -> dict:
    """The arguments that turn ``engine_beam_search`` into beam-search multinomial sampling.

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
