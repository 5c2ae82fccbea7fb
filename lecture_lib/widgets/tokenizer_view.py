"""TokenizerView: type a text, see its tokens, their ids and bytes."""

from collections.abc import Mapping

import ipywidgets

from ..checks import check_text, check_type
from ..figures import Picture, token_html, token_strip
from ..hub_tools import token_pieces
from .base import PictureWidget

_TEXT = "Tokens aren't words: 中文, naïve, 👋🏽 and 2024."
_MOST_CHARACTERS = 400


class TokenizerView(PictureWidget):
    """The text in the box, cut into tokens while it is typed.

    Args:
        tokenizers: name -> tokenizer, to choose from.
    """

    draws_live = False

    def __init__(self, tokenizers: dict):
        self.tokenizers = check_type("tokenizers", tokenizers, Mapping, "a dict name -> tokenizer")
        if not tokenizers:
            raise ValueError("tokenizers: needs a dict name -> tokenizer with at least one")
        self.text = ipywidgets.Textarea(
            value=_TEXT, description="Text", rows=2, layout={"width": "auto"}
        )
        self.choice = ipywidgets.Dropdown(description="Tokenizer", options=list(tokenizers))
        self.special = ipywidgets.Checkbox(
            value=True,
            indent=False,
            description="special tokens, where the tokenizer adds some",
            layout={"width": "auto"},
        )
        self.facts, self.strip = ipywidgets.HTML(), ipywidgets.HTML()
        super().__init__([self.text, [self.choice, self.special], self.facts, self.strip])
        self.still_html = self.strip.value  # emoji and Chinese in the browser's fonts

    @property
    def pieces(self) -> list:
        """The tokens of the text in the box."""
        text = check_text("Text", self.text.value)
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"Text: {len(text)} characters, at most {_MOST_CHARACTERS} fit")
        tokenizer = self.tokenizers[self.choice.value]
        return token_pieces(tokenizer, text, add_special_tokens=self.special.value)

    def draw(self) -> Picture:
        return token_strip(self.pieces, caption="Token, id, bytes.")

    def show(self) -> None:
        pieces, text = self.pieces, self.text.value
        n_bytes = len(text.encode())
        self.strip.value = token_html(pieces)
        self.facts.value = (
            f"{len(text)} characters, {n_bytes} bytes, <b>{len(pieces)} tokens</b> "
            f"({n_bytes / len(pieces):.1f} bytes per token)"
        )
        super().show()
