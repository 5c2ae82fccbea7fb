"""StrategiesSideBySide: one prompt continued in several ways, beside one another."""

import html
import math
from collections.abc import Mapping

import ipywidgets

from ..engine import Engine
from ..engine.streaming import TextStream
from ..figures import Picture
from ..figures.chat import Span, answer_html, chat_picture, legend_html, spans_of
from ..inference_script.answer import Answer
from ..inference_script.run import generate
from ..inference_script.settings import TaskInfo
from .base import BackgroundWidget
from .chat_session import N_TOP

STRATEGIES = {
    "greedy": {"temperature": 0.0},
    "4 beams": {"beam_width": 4, "len_penalty": 1.0},
    "temperature 0.7": {"temperature": 0.7, "top_k": 0},
    "top-k 5": {"top_k": 5},
    "top-p 0.9": {"top_k": 0, "top_p": 0.9},
}
_COLUMNS_STYLE = "display:grid;gap:8px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr))"


class StrategiesSideBySide(BackgroundWidget):
    """The same prompt under several strategies, in columns; Run does it again for another prompt.

    Args:
        loaded: what ``load_model()`` returned. prompt: what is continued.
        strategies: name -> settings of ``TaskInfo``; default five of the course's.
        output_len: new tokens at most, where a strategy doesn't say.

    Attributes:
        answers: name -> Answer, in the strategies' order; of the last prompt that was run.

    Raises:
        ValueError: no strategies, a setting out of range, an empty or too long prompt.
    """

    draws_live = False  # the columns say it all

    def __init__(
        self,
        loaded,
        prompt: str = "Once upon a time",
        *,
        strategies: Mapping[str, Mapping] = STRATEGIES,
        output_len: int = 24,
    ):
        self.loaded, self.engine = loaded, Engine(loaded)
        self.strategies, self.output_len = dict(strategies), output_len
        if not self.strategies:
            raise ValueError("strategies: is empty; needs at least one")
        self.prompt = ipywidgets.Text(value=prompt, description="Prompt", layout={"width": "70%"})
        self.run_button = ipywidgets.Button(
            description="Run", tooltip="continue the prompt by every strategy",
            button_style="primary",
        )  # fmt: skip
        self.progress = ipywidgets.IntProgress(
            max=len(self.strategies), layout={"width": "160px", "visibility": "hidden"}
        )
        self.columns = ipywidgets.HTML()
        self.answers: dict[str, Answer] = {}
        self.work(self.prepare())
        super().__init__([[self.prompt, self.run_button, self.progress], self.columns], watch=[])
        self.run_button.on_click(lambda button: self.run())

    def run(self, wait: bool = False) -> None:
        """Continue the prompt by every strategy, in the background unless ``wait``."""
        self.begin(wait)

    def show_busy(self, busy: bool) -> None:
        self.run_button.disabled = busy
        self.progress.layout.visibility = "visible" if busy else "hidden"

    def draw(self) -> Picture:
        messages = [(name, self._spans(answer)) for name, answer in self.answers.items()]
        return chat_picture([("prompt", self._shown_prompt), *messages])

    def prepare(self) -> dict[str, TaskInfo]:
        """A task for each strategy."""
        if self.running:
            raise ValueError("Run: the last prompt is still being continued")
        common = {"output_len": self.output_len, "logprobs": N_TOP}
        tasks = {
            name: TaskInfo(self.prompt.value, **common | dict(settings))
            for name, settings in self.strategies.items()
        }
        n_prompt = len(self.loaded.tokenizer(self.prompt.value).input_ids)
        longest = max(task.output_len for task in tasks.values())
        self.engine.check_context(n_prompt + longest, "Prompt and new tokens")
        return tasks

    def work(self, tasks: dict[str, TaskInfo]) -> None:
        self.answers, self.progress.value = {}, 0
        self._shown_prompt = next(iter(tasks.values())).prompts[0]
        for name, task in tasks.items():
            self.answers[name] = generate(task, self.loaded, engine=self.engine)[0]
            self.progress.value += 1
            self._show_columns()

    def finish(self, failed: bool) -> None:
        if not failed:
            self.picture = self.draw()

    def _spans(self, answer: Answer) -> list[Span]:
        tokenizer = self.loaded.tokenizer
        return spans_of(pieces_of(answer, tokenizer), answer.logprobs, tokenizer)

    def _show_columns(self) -> None:
        cells = [
            f"<div style='border:1px solid #999;border-radius:4px;padding:6px'><b>"
            f"{html.escape(name)}</b><div style='line-height:1.3'>"
            f"<small>{html.escape(answer.strategy)}<br>mean log p {_mean(answer):.2f} nats, "
            f"{len(answer.token_ids)} tokens</small></div>"
            "<div style='line-height:1.7;white-space:pre-wrap;overflow-wrap:anywhere'>"
            f"{answer_html(self._spans(answer))}</div></div>"
            for name, answer in self.answers.items()
        ]
        self.columns.value = (
            f"{legend_html()}<p>After “{html.escape(self._shown_prompt)}”:</p>"
            f"<div style='{_COLUMNS_STYLE}'>{''.join(cells)}</div>"
        )


def pieces_of(answer: Answer, tokenizer) -> list[str]:
    """The text of a finished answer, cut where its tokens are."""
    stream, pieces, left = TextStream(tokenizer), [], len(answer.text)
    for token_id in answer.token_ids:
        piece = stream.push(token_id)[:left]  # the text ends before a stop string
        left -= len(piece)
        pieces.append(piece)
    return [*pieces, stream.flush()[:left]]


def _mean(answer: Answer) -> float:
    values = [position.log_prob for position in answer.logprobs]
    return sum(values) / len(values) if values else math.nan
