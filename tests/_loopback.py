"""A server on loopback that gives what a test wants it to give."""

from __future__ import annotations

import contextlib
import http.server
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.hits.append(self.path)
        if self.path.startswith("/moved/"):
            return self._head(302, 0, ("Location", self.path.removeprefix("/moved")))
        return self.server.answer(self, len(self.server.hits))

    def _head(self, status: int, length: int | None, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def give(self, data: bytes, *, length: int | None = None, status: int = 200) -> None:
        self._head(status, len(data) if length is None else length)
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def serving(data: bytes):
    """Serve with ``answer(handler, hit)``, `data` at first; `hits` are the paths asked for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.hits = []
        running.answer = lambda handler, _hit: handler.give(data)
        running.handle_error = lambda *_args: None
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
