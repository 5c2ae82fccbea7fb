"""Choosing the next token: toy models to reason with, greedy and beam search, sampling.

toy_lm               ToyLM: a language model that is written down; greedy search
toy_models           the lecture's toys and its two distributions; random ones
beam_search          the search as lecture 09 writes it, on any model
beam_trace           looks on and notes each step
beam_engine          the same search over the real model, with a cache that follows
sampling             temperature, top-k, top-p and min-p in their order; repetition penalty
sample_generate      texts drawn by the engine
text_statistics      how varied and how repetitive a text is
"""
# ruff: noqa: F401  # all that is imported here is for others

from .beam_engine import engine_beam_search
from .beam_search import beam_search
from .beam_trace import BeamTrace
from .sample_generate import Sampler, sample_generate
from .sampling import (
    SamplingSettings,
    apply_repetition_penalty,
    apply_temperature,
    sampling_distribution,
    top_k_filter,
    top_p_filter,
)
from .text_statistics import distinct_n, repeated_ngrams
from .toy_lm import ToyLM, greedy_search
from .toy_models import (
    beam_finds_what_greedy_misses,
    beam_loses_to_greedy,
    lecture_greedy,
    lecture_tree,
    mouse_and_cheese,
    random_toy,
    toy_logits,
)

__all__ = [name for name in dir() if name[0] != "_"]  # so that help() shows them
