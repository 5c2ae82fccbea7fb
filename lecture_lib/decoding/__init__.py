"""Choosing the next token: toy models to reason with (searches and samplers join them later)."""

from .toy_lm import ToyLM

__all__ = ["ToyLM"]
