"""Pictures of next-token distributions: one step, and a text growing step by step."""

from collections.abc import Sequence

from ..checks import check_count, check_number
from .picture import Picture, new_figure
from .style import CHOSEN, KEPT, OTHER, in_course_style, visible

Bars = Sequence[tuple[str, float]]


@in_course_style
def next_token_bars(
    top: Bars, *, context: str = "", chosen: str | None = None, longest: float = 0.0
) -> Picture:
    """The likeliest next tokens as bars, and one bar for all the others together, if there are any.

    Args:
        top: (token, probability) pairs, the likeliest first.
        context: the text that the distribution follows, for the title.
        chosen: the token to mark.
        longest: the axis has room for this probability as well, so that pictures that are compared
            can have the same axis.

    Raises:
        ValueError: no tokens, or probabilities that are negative or sum to more than 1.
    """
    _check(top)
    check_number("longest", longest, least=0, most=1)
    rest = max(0.0, 1.0 - sum(p for _, p in top))
    if rest < 1e-6:  # a toy model's whole vocabulary
        rest = 0.0
    height = 0.9 + 0.27 * (len(top) + (rest > 0))
    # Margins by hand: a layout engine would draw everything twice, and this picture is redrawn
    # while a reader steps through a text.
    figure = new_figure(7.0, height, layout=None)
    left = max(0.13, 0.02 + 0.0135 * max(len(visible(token)) for token, _ in top))
    axes = figure.add_axes((left, 0.5 / height, 0.985 - left, 1 - 0.82 / height))
    longest = max(longest, _draw_bars(axes, top, chosen, rest, mark="  ◀ chosen"))
    axes.set_xlim(0, 1.27 * longest)  # there is room for the longest bar's number and mark
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= min(1, 1.27 * longest)])
    axes.set_xlabel("probability")
    if context:
        axes.set_title(f"after “{_tail(context)}”")
    listed = ", ".join(f"{visible(t)} {p:.3f}" for t, p in top)
    others = f"; all others {rest:.3f}" if rest else ""
    alt = f"Bar chart of the next token after “{_tail(context)}”: {listed}{others}."
    if chosen is not None:
        alt += f" Chosen: {visible(chosen)}."
    return Picture(figure, alt)


@in_course_style
def generation_filmstrip(
    steps: Sequence[tuple[str, Bars, str]], *, n_columns: int = 4, caption: str = ""
) -> Picture:
    """Several steps side by side: (text so far, likeliest tokens, chosen token) for each."""
    n_columns = min(check_count("n_columns", n_columns), len(steps))
    n_rows = -(-len(steps) // n_columns)
    bars = max(len(top) for _, top, _ in steps)
    figure = new_figure(2.3 * n_columns, n_rows * (0.85 + 0.24 * bars))
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # inches around each step
    told, shared, longest = [], None, 0.0
    for i, (context, top, chosen) in enumerate(steps, 1):
        _check(top)
        axes = shared = figure.add_subplot(n_rows, n_columns, i, sharex=shared)
        longest = max(longest, _draw_bars(axes, top, chosen))
        tail = _tail(context, 15)
        start = tail.find(" ")  # cut between words where there are any
        if tail.startswith("…") and 0 < start < len(tail) - 1:
            tail = f"…{tail[start:]}"
        axes.set_title(f"{i}: {tail}", fontsize=9)
        axes.set_xticks([])
        p = dict(top).get(chosen)
        told.append(f"step {i} {visible(chosen)}" + ("" if p is None else f" ({p:.3f})"))
    shared.set_xlim(0, 1.4 * longest)  # of all steps, so that their bars can be compared
    alt = f"Next-token bars of {len(steps)} steps; chosen: " + ", ".join(told) + "."
    return Picture(figure, alt, caption)


def _draw_bars(axes, top: Bars, chosen: str | None, rest: float = 0.0, mark: str = "") -> float:
    """Bars with their numbers; returns the length of the longest."""
    bars = [(visible(token), p, CHOSEN if token == chosen else KEPT) for token, p in top]
    if rest:
        bars.append(("all others", rest, OTHER))
    names, values, colours = zip(*bars, strict=True)
    axes.barh(range(len(bars)), values, color=colours)
    for row, (_, p, colour) in enumerate(bars):
        text = f" {p:.3f}{mark if colour == CHOSEN else ''}"
        axes.text(p, row, text, va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), names)
    axes.invert_yaxis()
    return max(values)


def _check(top: Bars) -> None:
    if not top:
        raise ValueError("top: is empty; needs at least one (token, probability) pair")
    if any(not 0 <= p <= 1 + 1e-6 for _, p in top) or sum(p for _, p in top) > 1 + 1e-4:
        raise ValueError(f"top: probabilities must be 0 or more and sum to at most 1, got {top}")


def _tail(text: str, length: int = 48) -> str:
    text = visible(text, 10**6, space=" ")
    return text if len(text) <= length else "…" + text[-(length - 1) :]
