"""
A service made of paper: a socket that gives each connection prepared bytes, and a root's state.
"""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from finetuned.files.lock import FileLock
from finetuned.layout import Layout

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: chatcmpl-1\r\n\r\n"


Given = bytes | Callable[[socket.socket], None]
"""What a connection is given: bytes, or what is done with it."""


def event(**chunk: object) -> bytes:
    """
    Return one event of a stream.
    """
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def text(content: str) -> bytes:
    """
    Return the event of more text.
    """
    return event(model="finetuned@v0001", choices=[{"index": 0, "delta": {"content": content}}])


def ending(reason: str = "stop") -> bytes:
    """
    Return the events of a whole answer's end.
    """
    return (
        event(model="finetuned@v0001", choices=[{"delta": {}, "finish_reason": reason}])
        + event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 3})
        + b"data: [DONE]\n\n"
    )


def interrupted(connection: socket.socket) -> None:
    """
    Send half an answer, then let Ctrl-C come, and wait until the client is gone.
    """
    connection.sendall(STREAM + text("half"))
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    with suppress(ConnectionError):  # a client that had not read all of it resets
        connection.recv(1)


def refusal(status: int, message: str) -> bytes:
    """
    Return a whole response that is no answer.
    """
    body = json.dumps({"error": {"message": message, "type": "x"}}).encode()
    return b"HTTP/1.1 %d No\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


@dataclass
class PaperService:
    """
    What it was sent, a request a connection.
    """

    url: str
    requests: list[tuple[bytes, dict[str, object]]] = field(default_factory=list)
    """Head and body of each."""


@contextmanager
def paper_service(layout: Layout, answers: Sequence[Given]) -> Iterator[PaperService]:
    """
    Listen, and give the n-th connection the n-th answer; then close it.
    """
    layout.serving.mkdir(parents=True)
    held = FileLock(layout.serving / ".lock")
    with held, socket.create_server(("127.0.0.1", 0)) as listening:
        found = PaperService(f"http://127.0.0.1:{listening.getsockname()[1]}")
        state = {"addresses": [found.url], "key": "k" * 20, "name": "finetuned"}
        layout.serving_state.write_text(json.dumps(state))
        thread = threading.Thread(target=_serve, args=(listening, found, answers), daemon=True)
        thread.start()
        yield found


def _serve(listening: socket.socket, found: PaperService, answers: Sequence[Given]) -> None:
    for answer in answers:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as reading:
            head = b"".join(iter(reading.readline, b"\r\n"))
            length = next(
                int(h[15:]) for h in head.lower().splitlines() if h[:15] == b"content-length:"
            )
            found.requests.append((head, json.loads(reading.read(length))))
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                answer(connection)
