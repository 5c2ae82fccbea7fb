"""TaskInfo: the settings of the lecture's script, under the lecture's names, checked.

A task's settings as a dict are ``vars(task_info)``; lecture 11a works with such dicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from lecture_lib.checks import (
    check_count,
    check_flag,
    check_number,
    check_stop,
    check_text,
    check_type,
)
from lecture_lib.sampling_settings import SamplingSettings


@dataclass(frozen=True)
class TaskInfo:
    """One task for the script: prompts, and how to continue them.

    Args:
        prompt_seqs: one prompt or several (a batch).
        seed: the same seed gives the same text.
        output_len: how many new tokens at most.
        beam_width: 1 is one text at a time; more is beam search that keeps so many texts.
        do_sample: draw the next token, or the next tokens of the beams. Off: take the likeliest.
        temperature: below 1 the draws are safer, above 1 more varied; 0 draws nothing.
        top_k: draw from so many of the likeliest tokens, 0 keeps all.
        top_p: draw from the smallest set of tokens with this much probability, 1 keeps all.
        beam_search_diversity_rate: must be 0: Transformers 5 has no diverse beam search.
        len_penalty: beam search divides a text's log-probability by its length to this power.
        repetition_penalty: above 1 makes tokens that were there before less likely.
        stop: strings that end a text; they are not part of it.
        logprobs: note so many of the likeliest tokens at each position, 0 for none.

    Raises:
        ValueError: a setting outside its range, or one that was changed and can't act together
            with the others; the message names it.
    """

    prompt_seqs: str | Sequence[str] = ""
    seed: int = 0
    output_len: int = 16
    beam_width: int = 1
    do_sample: bool = True
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    beam_search_diversity_rate: float = 0.0
    len_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: str | Sequence[str] = ()
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
        object.__setattr__(self, "stop", check_stop(self.stop))
        check_flag("do_sample", self.do_sample)
        check_number("temperature", self.temperature, least=0)
        for name in ("len_penalty", "beam_search_diversity_rate"):
            check_number(name, getattr(self, name))
        self.sampling  # checks what is left  # noqa: B018
        for name, reason in idle(vars(self)).items():
            raise ValueError(f"{name}: {reason}; got {getattr(self, name)}")

    @property
    def prompts(self) -> list[str]:
        """The prompts as a list."""
        return [self.prompt_seqs] if isinstance(self.prompt_seqs, str) else list(self.prompt_seqs)

    @property
    def sampling(self) -> SamplingSettings:
        """What shapes the distribution that is drawn from."""
        return SamplingSettings(
            temperature=self.temperature or 1.0,
            top_k=self.top_k or None,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
        )


DEFAULTS = {field.name: field.default for field in fields(TaskInfo)}


def greedy_because(task: dict) -> str:
    """Why no token is drawn, in words; an empty text where tokens are drawn."""
    if not task["do_sample"]:
        return "do_sample is off"
    if task["temperature"] == 0:
        return "temperature is 0"
    if task["top_k"] == 1 and task["beam_width"] == 1:
        return "top_k is 1"
    return ""


def idle(task: dict) -> dict[str, str]:
    """The settings that were changed and can't act: name -> why."""
    reasons, top_k = {}, task["top_k"]
    if because := greedy_because(task):
        for name in ("seed", "temperature", "top_k", "top_p"):
            if not because.startswith(name):
                reasons[name] = f"does nothing, since no token is drawn: {because}"
    elif task["beam_width"] == 1 and 0 < top_k * task["top_p"] <= 1:
        reasons["top_p"] = f"of {top_k} tokens (top_k) it keeps one: that is do_sample=False"
    elif task["beam_width"] > 1 and 0 < top_k <= 2:
        reasons["top_p"] = f"beams draw from two tokens at least, and top_k={top_k} keeps no more"
    if task["beam_width"] == 1:
        reasons["len_penalty"] = "acts in beam search only, and beam_width is 1"
    reasons["beam_search_diversity_rate"] = "Transformers 5 has no diverse beam search"
    return {name: why for name, why in reasons.items() if task[name] != DEFAULTS[name]}


DRAFTERS = ("lookup", "draft", "layers")  # what --speculate knows


def not_speculated_because(task: dict) -> str:
    """Why no draft can be verified for a task, in words; an empty text where one can.

    Speculation is no setting of a task, because it changes no greedy text.
    """
    if task["beam_width"] > 1:
        return f"takes one text at a time, and beam_width is {task['beam_width']}"
    if not isinstance(task["prompt_seqs"], str) and len(task["prompt_seqs"]) > 1:
        return f"takes one prompt at a time, and there are {len(task['prompt_seqs'])}"
    return ""
