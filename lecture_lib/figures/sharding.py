"""Pictures of tensor parallelism: a layer's matrices coloured by rank, a ring AllReduce."""

from matplotlib.patches import Rectangle

from ..model_spec import ModelSpec
from ..parallel import check_tensor_parallel_degree, ring_steps
from .picture import Picture
from .style import CHOSEN, GOOD, INK, KEPT, MARK, OTHER, in_course_style, new_figure

# A rank is told by colour, hatch and number.
_RANKS = (
    (KEPT, ""), (MARK, "///"), (GOOD, "\\\\\\"), ("#CC79A7", "..."),
    ("#56B4E9", "xx"), ("#F0E442", "--"), (OTHER, "++"), (CHOSEN, "||"),
)  # fmt: skip
_MOST_RANKS = len(_RANKS)
_WIDTH, _START, _SLOT, _GAP = 7.6, 0.5, 0.8, 0.4  # inches


@in_course_style
def sharded_layer(spec: ModelSpec, n_ranks: int, *, caption: str = "") -> Picture:
    """One layer's matrices, to scale, cut and coloured by the rank that has the part.

    Columns of W^Q, W^K, W^V and W^1, rows of W^O and W^2, so that each pair needs one AllReduce,
    after its second matrix.

    Raises:
        ParallelDegreeError: ranks that don't divide the heads, KV heads or F.
        ValueError: more than 8 ranks.
    """
    check_tensor_parallel_degree(spec, n_ranks)
    _check_ranks(n_ranks)
    groups = _matrices(spec)
    scale = _inches_per_element(groups)
    rows = [scale * max(m for _, m, _, _ in group) + 0.78 for group in groups.values()]
    height = sum(rows) + 0.35
    figure = new_figure(_WIDTH, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(height, 0)
    axes.axis("off")
    _draw_ranks(axes, n_ranks)
    top = 0.35
    for (words, group), tall in zip(groups.items(), rows, strict=True):
        _draw_group(axes, words, group, n_ranks, scale, top)
        top += tall
    return Picture(figure, _told_layer(spec, n_ranks, groups), caption)


def _matrices(spec: ModelSpec) -> dict[str, list[tuple[str, int, int, str]]]:
    """Name, rows, columns and cut of every matrix, by the part of the layer that it is in."""
    d, f = spec.d_model, spec.d_ff
    q, kv = spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim
    first = [("Q", d, q, "columns"), ("K", d, kv, "columns"), ("V", d, kv, "columns")]
    up = [("gate", d, f, "columns")] if spec.gated_mlp else []
    return {
        "attention": [*first, ("O", q, d, "rows")],
        "MLP": [*up, ("1", d, f, "columns"), ("2", f, d, "rows")],
    }


def _inches_per_element(groups) -> float:
    """As large as width and height of the picture allow; narrow matrices keep room for words."""
    tallest = max(m for group in groups.values() for _, m, _, _ in group)
    scale = 2.3 / tallest
    while any(
        _START + sum(max(scale * n, _SLOT) + _GAP for _, _, n, _ in group) + 1.45 > _WIDTH
        for group in groups.values()
    ):
        scale *= 0.98
    return scale


def _draw_group(axes, words, group, n_ranks, scale, top) -> None:
    """Matrices beside one another, X from the left, the AllReduce on the right."""
    middle, x = top + 0.44 + scale * max(m for _, m, _, _ in group) / 2, _START
    axes.text(0.1, middle, "X", va="center", fontsize=11)
    axes.text(0.35, middle - 0.12, "f", ha="center", fontsize=9, style="italic")
    _draw_arrow(axes, 0.26, x - 0.05, middle)
    for name, m, n, cut in group:
        width, height = scale * n, scale * m
        if cut == "rows":  # the second of the pair: what the first made goes in
            _draw_arrow(axes, x - _GAP + 0.06, x - 0.06, middle)
        y = middle - height / 2
        _draw_matrix(axes, x, y, width, height, n_ranks, cut)
        axes.text(x, y - 0.19, "W", fontsize=11, weight="bold")
        axes.text(x + 0.165, y - 0.26, name, fontsize=8, weight="bold")
        axes.text(x, y - 0.05, f"{m:,} × {n:,}", fontsize=7.5, color="#555555")
        axes.text(x, y + height + 0.13, f"by {cut}", fontsize=7.5, color="#555555")
        x += max(width, _SLOT) + _GAP
    left = x - _GAP + 0.42
    right = x - _GAP - max(_SLOT - width, 0)
    _draw_arrow(axes, right + 0.06, left - 0.06, middle)
    axes.add_patch(Rectangle((left, middle - 0.2), 0.95, 0.4, facecolor=CHOSEN, edgecolor="none"))
    axes.text(
        left + 0.475, middle, "AllReduce", ha="center", va="center_baseline", fontsize=9,
        weight="bold", color="white",
    )  # fmt: skip
    axes.text(left + 0.475, middle - 0.27, "g", ha="center", fontsize=9, style="italic")
    axes.text(left + 0.475, middle + 0.34, f"after {words}", ha="center", fontsize=8)


def _draw_arrow(axes, start: float, end: float, y: float) -> None:
    axes.annotate("", (end, y), (start, y), arrowprops={"arrowstyle": "->", "shrinkA": 0})


def _draw_matrix(axes, x, y, width, height, n_ranks, cut) -> None:
    for rank in range(n_ranks):
        colour, hatch = _RANKS[rank]
        part = (width / n_ranks, height) if cut == "columns" else (width, height / n_ranks)
        at = (x + rank * part[0], y) if cut == "columns" else (x, y + rank * part[1])
        # White lines and hatches would cover a part that is hardly wider than they are.
        line = 0.8 if min(part) > 0.05 else 0
        look = {"hatch": hatch, "edgecolor": "white"} if line else {}
        axes.add_patch(Rectangle(at, *part, facecolor=colour, linewidth=line, **look))
        if min(part) > 0.12:
            axes.text(
                at[0] + part[0] / 2, at[1] + part[1] / 2, str(rank), ha="center",
                va="center_baseline", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip


def _draw_ranks(axes, n_ranks: int) -> None:
    x = 0.5
    for rank in range(n_ranks):
        colour, hatch = _RANKS[rank]
        axes.add_patch(
            Rectangle((x, 0.1), 0.26, 0.17, facecolor=colour, hatch=hatch, edgecolor="white", lw=0)
        )
        axes.text(x + 0.31, 0.195, f"rank {rank}", va="center", fontsize=9)
        x += 0.85


def _told_layer(spec: ModelSpec, n_ranks: int, groups) -> str:
    parts = []
    for name, m, n, cut in (matrix for group in groups.values() for matrix in group):
        share = f"{m} × {n // n_ranks}" if cut == "columns" else f"{m // n_ranks} × {n}"
        parts.append(f"W^{name} ({m} × {n}) by {cut}, {share} a rank")
    return (
        f"One layer of {spec.name} over {n_ranks} ranks: {'; '.join(parts)}. One AllReduce after "
        "attention (W^O), one after the MLP (W^2)."
    )


@in_course_style
def ring_all_reduce_view(n_ranks: int = 4, *, caption: str = "") -> Picture:
    """What every rank holds after each step of a ring AllReduce, and what was sent in it.

    A cell is one rank's chunk; its bars show whose values are summed in it, and a full cell is
    finished. Framed: received in this step.

    Raises:
        ValueError: ``n_ranks`` below 2 or above 6.
    """
    if not isinstance(n_ranks, int) or isinstance(n_ranks, bool) or not 2 <= n_ranks <= 6:
        raise ValueError(f"n_ranks: needs 2 to 6, which still can be read; got {n_ranks!r}")
    steps = ring_steps(n_ranks)
    start = tuple(tuple(frozenset([r]) for _ in range(n_ranks)) for r in range(n_ranks))
    states = [("start", "", (), start)]
    states += [(f"step {i}", s.phase, s.sends, s.held) for i, s in enumerate(steps, 1)]
    n_rows = -(-len(states) // 4)
    per_row = -(-len(states) // n_rows)
    panel_w, panel_h = 7.4 / per_row, 0.72 + 0.3 * n_ranks
    height = n_rows * panel_h + 0.15
    figure = new_figure(7.6, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 7.6)
    axes.set_ylim(height, 0)
    axes.axis("off")
    for i, state in enumerate(states):
        x, y = 0.2 + panel_w * (i % per_row), 0.1 + panel_h * (i // per_row)
        _draw_state(axes, x, y, panel_w - 0.15, n_ranks, state)
    alt = (
        f"Ring AllReduce over {n_ranks} ranks, {len(steps)} steps, in each of which every rank "
        f"sends one chunk (1/{n_ranks} of the tensor) to the next rank. "
        + " ".join(_told_step(i, step, n_ranks) for i, step in enumerate(steps, 1))
    )
    return Picture(figure, alt, caption)


def _draw_state(axes, x, y, width, n_ranks, state) -> None:
    title, phase, sends, held = state
    x, width = x + 0.42, width - 0.42
    cell_w, cell_h = width / n_ranks, 0.3
    axes.text(x, y + 0.12, title, fontsize=9.5, weight="bold", va="center")
    axes.text(x, y + 0.28, phase or "own values only", fontsize=8, color="#555555", va="center")
    below = y + 0.38 + n_ranks * cell_h + 0.14
    axes.text(x - 0.06, below, "chunk", fontsize=7.5, ha="right", color="#555555")
    for chunk in range(n_ranks):
        centre = x + (chunk + 0.5) * cell_w
        axes.text(centre, below, str(chunk), fontsize=7.5, ha="center", color="#555555")
    received = {(send.target, send.chunk) for send in sends}
    for rank in range(n_ranks):
        top = y + 0.38 + rank * cell_h
        axes.text(x - 0.06, top + cell_h / 2, f"rank {rank}", fontsize=7.5, ha="right", va="center")
        for chunk in range(n_ranks):
            left = x + chunk * cell_w
            _draw_cell(axes, left, top, cell_w, cell_h, held[rank][chunk], n_ranks)
            if (rank, chunk) in received:
                axes.add_patch(
                    Rectangle(
                        (left + 0.015, top + 0.015), cell_w - 0.03, cell_h - 0.03, fill=False,
                        edgecolor=INK, linewidth=1.8, zorder=3,
                    )
                )  # fmt: skip


def _draw_cell(axes, left, top, cell_w, cell_h, ranks, n_ranks) -> None:
    axes.add_patch(
        Rectangle((left, top), cell_w, cell_h, facecolor="white", edgecolor="#BBBBBB", lw=0.6)
    )
    bar = (cell_w - 0.06) / n_ranks
    for rank in ranks:
        colour, hatch = _RANKS[rank]
        axes.add_patch(
            Rectangle(
                (left + 0.03 + rank * bar, top + 0.04), bar, cell_h - 0.08, facecolor=colour,
                hatch=hatch, edgecolor="white", linewidth=0.3,
            )
        )  # fmt: skip


def _told_step(number: int, step, n_ranks: int) -> str:
    done = [sum(len(ranks) == n_ranks for ranks in own) for own in step.held]
    return f"Step {number} ({step.phase}): each rank then has {done[0]} of {n_ranks} chunks done."


def _check_ranks(n_ranks: int) -> None:
    if n_ranks > _MOST_RANKS:
        raise ValueError(
            f"n_ranks: at most {_MOST_RANKS} can be told apart in a picture, got {n_ranks}"
        )
