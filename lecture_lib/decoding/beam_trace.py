"""BeamTrace: everything that a beam search looked at, and what became of each candidate."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lecture_lib.checks import check_count, check_number, shown

if TYPE_CHECKING:
    from .beam_search import Candidate

KEPT, PRUNED, FINISHED = "kept", "pruned", "finished"


@dataclass
class BeamTrace:
    """What ``beam_search`` returns: the result, and the whole search that led to it.

    Attributes:
        num_beams to num_return_sequences: what was asked for, see ``beam_search``.
        steps: the candidates of each step, the best first; of many the best that may matter.
        finished: the finished texts held at the end, at most ``num_beams``, the best first.
        n_ranked: how many continuations were ranked in each step, beams · V.
        calls: what each pass through the engine saw (``engine_beam_search``).
    """

    num_beams: int
    max_new_tokens: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    eos_token_ids: frozenset[int] = frozenset()
    num_return_sequences: int = 1
    steps: list[list["Candidate"]] = field(default_factory=list)
    finished: list["Candidate"] = field(default_factory=list)
    n_ranked: list[int] = field(default_factory=list, repr=False)
    calls: tuple = field(default=(), repr=False)

    def __post_init__(self):
        for name in ("num_beams", "max_new_tokens", "num_return_sequences"):
            setattr(self, name, check_count(name, getattr(self, name)))
        check_count("num_beams", self.num_beams, most=10**6)
        k, n_returned, early = self.num_beams, self.num_return_sequences, self.early_stopping
        if n_returned > k:
            raise ValueError(f"num_return_sequences: {n_returned} texts out of num_beams={k} beams")
        if not isinstance(early, bool | str) or early not in (True, False, "never"):
            raise ValueError(f"early_stopping: needs False, True or 'never', got {shown(early)}")
        n, penalty = self.max_new_tokens, check_number("length_penalty", self.length_penalty)
        if abs(penalty) * math.log(n) > 600:  # exp(710) is no float any more
            raise ValueError(f"length_penalty: {n} ** {penalty} is not a number to divide by")

    def note(self, candidates: list, beams: list, finished: list) -> None:
        """Write down a step: the candidates, which of them continue, and the finished texts."""
        self.steps.append(candidates)
        for candidate in beams:
            candidate.status = KEPT
        for candidate in finished:
            candidate.status = FINISHED
        self.finished = finished

    @property
    def sequences(self) -> list[list[int]]:
        """The new tokens of the best texts (the end token included), the best first."""
        return [text.tokens for text in self.finished[: self.num_return_sequences]]

    @property
    def scores(self) -> list[float]:
        """Length-normalised score of each of ``sequences``, in nats."""
        return [text.final_score for text in self.finished[: self.num_return_sequences]]

    @property
    def n_steps(self) -> int:
        """Steps that the search took."""
        return len(self.steps)

    @property
    def nodes(self) -> list["Candidate"]:
        """Every candidate, step by step, the best of a step first."""
        return [candidate for step in self.steps for candidate in step]

    def table(self, token_text: Callable[[int], str] = str):
        """The tree as a DataFrame with a row for each candidate; ``token_text`` writes an id."""
        import pandas as pd

        rows = [
            {
                "step": step,
                "rank": node.rank,
                "after": " ".join(token_text(t) for t in node.tokens[:-1]),
                "token": token_text(node.tokens[-1]),
                "p": math.exp(node.log_prob),
                "score": node.score,
                "p(text)": math.exp(node.score),
                "status": node.status,
                "final score": math.nan if node.final_score is None else node.final_score,
            }
            for step, candidates in enumerate(self.steps, 1)
            for node in candidates
        ]
        return pd.DataFrame(rows)
