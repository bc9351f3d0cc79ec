"""A server on this machine that answers as the test says."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server:
    """Serves the bytes in ``files``; ``requests`` are the methods and paths asked for.

    ``breaks`` answers to GET come with half of the file only, ``refusals`` with the given codes.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.breaks = 0
        self.refusals: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(b"")

            def do_GET(self) -> None:
                self.answer(outer.files.get(self.path, b""))

            def answer(self, body: bytes) -> None:
                outer.requests.append((self.command, self.path))
                if self.command == "GET" and outer.refusals:
                    self.send_error(outer.refusals.pop(0))
                    return
                if self.path not in outer.files:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.files[self.path])))
                self.end_headers()
                if body and outer.breaks:
                    outer.breaks -= 1
                    body = body[: len(body) // 2]
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def gets(self) -> int:
        """Return how often a file was asked for."""
        return sum(method == "GET" for method, _ in self.requests)


@pytest.fixture
def server(monkeypatch):
    """A server of files on the loopback interface."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()
