"""Beam search: a breadth-first search that continues only the best few texts after each step.

The loop is ``run_searches``; a step is ``find_candidates``, which ranks the continuations, and
``Search.advance``, which ends some of them and keeps the best of the others. The same code searches
a toy model (``beam_search``, below) and the real one (``beam_engine``). A search keeps all that it
has looked at in ``Search.steps``; ``BeamTrace`` shows it as a tree.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lecture_lib.checks import check_count, check_number, checked, shown
from lecture_lib.tokens import check_log_probs, end_tokens, stable_topk

from .beam_trace import FINISHED, KEPT, PRUNED, BeamTrace
from .toy_lm import MOST_TOKENS, NextLogProbs, ask


@dataclass(frozen=True)
class BeamSettings:
    """What ``beam_search`` was asked for; its docstring explains the arguments."""

    num_beams: int
    max_new_tokens: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    eos_token_ids: frozenset[int] = frozenset()
    num_return_sequences: int = 1

    def __post_init__(self):
        for name in ("num_beams", "max_new_tokens", "num_return_sequences"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        k, n_returned, early = self.num_beams, self.num_return_sequences, self.early_stopping
        if n_returned > k:
            raise ValueError(f"num_return_sequences: {n_returned} texts out of num_beams={k} beams")
        if not isinstance(early, bool | str) or early not in (True, False, "never"):
            raise ValueError(f"early_stopping: needs False, True or 'never', got {shown(early)}")
        n, penalty = self.max_new_tokens, check_number("length_penalty", self.length_penalty)
        if abs(penalty) * math.log(n) > 600:  # exp(710) is no float any more
            raise ValueError(f"length_penalty: {n} ** {penalty} is not a number to divide by")

    def check_vocabulary(self, n: int) -> None:
        """Raise ValueError where n tokens are too few for the beams or the end tokens."""
        if n < (k := self.num_beams):
            raise ValueError(f"num_beams: {k} beams, but the vocabulary has {n} tokens")
        end_tokens(None, self.eos_token_ids, n)


@dataclass(eq=False, slots=True)
class Candidate:
    """A beam of the step before, continued by one token; the next beams are candidates, too."""

    parent: "Candidate | None"  # the candidate that it continues; None: it is the prompt itself
    beam: int  # place of the parent among the beams
    token: int  # the id that is appended
    log_prob: float  # log p(token | everything to its left), in nats
    score: float  # sum of these along the text
    rank: int = 1  # place among the step's candidates, by score or in the order of the draws
    status: str = PRUNED  # or KEPT (a beam now), or FINISHED (a text that may be returned)
    final_score: float | None = None  # of a text that has ended: score / length ** length_penalty
    displaced_in: int | None = None  # the step in which a better text took its place

    def tokens(self) -> list[int]:
        """The new tokens of its text."""
        tokens, candidate = [], self
        while candidate.parent is not None:
            tokens.append(candidate.token)
            candidate = candidate.parent
        return tokens[::-1]


class Search:
    """One prompt's search so far."""

    def __init__(self, settings: BeamSettings):
        self.settings = settings
        prompt = Candidate(parent=None, beam=0, token=-1, log_prob=0.0, score=0.0)
        self.beams = [prompt]  # the texts to continue, the best first
        self.finished: list[Candidate] = []  # those that have ended, the best first
        self.steps: list[list[Candidate]] = []  # the candidates of each step, by rank
        self.stop_reason = ""  # why the search ended; "" while it runs

    def advance(self, candidates: list[Candidate], drawn: bool) -> None:
        """Take a step's candidates, by rank: some end, the best of the others become the beams."""
        settings, k = self.settings, self.settings.num_beams
        self.steps.append(candidates)
        at_limit = len(self.steps) == settings.max_new_tokens
        going_on = []
        for candidate in candidates:
            if not at_limit and candidate.token not in settings.eos_token_ids:
                going_on.append(candidate)
            elif candidate.rank <= k:
                self._finish(candidate)
            # An end below rank k is dropped: k candidates are better.
        if drawn:  # not in the order of scores
            going_on.sort(key=lambda candidate: -candidate.score)
        self.beams = going_on[:k]
        for candidate in self.beams:
            candidate.status = KEPT
        self.stop_reason = self._why_stop(at_limit)

    def _finish(self, candidate: Candidate) -> None:
        """A text has ended: keep it if it is among the ``num_beams`` best that have."""
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
        """Why the search stops, by Transformers' conditions in its order; "": it does not."""
        settings, step, n = self.settings, len(self.steps), len(self.finished)
        if at_limit:
            return f"the length limit of {step} tokens"
        if not self.beams:
            return "no beam can go on: every candidate has ended"
        if n < settings.num_beams:
            return ""
        texts = f"{n} text{'s' * (n > 1)} finished"
        if settings.early_stopping is True or settings.num_beams == 1:
            return f"{texts}, as many as beams"  # one beam is greedy search, which stops at its end
        # False compares the best running beam as if it ended now, which may stop too early. "never"
        # supposes that its further tokens are certain: a positive penalty favours the longest text.
        longest = settings.early_stopping == "never" and settings.length_penalty > 0
        length = settings.max_new_tokens if longest else step
        if self.beams[0].score / length**settings.length_penalty > self.finished[-1].final_score:
            return ""
        running = f"the best running beam, scored as if it ended with {length} tokens"
        return f"{texts}, and {running}, could not beat the last of them"

    def trace(self, **observed) -> BeamTrace:
        """The result, and the tree that led to it; ``observed`` are further fields of BeamTrace."""
        asked, n = self.settings.num_return_sequences, len(self.finished)
        if n < asked:
            raise ValueError(f"num_return_sequences: {asked} asked for, only {n} texts possible")
        return BeamTrace(self.settings, self.steps, self.finished, self.stop_reason, **observed)


def run_searches(searches: list[Search], ask: Callable, generator=None) -> None:
    """The loop: ask the model for log p(next token) of all beams, (running searches, beams, V),
    and take a step, until every search (one for each prompt, with the same settings) has ended."""
    while running := [search for search in searches if not search.stop_reason]:
        found = find_candidates(running, ask(running), generator)
        for search, candidates in zip(running, found, strict=True):
            search.advance(candidates, drawn=generator is not None)


def find_candidates(
    searches: list[Search], log_probs: Tensor, generator: torch.Generator | None = None
) -> list[list[Candidate]]:
    """Continue every beam of B searches by every token: the best candidates of each, by rank.

    Each of k beams may end in n_eos ways, all among the best. So that k candidates are left to
    continue, Transformers takes max(2, 1 + n_eos) · k. A search may have fewer beams than
    ``log_probs``, (B, beams, V), has rows; it does not use the rows beyond.
    """
    check_log_probs(log_probs)
    settings, (_, n_beams, vocab_size) = searches[0].settings, log_probs.shape
    scores = [[beam.score for beam in search.beams] for search in searches]
    scores = [row + [-math.inf] * (n_beams - len(row)) for row in scores]
    totals = (log_probs + log_probs.new_tensor(scores)[..., None]).flatten(1)  # (B, beams * V)
    n = max(2, 1 + len(settings.eos_token_ids)) * settings.num_beams
    if generator is None and n_beams * vocab_size <= 256:  # so few are all shown in the trace
        n = n_beams * vocab_size
    chosen = choose_candidates(totals, n, generator)  # (B, n)
    numbers = log_probs.flatten(1).gather(1, chosen), totals.gather(1, chosen)
    columns = [x.tolist() for x in (chosen // vocab_size, chosen % vocab_size, *numbers)]
    return [
        [
            Candidate(search.beams[beam], beam, token, log_prob, score, rank)
            for rank, (beam, token, log_prob, score) in enumerate(zip(*rows, strict=True), 1)
            if score != -math.inf
        ]
        for search, *rows in zip(searches, *columns, strict=True)
    ]


def choose_candidates(totals: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """The best n of each row of running scores (B, beams · V), the best first: indices (B, n).

    Of equally good ones, those of the first beam come first, then those of lower token ids. With a
    generator they are drawn instead, without replacement and in proportion to exp(score).
    """
    n = min(n, totals.shape[1])
    if generator is not None:
        return torch.multinomial(totals.softmax(-1), n, generator=generator)
    # Products that are equal on paper, .6 · .1 and .3 · .2, are equal in float32. In float64
    # (a toy's) the last bit of their logarithms would decide, which depends on the processor.
    return torch.stack([stable_topk(row, n) for row in totals.float()])


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
        num_beams: k, at most V. max_new_tokens: a text with so many tokens ends, at most 1,000.
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
    search = Search(BeamSettings(num_beams, max_new_tokens, *arguments))
    check_count("max_new_tokens", max_new_tokens, most=MOST_TOKENS)
    vocab_size = None

    def ask_for_all(searches: list[Search]) -> Tensor:
        nonlocal vocab_size
        log_probs = ask(next_log_probs, [beam.tokens() for beam in search.beams], vocab_size)
        vocab_size = log_probs.shape[-1]
        search.settings.check_vocabulary(vocab_size)
        return log_probs[None]  # (1, beams, V)

    run_searches([search], ask_for_all)
    return search.trace()
