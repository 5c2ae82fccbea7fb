"""Pictures of a conversation: tokens coloured by their probability, as HTML and as a PNG."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.patches import Rectangle

from .picture import Picture
from .scores import WORST, ink_on, surprise_colour
from .style import INK, KEPT, font_families, in_course_style, new_figure, visible

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


def answer_html(spans: Sequence[Span], *, selected: int | None = None, live: bool = False) -> str:
    """An answer's tokens in colour; the title of each shows on hover.

    Args:
        selected: number of a token to frame. live: show that it is still growing.
    """
    chosen = next((s for s in spans if selected is not None and s.last >= selected), None)
    shown = [_span_html(span, framed=span is chosen) for span in spans]
    return "".join(shown) + ("<span aria-hidden='true'>▁</span>" if live else "")


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
        f"<span style='background:{_colour(math.log(p))};color:{_ink(math.log(p))};"
        f"padding:1px 6px;border:1px solid {_FRAME}'>{p:g}</span>"
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
        lines += [[(f"{role}:", None, None)], *_wrap(spans)]
        told.append(f"{role}: “{''.join(s.text for s in spans)}”{_told(spans)}")
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], [("…", math.nan, None)]]
    height = 0.15 + 0.235 * len(lines)
    figure = new_figure(8.6, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-1, _CHARS_PER_LINE + 1)
    axes.set_ylim(len(lines) + 0.3, -0.3)
    axes.axis("off")
    for y, line in enumerate(lines):
        x = 0
        for text, log_prob, _ in line:
            _draw_text(axes, x, y, text, log_prob)
            x += len(text)
    alt = "A conversation, each token of the answers coloured by its probability. "
    return Picture(figure, alt + " ".join(told), caption)


def _drawable(text: str) -> str:
    """Line breaks and spaces stay, what no font can draw becomes its code point."""
    lines = (visible(line.replace(" ", "\u00a0"), 10**6) for line in text.split("\n"))
    return "\n".join(lines).replace("\u00a0", " ")


def _told(spans: Sequence[Span]) -> str:
    scored = [s for s in spans if not math.isnan(s.log_prob)]
    if not scored:
        return "."
    shown = ", ".join(f"{visible(s.text) or 'end'} {math.exp(s.log_prob):.2f}" for s in scored[:60])
    return f" (p of its tokens: {shown})."


def _wrap(spans: Sequence[Span]) -> list[list[tuple[str, float, Span]]]:
    """Spans laid out on lines of characters; a line break in the text begins a new line."""
    lines, used = [[]], 0
    for span in spans:
        for i, part in enumerate(span.text.split("\n")):
            if i:
                lines.append([])
                used = 0
            # A user's message is one span: cut it between words.
            words = part.split(" ") if math.isnan(span.log_prob) else [part]
            for j, word in enumerate(words):
                word = " " + word if j else word
                if used and used + len(word) > _CHARS_PER_LINE:
                    lines.append([])
                    used, word = 0, word.lstrip(" ")
                while word:
                    lines[-1].append((word[:_CHARS_PER_LINE], span.log_prob, span))
                    used = len(word[:_CHARS_PER_LINE]) + (
                        used if len(word) <= _CHARS_PER_LINE else 0
                    )
                    word = word[_CHARS_PER_LINE:]
                    if word:
                        lines.append([])
                        used = 0
    return lines


def _draw_text(axes, x: float, y: float, text: str, log_prob: float | None) -> None:
    scored = log_prob is not None and not math.isnan(log_prob)
    if scored:
        axes.add_patch(
            Rectangle((x, y), len(text), 0.92, facecolor=_colour(log_prob), edgecolor="white", lw=1)
        )
    axes.text(
        x, y + 0.48, text, va="center", color=_ink(log_prob) if scored else INK,
        family=["DejaVu Sans Mono", *font_families()], fontsize=9.6,
        weight="bold" if log_prob is None else "normal",
    )  # fmt: skip


def _span_html(span: Span, *, framed: bool) -> str:
    text = html.escape(span.text) or "<small>(end)</small>"
    frame = f"outline:2px solid {KEPT};" if framed else ""
    return (
        f"<span class='chat-token' title='{html.escape(span.title)}' style='{frame}"
        f"background:{_colour(span.log_prob)};color:{_ink(span.log_prob)};"
        f"border-right:1px solid {_FRAME}'>{text}</span>"
    )


def _colour(log_prob: float) -> str:
    return surprise_colour(log_prob * WORST / _DARKEST)


def _ink(log_prob: float) -> str:
    return ink_on(log_prob * WORST / _DARKEST)
