"""The course's pictures: pure functions, data in, Picture out (PNG, alternative text, caption)."""

from .beam_tree import beam_table, beam_tree
from .blocks import cache_view, growth_curves, recomputed_rows, score_maps
from .costs import latency_and_throughput, memory_bars, time_breakdown
from .distributions import generation_filmstrip, next_token_bars
from .filtering import filter_view
from .parallel import comparison_page, time_against_ranks, volume_bars
from .picture import Picture
from .roofline import RooflinePoint, roofline
from .sampling import draws_view, entropy_along_text, strategies_view, top_k_and_nucleus
from .schedule import schedule_chart
from .scores import chain_rule_path, sentence_ranking, surprise_html, surprise_strip
from .sharding import ring_all_reduce_view, sharded_layer

__all__ = [
    "Picture",
    "RooflinePoint",
    "beam_table",
    "beam_tree",
    "cache_view",
    "chain_rule_path",
    "comparison_page",
    "draws_view",
    "entropy_along_text",
    "filter_view",
    "generation_filmstrip",
    "growth_curves",
    "latency_and_throughput",
    "memory_bars",
    "next_token_bars",
    "recomputed_rows",
    "ring_all_reduce_view",
    "roofline",
    "schedule_chart",
    "score_maps",
    "sentence_ranking",
    "sharded_layer",
    "strategies_view",
    "surprise_html",
    "surprise_strip",
    "time_against_ranks",
    "time_breakdown",
    "top_k_and_nucleus",
    "volume_bars",
]
