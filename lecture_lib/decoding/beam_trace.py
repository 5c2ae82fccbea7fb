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
        steps: the candidates of each step, the best first. Of a vocabulary too large to list, those
            that the search considered: max(2, 1 + n_eos) · num_beams.
        beams: the texts that could go on after the last step.
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
    beams: list["Candidate"] = field(default_factory=list, repr=False)
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
        """Write down a step: the candidates, which of them go on, and the texts finished so far."""
        self.steps.append(candidates)
        for candidate in beams:
            candidate.status = KEPT
        for candidate in finished:
            candidate.status = FINISHED
        self.beams, self.finished = beams, finished

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
    def stop_reason(self) -> str:
        """Why the search ended, in words."""
        step, n = self.n_steps, len(self.finished)
        if step == self.max_new_tokens:
            return f"the length limit of {step} tokens"
        if not self.beams:
            return "no beam can go on: every candidate has ended"
        texts = f"{n} text{'s' * (n > 1)} finished"
        if self.early_stopping is True or self.num_beams == 1:
            return f"{texts}, as many as beams"
        longest = self.early_stopping == "never" and self.length_penalty > 0
        length = self.max_new_tokens if longest else step
        running = f"the best running beam, scored as if it ended with {length} tokens"
        return f"{texts}, and {running}, could not beat the last of them"

    @property
    def nodes(self) -> list["Candidate"]:
        """Every candidate, step by step, the best of a step first."""
        return [candidate for step in self.steps for candidate in step]

    def at_step(self, step: int) -> list["Candidate"]:
        """The candidates of a step, 1 to ``n_steps``, the best first."""
        return self.steps[check_count("step", step, 1, self.n_steps) - 1]

    def table(self, token_text: Callable[[int], str] = str):
        """The tree as a DataFrame with a row for each candidate: step, rank, after (the tokens to
        its left), token (as ``token_text`` writes an id), p = p(token | left), score,
        p(text) = exp(score), status, final score."""
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
