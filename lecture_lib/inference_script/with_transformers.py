"""The same task by Transformers' generate: for architectures that the engine does not know."""

import torch

from .logprobs import TokenLogprobs
from .settings import TaskInfo


def is_needed(task_info: TaskInfo) -> bool:
    """Whether the settings ask for what the engine's searches leave out: penalised beams."""
    return task_info.beam_width > 1 and task_info.repetition_penalty != 1


@torch.inference_mode()
def generate(task_info: TaskInfo, loaded) -> list:
    """Answers of a task, all prompts in one batch."""
    from .run import Answer, strategy

    inputs = loaded.tokenizer(task_info.prompts, return_tensors="pt", padding=True)
    inputs = inputs.to(loaded.device)
    if task_info.draws:
        torch.manual_seed(task_info.seed)
    out = loaded.model.generate(
        **inputs, **_arguments(task_info, loaded), return_dict_in_generate=True, output_logits=True
    )
    answers = []
    for row, prompt in enumerate(task_info.prompts):
        ids = out.sequences[row, inputs.input_ids.shape[1] :].tolist()
        text, ids, reason = _finish(ids, task_info, loaded)
        logits = [] if task_info.beam_width > 1 else [step[row] for step in out.logits]
        top = [_position(i, one, task_info.logprobs) for i, one in zip(ids, logits, strict=False)]
        top = top if task_info.logprobs else []
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
        sampling = task_info.sampling
        arguments |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        arguments["top_k"] = sampling.top_k or 0
    if task_info.beam_width > 1:
        arguments["length_penalty"] = task_info.len_penalty
    if task_info.stop:
        arguments |= {"stop_strings": task_info.stop, "tokenizer": loaded.tokenizer}
    return arguments


def _finish(ids: list[int], task_info: TaskInfo, loaded) -> tuple[str, list[int], str]:
    """Without what a batch pads behind an early end."""
    eos = loaded.model.generation_config.eos_token_id
    eos = [eos] if isinstance(eos, int) else eos or []
    ends = [n for n, token in enumerate(ids) if token in eos]
    ids = ids[: ends[0] + 1] if ends else ids
    text = loaded.tokenizer.decode(ids, skip_special_tokens=True)
    stops = [task_info.stop] if isinstance(task_info.stop, str) else task_info.stop
    found = [text.find(stop) for stop in stops if stop and stop in text]
    if found:
        return text[: min(found)], ids, "stop"
    return text, ids, "eos" if ends else "length"


def _position(token: int, logits, n_top: int) -> TokenLogprobs:
    log_probs = logits.float().log_softmax(-1)
    top = log_probs.topk(max(n_top, 1))
    pairs = tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
    return TokenLogprobs(token, float(log_probs[token]), pairs[:n_top])
