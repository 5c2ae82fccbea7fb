"""StrategiesSideBySide: one prompt continued in several ways, beside one another."""

import html
from statistics import fmean

import ipywidgets

from ..checks import check_count
from ..engine import Engine
from ..engine.streaming import TextStream
from ..figures import Picture
from ..figures.chat import Span, answer_html, chat_picture, legend_html, spans_of
from ..inference_script.answer import Answer
from ..inference_script.run import generate
from ..inference_script.settings import TaskInfo
from .base import BackgroundWidget, prompt_ids
from .chat_session import N_TOP

STRATEGIES = {
    "greedy": {"temperature": 0.0},
    "4 beams": {"beam_width": 4, "len_penalty": 1.0},
    "temperature 0.7": {"temperature": 0.7, "top_k": 0},
    "top-k 5": {"top_k": 5},
    "top-p 0.9": {"top_k": 0, "top_p": 0.9},
}
_MOST_TOKENS = 256
_COLUMNS_STYLE = "display:grid;gap:8px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr))"


class StrategiesSideBySide(BackgroundWidget):
    """The same prompt under STRATEGIES, in columns; Run does it again for another prompt.

    Args:
        loaded: what ``load_model()`` returned. output_len: new tokens at most.
    """

    draws_live = False  # the columns say it all

    def __init__(self, loaded, *, output_len: int = 24):
        self.loaded, self.engine = loaded, Engine(loaded)
        self.output_len = check_count("output_len", output_len)
        self.prompt = ipywidgets.Text(
            value="Once upon a time", description="Prompt", layout={"width": "70%"}
        )
        self.run_button = ipywidgets.Button(
            description="Run", tooltip="continue the prompt by every strategy",
            button_style="primary",
        )  # fmt: skip
        self.progress = ipywidgets.IntProgress(
            max=len(STRATEGIES), layout={"width": "160px", "visibility": "hidden"}
        )
        self.columns = ipywidgets.HTML()
        self.work(self.prepare())
        super().__init__([[self.prompt, self.run_button, self.progress], self.columns], watch=[])
        self.run_button.on_click(lambda button: self.begin())

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
            name: TaskInfo(self.prompt.value, **common, **settings)
            for name, settings in STRATEGIES.items()
        }
        n_prompt = len(prompt_ids(self.loaded.tokenizer, self.prompt.value, _MOST_TOKENS))
        self.engine.check_context(n_prompt + self.output_len, "Prompt and new tokens")
        return tasks

    def work(self, tasks: dict[str, TaskInfo]) -> None:
        self.answers, self.progress.value = {}, 0  # name -> Answer
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
        cells = ""
        for name, answer in self.answers.items():
            mean = fmean(position.log_prob for position in answer.logprobs)
            cells += (
                f"<div style='border:1px solid #999;border-radius:4px;padding:6px'><b>"
                f"{html.escape(name)}</b><div style='line-height:1.3'>"
                f"<small>{html.escape(answer.strategy)}<br>mean log p {mean:.2f} nats, "
                f"{len(answer.token_ids)} tokens</small></div>"
                "<div style='line-height:1.7;white-space:pre-wrap;overflow-wrap:anywhere'>"
                f"{answer_html(self._spans(answer))}</div></div>"
            )
        self.columns.value = (
            f"{legend_html()}<p>After “{html.escape(self._shown_prompt)}”:</p>"
            f"<div style='{_COLUMNS_STYLE}'>{cells}</div>"
        )


def pieces_of(answer: Answer, tokenizer) -> list[str]:
    """The text of a finished answer, cut where its tokens are."""
    stream = TextStream(tokenizer)
    return [*map(stream.push, answer.token_ids), stream.flush()]
