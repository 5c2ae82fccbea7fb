"""Pictures of tensor parallelism: a layer's activations on their way, a ring AllReduce."""

from math import cos, pi, sin

from matplotlib.patches import Circle, Rectangle

from ..checks import check_count
from ..model_spec import ModelSpec
from ..parallel import check_tensor_parallel_degree, ring_steps
from .picture import Picture, blank_axes
from .style import CHOSEN, GOOD, INK, KEPT, MARK, OTHER, in_course_style

# A rank is told by colour, hatch and number.
_RANKS = [
    {"facecolor": colour, "hatch": hatch}
    for colour, hatch in (
        (KEPT, ""), (MARK, "///"), (GOOD, "\\\\\\"), ("#CC79A7", "..."),
        ("#56B4E9", "xx"), ("#F0E442", "--"), (OTHER, "++"), (CHOSEN, "||"),
    )
]  # fmt: skip
_WIDTH, _LANE = 7.6, 0.46  # inches
_GREY = "#555555"
_WHITE = {"facecolor": "white", "edgecolor": "#888888", "linewidth": 0.9}


@in_course_style
def sharded_layer(spec: ModelSpec, n_ranks: int) -> Picture:
    """The way of the activations through one layer, a lane for each rank.

    X goes through f to all ranks; each has its columns of W^Q, W^K, W^V and W^1, its heads or its
    part of the inner width, Y_r, and its rows of W^O and W^2. The partial sums Z_r end in g, an
    AllReduce. (After Megatron-LM, arXiv 1909.08053, figure 3.)

    Raises:
        ParallelDegreeError: ranks that don't divide the heads, KV heads or F.
        ValueError: more than 4 ranks, whose lanes would be too narrow to read.
    """
    check_tensor_parallel_degree(spec, n_ranks)
    n = check_count("n_ranks", n_ranks, most=4)
    d, f, heads = spec.d_model, spec.d_ff // n, spec.n_heads // n
    q, kv = heads * spec.head_dim, spec.n_kv_heads // n * spec.head_dim
    gated = spec.gated_mlp
    first = ("$W^{gate}, W^1$", 2 * f) if gated else ("$W^1$", f)
    groups = {  # what each group has: names and columns of the first, middle, second, its rows
        "attention": ("$W^Q, W^K, W^V$", q + 2 * kv, "softmax, times V", "$W^O$", q),
        "MLP": (*first, "silu(gate) · up" if gated else "relu", "$W^2$", f),
    }
    tall = 0.62 + n * _LANE
    height = 2 * tall + 0.1
    figure, axes = blank_axes(_WIDTH, height, (0, _WIDTH), (height, 0))
    for row, (part, group) in enumerate(groups.items()):
        _draw_group(axes, part, group, n, d, heads, row * tall)
    (_, into, _, _, z), (_, wide, _, _, y) = groups.values()
    alt = (
        f"One layer of {spec.name} over {n} ranks. Attention: X (L × {d}) goes through f, the "
        f"identity, to all ranks; each has {d} × {into} of W^Q, W^K, W^V by columns, the softmax "
        f"of its {heads} heads, Y (L × {z}), and {z} × {d} of W^O by rows; the partial sums Z (L × "
        f"{d}) are added by g, an AllReduce. MLP: in the same way {d} × {wide} of "
        f"{'W^gate and ' * gated}W^1 by columns, Y (L × {y}), {y} × {d} of W^2 by rows, g."
    )
    return Picture(figure, alt)


def _draw_box(axes, x, y, width, height, **look) -> None:
    axes.add_patch(Rectangle((x, y), width, height, **look))


def _draw_group(axes, part, group, n, d, heads, top) -> None:
    """One of a layer's two parts, from X on the left to the sum on the right."""
    names, columns, middle_words, second, rows = group
    top += 0.52
    middle = top + n * _LANE / 2
    centred = {"ha": "center", "va": "center", "fontsize": 8}

    def arrow(x0, y0, x1, y1):
        look = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0, "color": _GREY}
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=look)

    def whole(x, name):  # on all ranks
        _draw_box(axes, x, middle - 0.3, 0.5, 0.6, **_WHITE)
        axes.text(x + 0.25, middle - 0.09, name, **centred | {"fontsize": 11})
        axes.text(x + 0.25, middle + 0.14, f"L × {d}", **centred | {"fontsize": 7})

    def end(x, name, words):
        axes.add_patch(Circle((x, middle), 0.15, facecolor=CHOSEN, edgecolor="none", zorder=3))
        look = {"fontsize": 11, "style": "italic", "color": "white", "zorder": 4}
        axes.text(x, middle - 0.01, name, **centred | look)
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.text(x, middle + 0.27, words, bbox=paper, zorder=4, **centred | {"fontsize": 7.5})

    axes.text(0.08, top - 0.38, part, fontsize=9.5, weight="bold", va="center")
    for x, words in (
        (1.95, f"{names} by columns"), (3.37, ""), (5.1, f"{second} by rows")
    ):  # fmt: skip
        axes.text(x, top - 0.12, words, parse_math=True, **centred)
    whole(0.08, "X")
    end(0.93, "f", "identity")
    end(6.6, "g", "AllReduce")
    whole(7.02, "Z")
    arrow(0.58, middle, 0.78, middle)
    arrow(6.75, middle, 7.02, middle)
    for rank in range(n):
        y, box = top + (rank + 0.5) * _LANE, _LANE - 0.07
        look = _RANKS[rank] | {"edgecolor": "white", "linewidth": 0}
        arrow(1.08, middle, 1.4, y)
        _draw_box(axes, 1.4, y - box / 2, 1.1, box, **look)
        _draw_box(axes, 2.72, y - box / 2, 1.3, box, **_WHITE)
        _draw_box(axes, 4.62, y - box / 2, 0.96, box, **look)
        paper = {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.2}}
        axes.text(1.95, y, f"{d} × {columns}", **centred | paper)
        axes.text(5.1, y, f"{rows} × {d}", **centred | paper)
        words = middle_words
        if part == "attention":
            mine = f"{rank * heads} to {(rank + 1) * heads - 1}" if heads > 1 else str(rank)
            words = f"head{'s' * (heads > 1)} {mine}:\n{words}"
        axes.text(3.37, y, words, **centred | {"fontsize": 7.5})
        for x0, x1 in ((2.5, 2.72), (4.02, 4.14), (4.5, 4.62), (5.58, 5.7)):
            arrow(x0, y, x1, y)
        for x, name, size in ((4.32, "Y", rows), (5.93, "Z", d)):
            axes.text(x, y - 0.07, f"${name}_{rank}$", parse_math=True, **centred)
            axes.text(x, y + 0.08, f"L × {size}", **centred | {"fontsize": 7})
        arrow(6.17, y, 6.46, middle)


@in_course_style
def ring_all_reduce_view(n_ranks: int = 4) -> Picture:
    """What every rank holds after each step of a ring AllReduce, and what was sent in it.

    A cell is one rank's chunk; its bars show whose values are summed in it, and a full cell is
    finished. Framed: received in this step.

    Raises:
        ValueError: ``n_ranks`` below 2 or above 6, where nobody could read it.
    """
    n_ranks = check_count("n_ranks", n_ranks, least=2, most=6)
    steps = ring_steps(n_ranks)
    start = tuple(tuple(frozenset([r]) for _ in range(n_ranks)) for r in range(n_ranks))
    states = [("start", "own values only", (), start)]
    states += [(f"step {i}", s.phase, s.sends, s.held) for i, s in enumerate(steps, 1)]
    n_rows = -(-(len(states) + 1) // 4)  # the ring itself is the first panel
    per_row = -(-(len(states) + 1) // n_rows)
    panel_w, panel_h = 7.4 / per_row, 0.72 + 0.3 * n_ranks
    height = n_rows * panel_h + 0.15
    figure, axes = blank_axes(_WIDTH, height, (0, _WIDTH), (height, 0))
    _draw_ring(
        axes, 0.2 + panel_w / 2, 0.1 + panel_h / 2, min(panel_w, panel_h) / 2 - 0.28, n_ranks
    )
    for i, state in enumerate(states, 1):
        x, y = 0.2 + panel_w * (i % per_row), 0.1 + panel_h * (i // per_row)
        _draw_state(axes, x + 0.42, y, panel_w - 0.57, n_ranks, *state)
    told = []
    for i, step in enumerate(steps, 1):
        done = sum(len(ranks) == n_ranks for ranks in step.held[0])
        told.append(f"Step {i} ({step.phase}): each rank then has {done} of {n_ranks} chunks done.")
    alt = (
        f"Ring AllReduce over {n_ranks} ranks in a circle, {len(steps)} steps, in each of which "
        f"every rank sends one chunk (1/{n_ranks} of the tensor) to the next. {' '.join(told)}"
    )
    return Picture(figure, alt)


def _draw_ring(axes, x, y, radius, n_ranks) -> None:
    """The ranks in a circle; everyone sends to its right neighbour."""
    angles = [2 * pi * rank / n_ranks - pi / 2 for rank in range(n_ranks + 1)]
    places = [(x + radius * cos(angle), y + radius * sin(angle)) for angle in angles]
    look = {
        "arrowstyle": "->", "connectionstyle": f"arc3,rad={0.55 / n_ranks:.2f}", "color": _GREY,
        "shrinkA": 14, "shrinkB": 14, "linewidth": 1.4,
    }  # fmt: skip
    for rank in range(n_ranks):
        axes.annotate("", places[rank + 1], places[rank], arrowprops=look)
        edge = {"edgecolor": "white", "linewidth": 0}
        axes.add_patch(Circle(places[rank], 0.17, **_RANKS[rank] | edge, zorder=3))
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.text(
            *places[rank], str(rank), ha="center", va="center", fontsize=9, bbox=paper, zorder=4
        )


def _draw_state(axes, x, y, width, n_ranks, title, phase, sends, held) -> None:
    cell_w, cell_h = width / n_ranks, 0.3
    axes.text(x, y + 0.12, title, fontsize=9.5, weight="bold", va="center")
    axes.text(x, y + 0.28, phase, fontsize=8, color=_GREY, va="center")
    below = y + 0.38 + n_ranks * cell_h + 0.14
    axes.text(x - 0.06, below, "chunk", fontsize=7.5, ha="right", color=_GREY)
    received = {(send.target, send.chunk) for send in sends}
    bar = (cell_w - 0.06) / n_ranks
    for rank in range(n_ranks):
        centre = x + (rank + 0.5) * cell_w  # there are as many chunks as ranks
        axes.text(centre, below, str(rank), fontsize=7.5, ha="center", color=_GREY)
        top = y + 0.38 + rank * cell_h
        axes.text(x - 0.06, top + cell_h / 2, f"rank {rank}", fontsize=7.5, ha="right", va="center")
        for chunk in range(n_ranks):
            left = x + chunk * cell_w
            frame = {"facecolor": "white", "edgecolor": "#BBBBBB", "lw": 0.6}
            _draw_box(axes, left, top, cell_w, cell_h, **frame)
            for source in held[rank][chunk]:
                place = left + 0.03 + source * bar, top + 0.04, bar, cell_h - 0.08
                _draw_box(axes, *place, **_RANKS[source], edgecolor="white", linewidth=0.3)
            if (rank, chunk) in received:
                place = left + 0.015, top + 0.015, cell_w - 0.03, cell_h - 0.03
                _draw_box(axes, *place, fill=False, edgecolor=INK, linewidth=1.8, zorder=3)
