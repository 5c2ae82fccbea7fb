"""The tree of a beam search: every candidate, and which continued, ended or were dropped."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch

from ..checks import check_count, checked
from ..decoding.beam_search import Candidate
from ..decoding.beam_trace import FINISHED, KEPT, PRUNED, BeamTrace
from .picture import Picture, blank_axes
from .style import CHOSEN, INK, MARK, OTHER, in_course_style, visible
from .style import KEPT as BLUE

Key = tuple[int, ...]  # the new tokens of a text: its place in the tree
ROOT: Key = ()
ELSEWHERE = "not searched"  # status of a node that the beam never had
_MOST_PER_STEP = 9  # candidates that are drawn; what went on or ended is drawn in any case
_CELL, _ROW, _LEFT, _TOP, _BOTTOM, _RIGHT = 1.1, 0.88, 0.6, 0.3, 1.5, 0.06  # inches
# Told apart in grey print, too: (fill, edge, letters); what was dropped has no box.
_BOXES = {
    KEPT: ("#E4EFF8", BLUE, INK),
    FINISHED: ("#00694B", "#00694B", "#FFFFFF"),
    **dict.fromkeys((PRUNED, ELSEWHERE), ("none", "none", "#5A5A5A")),
}
BEAM, GREEDY, FULL = "beam's result", "greedy's result", "best of all"
_RESULTS = {  # how the line to it looks, and how far beside the other lines it is
    FULL: ({"color": CHOSEN, "linewidth": 7, "solid_capstyle": "round"}, 0.0),
    BEAM: ({"color": BLUE, "linewidth": 3}, 0.0),
    GREEDY: ({"color": MARK, "linewidth": 2.5, "linestyle": (0, (3, 1.5))}, 0.08),
}


class Tree(NamedTuple):
    """What is drawn of a search. Siblings have the order of their token ids in every step."""

    nodes: dict[Key, Candidate]  # of each drawn text
    rows: list[list[Key]]  # the texts of each step, from left to right
    results: dict[str, Key]  # the best text of the beam, and of the searches beside it


def lay_out(trace: BeamTrace, greedy: BeamTrace | None, full: BeamTrace | None = None) -> Tree:
    """The Tree of a search, with the results of two others in it."""
    if greedy is not None and (k := greedy.num_beams) != 1:
        raise ValueError(f"greedy: needs a search with num_beams=1, got one with {k}")
    nodes = {tuple(node.tokens): node for node in trace.nodes}
    drawn = {k for k, n in nodes.items() if n.status != PRUNED or n.rank <= _MOST_PER_STEP}
    results = {}
    for name, search in {FULL: full, BEAM: trace, GREEDY: greedy}.items():
        if search is not None:
            best = results[name] = tuple(search.sequences[0])
            for node in search.nodes:
                key = tuple(node.tokens)
                if best[: len(key)] == key:
                    drawn.add(key)
                    nodes.setdefault(key, replace(node, status=ELSEWHERE))
    rows, order = [], {ROOT: 0}
    for step in range(1, max(map(len, drawn)) + 1):
        row = [key for key in drawn if len(key) == step]
        row.sort(key=lambda key: (order[key[:-1]], key))
        order |= {key: i for i, key in enumerate(row)}
        rows.append(row)
    return Tree({key: nodes[key] for key in drawn}, rows, results)


@in_course_style
def beam_tree(
    trace: BeamTrace,
    token_text: Callable[[int], str] = str,
    *,
    prompt: str = "prompt",
    greedy: BeamTrace | None = None,
    full: BeamTrace | None = None,
    up_to_step: int | None = None,
    as_probability: bool = False,
) -> Picture:
    """Draw a beam search as a tree, from the prompt downwards.

    Args:
        trace: what ``beam_search`` returned.
        token_text: how a token id is written.
        prompt: what is written at the root.
        greedy: the same search with one beam: the way to its result is drawn in the same tree.
        full: the same search with beams for all texts, which finds the best of all.
        up_to_step: show so many steps, on paper of the same size; results are named with the last.
        as_probability: write the running score as p(text), a product, not as a sum of logarithms.

    Raises:
        ValueError: an empty trace, a step that was not taken, a ``greedy`` with several beams.
    """
    if not trace.nodes:
        raise ValueError("trace: is empty; nothing was searched")
    shown_steps = trace.n_steps if up_to_step is None else up_to_step
    check_count("up_to_step", shown_steps, least=0, most=trace.n_steps)
    tree = lay_out(trace, greedy, full)
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
    all_shown = shown_steps == trace.n_steps
    for step, row in enumerate(tree.rows[: len(tree.rows) if all_shown else shown_steps], 1):
        axes.text(0.06, place[row[0]][1], f"step {step}", va="center", color=INK, fontsize=9)
        for key in row:
            _draw_edges(axes, tree, key, place, all_shown)
            name = visible(token_text(key[-1]), max_length=9)
            _draw_node(axes, tree.nodes[key], name, place[key], trace, as_probability)
            names = "\n".join(name for name, best in tree.results.items() if best == key)
            if all_shown and names:
                at = place[key][0], place[key][1] - 0.37
                axes.text(*at, names, ha="center", va="top", fontsize=8, weight="bold")
    _draw_legend(axes, trace, tree, width, as_probability)
    return Picture(figure, _words(trace, tree, token_text, prompt, shown_steps))


@checked
def beam_table(trace: BeamTrace, token_text: Callable[[int], str]) -> str:
    """The tree as an HTML table, for screen readers and for looking numbers up."""
    table = trace.table(lambda token: visible(token_text(token)))
    text = table.to_html(index=False, border=0, na_rep="–", float_format=lambda x: f"{x:.3g}")
    caption = f"Candidates of a beam search with {trace.num_beams} beams"
    text = text.replace(">", f"><caption>{caption}</caption>", 1)
    return text.replace("<th>", '<th scope="col">')


def _draw_edges(axes, tree: Tree, key: Key, place: dict, all_shown: bool) -> None:
    (x0, y0), (x1, y1) = place[key[:-1]], place[key]
    ys = (y0 - (0.18 if len(key) == 1 else 0.21), y1 + 0.21)
    axes.plot((x0, x1), ys, color=OTHER, linewidth=0.8, zorder=1)
    for name, best in tree.results.items():
        if best[: len(key)] == key and (all_shown or name == GREEDY):
            look, beside = _RESULTS[name]
            axes.plot((x0 + beside, x1 + beside), ys, **look, zorder=2)


def _draw_node(axes, node: Candidate, name: str, at, trace: BeamTrace, as_probability) -> None:
    x, y = at
    fill, edge, ink = _BOXES[node.status]
    scored = node.final_score is not None and trace.length_penalty != 0
    low = y - (0.33 if scored else 0.21)
    look = {"boxstyle": "round,pad=0,rounding_size=0.06", "fc": fill, "ec": edge, "zorder": 3}
    axes.add_artist(FancyBboxPatch((x - 0.5, low), 1, y + 0.21 - low, **look))
    text = {"ha": "center", "va": "center", "zorder": 4, "color": ink}
    score = f"× {_p(node.log_prob)} = {_p(node.score)}"
    if not as_probability:
        score = f"p {_p(node.log_prob)}  Σ {_signed(node.score)}"
    dropped = node.status in (PRUNED, ELSEWHERE)
    axes.text(x, y + 0.1, name, fontsize=9.5, weight="normal" if dropped else "bold", **text)
    axes.text(x, y - 0.09, score, fontsize=8, **text)
    if scored:
        axes.text(x, y - 0.24, f"score {_signed(node.final_score)}", fontsize=8, **text)


def _p(log_p: float) -> str:
    """A probability in three digits, without the 0 before the point."""
    p = math.exp(log_p)
    if p < 0.0005:
        return f"{p:.0e}".replace("e-0", "e-")
    return f"{p:.3f}".removeprefix("0").rstrip("0") if p < 0.9995 else "1"


def _signed(x: float) -> str:
    """A score in three digits: more would depend on the processor."""
    return (f"{x:.2f}" if abs(x) < 9.995 else f"{x:.3g}").replace("-", "−")


def _draw_legend(axes, trace: BeamTrace, tree: Tree, width: float, as_probability: bool) -> None:
    statuses = [x for x in (KEPT, FINISHED) if x in {node.status for node in tree.nodes.values()}]
    shown = [Patch(fc=_BOXES[x][0], ec=_BOXES[x][1], label=x) for x in statuses]
    shown += [Line2D([], [], **_RESULTS[name][0], label=name) for name in tree.results]
    axes.legend(
        handles=shown, loc="lower center", ncols=len(shown),
        frameon=False, fontsize=8, handlelength=2.2, columnspacing=1.2,
    )  # fmt: skip
    note = (
        "× p of the token = p of the text" if as_probability else "p of the token   Σ sum of log p"
    )
    note += "   ·   no box: pruned or never searched"
    if (penalty := trace.length_penalty) != 0:
        note += "\nscore: sum of log p / length" + f" ^ {penalty:g}" * (penalty != 1)
    if max(trace.n_ranked) > len(max(trace.steps, key=len)):
        note += f"\ndrawn: the best of up to {max(trace.n_ranked):,} candidates per step"
    axes.text(width / 2, 0.3, note, ha="center", va="bottom", fontsize=8, color="#444444")


def _words(trace: BeamTrace, tree: Tree, token_text, prompt: str, shown_steps: int) -> str:
    def text(tokens) -> str:
        return " ".join(visible(token_text(token)) for token in tokens)

    k = trace.num_beams
    said = [f"Tree of a beam search with {k} beam{'s' * (k > 1)} after “{prompt}”."]
    for step in range(1, shown_steps + 1):
        listed, n_left = [], trace.n_ranked[step - 1]
        for status in (KEPT, FINISHED):
            nodes = [node for node in trace.steps[step - 1] if node.status == status]
            ps = [f"(p {_p(node.log_prob)}, p(text) {_p(node.score)})" for node in nodes]
            texts = (f"{text(n.tokens)} {p}" for n, p in zip(nodes, ps, strict=True))
            listed += [f"{status} {'; '.join(texts)}"] * bool(nodes)
            n_left -= len(nodes)
        listed += [f"{n_left:,} pruned"] * bool(n_left)
        said.append(f"Step {step}: {', '.join(listed)}.")
    if shown_steps == trace.n_steps:
        best = trace.finished[0]
        said.append(f"Beam's result: {text(best.tokens)}, score {best.final_score:.3g}.")
        if FULL in tree.results:
            said.append(f"Best of all: {text(tree.results[FULL])}.")
    if GREEDY in tree.results and shown_steps:
        said.append(f"Greedy search goes {text(tree.results[GREEDY][:shown_steps])}.")
    return " ".join(said)
