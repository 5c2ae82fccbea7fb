"""ChatWidget: talk to the model; the answer comes token by token, and Stop works at once."""

import html
import threading
import time

import ipywidgets

from ..figures import next_token_bars
from ..figures.chat import answer_html, chat_picture, legend_html, said_html
from ..inference_script.settings import TaskInfo
from .background import BackgroundWidget
from .chat_controls import make_controls
from .chat_session import ChatAnswer, ChatSession
from .chat_text import candidates, facts_html, read_stop_strings, spans_of, welcome

_REDRAW_S = 0.08  # a faster model than this would spend its time on drawing
_EXAMPLE_LEN = 32


class ChatWidget(BackgroundWidget):
    """A conversation with the model; each token of an answer shows its probability.

    The answer is written in a thread: cells can be run meanwhile, and Stop ends it before the next
    token. What the pointer shows over a token, the slider shows without one.

    Args:
        loaded: what ``load_model()`` returned. system: a first message that sets the tone.
        prompt: what stands in the prompt area at the beginning.
        example: a question whose greedy answer is the picture for readers without a kernel, as
            long as there is no conversation.
        settings: as in ``TaskInfo``: output_len (64), temperature (0, greedy), top_k, top_p,
            repetition_penalty, seed, stop. Beams can't be streamed; see StrategiesSideBySide.

    Attributes:
        session: the ChatSession. answers: a ChatAnswer for each answer.

    Raises:
        ValueError: a setting out of range; an architecture that the engine does not run.
    """

    def __init__(
        self,
        loaded,
        *,
        system: str | None = None,
        prompt: str = "",
        example: str = "What is the capital of France?",
        **settings,
    ):
        self.loaded, self.system, self.example = loaded, system, example
        self.session = ChatSession(loaded, system)
        self.answers: list[ChatAnswer] = []
        self._stop_event, self._filling = threading.Event(), False
        self._growing: ChatAnswer | None = None
        self._still = {}
        rows = make_controls(self, prompt, settings)
        self.history, self.answer_view, self.facts = (ipywidgets.HTML() for _ in range(3))
        super().__init__(rows, watch=[])
        *rows, message, picture = self.children
        shown = [self.history, self.answer_view, self.facts, self.token]
        self.children = (*shown, picture, *rows, message)
        self.send_button.on_click(lambda button: self.send())
        self.stop_button.on_click(lambda button: self.stop())
        self.clear_button.on_click(lambda button: self.clear())
        self.token.observe(lambda change: self._filling or self._show_token(), names="value")

    @property
    def conversation(self) -> list[dict]:
        """{"role": ..., "content": ...} of every message so far, a copy."""
        return [dict(message) for message in self.session.messages]

    @property
    def settings(self) -> TaskInfo:
        """The controls' values.

        Raises:
            ValueError: one that is out of range.
        """
        return TaskInfo(
            "-",
            output_len=self.output_len.value,
            temperature=self.temperature.value,
            top_k=self.top_k.value,
            top_p=self.top_p.value,
            repetition_penalty=self.repetition_penalty.value,
            seed=self.seed.value,
            stop=read_stop_strings(self.stop_strings.value),
        )

    def send(self, text: str | None = None, wait: bool = False) -> None:
        """Say something; the answer grows in the background.

        Args:
            text: default what stands in the prompt area. wait: return when the answer is there.

        Bad input becomes ``error``, shown in the widget, and the text stays in the prompt area.
        """
        if text is not None:
            self.prompt.value = text
        self.begin(self._prepare, self._write, self._finish)
        if wait:
            self.wait()

    def stop(self) -> None:
        """End the answer before its next token; what is there stays. Returns at once."""
        self._stop_event.set()

    def clear(self) -> None:
        """Stop, and forget the conversation. What stands in the prompt area stays."""
        self.stop()
        self.wait()
        self.session.clear()
        self.answers = []
        self.attempt(self._show)

    def draw(self):
        """The likeliest tokens where the slider is; the still picture before any answer."""
        if not self.answers:
            return self._still_picture()
        answer, number = self.answers[-1], self.token.value
        top, chosen = candidates(answer.logprobs[number - 1], self.loaded.tokenizer)
        context = "".join(answer.pieces[: number - 1])
        return next_token_bars(top, context=context, chosen=chosen)

    def _prepare(self):
        if self.running:
            raise ValueError("Send: an answer is being written; press Stop first")
        self._text, settings = self.prompt.value, self.settings
        self._stop_event.clear()
        growing = self.session.ask(self._text, settings, self._stop_event.is_set)
        self.prompt.value = ""
        return growing

    def _write(self, growing) -> None:
        """In the thread: let the answer grow."""
        shown_at = -1.0
        for self._growing in growing:
            if time.monotonic() - shown_at > _REDRAW_S:
                self._show_growing()
                shown_at = time.monotonic()

    def _finish(self, failed: Exception | None) -> None:
        """Keep the answer; where there is none, the user's text comes back."""
        answer, self._growing = self._growing, None
        if failed is None and answer is not None and answer.token_ids:
            self.answers = [*self.answers, answer]
        elif not self.prompt.value:
            self.prompt.value = self._text
        self._show()
        if failed is not None:
            raise failed

    def show_busy(self, busy: bool) -> None:
        self.send_button.disabled, self.stop_button.disabled = busy, not busy

    def _spans(self, answer: ChatAnswer):
        return spans_of(answer.pieces, answer.logprobs, self.loaded.tokenizer)

    def _messages(self) -> list[tuple]:
        """(role, text or spans) of the conversation."""
        answers = iter(self.answers)
        return [
            (m["role"], self._spans(next(answers)) if m["role"] == "assistant" else m["content"])
            for m in self.session.messages
        ]

    def _show_growing(self) -> None:
        answer = self._growing
        said = said_html("user", html.escape(self._text))
        inner = answer_html(self._spans(answer), live=answer.finish_reason is None)
        self.answer_view.value = said + said_html("assistant", inner)
        self.facts.value = facts_html(answer)

    def _replace_picture(self) -> None:
        self._show()

    def _show(self) -> None:
        """Everything anew, from the conversation."""
        shown = [
            said_html(role, html.escape(said) if isinstance(said, str) else answer_html(said))
            for role, said in self._messages()
        ]
        self.history.value = legend_html() + "".join(shown[:-1])
        self.facts.value = facts_html(self.answers[-1]) if self.answers else welcome(self.session)
        self._filling = True
        self.token.max = len(self.answers[-1].token_ids) if self.answers else 1
        self.token.value = self.token.max
        self._filling = False
        self.token.layout.display = None if self.answers else "none"
        self._show_token()

    def _show_token(self) -> None:
        """The last answer with the slider's token framed, and that token's candidates."""
        if not self.answers:
            self.picture, self.picture_view.value, self.answer_view.value = None, "", ""
            return
        spans = self._spans(self.answers[-1])
        self.answer_view.value = said_html(
            "assistant", answer_html(spans, selected=self.token.value)
        )
        self.picture = self.draw()
        self.picture_view.value = self.picture.html(live=True)

    def _still_picture(self):
        """The conversation, or the example's answer: for readers without a kernel."""
        if self.answers:
            return chat_picture(self._messages())
        if "example" not in self._still:
            # An engine and a session of its own: the thread may be using the others.
            aside = ChatSession(self.loaded, self.system)
            task = TaskInfo("-", output_len=_EXAMPLE_LEN, temperature=0.0)
            *_, answer = aside.ask(self.example, task)
            messages = [("user", self.example), ("assistant", self._spans(answer))]
            self._still["example"] = chat_picture(messages)
        return self._still["example"]

    def _repr_mimebundle_(self, include=None, exclude=None, **kwargs):
        self._default_picture = self._still_picture()
        return super()._repr_mimebundle_(include=include, exclude=exclude, **kwargs)
