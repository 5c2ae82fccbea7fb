"""Beam search: a breadth-first search that continues only the best few texts after each step.

``beam_steps`` is the search, with ``find_candidates``, ``select`` and ``can_stop``: the code that
lecture 09 writes. It asks a function for log p of the next token of every beam, so the same search
runs on a toy model (``beam_search``, below) and on the real one (``beam_engine``). ``BeamTrace``
looks on: it notes each step and shows the search as a tree.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from lecture_lib.checks import check_count, checked
from lecture_lib.tokens import check_log_probs, end_tokens, stable_topk

from .beam_trace import PRUNED, BeamTrace
from .toy_lm import MOST_TOKENS, NextLogProbs, ask


@dataclass(eq=False)
class Candidate:
    """A beam of the step before, continued by one token; the next beams are candidates, too."""

    tokens: list[int]  # all new tokens of its text
    parent: int  # the place of the beam that it continues
    log_prob: float  # log p(last token | everything to its left), in nats
    score: float  # sum of these along the text
    rank: int  # place among the step's candidates, by score or in the order of the draws
    final_score: float | None = None  # once the text has ended: score / length ** length_penalty
    status: str = PRUNED  # or KEPT, FINISHED: BeamTrace writes it down


def find_candidates(beams: list[Candidate], log_probs: Tensor, n: int) -> list[Candidate]:
    """Continue every beam by every token, and rank all of these together: the best n.

    Of equally good ones, those of the first beam come first, then those of lower token ids.
    """
    scores = log_probs.new_tensor([beam.score for beam in beams])  # (k,)
    totals = (scores[:, None] + log_probs).flatten()  # (k * V,)
    # In float32, where products that are equal on paper, .6 * .1 and .3 * .2, are equal.
    picked = stable_topk(totals.float(), min(n, len(totals)))  # (n,)
    return make_candidates(beams, picked, totals, log_probs)


def make_candidates(beams, picked: Tensor, totals: Tensor, log_probs: Tensor) -> list[Candidate]:
    """Candidates in the order of the places that were picked; impossible ones are left out."""
    columns = [x.tolist() for x in (picked, totals[picked], log_probs.flatten()[picked])]
    candidates = []
    for place, score, log_prob in zip(*columns, strict=True):
        parent, token = divmod(place, log_probs.shape[1])
        if score > -math.inf:
            tokens, rank = [*beams[parent].tokens, token], len(candidates) + 1
            candidates.append(Candidate(tokens, parent, log_prob, score, rank))
    return candidates


def select(candidates: list[Candidate], k: int, ends, at_limit: bool) -> tuple[list, list]:
    """Which candidates continue and which end. Only the best k may end."""
    beams = [c for c in candidates if not at_limit and c.tokens[-1] not in ends]
    ended = [c for c in candidates if c not in beams and c.rank <= k]
    return beams[:k], ended


def can_stop(beams, finished, k, length, max_new_tokens, length_penalty, early_stopping) -> bool:
    """Whether the search may stop although some beams could go on."""
    if len(finished) < k:
        return False
    if early_stopping is True or k == 1:  # one beam is greedy search, which stops at its end
        return True
    # False scores the best beam as if it ended now. "never" supposes that its further tokens are
    # certain: they cost nothing, and a positive penalty favours the longest text.
    if early_stopping == "never" and length_penalty > 0:
        length = max_new_tokens
    return beams[0].score / length**length_penalty <= finished[-1].final_score


def beam_steps(
    next_log_probs: Callable[[list[Candidate]], Tensor],
    k: int,
    max_new_tokens: int,
    ends=(),
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    find=find_candidates,
) -> Iterator[tuple[list, list, list]]:
    """The search. Yields after each step its candidates, the beams, and the finished texts."""
    beams, finished = [Candidate([], 0, 0.0, 0.0, 1)], []  # the prompt is the only beam
    # Each of k beams can end in len(ends) ways. Of n candidates, at least k do not end.
    n = max(2, 1 + len(ends)) * k
    for length in range(1, max_new_tokens + 1):
        candidates = find(beams, next_log_probs(beams), n)
        beams, ended = select(candidates, k, ends, at_limit=length == max_new_tokens)
        for text in ended:
            text.final_score = text.score / length**length_penalty
        finished = sorted(finished + ended, key=lambda text: -text.final_score)[:k]
        yield candidates, beams, finished
        settings = (k, length, max_new_tokens, length_penalty, early_stopping)
        if not beams or can_stop(beams, finished, *settings):
            break


def run_search(trace: BeamTrace, next_log_probs: Callable, find=find_candidates) -> BeamTrace:
    """Run ``beam_steps`` with the settings of an empty trace, which notes what it does."""

    def checked_log_probs(beams: list[Candidate]) -> Tensor:
        log_probs = next_log_probs(beams)  # (beams, V)
        check_log_probs(log_probs)
        end_tokens(None, trace.eos_token_ids, log_probs.shape[1])
        trace.n_ranked.append(log_probs.numel())
        return log_probs

    options = (trace.eos_token_ids, trace.length_penalty, trace.early_stopping, find)
    for step in beam_steps(checked_log_probs, trace.num_beams, trace.max_new_tokens, *options):
        trace.note(*step)
    asked, n = trace.num_return_sequences, len(trace.finished)
    if n < asked:
        raise ValueError(f"num_return_sequences: {asked} asked for, only {n} texts possible")
    return trace


@checked
def beam_search(
    next_log_probs: NextLogProbs,
    *,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    eos_token_id: int | Iterable[int] | None = None,
    num_return_sequences: int = 1,
) -> BeamTrace:
    """Keep the ``num_beams`` best texts of each step; return the best at the end.

    Token for token and score for score what Transformers' ``generate(num_beams=...)`` returns.
    Of each step's candidates (beams × vocabulary) those that end and are among the best
    ``num_beams`` become finished texts, with score / length ** length_penalty; the best
    ``num_beams`` that do not end are continued. With ``num_beams=1`` it is greedy search.

    Args:
        next_log_probs: takes n lists of token ids, each the tokens after the prompt, and returns
            log p of their next tokens, (n, V). A ``ToyLM`` is one.
        num_beams: k, texts to continue in each step; if nothing is pruned, it is a full search.
        max_new_tokens: a text with so many tokens ends, at most 1,000.
        length_penalty: power of the length that a finished text's score is divided by. 0 leaves the
            score; more favours longer texts, less (also below 0) shorter ones.
        early_stopping: what to do when ``num_beams`` texts have finished. True: stop; False: stop
            if the best running beam, were it to end now, would not be better than the worst of
            them; "never": stop only if no running beam could become better.
        eos_token_id: one id, or several, that end a text. The end token is kept.
        num_return_sequences: texts to return, at most ``num_beams``.

    Returns:
        A BeamTrace: ``.sequences`` (new tokens only, the best first), ``.scores`` and ``.nodes``.

    Raises:
        ValueError: a wrong argument; a step without a possible token; too few finished texts.
    """
    ends = end_tokens(None, eos_token_id)
    arguments = (length_penalty, early_stopping, ends, num_return_sequences)
    trace = BeamTrace(num_beams, max_new_tokens, *arguments)
    check_count("max_new_tokens", max_new_tokens, most=MOST_TOKENS)
    vocab_size = None

    def log_probs_of_beams(beams: list[Candidate]) -> Tensor:
        nonlocal vocab_size
        log_probs = ask(next_log_probs, [beam.tokens for beam in beams], vocab_size)
        vocab_size = log_probs.shape[-1]
        return log_probs

    def find_all_of_few(beams: list[Candidate], log_probs: Tensor, n: int) -> list[Candidate]:
        # Candidates below the best n change nothing. Where there are few, the trace shows all.
        n_all = log_probs.numel()
        return find_candidates(beams, log_probs, n_all if n_all <= 256 else n)

    return run_search(trace, log_probs_of_beams, find_all_of_few)
