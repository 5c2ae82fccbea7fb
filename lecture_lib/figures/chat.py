"""Conversations: tokens coloured by their probability, as HTML and as a PNG."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.patches import Rectangle

from ..scoring import token_text
from .picture import Picture, blank_axes
from .scores import WORST, ink_on, surprise_colour
from .style import INK, KEPT, font_families, in_course_style, visible
from .tokens import lay_out

_DARKEST = -5.0  # nats: chosen tokens are rarely below p = 0.007, where the colours end
_CHARS_PER_LINE = 98
_MOST_LINES = 40
_FRAME = "#999999"


@dataclass(frozen=True)
class Span:
    """A piece of text that came with one token, or with several (a character in parts)."""

    text: str  # "" for an end token
    log_prob: float  # of its tokens together, in nats; nan for a text that was given
    title: str = ""  # for the pointer: its tokens, and what else was likely
    last: int = 0  # number of its last token, counted from 1

    @property
    def colours(self) -> tuple[str, str]:
        """Its paper and its ink: as surprising texts have them, but darkest at _DARKEST."""
        scaled = self.log_prob * WORST / _DARKEST
        return surprise_colour(scaled), ink_on(scaled)


_LEGEND = "p of a token by the model itself:"
_SCALE = [Span(f"{p:g}", math.log(p)) for p in (1, 0.5, 0.2, 0.05, 0.01)]


def spans_of(pieces: Sequence[str], logprobs: Sequence, tokenizer) -> list[Span]:
    """The pieces of an answer with the tokens that they came from, a ``TokenLogprobs`` each.

    Tokens that give no text yet (a part of a character, a possible stop string) belong to the
    piece that comes next; such a piece has the product of their probabilities.
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
    top = dict(position.top) | {position.token_id: position.log_prob}
    shown = [(token_text(tokenizer, i), math.exp(x)) for i, x in top.items()]
    return shown, token_text(tokenizer, position.token_id)


def answer_html(spans: Sequence[Span], *, selected: int | None = None, live: bool = False) -> str:
    """An answer's tokens in colour, the ``selected`` framed; ``live``: it is still growing."""
    chosen = next((s for s in spans if selected is not None and s.last >= selected), None)
    shown = ""
    for span in spans:
        frame = f"outline:2px solid {KEPT};" if span is chosen else ""
        shown += (
            f"<span class='chat-token' title='{html.escape(span.title)}' "
            f"style='{frame}{_paint(span)}border-right:1px solid {_FRAME}'>"
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
    look = f"padding:1px 6px;border:1px solid {_FRAME}"
    shown = "".join(f"<span style='{_paint(span)}{look}'>{span.text}</span>" for span in _SCALE)
    return f"<small>{_LEGEND} {shown}</small>"


def _paint(span: Span) -> str:
    return "background:{};color:{};".format(*span.colours)


@in_course_style
def chat_picture(messages: Sequence[tuple[str, str | Sequence[Span]]]) -> Picture:
    """A conversation, answers coloured token by token: (role, text) or (role, spans) of each."""
    lines, told = [], []
    for role, said in messages:
        spans = [Span(said, math.nan)] if isinstance(said, str) else said
        spans = [replace(span, text=_drawable(span.text)) for span in spans]
        lines += [[(0, f"{role}:")], *_lines(spans)]
        scored = [s for s in spans if not math.isnan(s.log_prob)][:60]
        ps = ", ".join(f"{visible(s.text) or 'end'} {math.exp(s.log_prob):.2f}" for s in scored)
        ending = f" (p of its tokens: {ps})." if scored else "."
        told.append(f"{role}: “{''.join(s.text for s in spans)}”{ending}")
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], [(0, Span("…", math.nan))]]
    scale = [(len(_LEGEND) + 1 + 6 * i, span) for i, span in enumerate(_SCALE)]
    lines = [[(0, Span(_LEGEND, math.nan)), *scale], *lines]
    figure, axes = blank_axes(
        8.6, 0.15 + 0.235 * len(lines), (-1, _CHARS_PER_LINE + 1), (len(lines) + 0.3, -0.3)
    )
    look = {"va": "center", "family": ["DejaVu Sans Mono", *font_families()], "fontsize": 9.6}
    for y, line in enumerate(lines):
        for x, piece in line:
            if isinstance(piece, str):  # who says what follows
                axes.text(x, y + 0.48, piece, color=INK, weight="bold", **look)
                continue
            paper, ink = piece.colours
            if not math.isnan(piece.log_prob):
                box = Rectangle((x, y), len(piece.text), 0.92, fc=paper, ec="white", lw=1)
                axes.add_patch(box)
            axes.text(x, y + 0.48, piece.text, color=ink, **look)
    alt = "A conversation, each token of the answers coloured by its probability. "
    return Picture(figure, alt + " ".join(told))


def _drawable(text: str) -> str:
    """Line breaks and spaces stay, what no font can draw becomes its code point."""
    return "\n".join(visible(line, 10**6, space=" ") for line in text.split("\n"))


def _lines(spans: Sequence[Span]) -> list[list[tuple[float, Span]]]:
    """Lines of (x, span), x in characters; a line break in the text begins a new line."""
    paragraphs = [[]]
    for span in spans:
        for i, part in enumerate(span.text.split("\n")):
            if i:
                paragraphs.append([])
            # A user's message is one span: cut it between words.
            words = re.split("(?= )", part) if math.isnan(span.log_prob) else [part]
            paragraphs[-1] += [
                replace(span, text=word[i : i + _CHARS_PER_LINE])
                for word in words
                for i in range(0, len(word), _CHARS_PER_LINE)
            ]
    return [
        line
        for pieces in paragraphs
        for line in lay_out(
            pieces,
            lambda piece: len(piece.text),
            _CHARS_PER_LINE,
            at_line_start=lambda piece: replace(piece, text=piece.text.lstrip(" ")),
        )
    ]
