"""What a tokenizer does: tokens with ids, bytes and places; padding, truncation, added tokens."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from ..checks import check_count, check_text, check_type, checked
from ..loading.quiet import quiet_transformers
from ..scoring import piece_bytes, token_texts
from ..tokens import model_inputs
from .changes import written_table


@dataclass(frozen=True)
class TokenPiece:
    """One token of a text.

    Attributes:
        text: the token as text; a piece of a character as its bytes, ⟨F0·9F⟩.
        token_id: its id.
        data: the bytes that it encodes; empty for a special token that the text doesn't hold.
        start, end: the characters of the text that it comes from (several tokens may share one).
        special: whether it is a special token.
    """

    text: str
    token_id: int
    data: bytes
    start: int
    end: int
    special: bool = False


@checked
def token_pieces(tokenizer, text: str, *, add_special_tokens: bool = True) -> list[TokenPiece]:
    """The tokens of a text, in order.

    Raises:
        ValueError: no text, an empty one, or a tokenizer that doesn't say where its tokens are.
    """
    check_text("text", text)
    if not tokenizer.is_fast:
        raise ValueError("tokenizer: needs one of the tokenizers library, which keeps offsets")
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=add_special_tokens)
    ids, added = encoded.input_ids, tokenizer.get_added_vocab()
    special = set(tokenizer.all_special_ids)
    is_byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    pieces = []
    for name, token_id, (start, end) in zip(
        token_texts(tokenizer, ids), ids, encoded.offset_mapping, strict=True
    ):
        covered, piece = text[start:end], tokenizer.convert_ids_to_tokens(token_id)
        data = covered.encode()
        if piece in added:  # is written as it is, not in the vocabulary's alphabet
            name = name if token_id in special else covered
        elif is_byte_level or piece.startswith("<0x"):
            data = piece_bytes(piece) or data
        pieces.append(TokenPiece(name, token_id, data, start, end, token_id in special))
    return pieces


def attribute_table(tokenizer) -> pd.DataFrame:
    """The lecture's attributes: do they exist in the installed Transformers, and their values.

    Args:
        tokenizer: a tokenizer or its class, whose values are shown.
    """
    from transformers import PreTrainedTokenizerBase

    table = written_table("tokenizer_attributes")
    exists = [hasattr(PreTrainedTokenizerBase, name) for name in table.attribute]
    table.insert(2, "exists", ["yes" if there else "no" for there in exists])
    table.insert(3, "value", [str(getattr(tokenizer, name, "")) for name in table.attribute])
    return table


@checked
@torch.inference_mode()
def added_token_report(model, tokenizer, tokens: Sequence[str], *, text: str) -> pd.DataFrame:
    """What a text with new tokens meets: as loaded, tokens added, embeddings resized.

    Runs on copies on the CPU (on a GPU an id outside the embedding ends the whole process's
    work there); model and tokenizer are left as they were.

    Args:
        tokens: the new tokens, none of them in the vocabulary.
        text: a text that holds them.

    Returns:
        Three rows, one per step: vocabulary (tokens that the tokenizer knows), embedding rows, the
        text's ids, and the forward pass: "works" or the error that it ends with. Where the
        embedding has rows to spare (T5's has) it works without the resize, on untrained rows.

    Raises:
        ValueError: no tokens, or one that is known already.
    """
    for token in check_type("tokens", tokens, list | tuple, "a list of at least one new token"):
        check_text("tokens", token)
    known = [token for token in tokens if token in tokenizer.get_vocab()]
    if known:
        raise ValueError(f"tokens: {known[0]!r} is in the vocabulary already")
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
    arguments, forward = {"input_ids": input_ids}, "works"
    if model.config.is_encoder_decoder:
        arguments["decoder_input_ids"] = torch.tensor([[model.config.decoder_start_token_id]])
    try:
        model(**arguments)
    except IndexError as error:
        forward = f"IndexError: {error}"
    return {
        "step": step,
        "vocabulary": len(tokenizer),
        "embedding rows": model.get_input_embeddings().num_embeddings,
        "ids": input_ids[0].tolist(),
        "forward pass": forward,
    }


@checked
@torch.inference_mode()
def compare_padding_sides(
    loaded, prompts: Sequence[str], *, max_new_tokens: int = 8
) -> pd.DataFrame:
    """Greedy continuations of each prompt alone, and in one batch padded left and right.

    Transformers warns of padding on the right before a decoder-only model writes; here it is meant,
    so the warning is left out.

    Returns:
        One row per prompt: prompt, padding (tokens), alone, left, right.

    Raises:
        ValueError: fewer than two prompts, or all of one length (then nothing is padded).
    """
    for prompt in check_type("prompts", prompts, list | tuple, "a list of two or more"):
        check_text("prompts", prompt)
    if len(prompts) < 2:
        raise ValueError(f"prompts: needs a list of two or more, got {prompts!r}")
    check_count("max_new_tokens", max_new_tokens, most=1_000)
    tokenizer, model = loaded.tokenizer, loaded.model
    lengths = [len(tokenizer(prompt).input_ids) for prompt in prompts]
    if len(set(lengths)) == 1:
        raise ValueError(f"prompts: all have {lengths[0]} tokens, so nothing would be padded")
    options = {
        "max_new_tokens": max_new_tokens, "do_sample": False, "pad_token_id": tokenizer.pad_token_id
    }  # fmt: skip

    def run(texts: list[str], side: str) -> list[str]:
        batch = model_inputs(tokenizer, texts, model.device, padding_side=side)
        with quiet_transformers():
            output = model.generate(**batch, **options)
        new = output[:, batch["input_ids"].shape[1] :]
        return tokenizer.batch_decode(new, skip_special_tokens=True)

    prompts = list(prompts)
    return pd.DataFrame({
        "prompt": prompts,
        "padding": [max(lengths) - length for length in lengths],
        "alone": [run([prompt], "left")[0] for prompt in prompts],
        "left": run(prompts, "left"),
        "right": run(prompts, "right"),
    })  # fmt: skip


@checked
def compare_truncation_sides(tokenizer, text: str, *, max_length: int) -> pd.DataFrame:
    """The text cut to max_length tokens, on the right (the default) and on the left.

    Returns:
        Two rows: side, tokens (kept, special ones included), kept (the text that is left).

    Raises:
        ValueError: a text that isn't longer than max_length, or a max_length without room for a
            token of the text.
    """
    n_special = tokenizer.num_special_tokens_to_add()
    max_length = check_count("max_length", max_length, least=n_special + 1)
    n_tokens = len(tokenizer(text).input_ids)
    if n_tokens <= max_length:
        raise ValueError(
            f"text: has {n_tokens} tokens and max_length is {max_length}; nothing would be cut"
        )
    tokenizer, rows = copy.deepcopy(tokenizer), []
    for side in ("right", "left"):
        tokenizer.truncation_side = side
        input_ids = tokenizer(text, truncation=True, max_length=max_length).input_ids
        kept = tokenizer.decode(input_ids, skip_special_tokens=True)
        rows.append({"side": side, "tokens": len(input_ids), "kept": kept})
    return pd.DataFrame(rows)
