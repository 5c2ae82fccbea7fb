"""Looks behind Hugging Face's calls, for lecture 08.

changes        what changed since the lecture's Transformers 4.39
saved_models   the files of a saved model, is a reloaded one the same, what push_to_hub would send
head_ablation  head pruning, by zeroing rows of W^O
tokenizers     tokens with ids, bytes and places; padding, truncation, attributes, added tokens
"""
# ruff: noqa: F401  # all that is imported here is for others

from .changes import changes_table
from .head_ablation import ablate_heads, mean_loss, without_head
from .saved_models import (
    ModelDifference,
    compare_models,
    file_table,
    parameter_table,
    preview_push,
    read_index,
)
from .tokenizers import (
    TokenPiece,
    added_token_report,
    attribute_table,
    compare_padding_sides,
    compare_truncation_sides,
    token_pieces,
)

__all__ = [name for name in dir() if name[0] != "_"]  # so that help() shows them
