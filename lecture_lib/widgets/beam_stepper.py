"""BeamStepper: a beam search step by step, forwards and back, on toys and on the real model."""

import html
import math
from functools import cache, partial

import ipywidgets

from ..checks import check_choice, check_parts
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
from .base import WIDE, FloatSlider, IntSlider, PictureWidget, prompt_ids, text_box

TOYS = {
    "the lecture's tree": lecture_tree,
    "beam loses to greedy": beam_loses_to_greedy,
    "beam finds what greedy misses": beam_finds_what_greedy_misses,
}
REAL = "the real model"
_TOY_STEPS, _REAL_STEPS, _MOST_BEAMS, _MOST_TOKENS = 3, 8, 4, 64


class BeamStepper(PictureWidget):
    """Back and Next (or the slider) go through the steps; its table is below the tree. A setting is
    searched once and a step drawn once.

    Args:
        engine: an Engine, to search with the real model too; without it only the toys.
        model: which model to begin with: a name of TOYS, or REAL.

    Raises:
        ValueError: an unknown model.
    """

    def __init__(self, engine: Engine | None = None, *, model: str = "the lecture's tree"):
        self.engine = None if engine is None else check_parts("engine", engine)
        models = [*TOYS, *([REAL] if engine else [])]
        check_choice("model", model, models)
        self._search, self._picture = cache(self._search), cache(self._picture)
        look = {"style": WIDE}
        self.model = ipywidgets.Dropdown(options=models, value=model, description="Model", **look)
        self.beams = IntSlider(value=2, min=1, max=_MOST_BEAMS, description="Beams k", **look)
        limits = {"value": 1, "min": -2, "max": 2, "step": 0.5}
        self.penalty = FloatSlider(description="Length penalty", **limits, **look)
        self.prompt = text_box("Prompt", "The capital of France is")
        self.step, self.table = IntSlider(description="Step", min=0), ipywidgets.HTML()
        self.back = ipywidgets.Button(description="Back", tooltip="one step back")
        self.next = ipywidgets.Button(description="Next", tooltip="one step on")
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
        return self._search(*self._settings)[0]

    @property
    def _settings(self) -> tuple:
        prompt = self.prompt.value if self.model.value == REAL else "start"
        return self.model.value, self.beams.value, self.penalty.value, prompt

    def draw(self) -> Picture:
        return self._picture(self._settings, self.step.value)

    def show(self) -> None:
        super().show()
        self.back.disabled = self.step.value == 0
        self.next.disabled = self.step.value == self.step.max
        beam, greedy, text_of = self._search(*self._settings)
        said = ""
        for name, trace in (("beam search", beam), ("greedy search", greedy)):
            text = html.escape(" ".join(visible(text_of(token)) for token in trace.sequences[0]))
            p = math.exp(trace.finished[0].score)
            said += f"{name}: <b>{text}</b>, p(text) {p:.3g}, score {trace.scores[0]:.3g}<br>"
        table = f"<summary>The tree as a table</summary>{beam_table(beam, text_of)}"
        self.table.value = f"<p>{said}</p><details>{table}</details>"

    def _search(self, model: str, num_beams: int, length_penalty: float, prompt: str) -> tuple:
        """A search, the greedy search beside it, and how its tokens are written."""
        if model == REAL:
            tokenizer = self.engine.tokenizer
            ids = prompt_ids(tokenizer, prompt, _MOST_TOKENS)
            search = partial(engine_beam_search, self.engine, ids, max_new_tokens=_REAL_STEPS)
            text_of = partial(token_text, tokenizer)
        else:
            toy = TOYS[model]()
            search = partial(beam_search, toy, max_new_tokens=_TOY_STEPS)
            text_of = toy.vocab.__getitem__
        beam, greedy = (search(num_beams=k, length_penalty=length_penalty) for k in (num_beams, 1))
        return beam, greedy, text_of

    def _picture(self, settings: tuple, step: int) -> Picture:
        model, _, penalty, prompt = settings
        beam, greedy, text_of = self._search(*settings)
        full = self._search(model, 27, penalty, prompt)[0] if model != REAL else None
        look = {"prompt": prompt, "as_probability": model != REAL, "up_to_step": step}
        return beam_tree(beam, text_of, greedy=greedy, full=full, **look)

    def _fit_slider(self) -> None:
        """As many steps as the search took, all of them shown."""
        n_steps = self.trace.n_steps
        with self.quietly():  # the picture is drawn once, after this
            self.step.max = self.step.value = n_steps
        self.prompt.disabled = self.model.value != REAL

    def _move(self, by: int) -> None:
        self.step.value = min(self.step.max, max(0, self.step.value + by))
