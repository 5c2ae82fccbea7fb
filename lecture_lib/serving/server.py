"""The server: OpenAI's completions and chat completions, with the scheduler behind them.

One thread runs the model, step by step; the web server's own thread reads requests and writes
answers. They talk by two queues, and only the model's thread touches scheduler and cache.
"""

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from tornado import httpserver, iostream, netutil, web

from lecture_lib.checks import check_count

from .api import ApiError, Job
from .engine import PagedEngine
from .paged_scheduler import cancel
from .scheduler import Request, step

MOST_BYTES = 2**20  # of a request's body


class ModelThread(threading.Thread):
    """Runs a PagedEngine's scheduler.

    Attributes:
        listeners: for each request that waits or runs a function of (token, finish reason), or of
            (None, error) where a pass has failed.
    """

    def __init__(self, paged: PagedEngine):
        super().__init__(name="model", daemon=True)
        self.paged, self.scheduler = paged, paged.scheduler
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()  # functions to call; None ends it
        self.listeners: dict[Request, Callable] = {}

    def submit(self, request: Request, listeners: dict[Request, Callable]) -> None:
        """Let a request and its siblings run."""
        self.inbox.put(
            lambda: (self.listeners.update(listeners), self.scheduler.waiting.append(request))
        )

    def cancel(self, requests: list[Request]) -> None:
        """Stop requests; nobody listens to them any more."""
        self.inbox.put(partial(self._drop, requests))

    def _drop(self, requests: list[Request]) -> None:
        for request in reversed(requests):  # siblings come after the one whose prompt they share
            self.listeners.pop(request, None)
            cancel(request, self.scheduler)

    def run(self) -> None:
        while True:
            idle = not (self.scheduler.running or self.scheduler.waiting)
            while idle or not self.inbox.empty():
                if (action := self.inbox.get()) is None:
                    return
                action()
                idle = False
            try:
                got = step(self.scheduler, self.paged.run_pass, time.perf_counter)
            except Exception as error:  # all are told and dropped, and the server lives on
                for listener in self.listeners.values():
                    listener(None, f"{type(error).__name__}: {error}")
                self._drop(list(self.listeners))
                continue
            for request in got:
                if listener := self.listeners.get(request):
                    listener(request.token_ids[-1], request.finish_reason)
                if request.finish_reason:
                    self.listeners.pop(request, None)


class Handler(web.RequestHandler):
    """What all routes share: errors as OpenAI writes them. By itself it is every other route."""

    def initialize(self, server: "Server", chat: bool = False):
        self.server, self.chat, self.events = server, chat, asyncio.Queue()

    def prepare(self) -> None:
        if type(self) is Handler:
            raise web.HTTPError(404)

    def write_error(self, status_code: int, exc_info=(None, None, None), **_) -> None:
        error = exc_info[1]
        if not isinstance(error, ApiError):
            where = f"{self.request.method} {self.request.path}"
            error = ApiError(status_code, f"{where}: {HTTPStatus(status_code).phrase}")
        self.set_status(error.status)
        self.finish(error.body)

    def log_exception(self, kind, value, traceback) -> None:
        if not isinstance(value, ApiError | web.HTTPError):
            super().log_exception(kind, value, traceback)


class Models(Handler):
    """GET /v1/models: the one model."""

    def get(self):
        entry = {"id": self.server.model, "object": "model", "created": 0, "owned_by": "lecture"}
        self.finish({"object": "list", "data": [entry]})


class Completions(Handler):
    """POST /v1/completions and /v1/chat/completions."""

    async def post(self):
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"the body is no JSON: {error}") from None
        job = Job(body, self.chat, self.server.paged, self.server.model)
        self.server.enter(len(job.texts))
        try:
            await self._answer(job)
        except iostream.StreamClosedError:
            pass  # the client has gone
        finally:
            self.server.enter(-len(job.texts))
            open_texts = [text.request for text in job.texts if not text.finish_reason]
            self.server.thread.cancel(open_texts)

    def on_connection_close(self) -> None:
        self.events.put_nowait(None)

    async def _answer(self, job: Job) -> None:
        loop, texts = asyncio.get_running_loop(), {text.request: text for text in job.texts}

        def tell(text, *event):  # the model's thread calls it
            loop.call_soon_threadsafe(self.events.put_nowait, (text, *event))

        for request in job.requests:
            own = (request, *request.siblings)
            self.server.thread.submit(request, {each: partial(tell, texts[each]) for each in own})
        if job.stream:
            self.set_header("Content-Type", "text/event-stream")
        written = {text: [] for text in texts.values()}
        while not all(text.finish_reason for text in written):
            event = await self.events.get()
            if event is None:
                raise iostream.StreamClosedError
            text, token_id, reason = event
            if token_id is None:
                raise ApiError(500, reason)
            if text.finish_reason:
                continue  # it ended at a stop string, and one more token had been computed
            piece = text.push(token_id, reason)
            if text.finish_reason and not reason:  # a stop string
                self.server.thread.cancel([text.request])
            if job.stream and (piece or text.finish_reason):
                await self._send(job.answer([job.choice(text, piece, first=not written[text])]))
            if piece:
                written[text].append(piece)
        if not job.stream:
            choices = [job.choice(text, "".join(pieces)) for text, pieces in written.items()]
            await self.finish(job.answer(choices, usage=True))
            return
        if job.include_usage:
            await self._send(job.answer([], usage=True))
        self.write("data: [DONE]\n\n")
        await self.finish()

    async def _send(self, chunk: dict) -> None:
        self.write(f"data: {json.dumps(chunk)}\n\n")
        await self.flush()


class Server:
    """The web server over one PagedEngine.

    Args:
        paged: the model. model: its name, as clients call it.
        most_open: how many texts may wait or run; one more is refused with status 429.
    """

    def __init__(self, paged: PagedEngine, model: str, most_open: int = 64):
        self.paged, self.model, self.most_open, self.n_open = paged, model, most_open, 0
        self.thread, own = ModelThread(paged), {"server": self}
        routes = [
            ("/v1/models", Models, own),
            ("/v1/completions", Completions, own),
            ("/v1/chat/completions", Completions, own | {"chat": True}),
            ("/.*", Handler, own),
        ]
        app = web.Application(routes, log_function=lambda _: None)
        self.http = httpserver.HTTPServer(app, max_body_size=MOST_BYTES, max_buffer_size=MOST_BYTES)

    def listen(self, port: int) -> int:
        """Answer on this machine's loopback, in the running event loop; returns the port."""
        try:
            sockets = netutil.bind_sockets(check_count("port", port, 0, 65_535), "127.0.0.1")
        except OSError as error:
            raise ValueError(f"port: {port} can't be used ({error.strerror})") from None
        self.http.add_sockets(sockets)
        self.thread.start()
        return sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no more requests, break off those that run, and end the model's thread."""
        self.http.stop()
        await self.http.close_all_connections()
        self.thread.inbox.put(None)
        await asyncio.to_thread(self.thread.join)

    def enter(self, n_texts: int) -> None:
        """Note that so many more texts are open, or refuse them; a negative number leaves."""
        if n_texts > 0 and self.n_open + n_texts > self.most_open:
            words = f"{self.n_open} of at most {self.most_open} texts are being written"
            raise ApiError(429, f"{words}; try again later", code="queue_full")
        self.n_open += n_texts
