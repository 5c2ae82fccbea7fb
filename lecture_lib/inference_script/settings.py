"""TaskInfo: the settings of the lecture's script, under the lecture's names, checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lecture_lib.checks import (
    check_count,
    check_flag,
    check_number,
    check_stop,
    check_text,
    check_type,
    shown,
)
from lecture_lib.sampling_settings import SamplingSettings


@dataclass(frozen=True)
class TaskInfo:
    """One task for the script: prompts, and how to continue them.

    Args:
        prompt_seqs: one prompt or several (a batch).
        seed: the same seed gives the same text.
        output_len: how many new tokens at most.
        beam_width: 1: one text at a time; more: beam search that keeps so many.
        temperature: 0 is greedy; above 0 the next token is drawn, below 1 more surely.
        top_k: keep so many of the likeliest tokens, 0 keeps all; 1 is greedy.
        top_p: keep the smallest set of tokens with this much probability, 1 keeps all.
        do_sample: draw, or take the likeliest. None: draw, unless temperature is 0, top_k is 1,
            or there are beams.
        beam_search_diversity_rate: must be 0; see Raises.
        len_penalty: beam search divides a text's log-probability by its length to this power;
            without beams it would do nothing and must be 0.
        repetition_penalty: above 1 makes tokens that were there before less likely.
        stop: strings that end a text; they are not part of it.
        logprobs: note so many of the likeliest tokens at each position, 0 for none.

    Raises:
        ValueError: a setting outside its range; the message names it. A diversity rate other than
            0: group beam search has left Transformers 5, and the course leaves it out too.
    """

    prompt_seqs: str | Sequence[str] = ""
    seed: int = 0
    output_len: int = 16
    beam_width: int = 1
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    do_sample: bool | None = None
    beam_search_diversity_rate: float = 0.0
    len_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: str | Sequence[str] = field(default=())
    logprobs: int = 5

    def __post_init__(self):
        check_type("prompt_seqs", self.prompt_seqs, str | Sequence, "a text, or several")
        for prompt in self.prompts:
            check_text("prompt_seqs", prompt, "word")
        if not self.prompts:
            raise ValueError("prompt_seqs: needs a text, or several, none of them empty")
        sizes = {"output_len": 1, "beam_width": 1, "logprobs": 0, "top_k": 0, "seed": 0}
        for name, least in sizes.items():
            object.__setattr__(self, name, check_count(name, getattr(self, name), least))
        if self.do_sample is not None:
            check_flag("do_sample", self.do_sample)
        check_number("temperature", self.temperature)
        check_number("len_penalty", self.len_penalty)
        if self.temperature < 0:
            raise ValueError(f"temperature: must be 0 (greedy) or more, got {self.temperature}")
        if self.len_penalty != 0 and self.beam_width == 1:
            raise ValueError(
                f"len_penalty: acts in beam search only; got {self.len_penalty} with beam_width=1, "
                "where it must be 0"
            )
        if (rate := self.beam_search_diversity_rate) != 0:
            raise ValueError(
                f"beam_search_diversity_rate: only 0 is possible, got {shown(rate)}: group "
                "(diverse) beam search was taken out of Transformers 5, and this course has no "
                "version of its own"
            )
        if self.do_sample and self.temperature == 0:
            raise ValueError("do_sample: nothing can be drawn at temperature 0; leave one out")
        check_stop(self.stop)
        self.sampling  # checks what is left  # noqa: B018

    @property
    def prompts(self) -> list[str]:
        """The prompts as a list."""
        return [self.prompt_seqs] if isinstance(self.prompt_seqs, str) else list(self.prompt_seqs)

    @property
    def draws(self) -> bool:
        """Whether the next token is drawn, and not simply the likeliest."""
        if self.do_sample is not None:
            return self.do_sample
        return self.temperature > 0 and self.top_k != 1 and self.beam_width == 1

    @property
    def sampling(self) -> SamplingSettings:
        """What shapes the distribution that is drawn from."""
        return SamplingSettings(
            temperature=self.temperature or 1.0,
            top_k=self.top_k or None,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
        )
