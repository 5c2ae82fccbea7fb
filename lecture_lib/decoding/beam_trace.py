"""BeamTrace: everything a beam search looked at, and why each candidate was kept or dropped."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lecture_lib.checks import check_count

if TYPE_CHECKING:
    from .beam_search import BeamSettings, Candidate

KEPT, PRUNED, FINISHED = "kept", "pruned", "finished"


@dataclass
class BeamTrace:
    """What ``beam_search`` returns: the result, and the whole search that led to it.

    Attributes:
        steps: the candidates of each step, the best first. Of a vocabulary too large to list, those
            that the search considered: max(2, 1 + n_eos) · num_beams.
        beams: the texts that could go on after the last step.
        finished: the finished texts held at the end, at most ``num_beams``, the best first.
        n_ranked: how many continuations were ranked in each step, beams · V.
        calls: what each pass through the engine saw (``engine_beam_search``).
    """

    settings: "BeamSettings"
    steps: list[list["Candidate"]] = field(default_factory=list)
    beams: list["Candidate"] = field(default_factory=list, repr=False)
    finished: list["Candidate"] = field(default_factory=list)
    n_ranked: list[int] = field(default_factory=list, repr=False)
    calls: tuple = field(default=(), repr=False)

    def note(self, candidates: list, beams: list, finished: list) -> None:
        """Write down a step: the candidates, which of them go on, and the texts finished so far."""
        self.steps.append(candidates)
        for candidate in beams:
            candidate.status = KEPT
        for candidate in finished:
            candidate.status = FINISHED
        for text in self.finished:
            if text not in finished:
                text.displaced_in = self.n_steps
        self.beams, self.finished = beams, finished

    @property
    def num_beams(self) -> int:
        return self.settings.num_beams

    @property
    def sequences(self) -> list[list[int]]:
        """The new tokens of the best texts (the end token included), the best first."""
        return [text.tokens for text in self.finished[: self.settings.num_return_sequences]]

    @property
    def scores(self) -> list[float]:
        """Length-normalised score of each of ``sequences``, in nats."""
        return [text.final_score for text in self.finished[: self.settings.num_return_sequences]]

    @property
    def n_steps(self) -> int:
        """Steps that the search took."""
        return len(self.steps)

    @property
    def stop_reason(self) -> str:
        """Why the search ended, in words."""
        settings, step, n = self.settings, self.n_steps, len(self.finished)
        if step == settings.max_new_tokens:
            return f"the length limit of {step} tokens"
        if not self.beams:
            return "no beam can go on: every candidate has ended"
        texts = f"{n} text{'s' * (n > 1)} finished"
        if settings.early_stopping is True or settings.num_beams == 1:
            return f"{texts}, as many as beams"
        longest = settings.early_stopping == "never" and settings.length_penalty > 0
        length = settings.max_new_tokens if longest else step
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
        p(text) = exp(score), status, why, final score."""
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
                "why": self._why(node, step),
                "final score": math.nan if node.final_score is None else node.final_score,
            }
            for step, candidates in enumerate(self.steps, 1)
            for node in candidates
        ]
        return pd.DataFrame(rows)

    def _why(self, candidate: "Candidate", step: int) -> str:
        """The reason of the status that a candidate of this step has, in words."""
        k, rank = self.num_beams, candidate.rank
        at_end_token = candidate.tokens[-1] in self.settings.eos_token_ids
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
