"""Looks behind Hugging Face's calls, for lecture 08.

changes     what changed since the lecture's Transformers 4.39; its twelve tasks today
tokenizers  tokens with ids, bytes and places
generation  defaults and precedence found out by running, our own stopping, cross-attention
"""
# ruff: noqa: F401  # all that is imported here is for others

from .changes import changes_table, task_table
from .generation import (
    CrossAttention,
    Observation,
    StopAtSentenceEnd,
    model_settings,
    observe_generation,
    pipeline_arguments,
    translate_with_attention,
)
from .tokenizers import TokenPiece, token_pieces

__all__ = [name for name in dir() if name[0] != "_"]  # so that help() shows them
