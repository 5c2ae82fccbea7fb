"""The class attributes of a tokenizer that the lecture names, and which still exist."""

import pandas as pd

# name -> (what it is for, whether it exists in Transformers 5, what to use where it is gone)
LECTURE_ATTRIBUTES = {
    "vocab_files_names": ("the files that hold the vocabulary", True, ""),
    "pretrained_vocab_files_map": ("where a named tokenizer's files lie on the Hub", True,
                                   "empty now: from_pretrained asks the Hub"),
    "max_model_input_sizes": ("the longest input of a named model", False,
                              "tokenizer.model_max_length"),
    "pretrained_init_configuration": ("arguments for a named tokenizer", False,
                                      "tokenizer_config.json in its repository"),
    "model_input_names": ("what the model's forward expects", True, ""),
    "padding_side": ("where padding is put: right by default", True, ""),
    "truncation_side": ("where a text is cut: right by default", True, ""),
}  # fmt: skip


def attribute_table(tokenizer=None) -> pd.DataFrame:
    """The lecture's attributes: do they exist in the installed Transformers, and their values.

    Args:
        tokenizer: a tokenizer or its class, whose values are shown; default: the base class.
    """
    from transformers import PreTrainedTokenizerBase

    shown = tokenizer if tokenizer is not None else PreTrainedTokenizerBase
    rows = []
    for name, (purpose, _, instead) in LECTURE_ATTRIBUTES.items():
        exists = hasattr(PreTrainedTokenizerBase, name)
        rows.append({
            "attribute": name, "what it is": purpose, "exists": "yes" if exists else "no",
            "value": str(getattr(shown, name)) if hasattr(shown, name) else "",
            "now": instead,
        })  # fmt: skip
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))
