"""TextStream: from tokens to text, a piece at a time."""

from collections.abc import Sequence

from lecture_lib.checks import check_count, check_parts, check_stop
from lecture_lib.tokens import decode_text, special_tokens

UNFINISHED = "�"  # what a tokenizer decodes a part of a UTF-8 character to


def hold_back(text, stops):
    """What of a text can be shown, what must wait, and whether a stop string was found."""
    found = [text.find(stop) for stop in stops if stop in text]
    if found:
        return text[: min(found)], "", True
    beginnings = [stop[:n] for stop in stops for n in range(1, len(stop))]
    n_held = max((len(start) for start in beginnings if text.endswith(start)), default=0)
    return text[: len(text) - n_held], text[len(text) - n_held :], False


class TextStream:
    """Turns one sequence's tokens into pieces of text, as they come.

    A token is bytes, not characters: an emoji may be four tokens, and a stop string may begin
    in one token and end in another. So text is held back while it ends within a character, or
    while it could be the beginning of a stop string. The pieces, joined, are the final text.

    Args:
        tokenizer: a Transformers tokenizer. Special tokens (EOS) give no text.
        stop: strings that end the text; they are not part of it. A special token, such as
            ``<|im_end|>``, gives no text that could be searched for it: it ends the text as a
            token.

    Raises:
        ValueError: something that is no stop string, or one with a special token in other text.
    """

    def __init__(self, tokenizer, stop: str | Sequence[str] | None = ()):
        self.tokenizer = check_parts("tokenizer", tokenizer)
        special = special_tokens(tokenizer) if (stop := check_stop(stop)) else {}
        self._stop_ids = {special[string] for string in stop if string in special}
        self.stop = tuple(string for string in stop if string not in special)
        for string in self.stop:
            if inside := [name for name in special if name in string]:
                raise ValueError(
                    f"stop: {string!r} would never be found, since the special token {inside[0]} "
                    "gives no text; give that token alone"
                )
        self.stopped = False
        self._ids: list[int] = []
        self._start = 0  # tokens from here on are decoded together
        self._read = 0  # the text of the tokens before this one is known
        self._held = ""  # known text that may yet turn out to be a stop string

    def push(self, token_id: int) -> str:
        """Add a token; returns the text that is certain by now, often one word, maybe ""."""
        self._ids.append(check_count("token_id", token_id, least=0, most=2**31 - 1))
        if token_id not in self._stop_ids:
            return self._release(self._new_text(final=False))
        piece = self.flush()
        self.stopped = True
        return piece

    def flush(self) -> str:
        """The sequence has ended: returns the text that was held back."""
        piece = self._release(self._new_text(final=True))
        if not self.stopped:
            piece, self._held = piece + self._held, ""
        return piece

    def _new_text(self, final: bool) -> str:
        # A few tokens before the new ones are decoded with them, because what a token decodes to
        # can depend on its left neighbour (a leading space). To decode all would cost O(n²).
        known = decode_text(self.tokenizer, self._ids[self._start : self._read])
        text = decode_text(self.tokenizer, self._ids[self._start :])
        if text.endswith(UNFINISHED) and not final:
            return ""
        if len(text) > len(known):
            self._start, self._read = self._read, len(self._ids)
        return text[len(known) :]

    def _release(self, new_text: str) -> str:
        if self.stopped:
            return ""
        certain, self._held, self.stopped = hold_back(self._held + new_text, self.stop)
        return certain
