"""One step of beam search: rank the candidates, end some, go on with the best others."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .beam_settings import BeamSettings
from .beam_trace import FINISHED, KEPT, PRUNED, BeamNode, BeamTrace, Hypothesis

Candidate = tuple[int, int, float, float]  # beam, token, log_prob, score

_LISTED = 256  # a toy's candidates are traced all, those of a real vocabulary only where considered


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


def next_candidates(
    log_probs: Tensor,
    scores: Tensor,
    settings: BeamSettings,
    generator: torch.Generator | None = None,
) -> list[list[Candidate]]:
    """The candidates of a step for each prompt of a batch, by rank.

    Args:
        log_probs: (B, beams, V), of the next token.
        scores: (B, beams) running scores, -inf where there is no beam.

    Raises:
        ValueError: log-probabilities that are none, or a prompt without any possible token.
    """
    batch_size, n_beams, vocab_size = log_probs.shape
    totals = (log_probs + scores[..., None].to(log_probs)).flatten(1)  # (B, beams * V)
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
    n = settings.n_candidates
    if not settings.do_sample and n_beams * vocab_size <= _LISTED:
        n = n_beams * vocab_size
    chosen = choose_candidates(totals, n, do_sample=settings.do_sample, generator=generator)
    columns = (
        (chosen // vocab_size).tolist(),
        (chosen % vocab_size).tolist(),
        log_probs.flatten(1).gather(1, chosen).tolist(),
        totals.gather(1, chosen).tolist(),
    )
    steps = [list(zip(*(column[b] for column in columns), strict=True)) for b in range(batch_size)]
    return [[c for c in step if c[3] != -torch.inf] for step in steps]


class BeamState:
    """One prompt's search on its way: running beams, finished texts, and the trace.

    Attributes:
        beams: the running beams' nodes in the trace, the best first; [None] is the prompt.
        parents: for each of them, the place of its parent among the beams of the step before.
        trace: the BeamTrace so far.
        done: whether the search has ended.
    """

    def __init__(self, settings: BeamSettings, prompt_ids: Sequence[int]):
        self.settings = settings
        self.beams: list[int | None] = [None]
        self.parents = [0]
        self.done = False
        self.trace = BeamTrace(
            prompt_ids=list(prompt_ids),
            num_beams=settings.num_beams,
            max_new_tokens=settings.max_new_tokens,
            length_penalty=settings.length_penalty,
            early_stopping=settings.early_stopping,
            num_return_sequences=settings.num_return_sequences,
        )

    @property
    def prefixes(self) -> list[list[int]]:
        """The new tokens of each running beam."""
        return [self.trace.tokens(beam) for beam in self.beams]

    @property
    def scores(self) -> list[float]:
        """The running score of each running beam."""
        return [0.0 if beam is None else self.trace.nodes[beam].score for beam in self.beams]

    @property
    def last_tokens(self) -> list[int]:
        """The newest token of each running beam."""
        return [self.trace.nodes[beam].token for beam in self.beams]

    def advance(self, candidates: Sequence[Candidate]) -> None:
        """Take a step's candidates, in rank order: end, keep or prune each; stop if it is time."""
        step, old_beams = self.trace.n_steps + 1, self.beams
        go_on = self._going_on(candidates, step)
        first, new_beams = len(self.trace.nodes), {}
        for place, (beam, token, log_prob, score) in enumerate(candidates):
            index, rank = first + place, place + 1
            parent = old_beams[beam]
            node = BeamNode(step, parent, token, log_prob, score, rank, PRUNED, "")
            self.trace.nodes.append(node)
            if self._ends(token, step):
                self._end(index)
            elif place in go_on:
                self._set(index, KEPT, self._why_kept(rank, len(go_on)))
                new_beams[go_on.index(place)] = (index, beam)
            else:
                self._set(index, PRUNED, self._why_pruned(rank))
        self.beams = [new_beams[i][0] for i in range(len(new_beams))]
        self.parents = [new_beams[i][1] for i in range(len(new_beams))]
        self._stop_if_due(step)

    def _ends(self, token: int, step: int) -> bool:
        return token in self.settings.eos_token_ids or step == self.settings.max_new_tokens

    def _going_on(self, candidates: Sequence[Candidate], step: int) -> list[int]:
        """Places of the ``num_beams`` best candidates that do not end, the best first."""
        open_ = [i for i, c in enumerate(candidates) if not self._ends(c[1], step)]
        if self.settings.do_sample:  # candidates that were drawn are not in the order of scores
            open_.sort(key=lambda i: -candidates[i][3])
        return open_[: self.settings.num_beams]

    def _end(self, index: int) -> None:
        """A text has ended. Only among the ``num_beams`` best of its step does it count.

        A worse one was looked at for the sake of its place alone: it would let a text in that the
        search, had nothing ended, would have dropped.
        """
        node, k = self.trace.nodes[index], self.settings.num_beams
        at_end_token = node.token in self.settings.eos_token_ids
        how = "end of text" if at_end_token else f"length limit of {node.step} tokens"
        if node.rank > k:
            outside = f"end of text outside the best {k}: dropped"
            self._set(index, PRUNED, outside if at_end_token else self._why_pruned(node.rank))
            return
        tokens = tuple(self.trace.tokens(index))
        final = self.settings.final_score(node.score, len(tokens))
        held = self.trace.hypotheses
        if len(held) == k and not final > held[-1].score:
            why = f"{how}, but its final score {final:.4g} is not above the {k} texts already held"
            self._set(index, PRUNED, why, final)
            return
        self._set(index, FINISHED, f"{how} inside the best {k}", final)
        held.append(Hypothesis(index, tokens, final))
        held.sort(key=lambda hypothesis: -hypothesis.score)  # stable: of equals the older first
        if len(held) > k:
            out = held.pop()
            why = self.trace.nodes[out.node].why
            self._set(out.node, FINISHED, f"{why}; displaced by a better text in step {node.step}")

    def _stop_if_due(self, step: int) -> None:
        """Transformers' three conditions, in its order of thought."""
        settings, held = self.settings, self.trace.hypotheses
        full = len(held) == settings.num_beams
        if step == settings.max_new_tokens:
            reason = f"the length limit of {step} tokens"
        elif not self.beams:
            reason = "no beam can go on: every candidate has ended"
        elif full and settings.stops_when_full:
            reason = f"{_texts(len(held))} finished, as many as beams"
        elif full and self._best_possible(step) <= held[-1].score:
            reason = (
                f"{_texts(len(held))} finished, and the best running beam, scored as if it ended "
                f"with {self._assumed_length(step)} tokens, could not beat the last of them"
            )
        else:
            return
        self.done, self.trace.stop_reason = True, reason

    def _assumed_length(self, step: int) -> int:
        """The length at which a running beam is compared with the finished texts.

        With "never" and a positive penalty the longest is the most favourable: the search goes on
        as long as any running beam might win (supposing that all further tokens were certain).
        False assumes that the beam ends here: quicker, but it may stop too early.
        """
        settings = self.settings
        longest = settings.early_stopping == "never" and settings.length_penalty > 0
        return settings.max_new_tokens if longest else step

    def _best_possible(self, step: int) -> float:
        return self.settings.final_score(self.scores[0], self._assumed_length(step))

    def _why_kept(self, rank: int, n_kept: int) -> str:
        k = self.settings.num_beams
        if rank <= k:
            return f"rank {rank} of the best {k}"
        return f"rank {rank}, moves up: better candidates ended, {n_kept} go on"

    def _why_pruned(self, rank: int) -> str:
        k = self.settings.num_beams
        if rank <= k:  # only where candidates are drawn, and their order is not that of the scores
            return f"drawn as number {rank}, but {k} drawn ones with better scores go on"
        return f"rank {rank} > {_beams(k)}"

    def _set(self, index: int, status: str, why: str, final: float | None = None) -> None:
        node = self.trace.nodes[index]
        final = node.final_score if final is None else final
        self.trace.nodes[index] = replace(node, status=status, why=why, final_score=final)


def _beams(k: int) -> str:
    return f"{k} beam{'s' * (k > 1)}"


def _texts(n: int) -> str:
    return f"{n} text{'s' * (n > 1)}"
