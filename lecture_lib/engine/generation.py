"""What a run returns: Generation, its Timings, and a record of every pass through the model."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ForwardCall:
    """What one pass through the model saw: the evidence that a cache is really used."""

    batch_size: int  # rows that were computed
    seq_len: int  # tokens that were computed of each row: 1 in a decode step
    past_len: int  # positions that were in the cache
    kv_len: int  # positions that are in it afterwards


@dataclass(frozen=True)
class Pass:
    """One pass of speculative decoding: what was drafted, and how much of it was accepted."""

    draft: list[int]
    n_accepted: int  # the pass gave these tokens and one more


@dataclass(frozen=True)
class Timings:
    """Wall-clock times of a run, all rows of a batch together."""

    # Seconds from the call to the first token, and from each token to the next (0 or nearly where
    # one pass of speculative decoding gave both).
    token_s: list[float] = field(default_factory=list)

    @property
    def ttft_s(self) -> float:
        """Time to first token: the prefill, and the choice of the token."""
        return self.token_s[0]

    @property
    def step_s(self) -> list[float]:
        """Seconds of each further token."""
        return self.token_s[1:]

    @property
    def total_s(self) -> float:
        return sum(self.token_s)

    @property
    def tpot_s(self) -> float:
        """Time per output token after the first (mean); nan where there is no second one."""
        return sum(self.step_s) / len(self.step_s) if self.step_s else float("nan")

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second of one row while decoding; 0.0 where there is no second token."""
        return 1 / self.tpot_s if self.step_s else 0.0


@dataclass
class Generation:
    """The continuation of one prompt. It grows with every step until it has a finish_reason.

    Attributes:
        prompt_len: tokens of the prompt.
        token_ids: the new tokens, the EOS that ended them included.
        pieces: their text, without special tokens and up to a stop string, in pieces as it became
            certain; one piece if nobody asked for the text before the end.
        finish_reason: "eos", "stop" (a stop string), "length" (max_new_tokens), or None.
        timings: of the run (the batch's, where there were several prompts).
        calls: what each pass through the model saw, prefill first.
        passes: where the run was speculative, a Pass for each after the prefill. The end of the
            text may lie within what the last one accepted.
        logprobs: what the model thought of each token, where the caller notes it.
    """

    prompt_len: int
    token_ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    timings: Timings = field(default_factory=Timings)
    calls: list[ForwardCall] = field(default_factory=list, repr=False)
    passes: list[Pass] = field(default_factory=list, repr=False)
    logprobs: list = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, token_id: int, ends: frozenset, max_new_tokens: int, stream=None) -> None:
        """Take the next token, and note whether it is the last; a TextStream makes its text."""
        self.token_ids.append(token_id)
        piece = stream.push(token_id) if stream else ""
        if token_id in ends:
            self.finish_reason = "eos"
        elif stream and stream.stopped:
            self.finish_reason = "stop"
        elif len(self.token_ids) == max_new_tokens:
            self.finish_reason = "length"
        if stream:
            self.pieces.append(piece + (stream.flush() if self.finish_reason else ""))
