"""generate() and stream(): the texts of a task, by Transformers and by the course's engine."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig

from lecture_lib.checks import check_parts, checked
from lecture_lib.decoding.sample_generate import Sampler
from lecture_lib.engine import Engine, Generation, Lookup, ModelDrafter, first_layers
from lecture_lib.engine.run import greedy
from lecture_lib.engine.streaming import TextStream
from lecture_lib.loading import LoadedModel, load_draft_model
from lecture_lib.model_spec import UnsupportedArchitectureError
from lecture_lib.sampling_settings import SamplingSettings
from lecture_lib.tokens import end_tokens, model_inputs, next_log_probs

from .settings import TaskInfo, greedy_because


@checked
def generate(task_info: TaskInfo, loaded) -> list[Generation]:
    """Continue the task's prompts, all in one batch: a Generation for each, in their order.

    Args:
        task_info: what is asked for. loaded: the model, from ``load_model``.

    Raises:
        ValueError: a prompt that with the new tokens is longer than the model's context.
    """
    tokenizer = check_parts("loaded", loaded).tokenizer
    if loaded.spec and (most := loaded.spec.context_length):
        longest = max(len(tokenizer(prompt).input_ids) for prompt in task_info.prompts)
        if longest + task_info.output_len > most:
            raise ValueError(
                f"prompt_seqs: {longest} tokens and output_len={task_info.output_len} are more "
                f"than the {most} of this model's context"
            )
    return answer_prompts(vars(task_info), loaded)


def answer_prompts(task, loaded):
    model, tokenizer, prompts = loaded.model, loaded.tokenizer, task["prompt_seqs"]
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    inputs = model_inputs(tokenizer, prompts, loaded.device)  # padded on the left: (B, L)
    with without_settings(model), torch.random.fork_rng():
        torch.manual_seed(task["seed"])
        rows = model.generate(**inputs, **arguments(task, tokenizer))  # (B, L + new)
    answers, n_prompt = [], inputs["input_ids"].shape[1]
    for row, mask in zip(rows, inputs["attention_mask"], strict=True):
        answer = finish(tokenizer, row[n_prompt:].tolist(), end_tokens(model), task["stop"])
        answer.prompt_len = int(mask.sum())
        text = row[n_prompt - answer.prompt_len : n_prompt + len(answer.token_ids)]
        answer.logprobs = score(model, text, len(answer.token_ids), task["logprobs"])
        answers.append(answer)
    return answers


def arguments(task, tokenizer):
    """What ``model.generate`` calls the settings."""
    found = {"max_new_tokens": task["output_len"], "pad_token_id": tokenizer.pad_token_id}
    found["repetition_penalty"] = task["repetition_penalty"]
    return found | drawing(task) | searching(task) | stopping(task, tokenizer)


def drawing(task):
    if greedy_because(task):
        return {"do_sample": False}
    return {"do_sample": True} | {name: task[name] for name in ("temperature", "top_k", "top_p")}


def searching(task):
    if task["beam_width"] == 1:
        return {}
    return {"num_beams": task["beam_width"], "length_penalty": task["len_penalty"]}


def stopping(task, tokenizer):
    return {"stop_strings": list(task["stop"]), "tokenizer": tokenizer} if task["stop"] else {}


@contextlib.contextmanager
def without_settings(model):
    """Inside, only the token ids of the model's own settings file act."""
    before = model.generation_config
    ids = {name: value for name, value in before.to_dict().items() if name.endswith("token_id")}
    model.generation_config = GenerationConfig(**ids)
    try:
        yield
    finally:
        model.generation_config = before


def finish(tokenizer, token_ids: Sequence[int], ends: Collection[int], stop) -> Generation:
    """A text up to its end: an end token, a stop string, or the last token."""
    answer, stream = Generation(prompt_len=0), TextStream(tokenizer, stop)
    for token in token_ids:
        if answer.finish_reason is None:
            answer.add(token, ends, len(token_ids), stream)
    return answer


# --- log-probabilities ----------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenLogprobs:
    """One position of a text; log p is the model's own, in nats, without filters and penalties."""

    token_id: int  # the token that was chosen
    log_prob: float
    top: tuple[tuple[int, float], ...]  # (id, log p), the likeliest first


def positions(logits: Tensor, token_ids: list[int], n_top: int) -> list[TokenLogprobs]:
    """A TokenLogprobs for each of n tokens, from the logits (n, V) that they were chosen by."""
    log_probs = next_log_probs(logits)  # (n, V)
    values, ids = (x.tolist() for x in log_probs.topk(min(n_top, log_probs.shape[-1]), -1))
    chosen = log_probs[range(len(token_ids)), token_ids].tolist()
    return [
        TokenLogprobs(token, p, tuple(zip(*top, strict=True)))
        for token, p, *top in zip(token_ids, chosen, ids, values, strict=True)
    ]


@torch.inference_mode()
def score(model, text, n_new, n_top):
    """The log-probabilities of a text's last n_new tokens, by one pass over all of it."""
    if n_new == 0 or n_top == 0:
        return []
    logits = model(text[None]).logits[0]  # (S, V): row i forecasts token i + 1
    return positions(logits[-n_new - 1 : -1], text[-n_new:].tolist(), n_top)


class Recorder:
    """A ``next_token`` that lets another one choose, and notes the ``n_top`` likeliest tokens.

    ``rows`` are the positions of each row of the batch so far.
    """

    def __init__(self, choose, n_top: int, n_rows: int = 1):
        self.choose, self.n_top = choose, n_top
        self.rows = [[] for _ in range(n_rows)]

    def __call__(self, logits: Tensor) -> Tensor:
        tokens = self.choose(logits)
        found = positions(logits, tokens.tolist(), self.n_top)
        for row, position in zip(self.rows, found, strict=True):
            row.append(position)
        return tokens


# --- token by token, on the course's engine -------------------------------------------------------


def stream(task_info: TaskInfo, engine: Engine, drafter=None) -> Iterator[str]:
    """The text of the task's first prompt, in pieces as they come; beams can't be streamed. With a
    drafter, by speculative decoding."""
    ids = engine.tokenizer(task_info.prompts[0]).input_ids
    options = {"stop": task_info.stop, "next_token": chooser(task_info, [ids])}
    return engine.stream(ids, task_info.output_len, speculate=drafter, **options)


def make_drafter(name: str, loaded: LoadedModel, engine: Engine | None):
    """The drafter of a name in DRAFTERS: the prompt itself, the course's draft model, or the first
    five sixths of the model's own layers."""
    if engine is None:
        raise ValueError("speculate: needs the course's engine, which does not know this model")
    if name == "lookup":
        return Lookup()
    if name == "draft":
        return ModelDrafter(Engine(load_draft_model(loaded)))
    return ModelDrafter(first_layers(engine, max(1, 5 * engine.spec.n_layers // 6)))


def chooser(task_info: TaskInfo, prompt_ids: list[list[int]]) -> Callable:
    """The ``next_token`` that the settings ask for."""
    if not greedy_because(vars(task_info)):
        return Sampler(task_info.sampling, seed=task_info.seed, prompt_ids=prompt_ids)
    if task_info.repetition_penalty == 1:
        return greedy
    # Drawing from one token alone is greedy search; here it applies the penalty, too.
    likeliest = SamplingSettings(top_k=1, repetition_penalty=task_info.repetition_penalty)
    return Sampler(likeliest, seed=task_info.seed, prompt_ids=prompt_ids)


def engine_or_none(loaded: LoadedModel) -> Engine | None:
    """The course's engine on this model, or None where it does not know the architecture."""
    try:
        return Engine(loaded)
    except UnsupportedArchitectureError:
        return None
