"""The course's pictures: pure functions, data in, Picture out (PNG, alternative text, caption)."""
# ruff: noqa: F401  # all that is imported here is for others

from .beam_tree import beam_table, beam_tree
from .blocks import growth_curves, recomputed_rows, score_maps
from .chat import chat_picture
from .costs import latency_and_throughput
from .distributions import generation_filmstrip, next_token_bars
from .hugging_face import (
    cross_attention_map,
    head_importance,
    image_panels,
    spectrograms,
    token_html,
    token_strip,
)
from .inference_script import logprobs_view, request_timeline
from .parallel import comparison_page, time_against_ranks, volume_bars
from .picture import Picture
from .roofline import RooflinePoint, roofline
from .schedule import schedule_chart
from .scores import chain_rule_path, surprise_html, surprise_strip
from .serving import load_chart
from .sharding import ring_all_reduce_view, sharded_layer
from .speculation import draft_tree, speculation_html, speculation_strip

__all__ = [name for name in dir() if name[0] != "_"]  # so that help() shows them
