"""Choosing the next token: a toy model to reason with, greedy search, a session to step through."""

from .greedy import greedy_search
from .session import GenerationSession
from .toy_lm import ToyLM
from .toy_models import mouse_and_cheese

__all__ = ["GenerationSession", "ToyLM", "greedy_search", "mouse_and_cheese"]
