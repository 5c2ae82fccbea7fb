"""Choosing the next token: a toy model to reason with, greedy search, a session to step through."""

from .beam_engine import engine_beam_search, engine_next_log_probs
from .beam_search import beam_search
from .beam_trace import BeamNode, BeamTrace
from .greedy import greedy_search
from .session import GenerationSession
from .toy_lm import ToyLM
from .toy_models import (
    beam_finds_what_greedy_misses,
    beam_loses_to_greedy,
    lecture_greedy,
    lecture_tree,
    mouse_and_cheese,
)
from .toy_search import find_toy_model

__all__ = [
    "BeamNode",
    "BeamTrace",
    "GenerationSession",
    "ToyLM",
    "beam_finds_what_greedy_misses",
    "beam_loses_to_greedy",
    "beam_search",
    "engine_beam_search",
    "engine_next_log_probs",
    "find_toy_model",
    "greedy_search",
    "lecture_greedy",
    "lecture_tree",
    "mouse_and_cheese",
]
