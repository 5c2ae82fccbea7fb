"""Pictures of how likely a text is: tokens coloured by surprise, sentences ranked, chain rule."""

import html
import math
from collections.abc import Sequence

from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch

from .picture import Picture
from .style import CHOSEN, INK, KEPT, SURPRISE, in_course_style, new_figure, visible

WORST = -14.0  # nats: at this log-probability the colour scale ends (about one in a million)
_CHARS_PER_LINE = 64


def surprise_colour(log_prob: float) -> str:
    """The colour of a token with this log-probability, as #rrggbb; white where it was given."""
    if math.isnan(log_prob):
        return "#ffffff"
    return to_hex(SURPRISE(min(1.0, max(0.0, log_prob / WORST))))


@in_course_style
def surprise_strip(scores: Sequence, *, caption: str = "") -> Picture:
    """Texts with each token coloured by its log-probability, and the number below it.

    Args:
        scores: ``TextScore`` objects; each starts on a line of its own.
    """
    if not scores:
        raise ValueError("scores: is empty; needs at least one scored text")
    lines = [line for score in scores for line in _lines(score)]
    figure = new_figure(8.0, 0.15 + 0.55 * len(lines), layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _CHARS_PER_LINE + 2)
    axes.set_ylim(len(lines), 0)
    axes.axis("off")
    for row, line in enumerate(lines):
        for x, width, token, log_prob in line:
            _draw_token(axes, x + 1, row + 0.42, width, token, log_prob)
    told = (
        f"“{s.text}”: " + ", ".join(f"{visible(t)} {_number(x)}" for t, x in _pairs(s))
        for s in scores
    )
    alt = "Tokens with their log-probabilities, darker where the model was more surprised. "
    return Picture(figure, alt + "; ".join(told) + ".", caption)


def surprise_html(score) -> str:
    """The same as HTML, for the live widget: the browser's fonts can draw any script."""
    spans = []
    for token, log_prob in _pairs(score):
        colour = surprise_colour(log_prob)
        ink = ink_on(log_prob)
        shown = html.escape(token.replace(" ", "␣").replace("\n", "↵"))
        spans.append(
            f"<span style='display:inline-block;text-align:center;margin:1px;padding:2px 4px;"
            f"border:1px solid #ccc;border-radius:4px;background:{colour};color:{ink}'>{shown}"
            f"<br><small>{_number(log_prob)}</small></span>"
        )
    return "<div style='line-height:1.3'>" + "".join(spans) + "</div>"


@in_course_style
def sentence_ranking(
    names: Sequence[str], values: Sequence[float], *, unit: str, caption: str = ""
) -> Picture:
    """Sentences as bars of log p (0 or less), the likeliest on top."""
    if len(names) != len(values) or not names:
        raise ValueError(f"names and values: need equal lengths, got {len(names)}, {len(values)}")
    order = sorted(range(len(names)), key=lambda i: -values[i])
    figure = new_figure(7.0, 0.8 + 0.35 * len(names))
    axes = figure.add_subplot()
    axes.barh(range(len(names)), [values[i] for i in order], color=KEPT)
    for row, i in enumerate(order):
        axes.text(values[i], row, f"{values[i]:.1f} ", va="center", ha="right", fontsize=9)
    axes.set_yticks(
        range(len(names)), [visible(names[i].replace(" ", "\u00a0"), 34) for i in order]
    )
    axes.yaxis.tick_right()
    axes.spines[["left"]].set_visible(False)
    axes.spines[["right"]].set_visible(True)
    axes.invert_yaxis()
    axes.set_xlim(min(values) * 1.15, 0)
    axes.set_xlabel(unit)
    listed = "; ".join(f"{names[i]} {values[i]:.1f}" for i in order)
    return Picture(figure, f"Bars of {unit}, likeliest first: {listed}.", caption)


@in_course_style
def chain_rule_path(tokens: Sequence[str], probs: Sequence[float], *, caption: str = "") -> Picture:
    """A sentence as a path: each token's conditional probability, and the product so far."""
    if len(tokens) != len(probs) or not tokens:
        raise ValueError(f"tokens and probs: need equal lengths, got {len(tokens)}, {len(probs)}")
    figure = new_figure(1.2 * len(tokens) + 0.8, 1.5, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.75, len(tokens) - 0.45)
    axes.set_ylim(0, 1)
    axes.axis("off")
    product, told = 1.0, []
    axes.text(-0.7, 0.17, "product", fontsize=9, va="center")
    for i, (token, p) in enumerate(zip(tokens, probs, strict=True)):
        product *= p
        arrow = {"arrowstyle": "->", "color": CHOSEN}
        axes.annotate("", xy=(i - 0.3, 0.58), xytext=(i - 0.68, 0.58), arrowprops=arrow)
        axes.text(i - 0.5, 0.8, f"{p:g}", color=CHOSEN, ha="center", fontsize=10)
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": KEPT}
        axes.text(i, 0.58, visible(token), ha="center", va="center", fontsize=11, bbox=box)
        axes.text(i, 0.17, f"{product:.4g}", ha="center", va="center", fontsize=10)
        told.append(f"{visible(token)} {p:g}, product {product:.4g}")
    return Picture(figure, "Chain rule step by step: " + "; ".join(told) + ".", caption)


def _lines(score) -> list[list[tuple[float, float, str, float]]]:
    """Tokens laid out on lines: (x, width, token, log_prob), in characters."""
    lines, line, x = [], [], 0.0
    for token, log_prob in _pairs(score):
        width = max(len(visible(token)) + 1.2, 6.0)
        if x + width > _CHARS_PER_LINE and line:
            lines.append(line)
            line, x = [], 0.0
        line.append((x, width, token, log_prob))
        x += width
    return [*lines, line]


def _draw_token(axes, x: float, y: float, width: float, token: str, log_prob: float) -> None:
    box = FancyBboxPatch(
        (x, y - 0.33), width - 0.4, 0.74, boxstyle="round,pad=0,rounding_size=0.3",
        mutation_aspect=0.3, facecolor=surprise_colour(log_prob), edgecolor="#BBBBBB",
    )  # fmt: skip
    axes.add_patch(box)
    middle, ink = x + (width - 0.4) / 2, ink_on(log_prob)
    axes.text(middle, y - 0.1, visible(token), ha="center", va="center", color=ink, fontsize=10)
    axes.text(middle, y + 0.23, _number(log_prob), ha="center", va="center", color=ink, fontsize=8)


def _pairs(score):
    return zip(score.tokens, score.log_probs, strict=True)


def _number(log_prob: float) -> str:
    return "given" if math.isnan(log_prob) else f"{log_prob:z.1f}"  # z: 0.0, never -0.0


def ink_on(log_prob: float) -> str:
    """The colour of writing that can be read on ``surprise_colour(log_prob)``."""
    return "#FFFFFF" if log_prob / WORST > 0.72 else INK
