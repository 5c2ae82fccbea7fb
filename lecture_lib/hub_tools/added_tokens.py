"""Adding tokens, and the resize of the embedding that must follow."""

import copy
from collections.abc import Sequence

import pandas as pd
import torch


@torch.inference_mode()
def added_token_report(
    model, tokenizer, tokens: Sequence[str], *, text: str | None = None
) -> pd.DataFrame:
    """What a text with new tokens meets: as loaded, tokens added, embeddings resized.

    Runs on copies on the CPU (on a GPU an id outside the embedding ends the whole process's
    work there); model and tokenizer are left as they were.

    Args:
        tokens: the new tokens, none of them in the vocabulary.
        text: a text that holds them; default: the tokens themselves, with spaces between.

    Returns:
        Three rows, one a step: vocabulary (tokens that the tokenizer knows), embedding rows, the
        text's ids, and the forward pass: "works" or the error that it ends with. Where the
        embedding has rows to spare (T5's has) it works without the resize, on untrained rows.

    Raises:
        ValueError: no tokens, or one that is known already.
    """
    if isinstance(tokens, str) or not tokens:
        raise ValueError(f"tokens: needs a list of at least one new token, got {tokens!r}")
    known = [token for token in tokens if token in tokenizer.get_vocab()]
    if known:
        raise ValueError(f"tokens: {known[0]!r} is in the vocabulary already")
    text = " ".join(tokens) if text is None else text
    model, tokenizer = copy.deepcopy(model).cpu(), copy.deepcopy(tokenizer)
    rows = [_row("as loaded", model, tokenizer, text)]
    tokenizer.add_tokens(list(tokens))
    rows.append(_row("tokens added", model, tokenizer, text))
    n_rows = model.get_input_embeddings().num_embeddings
    # Never smaller: some models have spare rows, and fewer rows would be another model.
    model.resize_token_embeddings(max(len(tokenizer), n_rows))
    rows.append(_row("embeddings resized", model, tokenizer, text))
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


def _row(step: str, model, tokenizer, text: str) -> dict:
    input_ids = tokenizer(text, return_tensors="pt").input_ids  # (1, L)
    return {
        "step": step,
        "vocabulary": len(tokenizer),
        "embedding rows": model.get_input_embeddings().num_embeddings,
        "ids": input_ids[0].tolist(),
        "forward pass": _forward(model, input_ids),
    }


def _forward(model, input_ids: torch.Tensor) -> str:
    arguments = {}
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        arguments["decoder_input_ids"] = torch.full((1, 1), start)
    try:
        model(input_ids=input_ids, **arguments)
    except IndexError as error:
        return f"IndexError: {error}"
    return "works"
