"""Choosing the next token: a toy model to reason with, greedy search, a session to step through."""

from .beam_engine import engine_beam_search, engine_next_log_probs
from .beam_search import beam_search
from .beam_trace import BeamNode, BeamTrace
from .draws import chi_square_test, draw_tokens
from .greedy import greedy_search
from .repetition_penalty import apply_repetition_penalty
from .sample_generate import SampledText, Sampler, sample_generate
from .sampling import (
    apply_temperature,
    min_p_filter,
    sampling_distribution,
    top_k_filter,
    top_p_filter,
    typical_p_filter,
)
from .sampling_settings import SamplingSettings
from .session import GenerationSession
from .strategies import Strategy, select_strategy, strategy_table
from .strategy_comparison import compare_strategies
from .text_statistics import distinct_n, mean_log_prob, repeated_ngrams, token_log_probs
from .toy_distributions import TOY_DISTRIBUTIONS, the_car, toy_logits
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
    "TOY_DISTRIBUTIONS",
    "BeamNode",
    "BeamTrace",
    "GenerationSession",
    "SampledText",
    "Sampler",
    "SamplingSettings",
    "Strategy",
    "ToyLM",
    "apply_repetition_penalty",
    "apply_temperature",
    "beam_finds_what_greedy_misses",
    "beam_loses_to_greedy",
    "beam_search",
    "chi_square_test",
    "compare_strategies",
    "distinct_n",
    "draw_tokens",
    "engine_beam_search",
    "engine_next_log_probs",
    "find_toy_model",
    "greedy_search",
    "lecture_greedy",
    "lecture_tree",
    "mean_log_prob",
    "min_p_filter",
    "mouse_and_cheese",
    "repeated_ngrams",
    "sample_generate",
    "sampling_distribution",
    "select_strategy",
    "strategy_table",
    "the_car",
    "token_log_probs",
    "top_k_filter",
    "top_p_filter",
    "toy_logits",
    "typical_p_filter",
]
