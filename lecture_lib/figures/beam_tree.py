"""The tree of a beam search: every candidate, what went on, what ended, what was dropped."""

import html
import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from ..checks import check_count, checked
from ..decoding.beam_search import Candidate
from ..decoding.beam_trace import FINISHED, KEPT, PRUNED, BeamTrace
from .picture import Picture, blank_axes
from .style import CHOSEN, GOOD, INK, MARK, OTHER, in_course_style, visible
from .style import KEPT as BLUE

Key = tuple[int, ...]  # the new tokens of a text: its place in the tree
ROOT: Key = ()
GREEDY = "only greedy search goes here"  # status of a node that the beam never had
_MOST_PER_STEP = 9  # candidates that are drawn; what went on or ended is drawn in any case
_CELL, _ROW, _LEFT, _TOP, _BOTTOM, _RIGHT = 1.1, 0.86, 0.6, 0.3, 1.0, 0.06  # inches
# Told apart by mark, outline and corner, not only by colour: (mark, edge, fill, line style, width).
_LOOKS = {
    KEPT: ("●", BLUE, "#E4EFF8", "-", 1.6),
    FINISHED: ("■", GOOD, "#DDF3EB", "-", 2.6),
    PRUNED: ("✕", OTHER, "#FFFFFF", (0, (4, 2)), 1.0),
    GREEDY: ("○", MARK, "#FFFFFF", (0, (1, 1)), 1.6),
}
_GREEDY_LINE = {"color": MARK, "linestyle": (0, (3, 1, 1, 1)), "linewidth": 2}


class Tree(NamedTuple):
    """What is drawn of a search.

    The children in a row have the order of their parents above them, the likelier first.
    """

    nodes: dict[Key, Candidate]  # of each drawn text
    rows: list[list[Key]]  # the texts of each step, from left to right
    best: tuple[Key, ...]  # the texts on the way to the best one
    greedy: tuple[Key, ...]  # on the way of greedy search


def lay_out(trace: BeamTrace, greedy: BeamTrace | None) -> Tree:
    """The Tree of a search, with the path of a greedy search in it."""
    if greedy is not None and greedy.num_beams != 1:
        raise ValueError(
            f"greedy: needs a search with num_beams=1, got one with {greedy.num_beams}"
        )
    searched = {tuple(node.tokens): node for node in trace.nodes}
    path: dict[Key, Candidate] = {}
    for node in greedy.path(greedy.finished[0]) if greedy else []:
        key = tuple(node.tokens)
        path[key] = searched.get(key) or replace(node, status=GREEDY, final_score=None)
    nodes = {
        key: node
        for key, node in (searched | path).items()
        if node.status != PRUNED or node.rank <= _MOST_PER_STEP or key in path
    }
    rows, order = [], {ROOT: 0}
    for step in range(1, max(map(len, nodes)) + 1):
        row = [key for key in nodes if len(key) == step]
        row.sort(key=lambda key: (order[key[:-1]], -nodes[key].score, key))
        order |= {key: i for i, key in enumerate(row)}
        rows.append(row)
    best = tuple(tuple(node.tokens) for node in trace.path(trace.finished[0]))
    return Tree(nodes, rows, best, tuple(path))


@in_course_style
def beam_tree(
    trace: BeamTrace,
    token_text: Callable[[int], str] = str,
    *,
    prompt: str = "prompt",
    greedy: BeamTrace | None = None,
    up_to_step: int | None = None,
    as_probability: bool = False,
) -> Picture:
    """Draw a beam search as a tree, from the prompt downwards.

    Args:
        trace: what ``beam_search`` returned.
        token_text: how a token id is written.
        prompt: what is written at the root.
        greedy: the same search with one beam: its path is drawn in the same tree.
        up_to_step: show this many steps, 0 to ``trace.n_steps`` (the default), on paper of the
            same size. The best text is marked once all are shown.
        as_probability: write the running score as p(text), a product, not as a sum of logarithms.

    Raises:
        ValueError: an empty trace, a step that the search did not take, a ``greedy`` with more
            than one beam.
    """
    if not trace.nodes:
        raise ValueError("trace: is empty; nothing was searched")
    shown_steps = trace.n_steps if up_to_step is None else up_to_step
    check_count("up_to_step", shown_steps, least=0, most=trace.n_steps)
    tree = lay_out(trace, greedy)
    usable = max(_CELL * max(map(len, tree.rows)), 6.4)
    width, height = _LEFT + usable + _RIGHT, _TOP + _ROW * len(tree.rows) + _BOTTOM
    figure, axes = blank_axes(width, height, (0, width), (0, height))
    # Centre of each node in inches; a row's nodes are spread evenly over the width.
    place = {ROOT: (_LEFT + usable / 2, height - _TOP)}
    for i, row in enumerate(tree.rows, 1):
        for j, key in enumerate(row):
            place[key] = (_LEFT + usable * (j + 0.5) / len(row), height - _TOP - _ROW * i)
    box = {"boxstyle": "round,pad=0.35", "facecolor": "#F2F2F2", "edgecolor": INK}
    root = prompt if len(prompt) <= 60 else "…" + prompt[-59:]
    axes.text(*place[ROOT], root, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    best = tree.best if shown_steps == trace.n_steps else ()
    rows = tree.rows[:shown_steps]
    for key in (key for row in rows for key in row):
        _draw_edge(axes, tree, key, place, key in best)
    for step, row in enumerate(rows, 1):
        axes.text(0.06, place[row[0]][1], f"step {step}", va="center", color=INK, fontsize=9)
        for key in row:
            name = visible(token_text(key[-1]), max_length=9)
            _draw_node(axes, tree.nodes[key], name, place[key], as_probability, key in best)
    _draw_legend(axes, tree, width, as_probability)
    return Picture(figure, _words(trace, tree, token_text, prompt, shown_steps))


@checked
def beam_table(trace: BeamTrace, token_text: Callable[[int], str]) -> str:
    """The tree as an HTML table, for screen readers and for looking numbers up."""
    table = trace.table(lambda token: visible(token_text(token)))
    text = table.to_html(index=False, border=0, na_rep="–", float_format=lambda x: f"{x:.3g}")
    caption = html.escape(
        f"Candidates of a beam search with {trace.num_beams} beams; it ended by {trace.stop_reason}"
    )
    text = text.replace(">", f"><caption>{caption}</caption>", 1)
    return text.replace("<th>", '<th scope="col">')


def _draw_edge(axes, tree: Tree, key: Key, place: dict, is_best: bool) -> None:
    (x0, y0), (x1, y1) = place[key[:-1]], place[key]
    xs, ys = (x0, x1), (y0 - (0.18 if len(key) == 1 else 0.23), y1 + 0.23)
    status = tree.nodes[key].status
    if is_best:
        axes.plot(xs, ys, color=CHOSEN, linewidth=4, zorder=1, solid_capstyle="round")
    elif status != GREEDY:
        look = {"color": _LOOKS[status][1], "linestyle": (0, (1, 2)) if status == PRUNED else "-"}
        axes.plot(xs, ys, linewidth=1.3, zorder=1, **look)
    if key in tree.greedy:  # beside the other line, not on it
        axes.plot([x + 0.07 for x in xs], ys, **_GREEDY_LINE, zorder=2)


def _draw_node(axes, node: Candidate, name: str, at, as_probability: bool, is_best: bool) -> None:
    x, y = at
    mark, edge, fill, style, line_width = _LOOKS[node.status]
    ended = node.final_score is not None
    low, high = y - (0.34 if ended else 0.22), y + 0.23

    def draw_box(margin: float, **look) -> None:
        corner, size = (x - 0.5 - margin, low - margin), (1 + 2 * margin, high - low + 2 * margin)
        axes.add_artist(FancyBboxPatch(corner, *size, **look))

    square, rounded = "square,pad=0", "round,pad=0,rounding_size=0.1"
    if is_best:  # a frame around the frame
        draw_box(0.04, boxstyle=square, fc="none", ec=CHOSEN, lw=2)
    corners = square if node.status == FINISHED else rounded
    draw_box(0, boxstyle=corners, fc=fill, ec=edge, ls=style, lw=line_width, zorder=3)
    pruned = node.status == PRUNED
    text = {"ha": "center", "va": "center", "zorder": 4, "color": "#5A5A5A" if pruned else INK}
    weight = "normal" if pruned else "bold"
    score = f"Π {_p(node.score)}" if as_probability else f"Σ {_signed(node.score)}"
    axes.text(x, y + 0.11, f"{mark} {name}", fontsize=9.5, weight=weight, **text)
    axes.text(x, y - 0.09, f"p {_p(node.log_prob)}  {score}", fontsize=8, **text)
    if ended:
        axes.text(x, y - 0.25, f"score {_signed(node.final_score)}", fontsize=8, **text)


def _p(log_p: float) -> str:
    """A probability in three digits, without the 0 before the point."""
    p = math.exp(log_p)
    if p < 0.0005:
        return f"{p:.0e}".replace("e-0", "e-")
    return f"{p:.3f}".removeprefix("0").rstrip("0") if p < 0.9995 else "1"


def _signed(x: float) -> str:
    """A score in three digits: more would depend on the processor."""
    return (f"{x:.2f}" if abs(x) < 9.995 else f"{x:.3g}").replace("-", "−")


def _draw_legend(axes, tree: Tree, width: float, as_probability: bool) -> None:
    lines = []
    for status in dict.fromkeys(node.status for node in tree.nodes.values()):
        mark, edge, _, style, line_width = _LOOKS[status]
        look = {"color": edge, "linestyle": style, "linewidth": line_width}
        lines.append(look | {"label": f"{mark} {status}"})
    lines.append({"color": CHOSEN, "linewidth": 4, "label": "best text"})
    if tree.greedy:
        lines.append(_GREEDY_LINE | {"label": "greedy search"})
    axes.legend(
        handles=[Line2D([], [], **line) for line in lines], loc="lower center", ncols=len(lines),
        frameon=False, fontsize=8, handlelength=2.2, columnspacing=1.2,
    )  # fmt: skip
    sign = "Π p(text), the product" if as_probability else "Σ sum of log p"
    note = f"p of the token   {sign}   score Σ log p / length^penalty"
    axes.text(width / 2, 0.34, note, ha="center", fontsize=8, color="#444444")


def _words(trace: BeamTrace, tree: Tree, token_text, prompt: str, shown_steps: int) -> str:
    def text(tokens) -> str:
        return " ".join(visible(token_text(token)) for token in tokens)

    k = trace.num_beams
    said = [f"Tree of a beam search with {k} beam{'s' * (k > 1)} after “{prompt}”."]
    for step in range(1, shown_steps + 1):
        parts = {KEPT: [], FINISHED: [], PRUNED: []}
        for n in trace.at_step(step):
            ps = f"(p {_p(n.log_prob)}, p(text) {_p(n.score)})"
            parts[n.status].append(f"{text(n.tokens)} {ps}")
        n_pruned = len(parts.pop(PRUNED))
        listed = [f"{status} {'; '.join(texts)}" for status, texts in parts.items() if texts]
        listed += [f"{n_pruned} pruned"] if n_pruned else []
        said.append(f"Step {step}: {', '.join(listed)}.")
    if shown_steps == trace.n_steps:
        best = trace.finished[0]
        said.append(f"Best text: {text(best.tokens)}, score {best.final_score:.3g}.")
    if tree.greedy and shown_steps:
        said.append(f"Greedy search goes {text(max(tree.greedy, key=len)[:shown_steps])}.")
    return " ".join(said)
