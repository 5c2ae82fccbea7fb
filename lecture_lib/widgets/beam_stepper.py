"""BeamStepper: a beam search step by step, forwards and back, on toys and on the real model."""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import ipywidgets

from ..decoding import (
    BeamTrace,
    beam_finds_what_greedy_misses,
    beam_loses_to_greedy,
    beam_search,
    engine_beam_search,
    lecture_tree,
)
from ..engine import Engine
from ..figures import Picture, beam_table, beam_tree
from ..figures.style import visible
from ..scoring import token_text
from .base import WIDE, PictureWidget, prompt_ids, text_box

TOYS = {
    "the lecture's tree": lecture_tree,
    "beam loses to greedy": beam_loses_to_greedy,
    "beam finds what greedy misses": beam_finds_what_greedy_misses,
}
REAL = "the real model"
_TOY_STEPS, _MOST_BEAMS, _MOST_TOKENS = 3, 4, 64


@dataclass(frozen=True, eq=False)
class _Searched:
    """A search, the greedy search beside it, and how its tokens are written."""

    beam: BeamTrace
    greedy: BeamTrace
    token_text: Callable[[int], str]
    prompt: str
    is_toy: bool

    def picture(self, step: int) -> Picture:
        return beam_tree(
            self.beam, self.token_text, prompt=self.prompt, greedy=self.greedy, up_to_step=step,
            as_probability=self.is_toy,
        )  # fmt: skip

    def in_words(self) -> str:
        """The texts found, and the tree as a table, as HTML."""
        said = []
        for name, trace in (("beam search", self.beam), ("greedy search", self.greedy)):
            text = " ".join(visible(self.token_text(token)) for token in trace.sequences[0])
            p = math.exp(trace.nodes[trace.hypotheses[0].node].score)
            said.append(
                f"{name}: <b>{html.escape(text)}</b>, p(text) {p:.3g}, score {trace.scores[0]:.3g}"
            )
        said.append(f"It ended by {html.escape(self.beam.stop_reason)}.")
        return (
            f"<p>{'<br>'.join(said)}</p><details><summary>The tree as a table</summary>"
            f"{beam_table(self.beam, self.token_text)}</details>"
        )


class BeamStepper(PictureWidget):
    """Back and Next (or the slider) go through the steps; below the tree stands its table.

    A setting is searched once and a step drawn once; going back to it shows what is there already.

    Args:
        engine: an Engine, to search with the real model too; without it only the toys.
        model: which model to begin with, one of ``models``.
        prompt: for the real model.
        n_steps: new tokens of the real model; the toys have three.

    Raises:
        ValueError: an unknown model.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        model: str = "the lecture's tree",
        prompt: str = "The capital of France is",
        n_steps: int = 8,
    ):
        self.engine, self.n_steps = engine, n_steps
        self.models = (*TOYS, *([REAL] if engine else []))
        if model not in self.models:
            raise ValueError(f"model: needs one of {list(self.models)}, got {model!r}")
        self._search = cache(self._search)
        self._picture = cache(_Searched.picture)
        self.model = ipywidgets.Dropdown(
            options=self.models, value=model, description="Model", style=WIDE
        )
        self.beams = ipywidgets.IntSlider(
            value=2, min=1, max=_MOST_BEAMS, description="Beams k", style=WIDE
        )
        self.penalty = ipywidgets.FloatSlider(
            value=1, min=-2, max=2, step=0.5, description="Length penalty", style=WIDE
        )
        self.prompt = text_box("Prompt", prompt)
        self.step = ipywidgets.IntSlider(description="Step", min=0)
        self.back = ipywidgets.Button(description="Back", tooltip="one step back")
        self.next = ipywidgets.Button(description="Next", tooltip="one step on")
        self.table = ipywidgets.HTML()
        self._fit_slider()
        settings = [self.model, self.beams, self.penalty]
        steps = [self.back, self.step, self.next]
        super().__init__([settings, self.prompt, steps], watch=[self.step])
        self.children = (*self.children, self.table)
        self.when([*settings, self.prompt], lambda: (self._fit_slider(), self.show()))
        self.back.on_click(lambda button: self._move(-1))
        self.next.on_click(lambda button: self._move(1))

    @property
    def trace(self) -> BeamTrace:
        """The search that is shown."""
        return self._searched().beam

    def draw(self) -> Picture:
        return self._picture(self._searched(), self.step.value)

    def show(self) -> None:
        super().show()
        self.back.disabled = self.step.value == 0
        self.next.disabled = self.step.value == self.step.max
        self.table.value = self._searched().in_words()

    def _searched(self) -> _Searched:
        prompt = self.prompt.value if self.model.value == REAL else "start"
        return self._search(self.model.value, self.beams.value, self.penalty.value, prompt)

    def _search(self, model: str, num_beams: int, length_penalty: float, prompt: str) -> _Searched:
        options = {"length_penalty": length_penalty}
        if model == REAL:
            tokenizer = self.engine.tokenizer
            ids = prompt_ids(tokenizer, prompt, _MOST_TOKENS)
            options |= {"max_new_tokens": self.n_steps}
            beam = engine_beam_search(self.engine, ids, num_beams=num_beams, **options)
            greedy = engine_beam_search(self.engine, ids, num_beams=1, **options)
            return _Searched(beam, greedy, lambda i: token_text(tokenizer, i), prompt, False)
        toy = TOYS[model]()
        options |= {"max_new_tokens": _TOY_STEPS}
        beam = beam_search(toy, num_beams=num_beams, **options)
        greedy = beam_search(toy, num_beams=1, **options)
        return _Searched(beam, greedy, lambda i: toy.vocab[i], prompt, True)

    def _fit_slider(self) -> None:
        """As many steps as the search took, all of them shown."""
        n_steps = self.trace.n_steps
        with self.quietly():  # the picture is drawn once, after this
            self.step.max = n_steps
            self.step.value = n_steps
        self.prompt.disabled = self.model.value != REAL

    def _move(self, by: int) -> None:
        self.step.value = min(self.step.max, max(0, self.step.value + by))
