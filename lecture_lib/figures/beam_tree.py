"""The tree of a beam search: every candidate, what went on, what ended, what was dropped."""

import html
import math
from collections.abc import Callable

from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from ..decoding.beam_trace import FINISHED, KEPT, PRUNED, BeamTrace
from .beam_layout import GREEDY, ROOT, Tree, lay_out
from .picture import Picture
from .style import CHOSEN, GOOD, INK, MARK, OTHER, in_course_style, new_figure, visible
from .style import KEPT as BLUE

_CELL, _ROW, _LEFT, _TOP, _BOTTOM = 1.1, 0.86, 0.6, 0.3, 1.0  # inches
_RIGHT = 0.06
_BOX = 1.0
# Told apart by mark, outline and corner, not only by colour: (mark, edge, fill, line style, width).
_LOOKS = {
    KEPT: ("●", BLUE, "#E4EFF8", "-", 1.6),
    FINISHED: ("■", GOOD, "#DDF3EB", "-", 2.6),
    PRUNED: ("✕", OTHER, "#FFFFFF", (0, (4, 2)), 1.0),
    GREEDY: ("○", MARK, "#FFFFFF", (0, (1, 1)), 1.6),
}
_EDGES = {KEPT: "-", FINISHED: "-", PRUNED: (0, (1, 2))}
_WORDS = {
    KEPT: "kept",
    FINISHED: "finished",
    PRUNED: "pruned",
    GREEDY: "only greedy search goes here",
}


@in_course_style
def beam_tree(
    trace: BeamTrace,
    token_text: Callable[[int], str] = str,
    *,
    prompt: str = "prompt",
    greedy: BeamTrace | None = None,
    up_to_step: int | None = None,
    max_per_step: int = 9,
    as_probability: bool = False,
    caption: str = "",
) -> Picture:
    """Draw a beam search as a tree, from the prompt downwards.

    Args:
        trace: what ``beam_search`` returned.
        token_text: how a token id is written.
        prompt: what stands at the root.
        greedy: the same search with one beam: its path is drawn in the same tree.
        up_to_step: show this many steps, 0 to ``trace.n_steps`` (the default), on paper of the
            same size. The best text is marked once all are shown.
        max_per_step: candidates to draw a step. What went on or ended is drawn in any case.
        as_probability: write the running score as p(text), a product, not as a sum of logarithms.

    Raises:
        ValueError: an empty trace, a step that the search did not take, a ``greedy`` with more
            than one beam.
    """
    if not trace.nodes:
        raise ValueError("trace: is empty; nothing was searched")
    shown_steps = trace.n_steps if up_to_step is None else up_to_step
    if not 0 <= shown_steps <= trace.n_steps:
        raise ValueError(f"up_to_step: needs 0 to {trace.n_steps}, got {up_to_step}")
    if max_per_step < 1:
        raise ValueError(f"max_per_step: needs 1 or more, got {max_per_step}")
    tree = lay_out(trace, greedy, max_per_step)
    width = _LEFT + max(_CELL * tree.width, 6.4) + _RIGHT
    height = _TOP + _ROW * tree.n_rows + _BOTTOM
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    place = _places(tree, width, height)
    complete = shown_steps == trace.n_steps
    best = set(tree.best) if complete else set()
    rows = tree.rows if complete else tree.rows[:shown_steps]
    _draw_edges(axes, tree, rows, place, best)
    _draw_root(axes, place[ROOT], prompt)
    for step, row in enumerate(rows, 1):
        axes.text(0.06, place[row[0]][1], f"step {step}", va="center", color=INK, fontsize=9)
        for key in row:
            _draw_node(axes, tree, key, place[key], token_text, as_probability, key in best)
    _draw_legend(axes, tree, width, as_probability)
    return Picture(figure, _words(trace, tree, token_text, prompt, shown_steps), caption)


def beam_table(trace: BeamTrace, token_text: Callable[[int], str] = str) -> str:
    """The tree as an HTML table, for screen readers and for looking numbers up."""
    table = trace.table(lambda token: visible(token_text(token)))
    text = table.to_html(index=False, border=0, na_rep="–", float_format=lambda x: f"{x:.3g}")
    caption = html.escape(
        f"Candidates of a beam search with {trace.num_beams} beams; it ended by {trace.stop_reason}"
    )
    head, rest = text.split(">", 1)
    rest = rest.replace("<th>", '<th scope="col">')
    return f"{head}><caption>{caption}</caption>{rest}"


def _places(tree: Tree, width: float, height: float) -> dict:
    """Centre of each node in inches; a row's nodes stand evenly over the width."""
    usable = width - _LEFT - _RIGHT
    place = {ROOT: (_LEFT + usable / 2, height - _TOP)}
    for i, row in enumerate(tree.rows, 1):
        y = height - _TOP - _ROW * i
        for j, key in enumerate(row):
            place[key] = (_LEFT + usable * (j + 0.5) / len(row), y)
    return place


def _draw_edges(axes, tree: Tree, rows: list, place: dict, best: set) -> None:
    for key in (key for row in rows for key in row):
        (x0, y0), (x1, y1) = place[key[:-1]], place[key]
        status = tree.nodes[key].status
        xs, ys = (x0, x1), (y0 - (0.18 if len(key) == 1 else 0.23), y1 + 0.23)
        if key in best:
            axes.plot(xs, ys, color=CHOSEN, linewidth=4, zorder=1, solid_capstyle="round")
        elif status != GREEDY:
            colour = _LOOKS[status][1]
            axes.plot(xs, ys, color=colour, linestyle=_EDGES[status], linewidth=1.3, zorder=1)
        if key in tree.greedy:
            # Beside the other line, not on it.
            xs = tuple(x + 0.07 for x in xs)
            axes.plot(xs, ys, color=MARK, linestyle=(0, (3, 1, 1, 1)), linewidth=2, zorder=2)


def _draw_root(axes, at: tuple[float, float], prompt: str) -> None:
    text = prompt if len(prompt) <= 60 else "…" + prompt[-59:]
    box = {"boxstyle": "round,pad=0.35", "facecolor": "#F2F2F2", "edgecolor": INK}
    axes.text(*at, text, ha="center", va="center", fontsize=9, bbox=box, zorder=3)


def _draw_node(axes, tree, key, at, token_text, as_probability, is_best) -> None:
    node, (x, y) = tree.nodes[key], at
    mark, edge, fill, style, line_width = _LOOKS[node.status]
    ended = node.final_score is not None
    low, high = y - (0.34 if ended else 0.22), y + 0.23
    corner = "square" if node.status == FINISHED else "round"
    boxstyle = f"{corner},pad=0" + (",rounding_size=0.1" if corner == "round" else "")
    if is_best:  # a frame around the frame
        frame = (x - _BOX / 2 - 0.04, low - 0.04), _BOX + 0.08, high - low + 0.08
        axes.add_artist(FancyBboxPatch(*frame, boxstyle="square,pad=0", fc="none", ec=CHOSEN, lw=2))
    box = (x - _BOX / 2, low), _BOX, high - low
    axes.add_artist(
        FancyBboxPatch(*box, boxstyle=boxstyle, fc=fill, ec=edge, ls=style, lw=line_width, zorder=3)
    )
    colour = "#5A5A5A" if node.status == PRUNED else INK
    weight = "normal" if node.status == PRUNED else "bold"
    text = {"ha": "center", "va": "center", "color": colour, "zorder": 4}
    token = visible(token_text(key[-1]), max_length=9)
    axes.text(x, y + 0.11, f"{mark} {token}", fontsize=9.5, weight=weight, **text)
    axes.text(x, y - 0.09, _numbers(node, as_probability), fontsize=8, **text)
    if ended:
        axes.text(x, y - 0.25, f"score {_signed(node.final_score)}", fontsize=8, **text)


def _numbers(node, as_probability: bool) -> str:
    score = f"Π {_p(node.score)}" if as_probability else f"Σ {_signed(node.score)}"
    return f"p {_p(node.log_prob)}  {score}"


def _p(log_p: float) -> str:
    """A probability in three digits, without the 0 before the point."""
    p = math.exp(log_p)
    if p < 0.0005:
        return f"{p:.0e}".replace("e-0", "e-")
    text = f"{p:.3f}"
    return text.removeprefix("0").rstrip("0") if p < 0.9995 else "1"


def _signed(x: float) -> str:
    """A score in three digits: more would depend on the processor."""
    return (f"{x:.2f}" if abs(x) < 9.995 else f"{x:.3g}").replace("-", "−")


def _draw_legend(axes, tree: Tree, width: float, as_probability: bool) -> None:
    handles = []
    for status in dict.fromkeys(node.status for node in tree.nodes.values()):
        mark, edge, _, style, line_width = _LOOKS[status]
        label = f"{mark} {_WORDS[status]}"
        handles.append(
            Line2D([], [], color=edge, linestyle=style, linewidth=line_width, label=label)
        )
    handles.append(Line2D([], [], color=CHOSEN, linewidth=4, label="best text"))
    if tree.greedy:
        line = {"color": MARK, "linestyle": (0, (3, 1, 1, 1)), "linewidth": 2}
        handles.append(Line2D([], [], **line, label="greedy search"))
    axes.legend(
        handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8,
        handlelength=2.2, columnspacing=1.2,
    )  # fmt: skip
    sign = "Π p(text), the product" if as_probability else "Σ sum of log p"
    note = f"p of the token   {sign}   score Σ log p / length^penalty"
    axes.text(width / 2, 0.34, note, ha="center", fontsize=8, color="#444444")


def _words(trace: BeamTrace, tree: Tree, token_text, prompt: str, shown_steps: int) -> str:
    k = trace.num_beams
    said = [f"Tree of a beam search with {k} beam{'s' * (k > 1)} after “{prompt}”."]
    for step in range(1, shown_steps + 1):
        parts = []
        for status in (KEPT, FINISHED):
            nodes = [n for n in trace.at_step(step) if n.status == status]
            if nodes:
                listed = "; ".join(_text_and_numbers(trace, n, token_text) for n in nodes)
                parts.append(f"{_WORDS[status]} {listed}")
        n_pruned = sum(n.status == PRUNED for n in trace.at_step(step))
        parts += [f"{n_pruned} pruned"] if n_pruned else []
        said.append(f"Step {step}: {', '.join(parts)}.")
    if shown_steps == trace.n_steps and trace.hypotheses:
        best = " ".join(visible(token_text(t)) for t in trace.hypotheses[0].tokens)
        said.append(f"Best text: {best}, score {trace.hypotheses[0].score:.3g}.")
    if tree.greedy and shown_steps:
        path = max(tree.greedy, key=len)[:shown_steps]
        said.append(f"Greedy search goes {' '.join(visible(token_text(t)) for t in path)}.")
    return " ".join(said)


def _text_and_numbers(trace: BeamTrace, node, token_text) -> str:
    tokens = [*trace.tokens(node.parent), node.token]
    text = " ".join(visible(token_text(t)) for t in tokens)
    return f"{text} (p {_p(node.log_prob)}, p(text) {_p(node.score)})"
