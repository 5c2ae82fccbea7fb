"""Beam search for the script: on the engine, with stop strings and logprobs."""

import torch

from lecture_lib.decoding.beam_engine import engine_beam_search
from lecture_lib.decoding.sampling import filter_logits
from lecture_lib.engine.streaming import TextStream, check_stop

from .logprobs import score_afterwards
from .settings import TaskInfo


def generate(task_info: TaskInfo, engine, prompt_ids: list[list[int]]) -> list:
    """Answers of a task with ``beam_width`` above 1, one prompt after the other."""
    from .run import Answer, strategy

    answers = []
    for prompt, ids in zip(task_info.prompts, prompt_ids, strict=True):
        trace = engine_beam_search(engine, ids, **_options(task_info, engine))
        tokens = trace.sequences[0]
        text, tokens, reason = cut(engine, tokens, task_info)
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
        options |= {"do_sample": True, "generator": generator}
        options["warp"] = lambda log_probs: filter_logits(log_probs, task_info.sampling)
    return options


def cut(engine, token_ids: list[int], task_info: TaskInfo) -> tuple[str, list[int], str]:
    """A finished text up to its first stop string: text, tokens, why it ended.

    The search itself knows no stop strings: a beam that holds one goes on to the end.
    """
    stream, pieces = TextStream(engine.tokenizer, check_stop(task_info.stop)), []
    for n, token in enumerate(token_ids, 1):
        pieces.append(stream.push(token))
        if stream.stopped:
            return "".join(pieces), token_ids[:n], "stop"
    pieces.append(stream.flush())
    reason = "stop" if stream.stopped else "eos" if ended(engine, token_ids) else "length"
    return "".join(pieces), token_ids, reason


def ended(engine, token_ids: list[int]) -> bool:
    """Whether the last token is one of the model's end tokens."""
    eos = engine.hf_model.generation_config.eos_token_id
    return token_ids[-1] in ([eos] if isinstance(eos, int) else eos or [])
