"""BeamStepper: a beam search step by step, forwards and back, on toys and on the real model."""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets

from ..decoding import (
    BeamTrace,
    ToyLM,
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
from .base import PictureWidget

TOYS = {
    "the lecture's tree": lecture_tree,
    "beam loses to greedy": beam_loses_to_greedy,
    "beam finds what greedy misses": beam_finds_what_greedy_misses,
}
REAL = "the real model"
_TOY_STEPS, _REAL_STEPS, _MOST_BEAMS, _MOST_TOKENS = 3, 8, 4, 64


@dataclass(frozen=True)
class _Searched:
    """A search, the greedy search beside it, and how its tokens are written."""

    beam: BeamTrace
    greedy: BeamTrace
    token_text: Callable[[int], str]
    prompt: str
    is_toy: bool


class BeamStepper(PictureWidget):
    """Back and Next (or the slider) go through the steps; below the tree stands its table.

    A setting is searched once and a step drawn once; going back to it shows what is there already.

    Args:
        engine: an Engine, to search with the real model too; without it only the toys.
        model: which model to begin with, one of ``models``.
        num_beams, length_penalty: what to begin with.
        prompt: for the real model.
        n_steps: new tokens of the real model; the toys have three.

    Raises:
        ValueError: an unknown model, beams outside 1 to 4.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        model: str = "the lecture's tree",
        num_beams: int = 2,
        length_penalty: float = 1.0,
        prompt: str = "The capital of France is",
        n_steps: int = _REAL_STEPS,
    ):
        self.engine, self.n_steps = engine, n_steps
        self.models = (*TOYS, *([REAL] if engine else []))
        if model not in self.models:
            raise ValueError(f"model: needs one of {list(self.models)}, got {model!r}")
        if not 1 <= num_beams <= _MOST_BEAMS:
            raise ValueError(f"num_beams: needs 1 to {_MOST_BEAMS}, got {num_beams}")
        self._toys: dict[str, ToyLM] = {}
        self._searches: dict[tuple, _Searched] = {}
        self._pictures: dict[tuple, Picture] = {}
        self._make_controls(model, num_beams, length_penalty, prompt)
        settings = [self.model, self.beams, self.penalty, self.prompt]
        self._fit_slider()
        super().__init__(
            [
                ipywidgets.HBox([self.model, self.beams, self.penalty]),
                self.prompt,
                ipywidgets.HBox([self.back, self.step, self.next]),
            ],
            watch=[],
        )
        self.children = (*self.children, self.table)
        for control in settings:
            control.observe(lambda change: self.attempt(self._new_setting), names="value")
        self.step.observe(lambda change: self._filling or self.redraw(), names="value")
        self.back.on_click(lambda button: self._move(-1))
        self.next.on_click(lambda button: self._move(1))

    def _make_controls(self, model, num_beams, length_penalty, prompt) -> None:
        wide = {"description_width": "initial"}
        self.model = ipywidgets.Dropdown(
            options=self.models, value=model, description="Model", style=wide
        )
        self.beams = ipywidgets.IntSlider(
            value=num_beams, min=1, max=_MOST_BEAMS, description="Beams k", style=wide
        )
        self.penalty = ipywidgets.FloatSlider(
            value=length_penalty, min=-2, max=2, step=0.5, description="Length penalty", style=wide
        )
        self.prompt = ipywidgets.Text(
            value=prompt, description="Prompt", continuous_update=False, layout={"width": "auto"}
        )
        self.step = ipywidgets.IntSlider(description="Step", min=0, max=_REAL_STEPS)
        self.back = ipywidgets.Button(description="Back", tooltip="one step back")
        self.next = ipywidgets.Button(description="Next", tooltip="one step on")
        self.table = ipywidgets.HTML()
        self._filling = False

    @property
    def trace(self) -> BeamTrace:
        """The search that is shown."""
        return self._searched().beam

    def draw(self) -> Picture:
        key = (*self._setting(), self.step.value)
        if key not in self._pictures:
            found = self._searched()
            self._pictures[key] = beam_tree(
                found.beam,
                found.token_text,
                prompt=found.prompt,
                greedy=found.greedy,
                up_to_step=self.step.value,
                as_probability=found.is_toy,
            )
        return self._pictures[key]

    def _setting(self) -> tuple:
        prompt = self.prompt.value if self.model.value == REAL else ""
        return (self.model.value, self.beams.value, self.penalty.value, prompt)

    def _searched(self) -> _Searched:
        key = self._setting()
        if key not in self._searches:
            self._searches[key] = self._search(*key)
        return self._searches[key]

    def _search(self, model: str, num_beams: int, length_penalty: float, prompt: str) -> _Searched:
        options = {"length_penalty": length_penalty}
        if model == REAL:
            ids = self._prompt_ids(prompt)
            options |= {"max_new_tokens": self.n_steps}
            beam = engine_beam_search(self.engine, ids, num_beams=num_beams, **options)
            greedy = engine_beam_search(self.engine, ids, num_beams=1, **options)
            tokenizer = self.engine.tokenizer
            return _Searched(beam, greedy, lambda i: token_text(tokenizer, i), prompt, False)
        if model not in self._toys:
            self._toys[model] = TOYS[model]()
        toy = self._toys[model]
        options |= {"max_new_tokens": _TOY_STEPS}
        beam = beam_search(toy, num_beams=num_beams, **options)
        greedy = beam_search(toy, num_beams=1, **options)
        return _Searched(beam, greedy, lambda i: toy.vocab[i], "start", True)

    def _prompt_ids(self, prompt: str) -> list[int]:
        if not prompt.strip():
            raise ValueError("Prompt: is empty; type at least one word")
        ids = self.engine.tokenizer(prompt).input_ids
        if len(ids) > _MOST_TOKENS:
            raise ValueError(f"Prompt: {len(ids)} tokens, at most {_MOST_TOKENS} fit")
        return ids

    def _fit_slider(self) -> None:
        """As many steps as the search took, all of them shown."""
        n_steps = self.trace.n_steps
        self._filling = True  # the picture is drawn once, after this
        self.step.max = n_steps
        self.step.value = n_steps
        self._filling = False
        self.prompt.disabled = self.model.value != REAL

    def _new_setting(self) -> None:
        self._fit_slider()
        self._replace_picture()

    def _move(self, by: int) -> None:
        self.step.value = min(self.step.max, max(0, self.step.value + by))

    def _replace_picture(self) -> None:
        super()._replace_picture()
        found, trace = self._searched(), self.trace
        self.back.disabled = self.step.value == 0
        self.next.disabled = self.step.value == self.step.max
        texts = [
            f"{name}: <b>{_text(t, found)}</b>, p(text) {_probability(t):.3g}, "
            f"score {t.scores[0]:.3g}"
            for name, t in (("beam search", trace), ("greedy search", found.greedy))
        ]
        self.table.value = (
            f"<p>{'<br>'.join(texts)}<br>It ended by {html.escape(trace.stop_reason)}.</p>"
            f"<details><summary>The tree as a table</summary>"
            f"{beam_table(trace, found.token_text)}</details>"
        )


def _text(trace: BeamTrace, found: _Searched) -> str:
    return html.escape(" ".join(visible(found.token_text(t)) for t in trace.sequences[0]))


def _probability(trace: BeamTrace) -> float:
    return math.exp(trace.nodes[trace.hypotheses[0].node].score)
