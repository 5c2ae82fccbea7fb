"""Pictures of how likely a text is: tokens coloured by surprise, and the chain rule."""

import math
from collections.abc import Sequence

from matplotlib.colors import to_hex

from ..checks import checked
from ..scoring import TextScore
from .picture import Picture, blank_axes
from .style import CHOSEN, INK, KEPT, SURPRISE, in_course_style, visible
from .tokens import Tile, draw_tiles, tiles_html

WORST = -14.0  # nats: at this log-probability the colour scale ends (about one in a million)


def surprise_colour(log_prob: float) -> str:
    """The colour of a token with this log-probability, as #rrggbb; white where it was given."""
    if math.isnan(log_prob):
        return "#ffffff"
    return to_hex(SURPRISE(min(1.0, max(0.0, log_prob / WORST))))


def ink_on(log_prob: float) -> str:
    """The colour of writing that can be read on ``surprise_colour(log_prob)``."""
    return "#FFFFFF" if log_prob / WORST > 0.72 else INK


@in_course_style
def surprise_strip(scores: Sequence, *, caption: str = "") -> Picture:
    """Texts with each token coloured by its log-probability, and the number below it.

    Args:
        scores: ``TextScore`` objects; each starts on a new line.
    """
    groups = [_tiles(score) for score in scores]
    figure = draw_tiles(
        groups, line_width=64, narrowest=6.0, line_inches=0.55, box=(0.09, 0.74),
        text_at=(0.32, 0.65), edge="#BBBBBB",
    )  # fmt: skip
    told = (
        f"“{score.text}”: " + ", ".join(f"{visible(tile.text)} {tile.notes[0]}" for tile in tiles)
        for score, tiles in zip(scores, groups, strict=True)
    )
    alt = "Tokens with their log-probabilities, darker where the model was more surprised. "
    return Picture(figure, alt + "; ".join(told) + ".", caption)


@checked
def surprise_html(score: TextScore) -> str:
    """The same as HTML, for the live widget."""
    return tiles_html(_tiles(score))


def _tiles(score) -> list[Tile]:
    return [
        # z: 0.0, never -0.0
        Tile(token, surprise_colour(x), ink_on(x), ("given" if math.isnan(x) else f"{x:z.1f}",))
        for token, x in zip(score.tokens, score.log_probs, strict=True)
    ]


@in_course_style
def chain_rule_path(tokens: Sequence[str], probs: Sequence[float], *, caption: str = "") -> Picture:
    """A sentence as a path: each token's conditional probability, and the product so far."""
    if len(tokens) != len(probs) or not tokens:
        raise ValueError(f"tokens and probs: need equal lengths, got {len(tokens)}, {len(probs)}")
    n = len(tokens)
    figure, axes = blank_axes(1.2 * n + 0.8, 1.5, (-0.75, n - 0.45), (0, 1))
    product, told = 1.0, []
    axes.text(-0.7, 0.17, "product", fontsize=9, va="center")
    for i, (token, p) in enumerate(zip(map(visible, tokens), probs, strict=True)):
        product *= p
        arrow = {"arrowstyle": "->", "color": CHOSEN}
        axes.annotate("", xy=(i - 0.3, 0.58), xytext=(i - 0.68, 0.58), arrowprops=arrow)
        axes.text(i - 0.5, 0.8, f"{p:g}", color=CHOSEN, ha="center", fontsize=10)
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": KEPT}
        axes.text(i, 0.58, token, ha="center", va="center", fontsize=11, bbox=box)
        axes.text(i, 0.17, f"{product:.4g}", ha="center", va="center", fontsize=10)
        told.append(f"{token} {p:g}, product {product:.4g}")
    return Picture(figure, "Chain rule step by step: " + "; ".join(told) + ".", caption)
