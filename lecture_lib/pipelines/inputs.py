"""What the course's pipelines take: texts, and lists of texts."""

from collections.abc import Callable
from typing import Any


def check_texts(inputs: Any, task: str) -> None:
    """Refuses what is neither a text, nor a list, generator or dataset of inputs.

    Raises:
        ValueError: another type. A list is looked through, so that nothing runs before it fails.
    """
    if isinstance(inputs, list):
        for i, text in enumerate(inputs):
            check_text(text, task, where=f"inputs[{i}]")
    elif isinstance(inputs, tuple | dict | bytes) or not hasattr(inputs, "__iter__"):
        # A tuple too: Transformers' pipelines would take it for one single input.
        check_text(inputs, task)


def check_text(text: Any, task: str, where: str = "inputs") -> None:
    """Refuses what is no text.

    Raises:
        ValueError: not a string, or one of nothing but spaces.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"{where}: the {task} pipeline takes a string or a list of strings, got "
            f"{type(text).__name__}"
        )
    if not text.strip():
        raise ValueError(f"{where}: is empty; the {task} pipeline needs at least one word")


def longest_prompt(model: Any, tokenizer: Any) -> int:
    """How many tokens a prompt may have: what the tokenizer says, and the model's positions."""
    positions = getattr(model.config, "max_position_embeddings", None)
    limit = tokenizer.model_max_length
    return limit if positions is None else min(limit, positions)


def check_length(n_tokens: int, model: Any) -> None:
    """Refuses a prompt that has more tokens than the model has positions.

    Raises:
        ValueError: too many tokens.
    """
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and n_tokens > positions:
        raise ValueError(
            f"inputs: {n_tokens} tokens with the prompt around the text, and the model has "
            f"{positions} positions; shorten the text or pass truncation=True"
        )


def cut_to_fit(text: str, encode: Callable[[str], dict], tokenizer: Any, limit: int) -> str:
    """The longest beginning of the text whose prompt fits into the model.

    A tokenizer's own truncation would cut the prompt's end, and with it what the model is asked.

    Args:
        text: what may be cut.
        encode: text -> the whole prompt's ``input_ids``, (1, L).
        limit: tokens that the prompt may have.

    Raises:
        ValueError: not even one token of the text fits.
    """
    while (excess := encode(text)["input_ids"].shape[1] - limit) > 0:
        spans = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True
        ).offset_mapping
        # Up to where the first token that must go begins; a character's pieces begin together.
        text = text[: spans[-excess][0]] if excess < len(spans) else ""
        if not text.strip():
            raise ValueError(
                f"truncation: the prompt around the text leaves no room for it in {limit} tokens"
            )
    return text
