"""The same task by Transformers' generate: for what the engine does not know."""

import torch

from lecture_lib.tokens import end_tokens

from .answer import Answer, finish, strategy
from .logprobs import positions
from .settings import TaskInfo


@torch.inference_mode()
def generate(task_info: TaskInfo, loaded) -> list[Answer]:
    """Answers of a task, all prompts in one batch."""
    inputs = loaded.tokenizer(task_info.prompts, return_tensors="pt", padding=True)
    inputs = inputs.to(loaded.device)
    if task_info.draws:
        torch.manual_seed(task_info.seed)
    out = loaded.model.generate(
        **inputs, **_arguments(task_info, loaded), return_dict_in_generate=True, output_logits=True
    )
    answers, ends = [], end_tokens(loaded.model)
    for row, prompt in enumerate(task_info.prompts):
        ids = out.sequences[row, inputs.input_ids.shape[1] :].tolist()
        text, ids, reason = finish(loaded.tokenizer, ids, ends, task_info.stop)
        top = []
        if task_info.logprobs and task_info.beam_width == 1:
            logits = torch.stack([step[row] for step in out.logits[: len(ids)]])  # (L, V)
            top = positions(logits, ids, task_info.logprobs)
        how = strategy(task_info)
        answers.append(Answer(prompt, text, ids, reason, how, "transformers", logprobs=top))
    return answers


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
