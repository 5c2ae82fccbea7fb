"""Which end of a text that is too long is cut off."""

import pandas as pd


def compare_truncation_sides(tokenizer, text: str, *, max_length: int) -> pd.DataFrame:
    """The text cut to max_length tokens, on the right (the default) and on the left.

    Returns:
        Two rows: side, tokens (kept, special ones included), kept (the text that is left).

    Raises:
        ValueError: a text that isn't longer than max_length, or a max_length without room for a
            token of the text.
    """
    n_special = tokenizer.num_special_tokens_to_add()
    if max_length <= n_special:
        raise ValueError(f"max_length: must be {n_special + 1} or more, got {max_length}")
    n_tokens = len(tokenizer(text).input_ids)
    if n_tokens <= max_length:
        raise ValueError(
            f"text: has {n_tokens} tokens and max_length is {max_length}; nothing would be cut"
        )
    before, rows = tokenizer.truncation_side, []
    try:
        for side in ("right", "left"):
            tokenizer.truncation_side = side
            input_ids = tokenizer(text, truncation=True, max_length=max_length).input_ids
            kept = tokenizer.decode(input_ids, skip_special_tokens=True)
            rows.append({"side": side, "tokens": len(input_ids), "kept": kept})
    finally:
        tokenizer.truncation_side = before
    return pd.DataFrame(rows)
