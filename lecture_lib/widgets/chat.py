"""ChatWidget: talk to the model; the answer comes token by token, and Stop works at once."""

import html
import threading
import time
from functools import cached_property, partial

import ipywidgets

from ..checks import check_text
from ..engine import Generation
from ..figures import Picture, next_token_bars
from ..figures.chat import answer_html, candidates, chat_picture, legend_html, said_html, spans_of
from ..inference_script.prompt import unescape
from ..inference_script.run import make_drafter
from ..inference_script.settings import DRAFTERS, TaskInfo
from .base import WIDE, BackgroundWidget, IntSlider, number_slider, whole_number
from .chat_session import ChatSession, in_words

_REDRAW_S = 0.08  # a faster model than this would spend its time on drawing
_EXAMPLE, _EXAMPLE_LEN = "What is the capital of France?", 32
_NO_BEAMS = (
    "<small>No beams here: until the end every step of a beam search may replace the whole text, "
    "so there is nothing to stream.</small>"
)


class ChatWidget(BackgroundWidget):
    """A conversation with the model; each token of an answer shows its probability.

    The answer is written in a thread: cells can be run meanwhile, and Stop ends it before the next
    token. What the pointer shows over a token, the slider shows without one. Readers without a
    kernel see the conversation, or the greedy answer to an example.

    Args:
        loaded: what ``load_model()`` returned; a model that the engine runs.
    """

    def __init__(self, loaded):
        self.loaded, self.session = loaded, ChatSession(loaded)
        self.answers: list[Generation] = []
        self._growing: Generation | None = None
        self._drafters = {"nobody": None}
        self._stop_event = threading.Event()
        rows = self._make_controls()
        self.history, self.answer_view, self.facts = (ipywidgets.HTML() for _ in range(3))
        super().__init__(rows, watch=[])
        *rows, message, picture = self.children
        shown = [self.history, self.answer_view, self.facts, self.token]
        self.children = (*shown, picture, *rows, message)
        self.send_button.on_click(lambda button: self.begin())
        self.stop_button.on_click(lambda button: self.stop())
        self.clear_button.on_click(lambda button: self.clear())
        self.when([self.token], self._show_token)

    def _make_controls(self) -> list:
        button = ipywidgets.Button
        # Sent as a whole when the focus leaves it: key by key, the last letters can come after the
        # click on Send where the kernel is slow.
        lines = partial(ipywidgets.Textarea, continuous_update=False, style=WIDE)
        wide = {"style": WIDE, "layout": {"width": "370px"}}
        self.prompt = lines(description="Prompt", rows=3, layout={"width": "auto"})
        self.send_button = button(
            description="Send", tooltip="answer the prompt", button_style="primary"
        )
        self.stop_button = button(
            description="Stop", tooltip="end the answer before its next token",
            button_style="danger", disabled=True,
        )  # fmt: skip
        self.clear_button = button(description="Clear", tooltip="forget the conversation")
        self.output_len = whole_number("Max new tokens", 64, 1, 100_000, "190px", style=WIDE)
        self.top_k = whole_number("Top-k (0: off)", 50, 0, 1_000_000, "190px", style=WIDE)
        self.seed = whole_number("Seed", 0, 0, 2**31 - 1, "150px", style=WIDE)
        self.temperature = number_slider("Temperature (0: greedy)", 0, 0, 3, 0.05, **wide)
        self.top_p = number_slider("Top-p", 1, 0.01, 1, 0.01, **wide)
        self.repetition_penalty = number_slider("Repetition penalty", 1, 0.5, 3, 0.05, **wide)
        self.stop_strings = lines(
            description="Stop strings, one per line", rows=2, layout={"width": "400px"},
            placeholder="\\n is a line break",
        )  # fmt: skip
        self.speculate = ipywidgets.Dropdown(
            description="Speculate: drafts by", options=["nobody", *DRAFTERS], style=WIDE,
            layout={"width": "260px"},
        )  # fmt: skip
        self.token = IntSlider(
            value=1, min=1, max=1, description="Candidates for token", style=WIDE,
            layout={"width": "500px"},
        )  # fmt: skip
        loose = {"flex_flow": "row wrap", "grid_gap": "4px 16px"}
        return [
            self.prompt,
            [self.send_button, self.stop_button, self.clear_button],
            ipywidgets.HBox([self.output_len, self.top_k, self.seed], layout=loose),
            ipywidgets.HBox([self.temperature, self.top_p, self.repetition_penalty], layout=loose),
            [self.stop_strings, self.speculate],
            ipywidgets.HTML(_NO_BEAMS),
        ]

    @property
    def settings(self) -> TaskInfo:
        """The controls' values; a ValueError for an escape that no stop string has."""
        names = ("output_len", "temperature", "top_k", "top_p", "repetition_penalty", "seed")
        values = {name: getattr(self, name).value for name in names}
        stop = tuple(unescape(line) for line in self.stop_strings.value.splitlines() if line)
        return TaskInfo("-", stop=stop, **values)

    def send(self, text: str | None = None, wait: bool = False) -> None:
        """Say ``text``, or what is in the prompt area; the answer grows in the background."""
        if text is not None:
            check_text("text", text, "")
            self.prompt.value = text
        self.begin(wait)

    def stop(self) -> None:
        """End the answer before its next token; what is there stays. Returns at once."""
        self._stop_event.set()

    def clear(self) -> None:
        """Stop, and forget the conversation. The text in the prompt area stays."""
        self.stop()
        self.wait()
        self.session.messages, self.answers = [], []
        self.attempt(self.show)

    def draw(self) -> Picture:
        """The likeliest tokens where the slider is."""
        answer, number = self.answers[-1], self.token.value
        top, chosen = candidates(answer.logprobs[number - 1], self.loaded.tokenizer)
        return next_token_bars(top, context="".join(answer.pieces[: number - 1]), chosen=chosen)

    def prepare(self):
        if self.running:
            raise ValueError("Send: an answer is being written; press Stop first")
        self._text, settings = self.prompt.value, self.settings
        self._stop_event.clear()
        growing = self.session.ask(
            self._text, settings, self._stop_event.is_set, self._drafter(self.speculate.value)
        )
        self.prompt.value = ""
        return growing

    def _drafter(self, name: str):
        """The drafter of that name, made when it is first asked for; None for nobody."""
        if name not in self._drafters:
            self._drafters[name] = make_drafter(name, self.loaded, self.session.engine)
        return self._drafters[name]

    def work(self, growing) -> None:
        """In the thread: let the answer grow."""
        self._show_history([*self._messages(), ("user", self._text)])
        self.answer_view.value, shown_at = "", -1.0
        for self._growing in growing:
            if time.monotonic() - shown_at > _REDRAW_S:
                self._show_answer(self._growing)
                shown_at = time.monotonic()

    def finish(self, failed: bool) -> None:
        """Keep the answer; where there is none, the user's text comes back."""
        answer, self._growing = self._growing, None
        if not failed and answer is not None and answer.token_ids:
            self.answers = [*self.answers, answer]
        elif not self.prompt.value:
            self.prompt.value = self._text
        self.show()

    def show_busy(self, busy: bool) -> None:
        self.send_button.disabled, self.stop_button.disabled = busy, not busy

    def _spans(self, answer: Generation):
        return spans_of(answer.pieces, answer.logprobs, self.loaded.tokenizer)

    def _messages(self) -> list[tuple]:
        """(role, text or spans) of the conversation."""
        answers = iter(self.answers)
        return [
            (m["role"], self._spans(next(answers)) if m["role"] == "assistant" else m["content"])
            for m in self.session.messages
        ]

    def show(self) -> None:
        """Everything anew, from the conversation."""
        self._show_history(self._messages()[:-1])
        self.token.layout.display = None if self.answers else "none"
        if self.answers:
            with self.quietly():
                self.token.max = len(self.answers[-1].token_ids)
                self.token.value = self.token.max
            self._show_token()
            return
        self.picture, self.picture_view.value, self.answer_view.value = None, "", ""
        self.facts.value = (
            "Type a question and press Send; the model's chat template is used."
            if self.session.has_template
            else "This model has no chat template: it continues the text."
        )

    def _show_history(self, messages: list[tuple]) -> None:
        shown = [
            said_html(role, html.escape(said) if isinstance(said, str) else answer_html(said))
            for role, said in messages
        ]
        self.history.value = legend_html() + "".join(shown)

    def _show_answer(self, answer: Generation, selected: int | None = None) -> None:
        live = answer.finish_reason is None
        inner = answer_html(self._spans(answer), selected=selected, live=live)
        self.answer_view.value = said_html("assistant", inner)
        self.facts.value = f"<span role='status'>{in_words(answer)}</span>"

    def _show_token(self) -> None:
        """The last answer with the slider's token framed, and that token's candidates."""
        self._show_answer(self.answers[-1], selected=self.token.value)
        super().show()

    @cached_property
    def _example(self) -> Picture:
        """The answer to an example. Its session is another: the thread may be using this one's."""
        task = TaskInfo("-", output_len=_EXAMPLE_LEN, temperature=0.0)
        *_, answer = ChatSession(self.loaded).ask(_EXAMPLE, task)
        return chat_picture([("user", _EXAMPLE), ("assistant", self._spans(answer))])

    def _repr_mimebundle_(self, include=None, exclude=None, **kwargs):
        self._default_picture = chat_picture(self._messages()) if self.answers else self._example
        return super()._repr_mimebundle_(include=include, exclude=exclude, **kwargs)
