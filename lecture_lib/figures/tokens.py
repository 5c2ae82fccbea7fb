"""Tokens as coloured tiles, on paper and as HTML, and the layout of pieces of text into lines."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.patches import FancyBboxPatch

from .picture import blank_axes
from .style import INK, visible

_SIZES = (10, 8, 7)  # points, of the token and of its notes


@dataclass(frozen=True)
class Tile:
    """A token as it is shown."""

    text: str
    colour: str  # of its paper
    ink: str = INK
    notes: tuple[str, ...] = ()  # short texts below it

    @property
    def name(self) -> str:
        """The token as it is written on paper."""
        return visible(self.text, 24)


def lay_out(
    pieces: Sequence,
    width: Callable[[object], float],
    line_width: float,
    at_line_start: Callable[[object], object] = lambda piece: piece,
) -> list[list[tuple[float, object]]]:
    """Lines of (x, piece). A piece that begins a new line goes through ``at_line_start`` first."""
    lines, x = [[]], 0.0
    for piece in pieces:
        if lines[-1] and x + width(piece) > line_width:
            lines.append([])
            piece, x = at_line_start(piece), 0.0
        lines[-1].append((x, piece))
        x += width(piece)
    return lines


def draw_tiles(
    groups: Sequence[Sequence[Tile]],
    *,
    line_width: float,
    narrowest: float,
    line_inches: float,
    box: tuple[float, float],
    text_at: Sequence[float],
    edge: str,
):
    """A figure with tiles on lines; each group begins a new line.

    Widths are in characters; the top and height of a ``box`` and the places of the token and its
    notes (``text_at``) in lines.
    """

    def width(tile: Tile) -> float:
        notes = [0.72 * len(note) + 1 for note in tile.notes]
        return min(max(len(tile.name) + 1.2, narrowest, *notes), line_width)

    lines = [line for group in groups for line in lay_out(group, width, line_width)]
    height = 0.15 + line_inches * len(lines)
    figure, axes = blank_axes(8.0, height, (0, line_width + 2), (len(lines), 0))
    top, tall = box
    look = {"boxstyle": "round,pad=0,rounding_size=0.3", "mutation_aspect": 0.3, "edgecolor": edge}
    for y, line in enumerate(lines):
        for x, tile in line:
            wide = width(tile) - 0.4
            place = (x + 1, y + top), wide, tall
            axes.add_patch(FancyBboxPatch(*place, facecolor=tile.colour, **look))
            words = zip(text_at, (tile.name, *tile.notes), _SIZES, strict=False)
            for down, text, size in words:
                centre = x + 1 + wide / 2, y + down
                axes.text(*centre, text, ha="center", va="center", fontsize=size, color=tile.ink)
    return figure


def tiles_html(tiles: Sequence[Tile]) -> str:
    """The same as HTML, for live widgets: the browser's fonts can draw any script."""
    spans = []
    for tile in tiles:
        shown = html.escape(tile.text.replace(" ", "␣").replace("\n", "↵"))
        notes = "".join(f"<br><small>{note or '–'}</small>" for note in tile.notes)
        spans.append(
            "<span style='display:inline-block;text-align:center;margin:1px;padding:2px 4px;"
            "border:1px solid #999;border-radius:4px;"
            f"color:{tile.ink};background:{tile.colour}'>{shown}{notes}</span>"
        )
    return f"<div style='line-height:1.3'>{''.join(spans)}</div>"
