"""Answer: the continuation of one prompt, how its tokens were chosen, and where its text ends."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from lecture_lib.engine.generation import Generation
from lecture_lib.engine.streaming import TextStream

from .logprobs import TokenLogprobs
from .settings import TaskInfo


@dataclass(frozen=True)
class Answer:
    """The continuation of one prompt.

    Attributes:
        prompt, text: what was given and what came, without special tokens and stop strings.
        token_ids: the new tokens. finish_reason: "eos", "stop" or "length".
        strategy: how the tokens were chosen, in words. backend: "engine" or "transformers".
        ttft_s, tokens_per_s: time to the first token, and the rate after it; None where the
            strategy hands out no token before the last.
        logprobs: one TokenLogprobs for each token, [] if none were asked for.
    """

    prompt: str
    text: str
    token_ids: list[int]
    finish_reason: str
    strategy: str
    backend: str
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list, repr=False)


def strategy(task_info: TaskInfo) -> str:
    """The settings' way of choosing a token, in words."""
    if task_info.beam_width > 1:
        kind = "beam-search multinomial sampling" if task_info.draws else "beam search"
        return f"{kind}, {task_info.beam_width} beams"
    if not task_info.draws:
        return "greedy search"
    s = task_info.sampling
    shown = [f"temperature {s.temperature:g}"]
    shown += [f"top-k {s.top_k}"] if s.top_k else []
    shown += [f"top-p {s.top_p:g}"] if s.top_p < 1 else []
    return f"sampling, {', '.join(shown)}, seed {task_info.seed}"


def finish(
    tokenizer, token_ids: Sequence[int], ends: Collection[int], stop: str | Sequence[str]
) -> tuple[str, list[int], str]:
    """The text, its tokens and why it ended ("eos", "stop" or "length").

    For searches that know no stop strings, and for batches, whose rows are padded behind an end.
    A text that a stop string ends keeps the tokens up to the one that completed it.
    """
    stream, taken = TextStream(tokenizer, stop), Generation(prompt_len=0)
    for token in token_ids:
        if taken.finish_reason is None:
            taken.add(token, ends, len(token_ids), stream)
    return taken.text, taken.token_ids, taken.finish_reason
