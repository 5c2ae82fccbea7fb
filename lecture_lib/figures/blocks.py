"""Pictures of the transformer block: rows computed again, attention scores, growth, the cache."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle
from pandas import DataFrame

from .picture import Picture, as_array, new_figure
from .style import CHOSEN, CUT_LOOK, INK, KEPT, LINES, MARK, in_course_style, visible

_SCORES = ListedColormap([(1 - t * 1.0, 1 - t * 0.55, 1 - t * 0.3) for t in np.linspace(0, 1, 128)])
_SCORES = _SCORES.with_extremes(bad=(0, 0, 0, 0))  # where a mask is, the hatched paper is seen
_ROWS = {
    "same as in pass 1": {"facecolor": "#DCE9F3", "hatch": "///", "edgecolor": KEPT},
    "changed": {"facecolor": MARK, "edgecolor": INK},
    "new": {"facecolor": CHOSEN, "edgecolor": INK},
}


@in_course_style
def recomputed_rows(frame: DataFrame, *, caption: str = "") -> Picture:
    """The rows of each tensor in a second, longer pass: which were needlessly computed again.

    Args:
        frame: what ``op_trace.changed_rows`` returned.
    """
    n_rows = int(frame["rows_second"].max())
    figure = new_figure(1.6 + 0.48 * len(frame), 0.9 + 0.21 * n_rows, layout=None)
    axes = figure.add_axes((0.01, 0.02, 0.98, 0.97))
    axes.set(xlim=(-0.2, len(frame) + 4.6), ylim=(n_rows + 0.1, -1.1))
    axes.axis("off")

    def draw_row(x: float, y: float, look: dict) -> None:
        axes.add_patch(Rectangle((x, y), 0.84, 0.82, linewidth=0.6, **look))

    told = []
    for x, line in enumerate(frame.itertuples()):
        counts = (line.unchanged, line.changed, line.new)
        for y, look in enumerate(np.repeat(list(_ROWS.values()), counts)):
            draw_row(x, y, look)
        name, _, index = line.tensor.partition("_")  # Q_i gets its index below, as in the tables
        if index:
            name = (
                rf"${name}_{{{index}}}$" if len(name) == 1 else rf"$\mathrm{{{name}}}_{{{index}}}$"
            )
        axes.text(x + 0.42, -0.35, name, ha="center", fontsize=9, parse_math=True)
        told.append("{} {} same, {} changed, {} new".format(line.tensor, *counts))
    for i, (words, look) in enumerate(_ROWS.items()):
        draw_row(len(frame) + 0.3, i * 1.3, look)
        axes.text(len(frame) + 1.3, i * 1.3 + 0.45, words, va="center", fontsize=9)
    return Picture(figure, "Rows of the second pass, tensor by tensor: " + "; ".join(told), caption)


@in_course_style
def score_maps(maps: Mapping[str, object], tokens: Sequence[str], *, caption: str = "") -> Picture:
    """Attention scores as squares, a map beside the other: row = query token, column = key token.
    A later token whose score is exactly 0 is drawn as masked.

    Args:
        maps: title -> (L, S) array or tensor of scores between 0 and 1.
        tokens: the S key tokens; the queries are the last L of them.
    """
    names = [visible(token, 9) for token in tokens]
    side = min(3.2, 7.2 / len(maps))
    width, height = (side + 0.15) * len(maps) + 1.75, side + 1.05
    figure = new_figure(width, height, layout=None)
    told, any_masked = [], False
    for i, (title, scores) in enumerate(maps.items()):
        scores = as_array(f"maps[{title!r}]", scores)
        if scores.ndim != 2 or scores.shape[1] != len(names) or scores.shape[0] > len(names):
            raise ValueError(f"maps[{title!r}]: needs (L, {len(names)}), got {scores.shape}")
        left = (0.85 + i * (side + 0.15)) / width
        axes = figure.add_axes((left, 0.75 / height, side / width, side / height))
        past_len = len(names) - len(scores)
        masked = np.triu(scores == 0, past_len + 1)
        any_masked |= masked.any()
        axes.patch.set(**CUT_LOOK)
        shown = np.ma.masked_array(scores, masked)
        image = axes.imshow(shown, aspect="auto", vmin=0, vmax=1, cmap=_SCORES)
        axes.set_yticks(range(len(scores)), names[past_len:] if i == 0 else [], fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(True)
        later = np.triu(scores, past_len + 1).sum() / len(scores)
        told.append(
            f"{title}: {later:.2f} of the attention on later tokens, largest score "
            f"{scores.max():.2f}"
        )
    left = (0.95 + len(maps) * (side + 0.15)) / width
    scale = figure.add_axes((left, 0.75 / height, 0.14 / width, side / height))
    figure.colorbar(image, scale, ticks=(0, 0.5, 1)).set_label("score", size=9)
    scale.tick_params(labelsize=8)
    if any_masked:
        corner = {"transform": scale.transAxes, "clip_on": False}
        scale.add_patch(Rectangle((0, -0.1), 1, 0.05, **CUT_LOOK, **corner))
        scale.text(1.4, -0.075, "masked", fontsize=8, va="center", **corner)
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
    if not 1 <= len(curves) <= len(LINES):
        raise ValueError(f"curves: needs 1 to {len(LINES)}, got {len(curves)}")
    figure = new_figure(6.2, 3.4)
    axes = figure.add_subplot()
    for (name, y), (colour, marker, style) in zip(curves.items(), LINES, strict=False):
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
def cache_view(keys, scores: Sequence[float], tokens: Sequence[str], *, n_new: int = 1) -> Picture:
    """One step of decoding: keys (S, H) of a head, the new rows, the newest token's scores (S,)."""
    keys, scores = as_array("keys", keys), as_array("scores", scores)
    n, names = len(tokens), [visible(token, 12) for token in tokens]
    height = 0.95 + 0.2 * n
    figure = new_figure(7.6, height, layout=None)
    bottom, tall = 0.42 / height, 1 - 0.82 / height
    grid = figure.add_axes((0.13, bottom, 0.5, tall))
    limit = max(np.abs(keys).max(), 1e-9)
    image = grid.imshow(keys, aspect="auto", cmap="PuOr", vmin=-limit, vmax=limit)
    scale = figure.add_axes((0.64, bottom, 0.012, tall))
    figure.colorbar(image, scale, ticks=(-limit, 0, limit), format="%.2g")
    scale.tick_params(labelsize=8)
    new_rows = (-0.5, n - n_new - 0.5), keys.shape[1], n_new
    grid.add_patch(Rectangle(*new_rows, fill=False, ec=INK, lw=2))
    grid.set_yticks(range(n), names, fontsize=8)
    grid.set_xlabel(f"K of one head: {n} × {keys.shape[1]}", fontsize=9)
    grid.set_title("cached keys; framed: written in this step", fontsize=9)
    bars = figure.add_axes((0.72, bottom, 0.26, tall))
    bars.barh(range(n), scores, color=[KEPT] * (n - 1) + [CHOSEN])
    bars.set(ylim=(n - 0.5, -0.5), yticks=[], xlim=(0, 1))
    bars.set_xlabel("score of the newest token on each", fontsize=9)
    best = int(scores.argmax())
    alt = (
        f"Cache with {n} keys of width {keys.shape[1]}, {n_new} new in this step ({names[-1]}). "
        f"The newest token attends most to {names[best]} at position {best} ({scores[best]:.2f})."
    )
    return Picture(figure, alt)
