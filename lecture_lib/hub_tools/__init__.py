"""Looks behind Hugging Face's calls, for lecture 08.

changes     what changed since the lecture's Transformers 4.39
tokenizers  tokens with ids, bytes and places
"""
# ruff: noqa: F401  # all that is imported here is for others

from .changes import changes_table
from .tokenizers import TokenPiece, token_pieces

__all__ = [name for name in dir() if name[0] != "_"]  # so that help() shows them
