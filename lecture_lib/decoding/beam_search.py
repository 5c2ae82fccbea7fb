"""Beam search: breadth first, but only the best few texts of each step go on.

The loop is ``run_searches``; a step is ``take_step``, which ranks the candidates, and
``Search.advance``, which ends some of them and goes on with the best others. The same code searches
a toy model (``beam_search``, below) and the real one with its cache (``beam_engine``). What a
search has looked at is left behind in ``Search.steps``; ``beam_trace`` makes a readable tree of it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lecture_lib.checks import check_count, check_number
from lecture_lib.tokens import end_tokens

from .beam_trace import FINISHED, KEPT, PRUNED, BeamTrace

NextLogProbs = Callable[[Sequence[Sequence[int]]], Tensor]

_LISTED = 256  # up to so many candidates all are kept for the trace, of more only the best


@dataclass(frozen=True)
class BeamSettings:
    """What ``beam_search`` was asked for; its docstring explains the arguments.

    Raises:
        ValueError: an argument other than described there.
    """

    num_beams: int
    max_new_tokens: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    eos_token_ids: frozenset[int] = frozenset()
    num_return_sequences: int = 1
    do_sample: bool = False

    def __post_init__(self):
        for name in ("num_beams", "max_new_tokens", "num_return_sequences"):
            check_count(name, getattr(self, name))
        if self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"num_return_sequences: {self.num_return_sequences} texts out of "
                f"num_beams={self.num_beams} beams; at most as many as beams can be returned"
            )
        if not (isinstance(self.early_stopping, bool) or self.early_stopping == "never"):
            raise ValueError(
                f"early_stopping: needs False, True or 'never', got {self.early_stopping!r}"
            )
        penalty = check_number("length_penalty", self.length_penalty)
        if abs(penalty) * math.log(self.max_new_tokens) > 600:  # exp(710) is no float any more
            raise ValueError(
                f"length_penalty: {self.max_new_tokens} ** {penalty} is not a number to divide by"
            )

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise ValueError where the vocabulary is too small for the beams or the end tokens."""
        if vocab_size < self.num_beams:
            raise ValueError(
                f"num_beams: {self.num_beams} beams, but the vocabulary has {vocab_size} tokens: "
                "the first step has no more candidates than that"
            )
        outside = [i for i in self.eos_token_ids if i >= vocab_size]
        if outside:
            raise ValueError(f"eos_token_id: {outside[0]} is outside 0..{vocab_size - 1}")


@dataclass(eq=False, slots=True)
class Candidate:
    """A beam of the step before and one token more; the next step's beams are candidates, too.

    Attributes:
        parent: the candidate that it continues; None: it is the prompt itself.
        beam: place of the parent among the beams. token: the id that is appended.
        log_prob: log p(token | everything to its left). score: sum of these along the text.
        status: kept (goes on), pruned (dropped) or finished (a text that may be returned).
        final_score: of a text that has ended: score / length ** length_penalty.
        displaced_in: the step in which a better text took its place among the finished ones.
    """

    parent: "Candidate | None"
    beam: int
    token: int
    log_prob: float
    score: float
    status: str = PRUNED
    final_score: float | None = None
    displaced_in: int | None = None

    def tokens(self) -> list[int]:
        """The new tokens of its text."""
        tokens, candidate = [], self
        while candidate.parent is not None:
            tokens.append(candidate.token)
            candidate = candidate.parent
        return tokens[::-1]


class Search:
    """One prompt's search so far.

    Attributes:
        beams: the texts that go on, the best first. finished: those that ended, the best first.
        steps: the candidates of each step, by rank. stop_reason: why it ended, "" while it runs.
    """

    def __init__(self, settings: BeamSettings):
        self.settings = settings
        self.beams = [Candidate(parent=None, beam=0, token=-1, log_prob=0.0, score=0.0)]
        self.finished: list[Candidate] = []
        self.steps: list[list[Candidate]] = []
        self.stop_reason = ""

    def advance(self, candidates: list[Candidate]) -> None:
        """Take a step's candidates, by rank: some end, the best of the others go on."""
        settings, k = self.settings, self.settings.num_beams
        self.steps.append(candidates)
        at_limit = len(self.steps) == settings.max_new_tokens
        going_on = []
        for rank, candidate in enumerate(candidates, 1):
            if not at_limit and candidate.token not in settings.eos_token_ids:
                going_on.append(candidate)
            elif rank <= k:
                self._finish(candidate)
            # An end below rank k is dropped: had nothing ended above it, the search would not
            # have kept this text either.
        if settings.do_sample:  # candidates that were drawn are not in the order of scores
            going_on.sort(key=lambda candidate: -candidate.score)
        self.beams = going_on[:k]
        for candidate in self.beams:
            candidate.status = KEPT
        self.stop_reason = self._why_stop(at_limit)

    def _finish(self, candidate: Candidate) -> None:
        """A text has ended: it is held if it is among the ``num_beams`` best that have."""
        k, length = self.settings.num_beams, len(self.steps)
        candidate.final_score = candidate.score / length**self.settings.length_penalty
        if len(self.finished) == k and candidate.final_score <= self.finished[-1].final_score:
            return
        candidate.status = FINISHED
        self.finished.append(candidate)
        self.finished.sort(key=lambda text: -text.final_score)  # of equals the older is first
        if len(self.finished) > k:
            self.finished.pop().displaced_in = length

    def _why_stop(self, at_limit: bool) -> str:
        """Transformers' conditions for an end of the search, in its order; "": go on."""
        settings, step = self.settings, len(self.steps)
        n, full = len(self.finished), len(self.finished) == settings.num_beams
        texts = f"{n} text{'s' * (n > 1)} finished"
        if at_limit:
            return f"the length limit of {step} tokens"
        if not self.beams:
            return "no beam can go on: every candidate has ended"
        if full and (settings.early_stopping is True or settings.num_beams == 1):
            return f"{texts}, as many as beams"  # one beam is greedy: its first end is the end
        # False compares the best running beam as if it ended now, which may stop too early. "never"
        # supposes that all further tokens are certain: a positive penalty favours the longest text.
        longest = settings.early_stopping == "never" and settings.length_penalty > 0
        length = settings.max_new_tokens if longest else step
        if full and (
            self.beams[0].score / length**settings.length_penalty <= self.finished[-1].final_score
        ):
            return (
                f"{texts}, and the best running beam, scored as if it ended with {length} tokens, "
                "could not beat the last of them"
            )
        return ""

    def trace(self) -> BeamTrace:
        """The result, and the tree that led to it.

        Raises:
            ValueError: fewer texts have finished than are to be returned.
        """
        settings = self.settings
        if len(self.finished) < settings.num_return_sequences:
            raise ValueError(
                f"num_return_sequences: asked for {settings.num_return_sequences}, but only "
                f"{len(self.finished)} texts of {settings.max_new_tokens} tokens or fewer are "
                "possible here"
            )
        return BeamTrace(settings, self.steps, self.finished, self.stop_reason)


def run_searches(
    searches: list[Search],
    ask: Callable[[list[Search]], Tensor],
    generator: torch.Generator | None = None,
) -> None:
    """The loop: ask the model, take a step, until every search has ended.

    Args:
        searches: one for each prompt, with the same settings.
        ask: log-probabilities of the next token for every beam of the searches that still run,
            (running searches, beams, V).
    """
    while running := [search for search in searches if not search.stop_reason]:
        take_step(running, ask(running), generator)


def take_step(
    searches: list[Search], log_probs: Tensor, generator: torch.Generator | None = None
) -> None:
    """One step of searches: every beam continued by every token, ranked, and the best looked at.

    If all k beams end in the best way (or in each of n_eos ways), k others must be left to go on
    with: Transformers looks at the best max(2, 1 + n_eos) · k candidates.

    Args:
        log_probs: (B, beams, V), B searches; rows of beams that a search has not are not used.

    Raises:
        ValueError: log-probabilities that are none, or a search without any possible candidate.
    """
    settings, (_, n_beams, vocab_size) = searches[0].settings, log_probs.shape
    if settings.do_sample and n_beams < settings.num_beams:
        # A draw uses up a random number for each candidate: with those of absent beams included,
        # the same seed gives generate's texts.
        absent = log_probs[:, :1].expand(-1, settings.num_beams - n_beams, -1)
        log_probs = torch.cat((log_probs, absent), 1)
        n_beams = settings.num_beams
    scores = [[beam.score for beam in search.beams] for search in searches]
    scores = [row + [-math.inf] * (n_beams - len(row)) for row in scores]
    totals = (log_probs + log_probs.new_tensor(scores)[..., None]).flatten(1)  # (B, beams * V)
    _check_log_probs(log_probs, totals)
    n = max(2, 1 + len(settings.eos_token_ids)) * settings.num_beams
    if not settings.do_sample and n_beams * vocab_size <= _LISTED:
        n = n_beams * vocab_size
    chosen = choose_candidates(totals, n, do_sample=settings.do_sample, generator=generator)
    columns = (
        (chosen // vocab_size).tolist(),
        (chosen % vocab_size).tolist(),
        log_probs.flatten(1).gather(1, chosen).tolist(),
        totals.gather(1, chosen).tolist(),
    )
    for search, *numbers in zip(searches, *columns, strict=True):
        rows = zip(*numbers, strict=True)
        search.advance(
            [
                Candidate(search.beams[beam], beam, token, log_prob, score)
                for beam, token, log_prob, score in rows
                if score != -math.inf
            ]
        )


def choose_candidates(
    totals: Tensor, n: int, *, do_sample: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Which continuations of a step are looked at, the first first.

    Args:
        totals: (B, beams · V) running scores, -inf for what is impossible.
        n: how many. do_sample: draw them without replacement, in proportion to exp(score), instead
            of taking the best (beam-search multinomial sampling).

    Returns:
        (B, n) indices into the last axis, n at most beams · V. Equally good ones come in the order
        of beams, then of token ids.
    """
    n = min(n, totals.shape[1])
    if do_sample:
        return torch.multinomial(totals.softmax(-1), n, generator=generator)
    # In float32 two products that are equal on paper, .6 · .1 and .3 · .2, are equal here as well;
    # in float64 (a toy's) the last bit of their logarithms would decide, and it depends on the
    # processor.
    return torch.stack([_best(row, n) for row in totals.float()])


def _best(row: Tensor, n: int) -> Tensor:
    values, indices = row.topk(min(n + 1, len(row)))
    if bool((values[1:] < values[:-1]).all()):
        return indices[:n]
    # topk leaves the order of equals open, and which of them it takes: a picture must not.
    at_least = (row >= values[n - 1]).nonzero().flatten()
    return at_least[row[at_least].sort(descending=True, stable=True).indices[:n]]


def _check_log_probs(log_probs: Tensor, totals: Tensor) -> None:
    best = totals.amax(1)
    if bool(best.isnan().any()) or float(log_probs.max()) > 1e-3:
        raise ValueError(
            "next_log_probs: needs log-probabilities (0 or less, none of them NaN), got values up "
            f"to {float(log_probs.max()):.4g}; of logits take torch.log_softmax(logits, -1)"
        )
    if bool((best == -torch.inf).any()):
        raise ValueError(
            "next_log_probs: all candidates have probability 0 (log-probability -inf), so no beam "
            "can go on; p(next token | text) must be above 0 for some token"
        )


def beam_search(
    next_log_probs: NextLogProbs,
    *,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    eos_token_id: int | Iterable[int] | None = None,
    num_return_sequences: int = 1,
    do_sample: bool = False,
    generator: torch.Generator | None = None,
) -> BeamTrace:
    """Keep the ``num_beams`` best texts of each step; return the best at the end.

    Token for token and score for score what Transformers' ``generate(num_beams=...)`` returns:
    of each step's candidates (beams × vocabulary) the best max(2, 1 + n_eos) · num_beams are
    looked at; those that end and are among the best ``num_beams`` become finished texts, held with
    score / length ** length_penalty; the best ``num_beams`` that do not end go on. With
    ``num_beams=1`` it is greedy search: the first end token is the end.

    Args:
        next_log_probs: takes a list of token-id lists, each the tokens after the prompt, and
            returns their next-token log-probabilities, (n, V). A ``ToyLM`` is one; for the real
            model there is ``engine_beam_search``.
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

    Returns:
        A BeamTrace: ``.sequences`` (new tokens only), ``.scores``, and all ``.nodes``. Equally
        good candidates rank in the order of their beams, then of their ids.

    Raises:
        ValueError: an argument other than described; a vocabulary smaller than ``num_beams``; a
            step at which no token is possible; fewer finished texts than asked for.
    """
    settings = BeamSettings(
        num_beams,
        max_new_tokens,
        length_penalty,
        early_stopping,
        end_tokens(None, eos_token_id),
        num_return_sequences,
        do_sample,
    )
    search = Search(settings)

    def ask(searches: list[Search]) -> Tensor:
        prefixes = [beam.tokens() for beam in searches[0].beams]
        log_probs = torch.as_tensor(next_log_probs(prefixes)).detach()
        if not log_probs.is_floating_point() or log_probs.shape[:-1] != (len(prefixes),):
            raise ValueError(
                f"next_log_probs: must return float log-probabilities of shape ({len(prefixes)}, "
                f"V) for {len(prefixes)} texts, got {log_probs.dtype} of {tuple(log_probs.shape)}"
            )
        settings.check_vocabulary(log_probs.shape[-1])
        return log_probs[None]  # (1, beams, V)

    run_searches([search], ask, generator)
    return search.trace()
