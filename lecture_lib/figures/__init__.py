"""The course's pictures: pure functions, data in, Picture out (PNG, alternative text, caption)."""

from .blocks import cache_view, growth_curves, recomputed_rows, score_maps
from .distributions import generation_filmstrip, next_token_bars
from .picture import Picture
from .scores import chain_rule_path, sentence_ranking, surprise_html, surprise_strip

__all__ = [
    "Picture",
    "cache_view",
    "chain_rule_path",
    "generation_filmstrip",
    "growth_curves",
    "next_token_bars",
    "recomputed_rows",
    "score_maps",
    "sentence_ranking",
    "surprise_html",
    "surprise_strip",
]
