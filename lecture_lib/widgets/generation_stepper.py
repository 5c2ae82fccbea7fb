"""GenerationStepper: a text that grows token by token, by the model's choice or by yours."""

import html
from functools import partial

import ipywidgets

from ..decoding import GenerationSession
from ..figures import Picture, next_token_bars
from ..figures.style import visible
from ..scoring import next_token_probs, text_to_ids, token_text, top_tokens
from .base import PictureWidget

_MOST_TOKENS = 256


class GenerationStepper(PictureWidget):
    """Next appends the selected token (the likeliest, unless you choose), Back takes it off.

    Args:
        loaded: what ``load_model()`` returned.
        prompt: what the text starts with.
        n_choices: how many of the likeliest tokens are shown and can be chosen.
    """

    def __init__(self, loaded, prompt: str = "The quick brown", n_choices: int = 10):
        self.loaded = loaded
        self.n_choices = n_choices
        self.session = self._new_session(prompt)
        self.prompt = ipywidgets.Text(
            value=prompt, description="Prompt", continuous_update=False, layout={"width": "auto"}
        )
        self.text_so_far = ipywidgets.HTML()
        self.choice = ipywidgets.Dropdown(
            description="Next token", options=[], tooltip="Space opens the list"
        )
        self.next = ipywidgets.Button(description="Next", tooltip="append the token shown left")
        self.back = ipywidgets.Button(description="Back", tooltip="take the last token off")
        self.restart = ipywidgets.Button(description="Restart", tooltip="back to the prompt")
        buttons = ipywidgets.HBox([self.choice, self.next, self.back, self.restart])
        self._filling = False
        super().__init__([self.prompt, buttons, self.text_so_far], watch=[])
        self.prompt.observe(lambda change: self.attempt(self._take_prompt), names="value")
        self.choice.observe(lambda change: self._filling or self._redraw_bars(), names="value")
        self.next.on_click(lambda button: self._move(self._append))
        self.back.on_click(lambda button: self._move(self.session.back))
        self.restart.on_click(lambda button: self._move(self.session.reset))

    @property
    def text(self) -> str:
        """The whole text, prompt included."""
        return self.loaded.tokenizer.decode(self.session.token_ids)

    def draw(self) -> Picture:
        top = top_tokens(self.loaded, self.session.distribution(), self.n_choices)
        chosen = top[self.choice.index][0]
        return next_token_bars(top, context=self.text, chosen=chosen)

    def _replace_picture(self) -> None:
        self._fill_choices()
        self._show_text()
        super()._replace_picture()

    def _redraw_bars(self) -> None:
        self.attempt(super()._replace_picture)

    def _fill_choices(self) -> None:
        probs, token_ids = self.session.distribution().topk(self.n_choices)
        tokens = [token_text(self.loaded.tokenizer, i) for i in token_ids.tolist()]
        labels = [
            f"{visible(token)}  {p:.3f}" for token, p in zip(tokens, probs.tolist(), strict=True)
        ]
        self._filling = True  # the picture is drawn once, after this, not once an option
        self.choice.options = list(zip(labels, token_ids.tolist(), strict=True))
        self.choice.index = 0
        self._filling = False
        self.next.disabled = self.session.is_full
        self.back.disabled = self.restart.disabled = not self.session.new_ids

    def _append(self) -> None:
        self.session.choose(self.choice.value)

    def _take_prompt(self) -> None:
        self.session = self._new_session(self.prompt.value)
        self._replace_picture()

    def _move(self, action) -> None:
        self.attempt(lambda: (action(), self._replace_picture()))

    def _new_session(self, prompt: str) -> GenerationSession:
        ids = text_to_ids(self.loaded, prompt)
        return GenerationSession(
            partial(next_token_probs, self.loaded), ids, max_tokens=_MOST_TOKENS
        )

    def _show_text(self) -> None:
        decode = self.loaded.tokenizer.decode
        # Decoded together and cut, since a character may be spread over several tokens.
        start = decode(self.session.prompt_ids)
        added = decode(self.session.token_ids)[len(start) :]
        self.text_so_far.value = (
            f"<div style='font-size:110%;white-space:pre-wrap'>{html.escape(start)}"
            f"<b style='color:#D55E00'>{html.escape(added)}</b>▁</div>"
        )
