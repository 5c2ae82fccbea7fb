"""ChatSession: a conversation with a model, token by token; what ChatWidget shows."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..engine import Engine
from ..engine.generate import Run
from ..engine.generation import Timings
from ..inference_script.logprobs import TokenLogprobs, positions
from ..inference_script.run import chooser
from ..inference_script.settings import TaskInfo

N_TOP = 5
_PREFILL_CHUNK = 64  # tokens; between two chunks of a long prompt it can be stopped

_ENDS = {
    "eos": "the model ended it",
    "stop": "ended by a stop string",
    "length": "cut at the number of new tokens",
    "stopped": "stopped by you",
    None: "still growing",
}


@dataclass
class ChatAnswer:
    """An answer, complete or still growing.

    Attributes:
        prompt_len: tokens of the whole conversation in front of it, as the template writes it.
        token_ids, logprobs: the new tokens, and what the model thought of each.
        pieces: the text that became certain with each token, "" where a character or a stop
            string may go on; one more at the end where it was stopped.
        finish_reason: "eos", "stop" (a stop string), "length", "stopped", or None: still growing.
        timings: of the engine's run.
    """

    prompt_len: int
    token_ids: list[int]
    pieces: list[str]
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: str | None = None
    timings: Timings = field(default_factory=Timings)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def in_words(self) -> str:
        """Prompt and answer in numbers, and why it ended."""
        ttft_s, tokens_per_s = self.timings.ttft_s, self.timings.tokens_per_s
        facts = [f"{self.prompt_len:,} prompt tokens", f"{len(self.token_ids):,} new tokens"]
        facts += [f"time to first token {1e3 * ttft_s:,.0f} ms"] if ttft_s else []
        facts += [f"{tokens_per_s:.1f} tokens/s"] if tokens_per_s else []
        return " · ".join([*facts, _ENDS[self.finish_reason]])


class ChatSession:
    """The messages so far, and the next answer to them.

    Args:
        loaded: what ``load_model()`` returned.

    Attributes:
        messages: {"role": "user" or "assistant", "content": str}, in order.
        engine: the Engine that answers, of this session alone.
        has_template: whether the model has a chat template; without one it just goes on with the
            messages' text, line after line.

    Raises:
        ValueError: an architecture that the engine does not run.
    """

    def __init__(self, loaded):
        self.engine, self.tokenizer = Engine(loaded), loaded.tokenizer
        self.has_template = bool(self.tokenizer.chat_template)
        self.messages: list[dict] = []

    def prompt_ids(self, text: str) -> list[int]:
        """The tokens that the model would see if the user said this next."""
        messages = [*self.messages, {"role": "user", "content": text}]
        if self.has_template:
            written = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_dict=True
            )
            return list(written["input_ids"])
        return self.tokenizer("\n".join(m["content"] for m in messages)).input_ids

    def ask(
        self, text: str, settings: TaskInfo, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[ChatAnswer]:
        """Begin an answer; everything that can be wrong with the input is found right here.

        Args:
            text: what the user says. settings: all but prompt_seqs and the beams' counts.
            stopped: asked before each token; True ends the answer.

        Returns:
            An iterator over the same, growing ChatAnswer: after each token, and when it is
            complete. With the last one question and answer are in ``messages``; where no token
            came, or the model failed, they are not.

        Raises:
            ValueError: an empty text, a conversation that with the new tokens is longer than the
                model's context.
        """
        if not text.strip():
            raise ValueError("Prompt: is empty; type at least one word")
        ids = self.prompt_ids(text)
        if self.engine.context_length - len(ids) < settings.output_len:
            raise ValueError(
                f"Prompt: too long. The conversation has {len(ids):,} tokens and the answer may "
                f"have {settings.output_len:,}, but the model's context holds "
                f"{self.engine.context_length:,}. Shorten it, ask for fewer tokens, or Clear"
            )
        choose = chooser(settings, [ids])

        def note_and_choose(logits):
            tokens = choose(logits)
            answer.logprobs += positions(logits, tokens.tolist(), N_TOP)
            return tokens

        run = _StoppableRun(
            self.engine, ids, settings.output_len, stop=settings.stop, next_token=note_and_choose
        )
        run.stopped = stopped
        answer = ChatAnswer(len(ids), run.rows[0].token_ids, run.rows[0].pieces)
        return self._grow(text, answer, run)

    def _grow(self, text: str, answer: ChatAnswer, run: Run) -> Iterator[ChatAnswer]:
        row = run.rows[0]
        with contextlib.suppress(_Stopped):
            for _ in run.steps():
                answer.timings = run.timings
                yield answer
                # Here, before the next pass through the model, and not after it.
                if row.finish_reason is None and run.stopped():
                    break
        answer.finish_reason = row.finish_reason or "stopped"
        if answer.finish_reason == "stopped":
            answer.pieces.append(row.text_stream.flush())
        if answer.token_ids:
            said = {"user": text, "assistant": answer.text}
            self.messages += [{"role": role, "content": what} for role, what in said.items()]
        yield answer


class _Stopped(Exception):
    """Somebody pressed Stop while the prompt was being read."""


class _StoppableRun(Run):
    """A Run whose prefill can be stopped too, between chunks of the prompt."""

    stopped: Callable[[], bool]

    def _prefill(self):
        prompt_len = self.input_ids.shape[1]
        self.cache = self.engine.new_cache(1, prompt_len + self.max_new_tokens)
        for chunk in self.input_ids.split(_PREFILL_CHUNK, dim=1):
            if self.stopped():
                raise _Stopped
            logits = self.engine.prefill(chunk, cache=self.cache)
        self.calls += self.engine.calls
        return logits
