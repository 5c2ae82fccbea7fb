"""Pictures of the transformer block: rows computed again, attention scores, growth, the cache."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle

from .picture import Picture
from .style import CHOSEN, INK, KEPT, MARK, OTHER, in_course_style, new_figure, visible

_LINES = ((KEPT, "o", "-"), (CHOSEN, "s", "--"), (MARK, "^", "-."), (OTHER, "D", ":"))
_SCORES = ListedColormap([(1 - t * 1.0, 1 - t * 0.55, 1 - t * 0.3) for t in np.linspace(0, 1, 128)])

_ROWS = {
    "same": ("same as in pass 1", {"facecolor": "#DCE9F3", "hatch": "///", "edgecolor": KEPT}),
    "changed": ("changed", {"facecolor": MARK, "edgecolor": INK}),
    "new": ("new", {"facecolor": CHOSEN, "edgecolor": INK}),
}


@in_course_style
def recomputed_rows(frame, *, caption: str = "") -> Picture:
    """The rows of each tensor in a second, longer pass: which were computed again for nothing.

    Args:
        frame: what ``op_trace.changed_rows`` returned.
    """
    if not len(frame):
        raise ValueError("frame: is empty; needs the comparison of two passes")
    n_rows = int(frame["rows_second"].max())
    figure = new_figure(1.6 + 0.48 * len(frame), 0.9 + 0.21 * n_rows, layout=None)
    axes = figure.add_axes((0.01, 0.02, 0.98, 0.97))
    axes.set(xlim=(-0.2, len(frame) + 4.6), ylim=(n_rows + 0.1, -1.1))
    axes.axis("off")
    told = []
    for x, line in enumerate(frame.itertuples()):
        kinds = ["same"] * line.unchanged + ["changed"] * line.changed + ["new"] * line.new
        for y, kind in enumerate(kinds):
            _draw_row(axes, x, y, kind)
        axes.text(x + 0.42, -0.35, _typeset(line.tensor), ha="center", fontsize=9, parse_math=True)
        told.append(f"{line.tensor} {line.unchanged} same, {line.changed} changed, {line.new} new")
    for y, (kind, (words, _)) in enumerate(_ROWS.items()):
        _draw_row(axes, len(frame) + 0.3, y * 1.3, kind)
        axes.text(len(frame) + 1.3, y * 1.3 + 0.45, words, va="center", fontsize=9)
    return Picture(figure, "Rows of the second pass, tensor by tensor: " + "; ".join(told), caption)


def _typeset(name: str) -> str:
    """Q_i with its index below, as in the tables; a longer name upright."""
    letter, _, index = name.partition("_")
    if not index:
        return name
    return rf"${letter}_{{{index}}}$" if len(letter) == 1 else rf"$\mathrm{{{letter}}}_{{{index}}}$"


def _draw_row(axes, x: float, y: float, kind: str) -> None:
    axes.add_patch(Rectangle((x, y), 0.84, 0.82, linewidth=0.6, **_ROWS[kind][1]))


@in_course_style
def score_maps(maps: Mapping[str, object], tokens: Sequence[str], *, caption: str = "") -> Picture:
    """Attention scores as squares, a map beside the other: row = query token, column = key token.

    Args:
        maps: title -> (L, S) array or tensor of scores between 0 and 1.
        tokens: the S key tokens; the queries are the last L of them.
    """
    if not maps:
        raise ValueError("maps: is empty; needs at least one map of scores")
    names = [visible(token, 9) for token in tokens]
    side = min(3.2, 7.2 / len(maps))
    width, height = (side + 0.15) * len(maps) + 0.95, side + 1.05
    figure = new_figure(width, height, layout=None)
    told = []
    for i, (title, scores) in enumerate(maps.items()):
        scores = np.asarray(scores, dtype=float)
        if scores.ndim != 2 or scores.shape[1] != len(names) or scores.shape[0] > len(names):
            raise ValueError(f"maps[{title!r}]: needs (L, {len(names)}), got {scores.shape}")
        left = (0.85 + i * (side + 0.15)) / width
        axes = figure.add_axes((left, 0.75 / height, side / width, side / height))
        axes.imshow(scores, aspect="auto", vmin=0, vmax=1, cmap=_SCORES)
        queries = names[len(names) - len(scores) :]
        axes.set_yticks(range(len(scores)), queries if i == 0 else [], fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(True)
        later = np.triu(scores, len(names) - len(scores) + 1).sum() / len(scores)
        told.append(
            f"{title}: {later:.2f} of the attention on later tokens, largest score "
            f"{scores.max():.2f}"
        )
    return Picture(figure, f"Attention scores over {' '.join(names)}. " + "; ".join(told), caption)


@in_course_style
def growth_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    log: bool = True,
    caption: str = "",
) -> Picture:
    """Quantities that grow, on logarithmic axes (there n² is a line of slope 2) or plain ones."""
    if not curves or len(curves) > len(_LINES):
        raise ValueError(f"curves: needs 1 to {len(_LINES)}, got {len(curves)}")
    figure = new_figure(6.2, 3.4)
    axes = figure.add_subplot()
    for (name, y), (colour, marker, style) in zip(curves.items(), _LINES, strict=False):
        if len(y) != len(x):
            raise ValueError(f"curves[{name!r}]: needs {len(x)} values, got {len(y)}")
        axes.plot(x, y, style, color=colour, marker=marker, markersize=4, label=name)
    if log:
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.yaxis.set_major_formatter(_power)
        axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_minor_formatter("")
    else:
        axes.set_ylim(bottom=0)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    told = "; ".join(f"{name} from {y[0]:.3g} to {y[-1]:.3g}" for name, y in curves.items())
    alt = f"Curves of {y_label} against {x_label} from {x[0]:g} to {x[-1]:g}: {told}."
    return Picture(figure, alt, caption)


def _power(value: float, position: int) -> str:
    """1, 10, 100 as they are; beyond, a power of ten without mathtext (a token may be a $)."""
    if 0.01 <= value < 10_000:
        return f"{value:g}"
    exponent = f"{value:.0e}".split("e")[1]
    return "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


@in_course_style
def cache_view(
    keys, scores: Sequence[float], tokens: Sequence[str], *, n_new: int = 1, caption: str = ""
) -> Picture:
    """One step of decoding: the cached keys of a head, the new row, and the new token's scores.

    Args:
        keys: (S, H) keys of one head, the ``n_new`` newest last.
        scores: S attention scores of the newest token; they sum to 1.
        tokens: the S tokens.
    """
    keys, scores = np.asarray(keys, dtype=float), np.asarray(scores, dtype=float)
    if keys.ndim != 2 or not len(keys) == len(scores) == len(tokens):
        raise ValueError(
            f"keys, scores, tokens: need one length, got {keys.shape}, {len(scores)}, {len(tokens)}"
        )
    n, names = len(tokens), [visible(token, 12) for token in tokens]
    height = 0.95 + 0.2 * n
    figure = new_figure(7.6, height, layout=None)
    bottom, tall = 0.42 / height, 1 - 0.82 / height
    grid = figure.add_axes((0.13, bottom, 0.5, tall))
    limit = max(np.abs(keys).max(), 1e-9)
    grid.imshow(keys, aspect="auto", cmap="PuOr", vmin=-limit, vmax=limit)
    grid.add_patch(
        Rectangle((-0.5, n - n_new - 0.5), keys.shape[1], n_new, fill=False, ec=INK, lw=2)
    )
    grid.set_yticks(range(n), names, fontsize=8)
    grid.set_xlabel(f"K of one head: {n} × {keys.shape[1]}", fontsize=9)
    grid.set_title("cached keys; framed: written in this step", fontsize=9)
    bars = figure.add_axes((0.66, bottom, 0.32, tall))
    bars.barh(range(n), scores, color=[KEPT] * (n - 1) + [CHOSEN])
    bars.set(ylim=(n - 0.5, -0.5), yticks=[], xlim=(0, 1))
    bars.set_xlabel("score of the newest token on each", fontsize=9)
    best = int(scores.argmax())
    alt = (
        f"Cache with {n} keys of width {keys.shape[1]}, {n_new} new in this step ({names[-1]}). "
        f"The newest token attends most to {names[best]} at position {best} ({scores[best]:.2f})."
    )
    return Picture(figure, alt, caption)
