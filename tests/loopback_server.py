"""A small HTTP server on the loopback interface: what the tests' hubs and sites have in common."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class LoopbackServer:
    """Serves from ``with`` to its end, in a thread; a handler finds this object as ``server.hub``.

    Attributes:
        port: one that was free. url: with it, without a slash at the end.
    """

    def __init__(self, handler) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.hub = self
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class QuietHandler(BaseHTTPRequestHandler):
    """Answers with a status, a body and headers, and writes nothing on the tests' output."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Not on the tests' output."""

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")  # a stopped server then stays silent
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
