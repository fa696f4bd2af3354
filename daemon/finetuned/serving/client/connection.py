"""
One request to a service: its connection, its status, and the lines of its answer.

Knows HTTP and OpenAI's error shape; does not know questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Final

from finetuned.errors import EXIT_TEMPFAIL, NoAnswer
from finetuned.serving.client.find import RunningService

if TYPE_CHECKING:
    from ssl import SSLContext

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 3700.0
"""
Between two lines of an answer. The first may come as late as the longest deadline that a service
may have (serving.request_seconds); a service that is gone is noticed at once.
"""
_LATER: Final = (429, 503)
"""Statuses after which the same request may succeed."""


@contextmanager
def posted(service: RunningService, path: str, body: bytes) -> Iterator[HTTPResponse]:
    """
    Send *body* and yield the response, whose status is 200.

    Raises:
        NoAnswer: The service cannot be reached, or it refused, and why; also from the block, if
            the service is gone while its answer is read.
    """
    connection = _connection(service)
    begun = False
    try:
        connection.request(
            "POST",
            path,
            body,
            {"authorization": f"Bearer {service.key}", "content-type": "application/json"},
        )
        if connection.sock is not None:
            connection.sock.settimeout(ANSWER_SECONDS)
        with connection.getresponse() as response:
            if response.status != 200:
                raise _refused(service, response)
            begun = True
            yield response
    except TimeoutError:
        raise _gone(service, f"it said nothing for {ANSWER_SECONDS:g} s") from None
    except ConnectionRefusedError:
        raise _gone(service, "nothing listens there; it may be starting or ending") from None
    except (HTTPException, OSError) as error:
        why = "it ended in the middle of the answer" if begun else "it ended before it answered"
        raise _gone(service, f"{why} ({type(error).__name__})") from None
    finally:
        connection.close()


def events(response: HTTPResponse) -> Iterator[dict[str, object]]:
    """
    Yield the events of a stream up to ``[DONE]``, without the comments that keep it open.

    Raises:
        NoAnswer: The service says that the answer ends early.
        ConnectionError: The stream ended without ``[DONE]``.
    """
    while line := response.readline():
        kind, _, data = line.strip().partition(b": ")
        if kind != b"data":
            continue
        if data == b"[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise NoAnswer(str(event["error"].get("message", "")), exit_status=EXIT_TEMPFAIL)
        yield event
    raise ConnectionError


def _connection(service: RunningService) -> HTTPConnection:
    scheme, _, address = service.url.partition("://")
    if scheme == "https":
        return HTTPSConnection(address, timeout=CONNECT_SECONDS, context=_context(service))
    return HTTPConnection(address, timeout=CONNECT_SECONDS)


def _context(service: RunningService) -> SSLContext:
    """
    Return a context that trusts the certificate of the root's configuration and no other.

    Its name is not compared: it is the public one, and the service is asked on loopback.
    """
    import ssl

    from finetuned.config import load_sections

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if service.config is not None:
        config, _ = load_sections(service.config, ("serving",))
        context.load_verify_locations(config.serving.tls_cert)
    return context


def _refused(service: RunningService, response: HTTPResponse) -> NoAnswer:
    text = response.read(1 << 16).decode("utf-8", "replace")
    try:
        message = str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{service.url} answered with status {response.status}: {text[:200]}"
    return NoAnswer(message, exit_status=EXIT_TEMPFAIL if response.status in _LATER else None)


def _gone(service: RunningService, why: str) -> NoAnswer:
    return NoAnswer(f"the service at {service.url}: {why}; ask again", exit_status=EXIT_TEMPFAIL)
