"""ChatSession: a conversation with a model, token by token; what ChatWidget shows."""

import contextlib
from collections.abc import Callable, Iterator

from ..checks import check_text
from ..engine import Engine, Generation
from ..engine.run import Run
from ..engine.speculation import choose
from ..inference_script.run import Recorder, chooser, positions
from ..inference_script.settings import TaskInfo
from ..scoring import chat_ids

N_TOP = 5
_PREFILL_CHUNK = 64  # tokens; between two chunks of a long prompt it can be stopped

_ENDS = {
    "eos": "the model ended it",
    "stop": "ended by a stop string",
    "length": "cut at the number of new tokens",
    "stopped": "stopped by you",
    None: "still growing",
}


def in_words(answer: Generation) -> str:
    """Prompt and answer in numbers, and why it ended."""
    facts = [f"{answer.prompt_len:,} prompt tokens", f"{len(answer.token_ids):,} new tokens"]
    timings = answer.timings
    facts += [f"time to first token {1e3 * timings.ttft_s:,.0f} ms"] if timings.token_s else []
    facts += [f"{timings.tokens_per_s:.1f} tokens/s"] if timings.step_s else []
    if answer.passes:
        facts.append(f"{(len(answer.token_ids) - 1) / len(answer.passes):.1f} tokens per pass")
    return " · ".join([*facts, _ENDS[answer.finish_reason]])


class ChatSession:
    """The messages so far ({"role": "user" or "assistant", "content": str}), and the next answer.

    A model without a chat template just continues the messages' text, line after line. ValueError
    if the template refuses even one message of the user.
    """

    def __init__(self, loaded):
        self.engine, self.tokenizer = Engine(loaded), loaded.tokenizer
        self.has_template = bool(self.tokenizer.chat_template)
        self.messages: list[dict] = []
        self.prompt_ids("a")

    def prompt_ids(self, text: str) -> list[int]:
        """The tokens that the model would see if the user said this next."""
        messages = [*self.messages, {"role": "user", "content": text}]
        if self.has_template:
            return chat_ids(self.tokenizer, messages)
        return self.tokenizer("\n".join(m["content"] for m in messages)).input_ids

    def ask(
        self,
        text: str,
        settings: TaskInfo,
        stopped: Callable[[], bool] = lambda: False,
        drafter: Callable | None = None,
    ) -> Iterator[Generation]:
        """Begin an answer; what is wrong with the input is a ValueError right here. With a drafter
        the answer is written by speculative decoding.

        Yields the same, growing Generation after each token, and when it is complete or ``stopped``
        said True; its finish_reason may also be "stopped". With the last one question and answer
        are in ``messages``; where no token came, or the model failed, they are not.
        """
        check_text("Prompt", text, "word")
        ids = self.prompt_ids(text)
        if self.engine.context_length - len(ids) < settings.output_len:
            raise ValueError(
                f"Prompt: too long. The conversation has {len(ids):,} tokens and the answer may "
                f"have {settings.output_len:,}, but the model's context holds "
                f"{self.engine.context_length:,}. Shorten it, ask for fewer tokens, or Clear"
            )
        recorder = Recorder(chooser(settings, [ids]), N_TOP)
        run = _StoppableRun(
            self.engine, ids, settings.output_len, stop=settings.stop, next_token=recorder,
            speculate=drafter,
        )  # fmt: skip
        run.stopped = stopped
        run.rows[0].logprobs = recorder.rows[0]  # which grows
        return self._grow(text, run)

    def _grow(self, text: str, run: "_StoppableRun") -> Iterator[Generation]:
        answer = run.rows[0]
        with contextlib.suppress(_Stopped):
            for _ in run.steps():
                yield answer
                # Here, before the next pass through the model, and not after it.
                if answer.finish_reason is None and run.stopped():
                    break
        if answer.finish_reason is None:  # in the middle there may be text that was held back
            answer.finish_reason = "stopped"
            answer.pieces.append(run.streams[0].flush())
        del answer.logprobs[len(answer.token_ids) :]  # a pass may accept more than the answer has
        if answer.token_ids:
            said = {"user": text, "assistant": answer.text}
            self.messages += [{"role": role, "content": what} for role, what in said.items()]
        yield answer


class _Stopped(Exception):
    """Somebody pressed Stop while the prompt was being read."""


class _StoppableRun(Run):
    """A Run whose prefill can be stopped too, between chunks of the prompt."""

    stopped: Callable[[], bool]

    def tokens(self):
        cache = self.engine.new_cache(1, self.input_ids.shape[1] + self.max_new_tokens)
        for chunk in self.input_ids.split(_PREFILL_CHUNK, dim=1)[:-1]:
            self._check_not_stopped()
            self.engine.prefill(chunk, cache=cache)
        self._check_not_stopped()
        yield from self.cached(self.input_ids, cache)

    @staticmethod
    def choose(recorder: Recorder, token_ids, draft, q, logits) -> list[int]:
        """As the recorder's own chooser does it, with a record of each token."""
        new = choose(recorder.choose, token_ids, draft, q, logits)
        recorder.rows[0] += positions(logits[: len(new)], new, N_TOP)
        return new

    def _check_not_stopped(self) -> None:
        if self.stopped():
            raise _Stopped
