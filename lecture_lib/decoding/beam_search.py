"""Beam search: breadth first, but only the best few texts of each step go on.

beam_settings  the arguments, checked
beam_step      one step: rank, end, keep, prune (the rules, and Transformers' details of them)
beam_trace     what is returned: the result and the tree that led to it
beam_engine    the same search over the real model
beam_cache     its KV cache, which follows the beams
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .beam_settings import BeamSettings, eos_ids, refuse_groups
from .beam_step import BeamState, next_candidates
from .beam_trace import BeamTrace
from .greedy import NextLogProbs


def beam_search(
    next_log_probs: NextLogProbs,
    prompt_ids: Sequence[int] = (),
    *,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    eos_token_id: int | Iterable[int] | None = None,
    num_return_sequences: int = 1,
    do_sample: bool = False,
    generator: torch.Generator | None = None,
    num_beam_groups: int = 1,
    diversity_penalty: float = 0.0,
) -> BeamTrace:
    """Keep the ``num_beams`` best texts of each step; return the best at the end.

    Token for token and score for score what Transformers' ``generate(num_beams=...)`` returns:
    of each step's candidates (beams × vocabulary) the best max(2, 1 + n_eos) · num_beams are
    looked at; those that end and are among the best ``num_beams`` become finished texts, held with
    score / length ** length_penalty; the best ``num_beams`` that do not end go on. With
    ``num_beams=1`` it is greedy search: the first end token is the end.

    Args:
        next_log_probs: takes a list of token-id lists, each the tokens after the prompt, and
            returns their next-token log-probabilities, (n, V). A ``ToyLM`` is one, and
            ``engine_next_log_probs`` makes one; ``engine_beam_search`` is quicker for the engine.
        prompt_ids: kept in the trace; next_log_probs knows its prompt by itself.
        num_beams: k, at most V.
        max_new_tokens: the longest text; those that reach it end there.
        length_penalty: power of the length that a finished text's score is divided by. 0 leaves
            it; more favours longer texts, less (also below 0) shorter ones.
        early_stopping: when ``num_beams`` texts have finished: True stops; False stops if the best
            running beam, were it to end now, would not be better than the worst of them; "never"
            only if no running beam could become better.
        eos_token_id: one id, or several, that end a text. The end token is kept.
        num_return_sequences: how many texts, at most ``num_beams``.
        do_sample: beam-search multinomial sampling: a step's candidates are drawn in proportion to
            exp(score), not ranked. generator: for the draws; default PyTorch's global one.
        num_beam_groups, diversity_penalty: refused, unless 1 and 0.0: group beam search is not
            implemented here.

    Returns:
        A BeamTrace: ``.sequences`` (new tokens only), ``.scores``, and all ``.nodes``. Equally
        good candidates rank in the order of their beams, then of their ids.

    Raises:
        ValueError: an argument other than described; a vocabulary smaller than ``num_beams``; a
            step at which no token is possible; fewer finished texts than asked for.
    """
    refuse_groups(num_beam_groups, diversity_penalty)
    settings = BeamSettings(
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        eos_token_ids=eos_ids(eos_token_id),
        num_return_sequences=num_return_sequences,
        do_sample=do_sample,
    )
    state = BeamState(settings, prompt_ids)
    while not state.done:
        log_probs = _ask(next_log_probs, state.prefixes)  # (beams, V)
        check_vocabulary(settings, log_probs.shape[-1])
        scores = log_probs.new_tensor(state.scores)
        if do_sample:
            log_probs, scores = _pad_beams(log_probs, scores, num_beams)
        [candidates] = next_candidates(log_probs[None], scores[None], settings, generator)
        state.advance(candidates)
    check_enough(state.trace)
    return state.trace


def check_vocabulary(settings: BeamSettings, vocab_size: int) -> None:
    """Raise ValueError where the first step can't fill the beams or an end token isn't there."""
    if vocab_size < settings.num_beams:
        raise ValueError(
            f"num_beams: {settings.num_beams} beams, but the vocabulary has {vocab_size} tokens: "
            "the first step has no more candidates than that"
        )
    outside = [i for i in settings.eos_token_ids if i >= vocab_size]
    if outside:
        raise ValueError(f"eos_token_id: {outside[0]} is outside 0..{vocab_size - 1}")


def check_enough(trace: BeamTrace) -> None:
    """Raise ValueError where fewer texts finished than are to be returned."""
    if len(trace.hypotheses) < trace.num_return_sequences:
        raise ValueError(
            f"num_return_sequences: asked for {trace.num_return_sequences}, but only "
            f"{len(trace.hypotheses)} texts of {trace.max_new_tokens} tokens or fewer are "
            "possible here"
        )


def _ask(next_log_probs: NextLogProbs, prefixes: list[list[int]]) -> Tensor:
    log_probs = torch.as_tensor(next_log_probs(prefixes)).detach()
    if not log_probs.is_floating_point() or log_probs.shape[:-1] != (len(prefixes),):
        raise ValueError(
            f"next_log_probs: must return float log-probabilities of shape ({len(prefixes)}, V) "
            f"for {len(prefixes)} texts, got {log_probs.dtype} of {tuple(log_probs.shape)}"
        )
    return log_probs


def _pad_beams(log_probs: Tensor, scores: Tensor, num_beams: int) -> tuple[Tensor, Tensor]:
    """Beams that aren't there, with score -inf. A draw uses up a random number for each candidate,
    so the same seed gives generate's texts only if there are as many."""
    missing = num_beams - len(log_probs)
    log_probs = torch.cat((log_probs, log_probs[:1].expand(missing, -1)))  # (num_beams, V)
    return log_probs, torch.cat((scores, scores.new_full((missing,), -torch.inf)))
