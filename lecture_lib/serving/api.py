"""What a client of OpenAI's interface may ask for, checked; and the answers, as it reads them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from lecture_lib.checks import check_count, check_flag, check_number, check_stop, check_text
from lecture_lib.decoding.sample_generate import Sampler
from lecture_lib.engine.generate import greedy
from lecture_lib.engine.streaming import TextStream
from lecture_lib.sampling_settings import SamplingSettings
from lecture_lib.scoring import chat_ids
from lecture_lib.tokens import encode_prompts

from .engine import PagedEngine

BOTH = "model max_tokens temperature top_p n stop seed stream stream_options user"
# What OpenAI's routes, of texts and of conversations, take beside these is refused, not ignored.
KNOWN = {False: f"{BOTH} prompt".split(), True: f"{BOTH} messages max_completion_tokens".split()}
FINISH = {None: None, "eos": "stop", "stop": "stop", "length": "length"}


class ApiError(Exception):
    """A status, and a message in OpenAI's form, in place of an answer."""

    def __init__(self, status: int, message: str, param=None, code: str | None = None):
        super().__init__(message)
        self.status, kind = status, "invalid_request_error" if status < 500 else "server_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(eq=False)
class Text:
    """One text that is being written: choice ``index`` of the answer."""

    index: int
    stream: TextStream
    finish_reason: str | None = None
    n_tokens: int = 0

    def push(self, token_id: int, reason: str | None) -> str:
        """What can be shown after a new token; with the last one there is a ``finish_reason``."""
        self.n_tokens += 1
        piece = self.stream.push(token_id)
        self.finish_reason = "stop" if self.stream.stopped else reason
        return piece + self.stream.flush() if self.finish_reason else piece


class Job:
    """One call of a client: its texts, and how they are written for it.

    Args:
        body: what the client sent, decoded. chat: whether on the route of conversations.

    Attributes:
        requests: one for each prompt. texts: every request, siblings too, to its Text.
    """

    def __init__(self, body: object, chat: bool, paged: PagedEngine, model: str):
        if not isinstance(body, Mapping):
            raise ApiError(400, f"the body must be a JSON object, got {type(body).__name__}")
        self.body = {name: value for name, value in body.items() if value is not None}
        self.chat, self.paged, self.model = chat, paged, model
        for name in self.body:
            if name not in KNOWN[chat]:
                raise ApiError(400, f"{name}: is not supported here", name)
        if self.body.get("model", model) != model:
            raise ApiError(404, f"model: there is only {model!r}", "model", "model_not_found")
        try:
            self._read(self.body.get)
        except ValueError as error:
            name = str(error).partition(":")[0]
            code = "context_length_exceeded" if "context" in str(error) else None
            raise ApiError(400, str(error), name if name in KNOWN[chat] else None, code) from None
        self.id, self.created = f"cmpl-{uuid4().hex}", int(time.time())

    def _read(self, get: Callable) -> None:
        self.stream, options = check_flag("stream", get("stream", False)), get("stream_options", {})
        if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
            raise ValueError("stream_options: only include_usage is supported")
        self.include_usage = check_flag("stream_options", options.get("include_usage", False))
        n, stop = check_count("n", get("n", 1), most=16), check_stop(get("stop"))
        name = "max_completion_tokens" if "max_completion_tokens" in self.body else "max_tokens"
        n_new = check_count(name, get(name, 256 if self.chat else 16))
        prompts = self._conversation(get("messages")) if self.chat else get("prompt", "")
        prompts, _ = encode_prompts(prompts, self.paged.engine.tokenizer)
        sampler = self._sampler(get)
        self.requests = [self.paged.request(ids, n_new, n=n, next_token=sampler) for ids in prompts]
        each = [text for request in self.requests for text in (request, *request.siblings)]
        streams = (TextStream(self.paged.engine.tokenizer, stop) for _ in each)
        self.texts = {request: Text(i, next(streams)) for i, request in enumerate(each)}

    def _sampler(self, get: Callable) -> Callable:
        """From the number of a text to what draws its tokens: each has its own random numbers."""
        temperature = check_number("temperature", get("temperature", 1), least=0, most=2)
        settings = SamplingSettings(temperature or 1.0, top_p=get("top_p", 1.0))
        seed = check_count("seed", get("seed", time.time_ns()), least=0, most=2**62)
        return lambda i: Sampler(settings, seed=seed + i) if temperature else greedy

    def _conversation(self, messages: object) -> list[int]:
        if not isinstance(messages, list) or not messages:
            raise ValueError("messages: needs a list of at least one message")
        for message in messages:
            if not isinstance(message, Mapping) or set(message) - {"role", "content", "name"}:
                raise ValueError("messages: each needs a role and a content, and nothing else")
            for part in ("role", "content"):
                check_text("messages", message.get(part), "")
        try:
            return chat_ids(self.paged.engine.tokenizer, messages)
        except ValueError as error:
            raise ValueError(f"messages: {error}") from None

    def choice(self, text: Text, words: str, *, first: bool = True) -> dict:
        """A text, or a piece of it where the answer is streamed."""
        said = ({"role": "assistant"} if first else {}) | {"content": words}
        shown = {"delta" if self.stream else "message": said} if self.chat else {"text": words}
        reason = FINISH[text.finish_reason]
        return {"index": text.index, "finish_reason": reason, "logprobs": None} | shown

    def answer(self, choices: list[dict], *, usage: bool = False) -> dict:
        """The choices in the frame that clients expect, with the number of tokens if wanted."""
        kind = "chat.completion" + ".chunk" * self.stream if self.chat else "text_completion"
        found = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        counts = {"prompt_tokens": sum(len(request.prompt_ids) for request in self.requests)}
        counts["completion_tokens"] = sum(text.n_tokens for text in self.texts.values())
        counts["total_tokens"] = sum(counts.values())
        return found | {"choices": choices} | ({"usage": counts} if usage else {})
