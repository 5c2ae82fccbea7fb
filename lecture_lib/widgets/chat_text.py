"""From a ChatAnswer or a script's Answer to what is shown: spans, titles, candidates, words."""

import html
import math
from collections.abc import Callable, Sequence

from ..figures.chat import Span
from ..figures.style import visible
from ..inference_script.logprobs import TokenLogprobs
from ..inference_script.prompt import unescape
from ..scoring import token_text

_ENDS = {
    "eos": "the model ended it",
    "stop": "ended by a stop string",
    "length": "cut at the number of new tokens",
    "stopped": "stopped by you",
}


def spans_of(pieces: Sequence[str], logprobs: Sequence[TokenLogprobs], tokenizer) -> list[Span]:
    """The pieces of an answer with the tokens that they came from.

    Tokens without text of their own (a part of a character, a possible stop string) belong to the
    piece that comes next; such a piece has the product of their probabilities.
    """
    spans, waiting = [], []
    for i, position in enumerate(logprobs):
        waiting.append(position)
        piece = pieces[i] if i < len(pieces) else ""
        if i == len(logprobs) - 1:
            piece += "".join(pieces[len(logprobs) :])  # what was held back, released at the end
        if piece or i == len(logprobs) - 1:
            total = math.fsum(p.log_prob for p in waiting)
            title = "\n".join(title_of(p, tokenizer) for p in waiting)
            spans.append(Span(piece, total, title, i + 1))
            waiting = []
    return spans


def title_of(position: TokenLogprobs, tokenizer) -> str:
    """A token's probability, and the likeliest candidates, in words."""
    best = ", ".join(f"{_name(i, tokenizer)} {math.exp(x):.3f}" for i, x in position.top)
    chosen = _name(position.token_id, tokenizer)
    return f"{chosen} p = {math.exp(position.log_prob):.3f}; likeliest: {best}"


def candidates(position: TokenLogprobs, tokenizer) -> tuple[list[tuple[str, float]], str]:
    """(token, p) of the likeliest, with the chosen one, and the chosen token: for bars."""
    top = [(token_text(tokenizer, i), math.exp(x)) for i, x in position.top]
    if position.token_id not in [i for i, _ in position.top]:
        top.append((token_text(tokenizer, position.token_id), math.exp(position.log_prob)))
    return top, token_text(tokenizer, position.token_id)


def facts_html(answer) -> str:
    """Prompt and answer in numbers, and why it ended."""
    facts = [f"{answer.prompt_len:,} prompt tokens", f"{len(answer.token_ids):,} new tokens"]
    if answer.ttft_s:
        facts.append(f"time to first token {1e3 * answer.ttft_s:,.0f} ms")
    if answer.tokens_per_s:
        facts.append(f"{answer.tokens_per_s:.1f} tokens/s")
    end = _ENDS.get(answer.finish_reason, "still growing")
    return f"<span role='status'>{html.escape(' · '.join([*facts, end]))}</span>"


def welcome(session) -> str:
    """What to do, while there is no answer."""
    if session.has_template:
        return "Type a question and press Send; the model's chat template is used."
    return "This model has no chat template: it goes on with the text."


def read_stop_strings(text: str) -> tuple[str, ...]:
    r"""Stop strings as they are typed: one a line, with \n, \t and \\ for what can't be typed.

    Raises:
        ValueError: a backslash before something else.
    """
    return tuple(unescape(line) for line in text.splitlines() if line)


def _name(token_id: int, tokenizer, show: Callable[[str], str] = visible) -> str:
    return show(token_text(tokenizer, token_id))
