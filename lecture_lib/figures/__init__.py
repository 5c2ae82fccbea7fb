"""The course's pictures: pure functions, data in, Picture out (PNG, alternative text, caption)."""

from .distributions import generation_filmstrip, next_token_bars
from .picture import Picture
from .scores import chain_rule_path, sentence_ranking, surprise_html, surprise_strip

__all__ = [
    "Picture",
    "chain_rule_path",
    "generation_filmstrip",
    "next_token_bars",
    "sentence_ranking",
    "surprise_html",
    "surprise_strip",
]
