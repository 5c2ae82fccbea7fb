"""The course's pictures: pure functions, data in, Picture out (PNG, alternative text, caption)."""

from .blocks import cache_view, growth_curves, recomputed_rows, score_maps
from .costs import latency_and_throughput, memory_bars, time_breakdown
from .distributions import generation_filmstrip, next_token_bars
from .picture import Picture
from .roofline import RooflinePoint, roofline, si
from .scores import chain_rule_path, sentence_ranking, surprise_html, surprise_strip

__all__ = [
    "Picture",
    "RooflinePoint",
    "cache_view",
    "chain_rule_path",
    "generation_filmstrip",
    "growth_curves",
    "latency_and_throughput",
    "memory_bars",
    "next_token_bars",
    "recomputed_rows",
    "roofline",
    "score_maps",
    "sentence_ranking",
    "si",
    "surprise_html",
    "surprise_strip",
    "time_breakdown",
]
