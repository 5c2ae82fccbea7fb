"""Answer: the continuation of one prompt, and in words how its tokens were chosen."""

from dataclasses import dataclass, field

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
