"""Pictures of tensor parallelism: a layer's matrices coloured by rank, a ring AllReduce."""

from matplotlib.patches import Rectangle

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
_WIDTH, _START, _SLOT, _GAP = 7.6, 0.5, 0.8, 0.4  # inches
_GREY = "#555555"


@in_course_style
def sharded_layer(spec: ModelSpec, n_ranks: int) -> Picture:
    """One layer's matrices, to scale, cut and coloured by the rank that has the part.

    Columns of W^Q, W^K, W^V and W^1, rows of W^O and W^2, so that each pair needs one AllReduce,
    after its second matrix.

    Raises:
        ParallelDegreeError: ranks that don't divide the heads, KV heads or F.
        ValueError: more than 8 ranks.
    """
    check_tensor_parallel_degree(spec, n_ranks)
    check_count("n_ranks", n_ranks, most=len(_RANKS))  # more could not be told apart
    d, f = spec.d_model, spec.d_ff
    q, kv = spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim
    first = [("Q", d, q, "columns"), ("K", d, kv, "columns"), ("V", d, kv, "columns")]
    up = [("gate", d, f, "columns")] if spec.gated_mlp else []
    groups = {  # name, rows, columns and cut of every matrix
        "attention": [*first, ("O", q, d, "rows")],
        "MLP": [*up, ("1", d, f, "columns"), ("2", f, d, "rows")],
    }
    # As large as the picture allows; narrow matrices keep room for words.
    scale = 2.3 / max(m for group in groups.values() for _, m, _, _ in group)
    while any(
        _START + sum(max(scale * n, _SLOT) + _GAP for _, _, n, _ in group) + 1.45 > _WIDTH
        for group in groups.values()
    ):
        scale *= 0.98
    rows = [scale * max(m for _, m, _, _ in group) + 0.78 for group in groups.values()]
    height = sum(rows) + 0.35
    figure, axes = blank_axes(_WIDTH, height, (0, _WIDTH), (height, 0))
    for rank in range(n_ranks):
        x = 0.5 + 0.85 * rank
        _draw_box(axes, x, 0.1, 0.26, 0.17, **_RANKS[rank], edgecolor="white", lw=0)
        axes.text(x + 0.31, 0.195, f"rank {rank}", va="center", fontsize=9)
    top, parts = 0.35, []
    for (words, group), tall in zip(groups.items(), rows, strict=True):
        _draw_group(axes, words, group, n_ranks, scale, top)
        top += tall
        for name, m, n, cut in group:
            share = f"{m} × {n // n_ranks}" if cut == "columns" else f"{m // n_ranks} × {n}"
            parts.append(f"W^{name} ({m} × {n}) by {cut}, {share} a rank")
    alt = (
        f"One layer of {spec.name} over {n_ranks} ranks: {'; '.join(parts)}. One AllReduce after "
        "attention (W^O), one after the MLP (W^2)."
    )
    return Picture(figure, alt)


def _draw_box(axes, x, y, width, height, **look) -> None:
    axes.add_patch(Rectangle((x, y), width, height, **look))


def _draw_group(axes, words, group, n_ranks, scale, top) -> None:
    """Matrices beside one another, X from the left, the AllReduce on the right."""

    def arrow(start: float, end: float) -> None:
        look = {"arrowstyle": "->", "shrinkA": 0}
        axes.annotate("", (end, middle), (start, middle), arrowprops=look)

    middle, x = top + 0.44 + scale * max(m for _, m, _, _ in group) / 2, _START
    axes.text(0.1, middle, "X", va="center", fontsize=11)
    axes.text(0.35, middle - 0.12, "f", ha="center", fontsize=9, style="italic")
    arrow(0.26, x - 0.05)
    for name, m, n, cut in group:
        width, height = scale * n, scale * m
        if cut == "rows":  # the second of the pair: what the first made goes in
            arrow(x - _GAP + 0.06, x - 0.06)
        y = middle - height / 2
        _draw_matrix(axes, x, y, width, height, n_ranks, cut)
        axes.text(x, y - 0.19, "W", fontsize=11, weight="bold")
        axes.text(x + 0.165, y - 0.26, name, fontsize=8, weight="bold")
        axes.text(x, y - 0.05, f"{m:,} × {n:,}", fontsize=7.5, color=_GREY)
        axes.text(x, y + height + 0.13, f"by {cut}", fontsize=7.5, color=_GREY)
        x += max(width, _SLOT) + _GAP
    left = x - _GAP + 0.42
    arrow(x - _GAP - max(_SLOT - width, 0) + 0.06, left - 0.06)
    _draw_box(axes, left, middle - 0.2, 0.95, 0.4, facecolor=CHOSEN, edgecolor="none")
    centre = {"x": left + 0.475, "ha": "center"}
    look = {"fontsize": 9, "weight": "bold", "color": "white"}
    axes.text(y=middle, s="AllReduce", va="center_baseline", **centre, **look)
    axes.text(y=middle - 0.27, s="g", fontsize=9, style="italic", **centre)
    axes.text(y=middle + 0.34, s=f"after {words}", fontsize=8, **centre)


def _draw_matrix(axes, x, y, width, height, n_ranks, cut) -> None:
    to_right, down = (width / n_ranks, 0) if cut == "columns" else (0, height / n_ranks)
    wide, tall = to_right or width, down or height
    # White lines and hatches would cover a part that is hardly wider than they are.
    is_wide = min(wide, tall) > 0.05
    for rank in range(n_ranks):
        left, top = x + rank * to_right, y + rank * down
        look = _RANKS[rank] | ({"edgecolor": "white"} if is_wide else {"hatch": ""})
        _draw_box(axes, left, top, wide, tall, **look, linewidth=0.8 if is_wide else 0)
        if min(wide, tall) > 0.12:
            axes.text(
                left + wide / 2, top + tall / 2, str(rank), ha="center", va="center_baseline",
                fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip


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
    n_rows = -(-len(states) // 4)
    per_row = -(-len(states) // n_rows)
    panel_w, panel_h = 7.4 / per_row, 0.72 + 0.3 * n_ranks
    height = n_rows * panel_h + 0.15
    figure, axes = blank_axes(_WIDTH, height, (0, _WIDTH), (height, 0))
    for i, state in enumerate(states):
        x, y = 0.2 + panel_w * (i % per_row), 0.1 + panel_h * (i // per_row)
        _draw_state(axes, x + 0.42, y, panel_w - 0.57, n_ranks, *state)
    told = []
    for i, step in enumerate(steps, 1):
        done = sum(len(ranks) == n_ranks for ranks in step.held[0])
        told.append(f"Step {i} ({step.phase}): each rank then has {done} of {n_ranks} chunks done.")
    alt = (
        f"Ring AllReduce over {n_ranks} ranks, {len(steps)} steps, in each of which every rank "
        f"sends one chunk (1/{n_ranks} of the tensor) to the next rank. {' '.join(told)}"
    )
    return Picture(figure, alt)


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
