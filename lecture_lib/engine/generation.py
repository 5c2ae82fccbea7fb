"""What a run returns: Generation, its Timings, and a record of every pass through the model."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ForwardCall:
    """What one pass through the model saw: the evidence that a cache is really used.

    Attributes:
        batch_size, seq_len: rows, and tokens per row, that were computed (1 in a decode step).
        past_len: positions that came out of the cache. kv_len: positions it holds afterwards.
    """

    batch_size: int
    seq_len: int
    past_len: int
    kv_len: int


@dataclass(frozen=True)
class Timings:
    """Wall-clock times of a run, all rows of a batch together.

    Attributes:
        ttft_s: time to first token, from the call to the choice of the first token.
        step_s: seconds of each further token.
    """

    ttft_s: float = 0.0
    step_s: list[float] = field(default_factory=list)

    @property
    def total_s(self) -> float:
        return self.ttft_s + sum(self.step_s)

    @property
    def tpot_s(self) -> float:
        """Time per output token after the first (mean); 0.0 where there is none."""
        return sum(self.step_s) / len(self.step_s) if self.step_s else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second of one row while decoding: 1 / tpot_s; 0.0 where there is none."""
        return 1 / self.tpot_s if self.step_s else 0.0


@dataclass(frozen=True)
class Generation:
    """The continuation of one prompt.

    Attributes:
        token_ids: the new tokens, the EOS that ended them included.
        text: their text, without special tokens and up to a stop string.
        finish_reason: "eos", "stop" (a stop string) or "length" (max_new_tokens).
        prompt_len: tokens of the prompt.
        timings: of the run (the batch's, where there were several prompts).
        calls: what each pass through the model saw, prefill first.

    What a draw was like, for each token, where a ``Sampler`` has drawn them:
        log_probs: log p(token) by the model itself, in nats: no temperature, no filter.
        sampling_log_probs: log of the probability with which it was really drawn.
        entropies: entropy of the model's own distribution, in nats: how unsure it was.
        sampling_entropies: entropy of the distribution that was drawn from.
        n_kept: how many tokens could have been drawn.
    """

    token_ids: list[int]
    text: str
    finish_reason: str
    prompt_len: int
    timings: Timings
    calls: tuple[ForwardCall, ...] = field(repr=False)
    log_probs: list[float] = field(default_factory=list, repr=False)
    sampling_log_probs: list[float] = field(default_factory=list, repr=False)
    entropies: list[float] = field(default_factory=list, repr=False)
    sampling_entropies: list[float] = field(default_factory=list, repr=False)
    n_kept: list[int] = field(default_factory=list, repr=False)
