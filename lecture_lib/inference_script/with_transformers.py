"""The same task by Transformers' generate: for what the engine does not know."""

import contextlib
from collections.abc import Iterator

import torch
from transformers import GenerationConfig

from lecture_lib.tokens import end_tokens, model_inputs

from .answer import Answer, finish, strategy
from .logprobs import positions
from .settings import TaskInfo


@torch.inference_mode()
def generate(task_info: TaskInfo, loaded) -> list[Answer]:
    """Answers of a task, all prompts in one batch."""
    inputs = model_inputs(loaded.tokenizer, task_info.prompts, loaded.device)
    if task_info.draws:
        torch.manual_seed(task_info.seed)
    with without_settings(loaded.model):
        out = loaded.model.generate(
            **inputs, **_arguments(task_info, loaded),
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    answers, ends = [], end_tokens(loaded.model)
    for row, prompt in enumerate(task_info.prompts):
        ids = out.sequences[row, inputs["input_ids"].shape[1] :].tolist()
        text, ids, reason = finish(loaded.tokenizer, ids, ends, task_info.stop)
        top = []
        if task_info.logprobs and task_info.beam_width == 1:
            logits = torch.stack([step[row] for step in out.logits[: len(ids)]])  # (L, V)
            top = positions(logits, ids, task_info.logprobs)
        how = strategy(task_info)
        answers.append(Answer(prompt, text, ids, reason, how, "transformers", logprobs=top))
    return answers


@contextlib.contextmanager
def without_settings(model) -> Iterator[None]:
    """Inside: of the model's generation_config only the token ids act, as in the engine."""
    before = model.generation_config
    ids = {name: value for name, value in before.to_dict().items() if name.endswith("token_id")}
    model.generation_config = GenerationConfig(**ids)
    try:
        yield
    finally:
        model.generation_config = before


def _arguments(task_info: TaskInfo, loaded) -> dict:
    arguments = {
        "max_new_tokens": task_info.output_len,
        "num_beams": task_info.beam_width,
        "repetition_penalty": task_info.repetition_penalty,
        "do_sample": task_info.draws,
        "pad_token_id": loaded.tokenizer.pad_token_id,
    }
    if task_info.draws:
        arguments |= {"temperature": task_info.temperature, "top_p": task_info.top_p}
        arguments["top_k"] = task_info.top_k
    if task_info.beam_width > 1:
        arguments["length_penalty"] = task_info.len_penalty
    if task_info.stop:
        arguments |= {"stop_strings": task_info.stop, "tokenizer": loaded.tokenizer}
    return arguments
