"""BeamTrace: everything a beam search looked at, and why each candidate was kept or dropped."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT, PRUNED, FINISHED = "kept", "pruned", "finished"


@dataclass(frozen=True, slots=True)
class BeamNode:
    """One candidate of one step: a beam of the step before, and one token more.

    Attributes:
        step: 1 for the first new token.
        parent: index in ``BeamTrace.nodes`` of the beam it continues; None: the prompt.
        token: the token's id.
        log_prob: log p(token | everything to its left), in nats.
        score: running score, the sum of the log-probabilities from the first new token on.
        rank: place among the step's candidates by score, 1 is the best. (With ``do_sample``: the
            place in the order of the draws.)
        status: "kept" (goes on), "pruned" (dropped) or "finished" (a text that may be returned).
        why: the reason of the status, in words.
        final_score: of a text that has ended: score / length ** length_penalty; else None.
    """

    step: int
    parent: int | None
    token: int
    log_prob: float
    score: float
    rank: int
    status: str
    why: str
    final_score: float | None = None


@dataclass(frozen=True)
class Hypothesis:
    """A finished text: its last node, its new tokens and its length-normalised score."""

    node: int
    tokens: tuple[int, ...]
    score: float


@dataclass
class BeamTrace:
    """What ``beam_search`` returns: the result, and the whole search that led to it.

    Attributes:
        prompt_ids, num_beams, max_new_tokens, length_penalty, early_stopping: as they were given.
        nodes: every candidate, step by step and by rank within a step. Of a vocabulary too large
            to list, the candidates that the search considered: max(2, 1 + n_eos) · num_beams.
        hypotheses: the finished texts held at the end, at most ``num_beams``, the best first.
        num_return_sequences: how many of them are the result.
        stop_reason: why the search ended, in words.
        calls: what each pass through the engine saw (empty for other models).
        rows_copied: rows of the KV cache copied before each decode step because a beam had to move
            (``engine_beam_search``).
    """

    prompt_ids: list[int]
    num_beams: int
    max_new_tokens: int
    length_penalty: float
    early_stopping: bool | str
    num_return_sequences: int = 1
    nodes: list[BeamNode] = field(default_factory=list)
    hypotheses: list[Hypothesis] = field(default_factory=list)
    stop_reason: str = ""
    calls: tuple = field(default=(), repr=False)
    rows_copied: list[int] = field(default_factory=list, repr=False)

    @property
    def sequences(self) -> list[list[int]]:
        """The new tokens of the best texts (the end token included), the best first."""
        return [list(h.tokens) for h in self.hypotheses[: self.num_return_sequences]]

    @property
    def scores(self) -> list[float]:
        """Length-normalised score of each of ``sequences``, in nats."""
        return [h.score for h in self.hypotheses[: self.num_return_sequences]]

    @property
    def n_steps(self) -> int:
        """Steps that the search took."""
        return self.nodes[-1].step if self.nodes else 0

    def at_step(self, step: int) -> list[BeamNode]:
        """The candidates of a step, by rank.

        Raises:
            ValueError: a step that the search did not take.
        """
        if not 1 <= step <= self.n_steps:
            raise ValueError(f"step: needs 1 to {self.n_steps}, got {step}")
        return [node for node in self.nodes if node.step == step]

    def path(self, node: int | None) -> list[int]:
        """Indices of the nodes from the first new token to this one."""
        path = []
        while node is not None:
            path.append(node)
            node = self.nodes[node].parent
        return path[::-1]

    def tokens(self, node: int | None) -> list[int]:
        """New tokens of the text that ends in this node; [] for None, the prompt."""
        return [self.nodes[i].token for i in self.path(node)]

    def table(self, token_text: Callable[[int], str] = str):
        """The tree as a table, for reading, sorting and screen readers.

        Args:
            token_text: how a token id is written.

        Returns:
            DataFrame with a row for each candidate: step, rank, after (the tokens to its left),
            token, p = p(token | left), score, p(text) = exp(score), status, why, final score.
        """
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
