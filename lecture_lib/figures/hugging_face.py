"""Pictures of lecture 08: heads that matter, tokens over the text, what a translation looks at."""

import html
from collections.abc import Sequence

import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle

from .picture import Picture
from .style import CHOSEN, INK, in_course_style, new_figure, visible

# Neighbouring tokens are told apart by these, in turn; the border and the id say the rest.
TOKEN_COLOURS = ("#DCE9F3", "#FBE3C8", "#D9EFE6", "#EFE3EE")
_SPECIAL_COLOUR = "#DDDDDD"
_CHARS_PER_LINE = 76
_MOST_PIECES = 400


@in_course_style
def head_importance(rises, *, layers: Sequence[int] | None = None, caption: str = "") -> Picture:
    """How much the loss rises without each attention head, as a map: row = layer, column = head.

    Args:
        rises: (layers, n_H) in nats a token, as ``hub_tools.ablate_heads`` returns them.
        layers: the layers' numbers; default 0, 1, 2, ...
    """
    rises = np.asarray(rises, dtype=float)
    if rises.ndim != 2 or not rises.size or not np.isfinite(rises).all():
        raise ValueError(f"rises: needs a finite array (layers, n_H), got shape {rises.shape}")
    layers = list(range(len(rises)) if layers is None else layers)
    if len(layers) != len(rises):
        raise ValueError(f"layers: needs {len(rises)} numbers, got {len(layers)}")
    figure = new_figure(6.4, 1.3 + 0.19 * max(len(layers), 4))
    axes = figure.add_subplot()
    # A few heads dwarf the others; the colours end at the 98th percentile, the numbers don't.
    limit = max(np.quantile(np.abs(rises), 0.98), 1e-6)
    image = axes.imshow(rises, aspect="auto", cmap="PuOr_r", vmin=-limit, vmax=limit)
    worst = np.unravel_index(rises.argmax(), rises.shape)
    axes.add_patch(
        Rectangle((worst[1] - 0.5, worst[0] - 0.5), 1, 1, fill=False, edgecolor=CHOSEN, lw=2)
    )
    axes.set_xticks(range(rises.shape[1]))
    step = 1 if len(layers) <= 12 else 5
    axes.set_yticks(range(0, len(layers), step), layers[::step])
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    bar = figure.colorbar(image, ax=axes, extend="both")
    bar.set_label("loss without it − with it,\nnats a token")
    n_better = int((rises < 0).sum())
    alt = (
        f"Map of {rises.shape[0]} layers by {rises.shape[1]} heads: the change in loss without "
        f"each head, {rises.min():.3f} to {rises.max():.3f} nats a token, median "
        f"{np.median(rises):.3f}. The most important (framed) is head {worst[1]} of layer "
        f"{layers[worst[0]]}. Without {n_better} of the {rises.size} heads the loss falls."
    )
    return Picture(figure, alt, caption)


@in_course_style
def token_strip(pieces: Sequence, *, show_bytes: bool = False, caption: str = "") -> Picture:
    """A text's tokens as boxes, each with its id (and its bytes in hexadecimal) below.

    Args:
        pieces: ``hub_tools.TokenPiece`` objects.
    """
    _check(pieces)
    lines = _lines(pieces, show_bytes)
    height = 0.78 if show_bytes else 0.56
    figure = new_figure(8.0, 0.15 + height * len(lines), layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _CHARS_PER_LINE + 2)
    axes.set_ylim(len(lines), 0)
    axes.axis("off")
    rows = (0.24, 0.55, 0.8) if show_bytes else (0.3, 0.72)
    for y, line in enumerate(lines):
        for x, width, i, piece in line:
            box = FancyBboxPatch(
                (x + 1, y + 0.06), width - 0.4, 0.86, boxstyle="round,pad=0,rounding_size=0.3",
                mutation_aspect=0.3, facecolor=_colour(i, piece), edgecolor="#999999",
            )  # fmt: skip
            axes.add_patch(box)
            words = (_name(piece), str(piece.token_id), _hex(piece))
            for where, word, size in zip(rows, words, (10, 8, 7), strict=False):
                axes.text(
                    x + 1 + (width - 0.4) / 2, y + where, word, ha="center", va="center",
                    fontsize=size, color=INK,
                )  # fmt: skip
    told = ", ".join(f"{_name(piece)} {piece.token_id}" for piece in pieces)
    n_bytes = sum(len(piece.data) for piece in pieces)
    alt = f"{len(pieces)} tokens, {n_bytes} bytes, each with its id: {told}."
    return Picture(figure, alt, caption)


def token_html(pieces: Sequence) -> str:
    """The same as HTML, for the live widget: the browser's fonts can draw any script."""
    _check(pieces)
    spans = []
    for i, piece in enumerate(pieces):
        shown = html.escape(piece.text.replace(" ", "␣").replace("\n", "↵"))
        spans.append(
            f"<span style='display:inline-block;text-align:center;margin:1px;padding:2px 4px;"
            f"border:1px solid #999;border-radius:4px;color:{INK};background:{_colour(i, piece)}'>"
            f"{shown}<br><small>{piece.token_id}</small><br><small>{_hex(piece) or '–'}</small>"
            "</span>"
        )
    return "<div style='line-height:1.3'>" + "".join(spans) + "</div>"


@in_course_style
def cross_attention_map(attention, *, layer: int | None = None, caption: str = "") -> Picture:
    """What each output token looked at in the input, averaged over heads (and layers).

    Args:
        attention: a ``hub_tools.CrossAttention``.
        layer: one layer; default the mean of all.
    """
    n_layers = attention.scores.shape[0]
    if layer is not None and not 0 <= layer < n_layers:
        raise ValueError(f"layer: {layer} is outside 0..{n_layers - 1}")
    scores = attention.scores if layer is None else attention.scores[layer : layer + 1]
    grid = scores.mean(dim=(0, 1)).numpy()  # (T_out, T_in)
    source = [_piece_name(token) for token in attention.source]
    target = [_piece_name(token) for token in attention.target]
    figure = new_figure(1.6 + 0.36 * len(source), 1.5 + 0.24 * len(target))
    axes = figure.add_subplot()
    image = axes.imshow(grid, aspect="auto", cmap="Blues", vmin=0, vmax=max(grid.max(), 1e-6))
    axes.set_xticks(range(len(source)), source, rotation=60, ha="right", fontsize=9)
    axes.set_yticks(range(len(target)), target, fontsize=9)
    axes.set_xlabel("input tokens (encoder)")
    axes.set_ylabel("output tokens (decoder)")
    figure.colorbar(image, ax=axes).set_label("cross-attention")
    best = grid.argmax(axis=1)
    told = "; ".join(
        f"{word} to {source[i]} ({grid[y, i]:.2f})"
        for y, (word, i) in enumerate(zip(target, best, strict=True))
    )
    which = "the mean of all layers" if layer is None else f"layer {layer}"
    alt = f"Cross-attention, {which}: each output token and the input it looks at most: {told}."
    return Picture(figure, alt, caption)


def _check(pieces: Sequence) -> None:
    if not pieces or len(pieces) > _MOST_PIECES:
        raise ValueError(f"pieces: needs 1 to {_MOST_PIECES} tokens, got {len(pieces)}")


def _lines(pieces: Sequence, show_bytes: bool) -> list[list[tuple]]:
    """Pieces laid out on lines: (x, width, number, piece), in characters."""
    lines, line, x = [], [], 0.0
    for i, piece in enumerate(pieces):
        hex_width = 0.72 * len(_hex(piece)) if show_bytes else 0
        width = min(max(len(_name(piece)) + 1.2, hex_width + 1, 5.5), _CHARS_PER_LINE)
        if x + width > _CHARS_PER_LINE and line:
            lines.append(line)
            line, x = [], 0.0
        line.append((x, width, i, piece))
        x += width
    return [*lines, line]


def _name(piece) -> str:
    return visible(piece.text, 24)


def _hex(piece) -> str:
    short = piece.data[:8].hex(" ").upper()
    return short if len(piece.data) <= 8 else f"{short} …"


def _colour(i: int, piece) -> str:
    return _SPECIAL_COLOUR if piece.special else TOKEN_COLOURS[i % len(TOKEN_COLOURS)]


def _piece_name(token: str) -> str:
    """A vocabulary entry as it is read: ▁ is SentencePiece's space."""
    return visible(token.replace("▁", " "), 14)
