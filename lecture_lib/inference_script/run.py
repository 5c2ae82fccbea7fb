"""generate(): a task on the course's engine, or on Transformers where the engine can't."""

from collections.abc import Callable, Iterator

import torch

from lecture_lib.decoding.sample_generate import Sampler
from lecture_lib.decoding.sampling import apply_repetition_penalty
from lecture_lib.engine import Engine
from lecture_lib.engine.generate import greedy
from lecture_lib.loading import LoadedModel
from lecture_lib.model_spec import UnsupportedArchitectureError

from . import beams, with_transformers
from .answer import Answer, strategy
from .logprobs import Recorder
from .settings import TaskInfo


def generate(
    task_info: TaskInfo, loaded: LoadedModel, *, engine: Engine | None = None
) -> list[Answer]:
    """Continue the task's prompts.

    Args:
        task_info: what is asked for.
        loaded: the model, from ``load_model``.
        engine: an Engine on it, if there is one already.

    Returns:
        An Answer for each prompt, in their order.

    Raises:
        ValueError: a prompt that with the new tokens is longer than the model's context.
    """
    engine = engine or engine_or_none(loaded)
    if engine is None or with_transformers.is_needed(task_info):
        return with_transformers.generate(task_info, loaded)
    prompt_ids = [loaded.tokenizer(prompt).input_ids for prompt in task_info.prompts]
    if task_info.beam_width > 1:
        return beams.generate(task_info, engine, prompt_ids)
    recorder = Recorder(chooser(task_info, prompt_ids), task_info.logprobs)
    done = engine.generate(
        prompt_ids, task_info.output_len, stop=task_info.stop, next_token=recorder
    )
    return [
        Answer(
            prompt, one.text, one.token_ids, one.finish_reason, strategy(task_info), "engine",
            one.timings.ttft_s, one.timings.tokens_per_s, recorder.row(i, len(one.token_ids)),
        )
        for i, (prompt, one) in enumerate(zip(task_info.prompts, done, strict=True))
    ]  # fmt: skip


def stream(task_info: TaskInfo, engine: Engine) -> Iterator[str]:
    """The text of the task's first prompt, in pieces as they come (one text at a time: no beams).

    Raises:
        ValueError: several prompts, beams, or what ``generate`` refuses.
    """
    if len(task_info.prompts) > 1 or task_info.beam_width > 1:
        raise ValueError("task_info: a stream needs one prompt and beam_width 1")
    prompt_ids = [engine.tokenizer(task_info.prompts[0]).input_ids]
    return engine.stream(
        prompt_ids[0],
        task_info.output_len,
        stop=task_info.stop,
        next_token=chooser(task_info, prompt_ids),
    )


def chooser(task_info: TaskInfo, prompt_ids: list[list[int]]) -> Callable:
    """The ``next_token`` that the settings ask for."""
    if task_info.draws:
        return Sampler(task_info.sampling, seed=task_info.seed, prompt_ids=prompt_ids)
    if task_info.repetition_penalty == 1:
        return greedy
    seen = [list(ids) for ids in prompt_ids]

    def greedy_with_penalty(logits: torch.Tensor) -> torch.Tensor:
        tokens = greedy(apply_repetition_penalty(logits, seen, task_info.repetition_penalty))
        for ids, token in zip(seen, tokens.tolist(), strict=True):
            ids.append(token)
        return tokens

    return greedy_with_penalty


def engine_or_none(loaded: LoadedModel) -> Engine | None:
    """The course's engine on this model, or None where it does not know the architecture."""
    try:
        return Engine(loaded)
    except UnsupportedArchitectureError:
        return None


def test_model(args) -> list[Answer]:
    """The lecture's ``test_model(args)``: load the model and run one task.

    Args:
        args: has ``model`` and, under the names of TaskInfo, any of its settings; such as an
            ``argparse.Namespace``.
    """
    from dataclasses import fields

    from lecture_lib.loading import load_model

    names = [f.name for f in fields(TaskInfo)]
    task_info = TaskInfo(**{name: getattr(args, name) for name in names if hasattr(args, name)})
    return generate(task_info, load_model(args.model, device=getattr(args, "device", "auto")))


test_model.__test__ = False  # the lecture's name; pytest takes it for a test
