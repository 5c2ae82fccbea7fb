"""Conversations: tokens coloured by their probability, as HTML and as a PNG."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.patches import Rectangle

from ..scoring import token_text
from .picture import Picture
from .scores import WORST, ink_on, surprise_colour
from .style import INK, KEPT, blank_axes, font_families, in_course_style, visible
from .tokens import lay_out

_DARKEST = -5.0  # nats: chosen tokens are rarely below p = 0.007, where the colours end
_CHARS_PER_LINE = 98
_MOST_LINES = 40
_FRAME = "#999999"


@dataclass(frozen=True)
class Span:
    """A piece of text that came with one token, or with several (a character in parts).

    Attributes:
        text: the piece, "" for an end token. log_prob: of its tokens together, in nats.
        title: for the pointer: its tokens, and what else was likely.
        last: number of its last token, counted from 1.
    """

    text: str
    log_prob: float
    title: str
    last: int


def spans_of(pieces: Sequence[str], logprobs: Sequence, tokenizer) -> list[Span]:
    """The pieces of an answer with the tokens that they came from.

    Tokens without text of their own (a part of a character, a possible stop string) belong to the
    piece that comes next; such a piece has the product of their probabilities.

    Args:
        logprobs: a ``TokenLogprobs`` for each token.
    """
    # What was held back until the end belongs to the last token.
    pieces = [*pieces[: len(logprobs) - 1], "".join(pieces[len(logprobs) - 1 :])]
    spans, waiting = [], []
    for number, (position, piece) in enumerate(zip(logprobs, pieces, strict=False), 1):
        waiting.append(position)
        if piece or number == len(logprobs):
            total = math.fsum(p.log_prob for p in waiting)
            title = "\n".join(title_of(p, tokenizer) for p in waiting)
            spans.append(Span(piece, total, title, number))
            waiting = []
    return spans


def title_of(position, tokenizer) -> str:
    """A token's probability, and the likeliest candidates, in words."""
    names = [(visible(token_text(tokenizer, i)), math.exp(x)) for i, x in position.top]
    best = ", ".join(f"{name} {p:.3f}" for name, p in names)
    chosen = visible(token_text(tokenizer, position.token_id))
    return f"{chosen} p = {math.exp(position.log_prob):.3f}; likeliest: {best}"


def candidates(position, tokenizer) -> tuple[list[tuple[str, float]], str]:
    """(token, p) of the likeliest, with the chosen one, and the chosen token: for bars."""
    top = dict(position.top)
    top.setdefault(position.token_id, position.log_prob)
    shown = [(token_text(tokenizer, i), math.exp(x)) for i, x in top.items()]
    return shown, token_text(tokenizer, position.token_id)


def answer_html(spans: Sequence[Span], *, selected: int | None = None, live: bool = False) -> str:
    """An answer's tokens in colour; the title of each shows on hover.

    Args:
        selected: number of a token to frame. live: show that it is still growing.
    """
    chosen = next((s for s in spans if selected is not None and s.last >= selected), None)
    shown = ""
    for span in spans:
        frame = f"outline:2px solid {KEPT};" if span is chosen else ""
        shown += (
            f"<span class='chat-token' title='{html.escape(span.title)}' "
            f"style='{frame}{_paint(span.log_prob)}border-right:1px solid {_FRAME}'>"
            f"{html.escape(span.text) or '<small>(end)</small>'}</span>"
        )
    return shown + ("<span aria-hidden='true'>▁</span>" if live else "")


def said_html(role: str, inner: str) -> str:
    """One message: who said it, and its HTML, which must be escaped already."""
    return (
        "<div style='margin:4px 0;padding-left:8px;border-left:3px solid "
        f"{KEPT if role == 'assistant' else _FRAME};line-height:1.7;overflow-wrap:anywhere'>"
        f"<b>{html.escape(role)}</b><br><span style='white-space:pre-wrap'>{inner}</span></div>"
    )


def legend_html() -> str:
    """What the colours mean."""
    shown = "".join(
        f"<span style='{_paint(math.log(p))}padding:1px 6px;border:1px solid {_FRAME}'>{p:g}</span>"
        for p in (1, 0.5, 0.2, 0.05, 0.01)
    )
    return f"<small>p of a token by the model itself: {shown}</small>"


@in_course_style
def chat_picture(messages: Sequence[tuple[str, str | Sequence[Span]]], *, caption: str = ""):
    """A conversation, answers coloured token by token, as a Picture.

    Args:
        messages: (role, text) or (role, spans). At most 40 lines are drawn.

    Raises:
        ValueError: no messages.
    """
    if not messages:
        raise ValueError("messages: is empty; needs at least one")
    lines, told = [], []
    for role, said in messages:
        spans = [Span(said, math.nan, "", 0)] if isinstance(said, str) else said
        spans = [replace(span, text=_drawable(span.text)) for span in spans]
        lines += [[(0, (f"{role}:", None))], *_lines(spans)]
        told.append(f"{role}: “{''.join(s.text for s in spans)}”{_told(spans)}")
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], [(0, ("…", math.nan))]]
    figure, axes = blank_axes(
        8.6, 0.15 + 0.235 * len(lines), (-1, _CHARS_PER_LINE + 1), (len(lines) + 0.3, -0.3)
    )
    for y, line in enumerate(lines):
        for x, (text, log_prob) in line:
            _draw_text(axes, x, y, text, log_prob)
    alt = "A conversation, each token of the answers coloured by its probability. "
    return Picture(figure, alt + " ".join(told), caption)


def _drawable(text: str) -> str:
    """Line breaks and spaces stay, what no font can draw becomes its code point."""
    return "\n".join(visible(line, 10**6, space=" ") for line in text.split("\n"))


def _told(spans: Sequence[Span]) -> str:
    scored = [s for s in spans if not math.isnan(s.log_prob)]
    if not scored:
        return "."
    shown = ", ".join(f"{visible(s.text) or 'end'} {math.exp(s.log_prob):.2f}" for s in scored[:60])
    return f" (p of its tokens: {shown})."


def _lines(spans: Sequence[Span]) -> list[list[tuple[float, tuple[str, float]]]]:
    """Lines of (x, (text, log_prob)), in characters; a line break in the text begins a new line."""
    paragraphs = [[]]
    for span in spans:
        for i, part in enumerate(span.text.split("\n")):
            if i:
                paragraphs.append([])
            # A user's message is one span: cut it between words.
            words = re.split("(?= )", part) if math.isnan(span.log_prob) else [part]
            for word in words:
                cuts = range(0, len(word), _CHARS_PER_LINE)
                paragraphs[-1] += [(word[i : i + _CHARS_PER_LINE], span.log_prob) for i in cuts]
    return [
        line
        for pieces in paragraphs
        for line in lay_out(
            pieces,
            lambda piece: len(piece[0]),
            _CHARS_PER_LINE,
            at_line_start=lambda piece: (piece[0].lstrip(" "), piece[1]),
        )
    ]


def _draw_text(axes, x: float, y: float, text: str, log_prob: float | None) -> None:
    scored = log_prob is not None and not math.isnan(log_prob)
    if scored:
        paper = {"facecolor": surprise_colour(_scaled(log_prob)), "edgecolor": "white", "lw": 1}
        axes.add_patch(Rectangle((x, y), len(text), 0.92, **paper))
    axes.text(
        x, y + 0.48, text, va="center", color=ink_on(_scaled(log_prob)) if scored else INK,
        family=["DejaVu Sans Mono", *font_families()], fontsize=9.6,
        weight="bold" if log_prob is None else "normal",
    )  # fmt: skip


def _paint(log_prob: float) -> str:
    """Colours of a token, as CSS."""
    x = _scaled(log_prob)
    return f"background:{surprise_colour(x)};color:{ink_on(x)};"


def _scaled(log_prob: float) -> float:
    """On the scale of ``surprise_colour``, so that the darkest colour stands at _DARKEST."""
    return log_prob * WORST / _DARKEST
