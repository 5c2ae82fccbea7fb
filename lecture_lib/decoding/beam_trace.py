"""BeamTrace: everything a beam search looked at, and why each candidate was kept or dropped."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from lecture_lib.checks import check_count

if TYPE_CHECKING:
    from .beam_search import BeamSettings, Candidate

KEPT, PRUNED, FINISHED = "kept", "pruned", "finished"


@dataclass(frozen=True, slots=True)
class BeamNode:
    """One candidate of one step: a beam of the step before, and one token more."""

    step: int  # 1 for the first new token
    parent: int | None  # index in ``BeamTrace.nodes`` of the beam it continues; None: the prompt
    token: int  # the token's id
    log_prob: float  # log p(token | everything to its left), in nats
    score: float  # sum of the log-probabilities from the first new token on
    rank: int  # place among the step's candidates, by score or in the order of the draws; from 1
    status: str  # "kept" (a beam), "pruned" (dropped) or "finished" (a text that may be returned)
    why: str  # the reason of the status, in words
    final_score: float | None = None  # of a text that has ended: score / length ** length_penalty


class Hypothesis(NamedTuple):
    """A finished text: its last node, its new tokens and its length-normalised score."""

    node: int
    tokens: tuple[int, ...]
    score: float


@dataclass
class BeamTrace:
    """What ``beam_search`` returns: the result, and the whole search that led to it.

    Attributes:
        steps: the candidates of each step, by rank. Of a vocabulary too large to list, those that
            the search considered: max(2, 1 + n_eos) · num_beams.
        finished: the finished texts held at the end, at most ``num_beams``, the best first.
        stop_reason: why the search ended, in words.
        calls: what each pass through the engine saw (``engine_beam_search``).
        rows_copied: rows of its cache copied before each decode step because a beam had to move.
    """

    settings: "BeamSettings"
    steps: list[list["Candidate"]]
    finished: list["Candidate"]
    stop_reason: str
    calls: tuple = field(default=(), repr=False)
    rows_copied: list[int] = field(default_factory=list, repr=False)

    @property
    def num_beams(self) -> int:
        return self.settings.num_beams

    @property
    def sequences(self) -> list[list[int]]:
        """The new tokens of the best texts (the end token included), the best first."""
        return [text.tokens() for text in self.finished[: self.settings.num_return_sequences]]

    @property
    def scores(self) -> list[float]:
        """Length-normalised score of each of ``sequences``, in nats."""
        return [text.final_score for text in self.finished[: self.settings.num_return_sequences]]

    @property
    def n_steps(self) -> int:
        """Steps that the search took."""
        return len(self.steps)

    @cached_property
    def _places(self) -> dict[int, int]:
        """The place in ``nodes`` of every candidate, by its identity."""
        return {id(c): i for i, c in enumerate(c for step in self.steps for c in step)}

    @cached_property
    def nodes(self) -> list[BeamNode]:
        """Every candidate, step by step and by rank within a step."""
        return [
            BeamNode(
                step, self._places.get(id(c.parent)), c.token, c.log_prob, c.score, rank, c.status,
                self._why(c, step, rank), c.final_score,
            )
            for step, candidates in enumerate(self.steps, 1)
            for rank, c in enumerate(candidates, 1)
        ]  # fmt: skip

    @cached_property
    def hypotheses(self) -> list[Hypothesis]:
        """The finished texts held at the end, as places in ``nodes``."""
        return [
            Hypothesis(self._places[id(text)], tuple(text.tokens()), text.final_score)
            for text in self.finished
        ]

    def at_step(self, step: int) -> list[BeamNode]:
        """The candidates of a step, 1 to ``n_steps``, by rank."""
        check_count("step", step, 1, self.n_steps)
        return [node for node in self.nodes if node.step == step]

    def path(self, node: int | None) -> list[int]:
        """Indices of the nodes from the first new token to this one."""
        path = []
        while node is not None:
            path.append(check_count("node", node, 0, len(self.nodes) - 1))
            node = self.nodes[node].parent
        return path[::-1]

    def tokens(self, node: int | None) -> list[int]:
        """New tokens of the text that ends in this node; [] for None, the prompt."""
        return [self.nodes[i].token for i in self.path(node)]

    def table(self, token_text: Callable[[int], str] = str):
        """The tree as a DataFrame with a row for each candidate: step, rank, after (the tokens to
        its left), token (as ``token_text`` writes an id), p = p(token | left), score,
        p(text) = exp(score), status, why, final score."""
        import pandas as pd

        rows = [
            {
                "step": node.step,
                "rank": node.rank,
                "after": " ".join(token_text(t) for t in self.tokens(node.parent)),
                "token": token_text(node.token),
                "p": math.exp(node.log_prob),
                "score": node.score,
                "p(text)": math.exp(node.score),
                "status": node.status,
                "why": node.why,
                "final score": math.nan if node.final_score is None else node.final_score,
            }
            for node in self.nodes
        ]
        return pd.DataFrame(rows)

    def _why(self, candidate: "Candidate", step: int, rank: int) -> str:
        """The reason of a candidate's status, in words."""
        k = self.num_beams
        at_end_token = candidate.token in self.settings.eos_token_ids
        how = "end of text" if at_end_token else f"length limit of {step} tokens"
        if candidate.status == KEPT:
            n_kept = sum(other.status == KEPT for other in self.steps[step - 1])
            moved_up = f"rank {rank}, moves up: better candidates ended, {n_kept} go on"
            return f"rank {rank} of the best {k}" if rank <= k else moved_up
        if candidate.status == FINISHED:
            later = f"; displaced by a better text in step {candidate.displaced_in}"
            return f"{how} inside the best {k}" + (later if candidate.displaced_in else "")
        if candidate.final_score is not None:
            final = f"its final score {candidate.final_score:.4g}"
            return f"{how}, but {final} is not above the {k} texts already held"
        if at_end_token:
            return f"end of text outside the best {k}: dropped"
        if rank <= k:  # only where candidates are drawn, and their order is not that of the scores
            return f"drawn as number {rank}, but {k} drawn ones with better scores go on"
        return f"rank {rank} > {k} beam{'s' * (k > 1)}"
