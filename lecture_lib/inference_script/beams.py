"""Beam search for the script: on the engine, with stop strings and logprobs."""

import torch

from lecture_lib.decoding import engine_beam_search
from lecture_lib.tokens import end_tokens

from .answer import Answer, strategy
from .finish import finish
from .logprobs import score_afterwards
from .settings import TaskInfo


def generate(task_info: TaskInfo, engine, prompt_ids: list[list[int]]) -> list[Answer]:
    """Answers of a task with ``beam_width`` above 1, one prompt after the other.

    The search knows no stop strings: a beam that holds one goes on, and its text is cut afterwards.
    """
    answers, ends = [], end_tokens(engine.hf_model)
    for prompt, ids in zip(task_info.prompts, prompt_ids, strict=True):
        trace = engine_beam_search(engine, ids, **_options(task_info, engine))
        tokens = trace.sequences[0]
        text, tokens, reason = finish(engine.tokenizer, tokens, ends, task_info.stop)
        top = score_afterwards(engine, ids, tokens, task_info.logprobs)
        how = strategy(task_info)
        answers.append(Answer(prompt, text, tokens, reason, how, "engine", logprobs=top))
    return answers


def _options(task_info: TaskInfo, engine) -> dict:
    options = {
        "num_beams": task_info.beam_width,
        "max_new_tokens": task_info.output_len,
        "length_penalty": task_info.len_penalty,
    }
    if task_info.draws:
        generator = torch.Generator(engine.device).manual_seed(task_info.seed)
        options |= {"do_sample": True, "generator": generator, "sampling": task_info.sampling}
    return options
