"""The server: OpenAI's completions and chat completions, with the scheduler behind them.

The event loop of the web server does everything but the passes of the model, which run in a thread
that has nothing else to do. A lock keeps the loop away from scheduler and cache during a pass.
"""

import asyncio
import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from tornado import httpserver, iostream, netutil, web

from lecture_lib.checks import check_count

from .api import ApiError, Job
from .engine import PagedEngine
from .paged_scheduler import cancel
from .scheduler import Request, step

MOST_BYTES = 2**20  # of a request's body


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
            await self.server.submit(job, self.events)
            await self._answer(job)
        except iostream.StreamClosedError:
            pass  # the client has gone
        finally:
            self.server.enter(-len(job.texts))
            await self.server.cancel(job.texts)

    def on_connection_close(self) -> None:
        self.events.put_nowait(None)

    async def _answer(self, job: Job) -> None:
        if job.stream:
            self.set_header("Content-Type", "text/event-stream")
        written = dict.fromkeys(job.texts, "")
        while not all(text.finish_reason for text in job.texts.values()):
            if (event := await self.events.get()) is None:
                raise iostream.StreamClosedError
            request, token_id, reason = event
            if request is None:
                raise ApiError(500, reason)
            if (text := job.texts[request]).finish_reason:
                continue  # it ended at a stop string, and one more token had been computed
            piece = text.push(token_id, reason)
            if text.finish_reason and not reason:  # a stop string
                await self.server.cancel([request])
            if job.stream and (piece or text.finish_reason):
                await self._send(job.answer([job.choice(text, piece, first=not written[request])]))
            written[request] += piece
        if not job.stream:
            choices = [job.choice(text, written[request]) for request, text in job.texts.items()]
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
        self.thread, self.no_pass = ThreadPoolExecutor(1), asyncio.Lock()
        self.work = asyncio.Event()  # is set while there are requests
        self.listeners: dict[Request, asyncio.Queue] = {}  # get (request, token, finish reason)
        routes = [
            ("/v1/models", Models, {"server": self}),
            ("/v1/completions", Completions, {"server": self}),
            ("/v1/chat/completions", Completions, {"server": self, "chat": True}),
            ("/.*", Handler, {"server": self}),
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
        self.passes = asyncio.get_running_loop().create_task(self._run_passes())
        return sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no more requests, break off those that run, and end the model's thread."""
        self.http.stop()
        await self.http.close_all_connections()
        async with self.no_pass:
            self.passes.cancel()
        self.thread.shutdown()

    async def _run_passes(self) -> None:
        scheduler, loop = self.paged.scheduler, asyncio.get_running_loop()
        while True:
            await self.work.wait()
            async with self.no_pass:
                arguments = scheduler, self.paged.run_pass, time.perf_counter
                try:
                    for request in await loop.run_in_executor(self.thread, step, *arguments):
                        if listener := self.listeners.get(request):
                            event = request, request.token_ids[-1], request.finish_reason
                            listener.put_nowait(event)
                except Exception as error:  # all are told and dropped, and the server lives on
                    for listener in self.listeners.values():
                        listener.put_nowait((None, None, f"{type(error).__name__}: {error}"))
                    self._drop(list(self.listeners))
                if not scheduler.running and not scheduler.waiting:
                    self.work.clear()

    async def submit(self, job: Job, listener: asyncio.Queue) -> None:
        """Let a client's requests run."""
        async with self.no_pass:
            self.listeners |= dict.fromkeys(job.texts, listener)
            self.paged.scheduler.waiting.extend(job.requests)
            self.work.set()

    async def cancel(self, requests: Iterable[Request]) -> None:
        """Stop requests that have not ended; nobody listens to them any more."""
        async with self.no_pass:
            self._drop(list(requests))

    def _drop(self, requests: list[Request]) -> None:
        for request in reversed(requests):  # siblings come after the one whose prompt they share
            self.listeners.pop(request, None)
            cancel(request, self.paged.scheduler)

    def enter(self, n_texts: int) -> None:
        """Note that so many more texts are open, or refuse them; a negative number leaves."""
        if n_texts > 0 and self.n_open + n_texts > self.most_open:
            words = f"{self.n_open} of at most {self.most_open} texts are being written"
            raise ApiError(429, f"{words}; try again later", code="queue_full")
        self.n_open += n_texts
