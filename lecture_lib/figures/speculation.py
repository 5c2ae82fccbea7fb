"""Pictures of speculative decoding: several drafts as a tree with its mask, a text pass by pass."""

from collections.abc import Sequence

from matplotlib.patches import Rectangle

from ..checks import check_count, checked
from .picture import Picture, blank_axes
from .style import INK, KEPT, OTHER, in_course_style, visible
from .tokens import Tile, draw_tiles, tiles_html

_COLUMN, _ROW, _CELL = 1.3, 0.42, 0.36  # inches: a level of the tree, a leaf, a cell of the mask
_MOST_REJECTED = 3  # tiles of one pass


@in_course_style
def draft_tree(tokens: Sequence, parents: Sequence, *, root: str = "text") -> Picture:
    """A prefix tree of drafts and, beside it, which node may look at which.

    Args:
        tokens: the texts of the nodes. parents: the place of each node's parent, an earlier one;
            -1 for a child of the text itself. root: what is written for that text.

    Raises:
        ValueError: no node, other lengths, or a parent that is not earlier.
    """
    if not tokens or len(tokens) != len(parents):
        raise ValueError(
            f"tokens and parents: need equal lengths, got {len(tokens)}, {len(parents)}"
        )
    for i, parent in enumerate(parents):
        check_count("parents", parent, least=-1, most=i - 1)
    places, n_leaves = _tree_places(parents)
    names = [f"{i} {visible(token, 9)}" for i, token in enumerate(tokens)]
    n, depth = len(tokens), max(x for x, _ in places.values())
    left, side = _COLUMN * (depth + 1) + 1.2, _CELL * n
    height = max(_ROW * n_leaves, side) + 0.75
    figure, axes = blank_axes(left + side + 0.15, height, (0, left + side + 0.15), (height, -0.35))
    at = {i: (0.65 + _COLUMN * x, 0.3 + _ROW * y) for i, (x, y) in places.items()}
    box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": KEPT}
    for i, (x, y) in at.items():
        if i >= 0:
            x0, y0 = at[parents[i]]
            axes.plot((x0 + 0.3, x - 0.3), (y0, y), color=OTHER, linewidth=1, zorder=1)
        look = box if i >= 0 else box | {"facecolor": "#F2F2F2", "edgecolor": INK}
        name = names[i] if i >= 0 else visible(root, 9, space=" ")
        axes.text(x, y, name, ha="center", va="center", fontsize=8.5, bbox=look, zorder=2)
    lines = [_line(parents, i) for i in range(n)]
    for i in range(n):
        y = 0.1 + _CELL * i
        axes.text(left - 0.08, y + _CELL / 2, names[i], ha="right", va="center", fontsize=8.5)
        axes.text(left + _CELL * (i + 0.5), 0, str(i), ha="center", va="center", fontsize=8.5)
        for j in range(n):
            look = {"facecolor": KEPT if j in lines[i] else "white", "edgecolor": "#BBBBBB"}
            axes.add_patch(Rectangle((left + _CELL * j, y), _CELL, _CELL, **look))
    axes.text(left + side / 2, -0.22, "looks at", ha="center", va="center", fontsize=8.5)
    told = (f"{names[i]} looks at {', '.join(map(str, sorted(lines[i])))}" for i in range(n))
    return Picture(figure, f"Tree of drafts after “{root}”, and its mask: {'; '.join(told)}.")


def _line(parents: Sequence, i: int) -> set[int]:
    """A node and its ancestors."""
    return {i} | _line(parents, parents[i]) if i >= 0 else set()


def _tree_places(parents: Sequence) -> tuple[dict[int, tuple[float, float]], int]:
    """Level and height of each node and of the root, -1; the number of leaves."""
    places, n_leaves = {}, 0

    def place(i: int, level: int) -> float:
        nonlocal n_leaves
        below = [place(j, level + 1) for j, parent in enumerate(parents) if parent == i]
        if not below:
            n_leaves += 1
        y = (below[0] + below[-1]) / 2 if below else n_leaves - 1
        places[i] = level, y
        return y

    place(-1, 0)
    return places, n_leaves


@in_course_style
def speculation_strip(passes: Sequence, *, caption: str = "") -> Picture:
    """A text as the passes of speculative decoding gave it.

    Args:
        passes: for each (accepted texts, rejected texts, the text of the model's own token).
    """
    tiles = _tiles(passes)
    figure = draw_tiles(
        [tiles], line_width=84, narrowest=4.0, line_inches=0.5, box=(0.09, 0.74),
        text_at=(0.32, 0.65), edge="#BBBBBB",
    )  # fmt: skip
    told = (
        f"{len(accepted)} accepted, {len(rejected)} rejected, then {visible(own)}"
        for accepted, rejected, own in passes
    )
    return Picture(figure, f"A text in {len(passes)} passes. {'; '.join(told)}.", caption)


@checked
def speculation_html(passes: Sequence) -> str:
    """The same as HTML, for the live widget."""
    return tiles_html(_tiles(passes))


def _tiles(passes: Sequence) -> list[Tile]:
    tiles = []
    for accepted, rejected, own in passes:
        tiles += [Tile(text, "#CFE8DC", notes=("accepted",)) for text in accepted]
        shown = list(rejected[:_MOST_REJECTED])
        more = [f"and {len(rejected) - len(shown)} more"] * (len(rejected) > len(shown))
        tiles += [Tile(text, "#FFFFFF", OTHER, ("rejected",)) for text in [*shown, *more]]
        tiles.append(Tile(own, "#FBD9A8", notes=("model",)))
    return tiles
