"""generate(): a task on the course's engine, or on Transformers where the engine can't."""

from collections.abc import Callable, Iterator

import torch

from lecture_lib.checks import check_parts, checked
from lecture_lib.decoding.beam_engine import engine_beam_search
from lecture_lib.decoding.sample_generate import Sampler
from lecture_lib.engine import Engine
from lecture_lib.engine.generate import greedy
from lecture_lib.loading import LoadedModel
from lecture_lib.model_spec import UnsupportedArchitectureError
from lecture_lib.sampling_settings import SamplingSettings
from lecture_lib.tokens import end_tokens

from . import with_transformers
from .answer import Answer, finish, strategy
from .logprobs import Recorder, score_afterwards
from .settings import TaskInfo


@checked
def generate(task_info: TaskInfo, loaded, *, engine: Engine | None = None) -> list[Answer]:
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
    engine = engine or engine_or_none(check_parts("loaded", loaded))
    # The engine's beam search knows no penalty.
    penalised_beams = task_info.beam_width > 1 and task_info.repetition_penalty != 1
    if engine is None or penalised_beams:
        return with_transformers.generate(task_info, loaded)
    prompt_ids = [loaded.tokenizer(prompt).input_ids for prompt in task_info.prompts]
    if task_info.beam_width > 1:
        return _with_beams(task_info, engine, prompt_ids)
    recorder = Recorder(chooser(task_info, prompt_ids), task_info.logprobs, len(prompt_ids))
    done = engine.generate(
        prompt_ids, task_info.output_len, stop=task_info.stop, next_token=recorder
    )
    return [
        Answer(
            prompt, one.text, one.token_ids, one.finish_reason, strategy(task_info), "engine",
            one.timings.ttft_s, one.timings.tokens_per_s, recorder.rows[i][: len(one.token_ids)],
        )
        for i, (prompt, one) in enumerate(zip(task_info.prompts, done, strict=True))
    ]  # fmt: skip


def _with_beams(task_info: TaskInfo, engine: Engine, prompt_ids: list[list[int]]) -> list[Answer]:
    """One prompt after the other.

    The search ignores stop strings: a beam with one continues, and its text is cut afterwards.
    """
    options = {
        "num_beams": task_info.beam_width,
        "max_new_tokens": task_info.output_len,
        "length_penalty": task_info.len_penalty,
    }
    answers, ends, how = [], end_tokens(engine.hf_model), strategy(task_info)
    for prompt, ids in zip(task_info.prompts, prompt_ids, strict=True):
        if task_info.draws:
            generator = torch.Generator(engine.device).manual_seed(task_info.seed)
            options |= {"do_sample": True, "generator": generator, "sampling": task_info.sampling}
        tokens = engine_beam_search(engine, ids, **options).sequences[0]
        text, tokens, reason = finish(engine.tokenizer, tokens, ends, task_info.stop)
        top = score_afterwards(engine, ids, tokens, task_info.logprobs)
        answers.append(Answer(prompt, text, tokens, reason, how, "engine", logprobs=top))
    return answers


def stream(task_info: TaskInfo, engine: Engine) -> Iterator[str]:
    """The text of the task's first prompt, in pieces as they come; beams can't be streamed."""
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
    # Where one token alone can be drawn, sampling is greedy search, here with the penalty.
    likeliest = SamplingSettings(top_k=1, repetition_penalty=task_info.repetition_penalty)
    return Sampler(likeliest, seed=task_info.seed, prompt_ids=prompt_ids)


def engine_or_none(loaded: LoadedModel) -> Engine | None:
    """The course's engine on this model, or None where it does not know the architecture."""
    try:
        return Engine(loaded)
    except UnsupportedArchitectureError:
        return None
