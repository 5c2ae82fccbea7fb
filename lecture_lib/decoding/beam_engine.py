"""Beam search over the engine: one prefill, then one token a beam, and a cache that follows."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from lecture_lib.engine import Engine
from lecture_lib.tokens import check_token_ids as as_token_ids
from lecture_lib.tokens import encode_prompts as encode
from lecture_lib.tokens import end_tokens, pad_left

from .beam_cache import BeamCache
from .beam_search import check_enough, check_vocabulary
from .beam_settings import BeamSettings, eos_ids, refuse_groups
from .beam_step import BeamState, next_candidates
from .beam_trace import BeamTrace
from .greedy import NextLogProbs


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
    num_beam_groups: int = 1,
    diversity_penalty: float = 0.0,
) -> BeamTrace | list[BeamTrace]:
    """``beam_search`` over a real model, for one prompt or several together.

    The prompt is prefilled once, whatever the number of beams. Each step runs one token a beam,
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
    refuse_groups(num_beam_groups, diversity_penalty)
    settings = BeamSettings(
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        eos_token_ids=_end_tokens(engine, eos_token_id, ignore_eos),
        num_return_sequences=num_return_sequences,
        do_sample=do_sample,
    )
    check_vocabulary(settings, engine.vocab_size)
    prompts, single = encode(prompt, engine.tokenizer)
    states = _search(engine, prompts, settings, generator, warp)
    for state in states:
        check_enough(state.trace)
    return states[0].trace if single else [state.trace for state in states]


@torch.inference_mode()
def _search(
    engine: Engine, prompts: list[list[int]], settings: BeamSettings, generator, warp
) -> list[BeamState]:
    """All prompts' searches in step, one decode call for all their beams."""
    states = [BeamState(settings, ids) for ids in prompts]
    logits, cache = _prefill(engine, prompts, settings)  # (B, V)
    for state in states:
        state.trace.calls += (engine.calls[-1],)
    log_probs = _log_probs(logits, warp)[:, None]  # (B, 1, V): the prompt is the only beam
    while True:
        _advance(states, log_probs, generator)
        if all(state.done for state in states):
            return states
        copied = cache.follow([None if state.done else state.parents for state in states])
        for state, n_copied in zip(states, copied, strict=True):
            if not state.done:
                state.trace.rows_copied.append(n_copied)
        token_ids = cache.place([[] if state.done else state.last_tokens for state in states])
        logits = engine.decode(token_ids, cache=cache)  # (B * k, V)
        log_probs = cache.in_beam_order(_log_probs(logits, warp))  # (B, k, V)
        for state in states:
            if not state.done:
                state.trace.calls += (engine.calls[-1],)


def _prefill(engine: Engine, prompts: list[list[int]], settings: BeamSettings):
    """Logits (B, V) after the prompts, and a cache in which each has its k rows."""
    input_ids, attention_mask = pad_left(prompts)
    input_ids = as_token_ids("prompt", input_ids, engine.vocab_size, engine.device)
    batch_size, prompt_len = input_ids.shape
    # The last new token is chosen, but not run through the model.
    max_seq_len = prompt_len + settings.max_new_tokens
    engine.check_context(max_seq_len, "prompt + max_new_tokens")
    prefilled = engine.new_cache(batch_size, prompt_len)
    logits = engine.prefill(input_ids, attention_mask, cache=prefilled)
    return logits, BeamCache(prefilled, settings.num_beams, max_seq_len)


def _advance(states: list[BeamState], log_probs: Tensor, generator) -> None:
    """One step of every search that still runs, on the (B, beams, V) log-probabilities."""
    settings, n_beams = states[0].settings, log_probs.shape[1]
    if settings.do_sample and n_beams < settings.num_beams:
        # A draw uses up a random number for each candidate: those of absent beams included, the
        # same seed gives generate's texts.
        n_beams = settings.num_beams
        log_probs = log_probs.expand(-1, n_beams, -1)
    running = [b for b, state in enumerate(states) if not state.done]
    scores = torch.full((len(running), n_beams), -torch.inf)
    for row, b in enumerate(running):
        scores[row, : len(states[b].beams)] = torch.tensor(states[b].scores)
    if len(running) < len(states):
        log_probs = log_probs[running]
    steps = next_candidates(log_probs, scores.to(log_probs.device), settings, generator)
    for b, candidates in zip(running, steps, strict=True):
        states[b].advance(candidates)


def engine_next_log_probs(engine: Engine, prompt) -> NextLogProbs:
    """The engine as a function of prefixes, as searches take it: plainly, without a cache.

    Args:
        prompt: text or token ids, of one prompt.

    Returns:
        A function of a list of token-id lists (each the tokens after the prompt) to float32
        log-probabilities (n, V).

    Raises:
        ValueError: an empty prompt, or several.
    """
    [prompt_ids], _ = encode(prompt, engine.tokenizer)

    def next_log_probs(prefixes: Sequence[Sequence[int]]) -> Tensor:
        input_ids, mask = pad_left([[*prompt_ids, *prefix] for prefix in prefixes])
        return engine.logits(input_ids, mask, last_only=True).float().log_softmax(-1)  # (n, V)

    return next_log_probs


def _log_probs(logits: Tensor, warp: Callable[[Tensor], Tensor] | None) -> Tensor:
    log_probs = logits.float().log_softmax(-1)
    return log_probs if warp is None else warp(log_probs)


def _end_tokens(engine: Engine, eos_token_id, ignore_eos: bool) -> frozenset[int]:
    if ignore_eos:
        return frozenset()
    return end_tokens(engine.hf_model) if eos_token_id is None else eos_ids(eos_token_id)
