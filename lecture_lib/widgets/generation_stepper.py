"""GenerationStepper: a text that grows token by token, by the model's choice or by yours."""

import html
from functools import partial

import ipywidgets

from ..checks import check_parts
from ..decoding import GenerationSession
from ..figures import Picture, next_token_bars
from ..figures.style import CHOSEN, visible
from ..scoring import next_token_probs, text_to_ids, top_tokens
from .base import PictureWidget, text_box

_MOST_TOKENS = 256
_N_CHOICES = 10  # of the likeliest tokens are shown and can be chosen


class GenerationStepper(PictureWidget):
    """Next appends the selected token (the likeliest, unless you choose), Back takes it off.

    Args:
        loaded: what ``load_model()`` returned.
        prompt: what the text starts with.
    """

    def __init__(self, loaded, prompt: str = "The quick brown"):
        self.loaded = check_parts("loaded", loaded)
        self.prompt, self.text_so_far = text_box("Prompt", prompt), ipywidgets.HTML()
        self.choice = ipywidgets.Dropdown(
            description="Next token", options=[], tooltip="Space opens the list"
        )
        button = ipywidgets.Button
        self.next = button(description="Next", tooltip="append the token shown left")
        self.back = button(description="Back", tooltip="take the last token off")
        self.restart = button(description="Restart", tooltip="back to the prompt")
        self._begin()
        buttons = [self.choice, self.next, self.back, self.restart]
        super().__init__([self.prompt, buttons, self.text_so_far], watch=[])
        self.when([self.prompt], lambda: (self._begin(), self.show()))
        self.when([self.choice], super().show)
        self.when([self.next], lambda: (self.session.choose(self.choice.value), self.show()))
        self.when([self.back], lambda: (self.session.back(), self.show()))
        self.when([self.restart], lambda: (self.session.reset(), self.show()))

    def _begin(self) -> None:
        ids = text_to_ids(self.loaded, self.prompt.value)
        probs = partial(next_token_probs, self.loaded)
        self.session = GenerationSession(probs, ids, max_tokens=_MOST_TOKENS)

    @property
    def text(self) -> str:
        """The whole text, prompt included."""
        return self.loaded.tokenizer.decode(self.session.token_ids)

    def draw(self) -> Picture:
        chosen = self._top[self.choice.index][0]
        return next_token_bars(self._top, context=self.text, chosen=chosen)

    def show(self) -> None:
        probs = self.session.distribution()
        self._top = top_tokens(self.loaded, probs, _N_CHOICES)
        labels = [f"{visible(token)}  {p:.3f}" for token, p in self._top]
        token_ids = probs.topk(_N_CHOICES).indices.tolist()
        with self.quietly():  # the picture is drawn once, after this, not once an option
            self.choice.options = list(zip(labels, token_ids, strict=True))
            self.choice.index = 0
        self.next.disabled = self.session.is_full
        self.back.disabled = self.restart.disabled = not self.session.new_ids
        # Decoded together and cut, since a character may be spread over several tokens.
        start = self.loaded.tokenizer.decode(self.session.prompt_ids)
        self.text_so_far.value = (
            f"<div style='font-size:110%;white-space:pre-wrap'>{html.escape(start)}"
            f"<b style='color:{CHOSEN}'>{html.escape(self.text[len(start) :])}</b>▁</div>"
        )
        super().show()
