"""
An HTTP server on this machine that gives out files, and breaks off where it is told to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Loopback:
    """
    What the server answers, and what it was asked.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        """Path -> what is answered; anything else is 404."""
        self.headers: dict[str, dict[str, str]] = {}
        """Path -> further headers of the answer."""
        self.missing_headers: dict[str, str] = {}
        """Headers of answers that have no body."""
        self.cut_after: dict[str, int] = {}
        """Path -> bytes after which the connection is closed; the next requests get 410."""
        self.broken: set[str] = set()
        self.asked: list[tuple[str, str, str | None]] = []
        """Method, path and Range of each request."""
        self.url = ""


@contextmanager
def serving() -> Iterator[Loopback]:
    """
    Serve on a free port of 127.0.0.1 while the block runs.
    """
    state = Loopback()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            path = self.path.split("?")[0]
            wanted = self.headers.get("Range")
            state.asked.append((self.command, path, wanted))
            body = state.bodies.get(path)
            if body is None or (with_body and path in state.broken):
                self.send_response(404 if body is None else 410)
                for name, value in state.missing_headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = 0 if wanted is None else int(wanted.removeprefix("bytes=").split("-")[0])
            self.send_response(200 if wanted is None else 206)
            self.send_header("Content-Length", str(len(body) - begin))
            for name, value in state.headers.get(path, {}).items():
                self.send_header(name, value)
            self.end_headers()
            if not with_body:
                return
            cut = state.cut_after.pop(path, None)
            self.wfile.write(body[begin:cut])
            if cut is not None:
                state.broken.add(path)
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
