"""Beam search over the engine: one prefill, then one token per beam, and a cache that follows."""

from collections.abc import Iterable

import torch
from torch import Tensor

from lecture_lib.checks import check_count, checked
from lecture_lib.engine import Engine, KVCache
from lecture_lib.tokens import check_token_ids, encode_prompts, end_tokens, next_log_probs

from .beam_search import Candidate, find_candidates, make_candidates, run_search
from .beam_trace import BeamTrace
from .sampling import SamplingSettings, filter_logits


def follow(engine: Engine, cache: KVCache, parents: list[int]) -> KVCache:
    """cache[parents]: in row i of the new cache are the keys and values of row parents[i]."""
    rows, past = engine.new_cache(len(parents), cache.max_seq_len), slice(cache.length)
    rows.kv[:, :, :, past] = cache.kv[:, parents, :, past]  # (N, k, 2 n_KV, L, H)
    rows.advance(cache.length)
    return rows


class CachedModel:
    """log p of the next token of every beam, (k, V), with a KV cache that follows the parents."""

    def __init__(self, engine: Engine, prompt_ids: list[int], max_new_tokens: int):
        self.engine, self.prompt_ids = engine, prompt_ids
        # The last new token is chosen, but does not go through the model.
        self.cache = engine.new_cache(1, len(prompt_ids) + max_new_tokens)

    def __call__(self, beams: list[Candidate]) -> Tensor:
        if self.cache.length == 0:  # the prompt is the only beam
            logits = self.engine.prefill([self.prompt_ids], cache=self.cache)  # (1, V)
        else:
            parents = [beam.parent for beam in beams]
            self.cache = follow(self.engine, self.cache, parents)
            last_tokens = [beam.tokens[-1] for beam in beams]
            logits = self.engine.decode(last_tokens, cache=self.cache)  # (k, V)
        return next_log_probs(logits)


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
    """``beam_search`` over a real model: the prompt is prefilled once, each step runs one token per
    beam, and the KV cache follows the parents.

    Args:
        prompt: text or token ids; of a list of either each is searched, one after the other.
        eos_token_id: Default: the model's own. ignore_eos: no token ends a text.
        do_sample: beam-search multinomial sampling: each step's candidates are drawn in proportion
            to exp(score), not ranked. A ``generator`` with the same seed gives generate's text;
            without it the draws are seeded by PyTorch's global generator.
        sampling: the filters for the draws; no repetition penalty, which needs each beam's text.
        options: ``length_penalty``, ``early_stopping``, ``num_return_sequences`` of
            ``beam_search``.

    Returns:
        A BeamTrace, with ``.calls``, what each pass saw; for several prompts a list of them.

    Raises:
        ValueError: as ``beam_search``; an empty prompt; one that with the new tokens is longer
            than the model's context.
    """
    ends = end_tokens(engine.hf_model, () if ignore_eos else eos_token_id)
    settings = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "eos_token_ids": ends}
    BeamTrace(**settings, **options)  # it checks them
    check_count("num_beams", num_beams, most=engine.vocab_size)
    end_tokens(None, ends, engine.vocab_size)
    if sampling is not None and sampling.repetition_penalty != 1:
        raise ValueError("repetition_penalty: must be 1 in beam-search sampling")
    if do_sample and generator is None:
        seed = int(torch.randint(2**62, ()))
        generator = torch.Generator(engine.device).manual_seed(seed)

    def draw_candidates(beams: list[Candidate], log_probs: Tensor, n: int) -> list[Candidate]:
        """As ``find_candidates``, but drawn without replacement. Their rank, which says which may
        end, is the order of the draws; the scores decide which continue."""
        if sampling is not None:
            # As generate: the filters act on log-probabilities, nothing is normalised again, and
            # one more token is kept than those that end a text, so that a beam can always continue.
            keep = 1 + max(1, len(ends))
            log_probs = filter_logits(log_probs, sampling, min_tokens_to_keep=keep)
        scores = log_probs.new_tensor([beam.score for beam in beams])  # (k,)
        totals = (scores[:, None] + log_probs).flatten()  # (k * V,)
        # generate draws from k rows in the first step, too, of which all but one have no chance.
        n_missing = (num_beams - len(beams)) * log_probs.shape[1]
        probs = torch.nn.functional.pad(totals.softmax(-1), (0, n_missing))
        drawn = torch.multinomial(probs, n, generator=generator)
        drawn = make_candidates(beams, drawn[drawn < len(totals)], totals, log_probs)
        return sorted(drawn, key=lambda candidate: -candidate.score)

    def search(input_ids: list[int]) -> BeamTrace:
        check_token_ids("prompt", [input_ids], engine.vocab_size)
        engine.check_context(len(input_ids) + max_new_tokens, "prompt + max_new_tokens")
        model = CachedModel(engine, input_ids, max_new_tokens)
        find = draw_candidates if do_sample else find_candidates
        with torch.inference_mode():
            trace = run_search(BeamTrace(**settings, **options), model, find)
        trace.calls = tuple(engine.calls)
        return trace

    prompts, single = encode_prompts(prompt, engine.tokenizer)
    traces = [search(input_ids) for input_ids in prompts]
    return traces[0] if single else traces
