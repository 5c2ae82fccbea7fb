"""GenerationStepper: a text that grows token by token, by the model's choice or by yours."""

import html
from functools import cache, partial

import ipywidgets

from ..checks import check_parts
from ..figures import Picture, next_token_bars
from ..figures.style import CHOSEN, visible
from ..scoring import next_token_probs, top_tokens
from .base import PictureWidget, prompt_ids, text_box

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
        self.when([self.next], lambda: self._go_to([*self.new_ids, self.choice.value]))
        self.when([self.back], lambda: self._go_to(self.new_ids[:-1]))
        self.when([self.restart], lambda: self._go_to([]))

    def _begin(self) -> None:
        self.prompt_ids = prompt_ids(self.loaded.tokenizer, self.prompt.value, _MOST_TOKENS - 1)
        self.new_ids: list[int] = []
        # Kept, so that going back shows the old distribution without running the model.
        self._distribution = cache(partial(next_token_probs, self.loaded))

    def _go_to(self, new_ids: list[int]) -> None:
        self._distribution((*self.prompt_ids, *new_ids))  # if it fails, the text stays as it was
        self.new_ids = new_ids
        self.show()

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Prompt and new tokens."""
        return (*self.prompt_ids, *self.new_ids)

    @property
    def text(self) -> str:
        """The whole text, prompt included."""
        return self.loaded.tokenizer.decode(self.token_ids)

    def draw(self) -> Picture:
        chosen = self._top[self.choice.index][0]
        return next_token_bars(self._top, context=self.text, chosen=chosen)

    def show(self) -> None:
        probs = self._distribution(self.token_ids)
        self._top = top_tokens(self.loaded, probs, _N_CHOICES)
        labels = [f"{visible(token)}  {p:.3f}" for token, p in self._top]
        token_ids = probs.topk(_N_CHOICES).indices.tolist()
        with self.quietly():  # the picture is drawn once, after this, not once an option
            self.choice.options = list(zip(labels, token_ids, strict=True))
            self.choice.index = 0
        self.next.disabled = len(self.token_ids) >= _MOST_TOKENS
        self.back.disabled = self.restart.disabled = not self.new_ids
        # Decoded together and cut, since a character may be spread over several tokens.
        start = self.loaded.tokenizer.decode(self.prompt_ids)
        self.text_so_far.value = (
            f"<div style='font-size:110%;white-space:pre-wrap'>{html.escape(start)}"
            f"<b style='color:{CHOSEN}'>{html.escape(self.text[len(start) :])}</b>▁</div>"
        )
        super().show()
