"""
Listens: uvicorn on one or two ports, with TLS if told, or on a socket that systemd opened.

SIGTERM and SIGINT stop taking connections in, let running requests end, then end the engine.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

import structlog
import uvicorn
from starlette.types import ASGIApp

from finetuned.config import ServingConfig
from finetuned.errors import EXIT_OK, EXIT_TEMPFAIL, Unavailable
from finetuned.process import notify
from finetuned.serving.gateway.connection import (
    BACKLOG,
    HEAD_BYTES,
    UNREAD_SECONDS,
    Connection,
    room_for_connections,
)
from finetuned.serving.gateway.library_log import log_libraries
from finetuned.serving.gateway.service import Service
from finetuned.serving.gateway.tls import Certificate

log = structlog.get_logger()

FIRST_INHERITED = 3
"""Descriptor of the first socket that systemd passes (sd_listen_fds)."""
KEEP_ALIVE_SECONDS = 30
CLOSE_SECONDS = 1
"""For the last bytes of responses, after the queue is empty."""


def listen(config: ServingConfig) -> list[socket.socket]:
    """
    Open the sockets of ``serving.host``, or take those that systemd opened.

    Raises:
        Unavailable: A port is taken or may not be used, or the address is not of this machine.
    """
    inherited = _inherited()
    if inherited:
        for each in inherited:
            _tune(each)
        return inherited
    opened: list[socket.socket] = []
    for key, port in (("port", config.port), ("chat_port", config.chat_port)):
        if port == 0:
            continue
        try:
            family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
            opened.append(_bound(family, config.host, port))
        except OSError as error:
            for each in opened:
                each.close()
            raise Unavailable(
                f"serving.{key}",
                f"{config.host}:{port} cannot be used: {error.strerror}; stop the program that "
                f"has it (ss -ltnp 'sport = :{port}' shows it), or set another {key} under "
                "[serving] in config.toml",
            ) from None
    return opened


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _tune(found)
        found.bind((host, port))
        found.listen(BACKLOG)
        found.setblocking(False)
    except BaseException:
        found.close()
        raise
    return found


def _tune(listening: socket.socket) -> None:
    """
    Set what connections take over from the socket that they come through.

    Head and body of an answer are two writes: without TCP_NODELAY the second waits for the
    client's acknowledgement of the first, 40 ms on Linux. asyncio sets it only on sockets that
    were made with IPPROTO_TCP by name. And the kernel ends connections whose client takes
    nothing of what is left to send.
    """
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        milliseconds = int(UNREAD_SECONDS * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _inherited() -> list[socket.socket]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=FIRST_INHERITED + at) for at in range(count)]


def addresses(sockets: Sequence[socket.socket], *, tls: bool) -> tuple[str, ...]:
    """
    Return where clients on this machine reach the sockets, such as http://127.0.0.1:9000.
    """
    found = []
    for each in sockets:
        host, port = each.getsockname()[:2]
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        shown = f"[{local}]" if ":" in local else local
        found.append(f"{'https' if tls else 'http'}://{shown}:{port}")
    return tuple(found)


def _open_to_others(sockets: Sequence[socket.socket]) -> str:
    """Return the addresses that other machines may reach."""
    found = []
    for each in sockets:
        if each.family in (socket.AF_INET, socket.AF_INET6):
            host, port = each.getsockname()[:2]
            if not ip_address(host.partition("%")[0]).is_loopback:
                found.append(f"{host}:{port}")
    return ", ".join(found)


class _Server(uvicorn.Server):
    """
    Says when it listens, and drains the queue at the first signal.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._draining: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals in the loop; the process ends with a status and not by them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so to systemd and in the log."""
        await super().startup(sockets)
        if not self.should_exit and sockets:
            shown = ", ".join(addresses(sockets, tls=self.config.is_ssl))
            log.info("service_started", addresses=shown)
            if open_to := _open_to_others(sockets):
                safe = self.config.is_ssl
                how = "with TLS" if safe else "without TLS: keys and answers can be read on the way"
                log.warning("service_open_to_others", listens=open_to, how=how)
            notify.ready(f"listening on {shown}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close; what does not end with the requests, such as an open page, is cut off."""
        cutting = asyncio.create_task(self._cut_off())
        await super().shutdown(sockets)
        cutting.cancel()

    async def _cut_off(self) -> None:
        if self._draining is not None:
            await self._draining
        await asyncio.sleep(CLOSE_SECONDS)
        for each in list(self.server_state.connections):
            each.transport.abort()

    def _stop(self, number: signal.Signals) -> None:
        """Let running requests end; a second Ctrl-C does not wait for them."""
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True
        if self._draining is None:
            log.info("service_stopping", signal=number.name)
            notify.stopping("requests that run are ending")
            seconds = self._service.config.drain_seconds
            self._draining = asyncio.create_task(self._service.queue.drain(seconds))


def serve(
    service: Service,
    app: ASGIApp,
    sockets: list[socket.socket],
    certificate: Certificate | None = None,
) -> int:
    """
    Answer requests until a signal comes.

    Args:
        service: What *app* is about.
        app: With its guards; its lifespan starts and ends the engine.
        sockets: That listen.
        certificate: For TLS.

    Returns:
        The exit status of the process.
    """
    config = service.config
    Connection.most = room_for_connections()
    log_libraries()
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(config.drain_seconds + CLOSE_SECONDS),
            ws="none",
            backlog=BACKLOG,
            h11_max_incomplete_event_size=HEAD_BYTES,
            ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
        ),
        service,
    )
    asyncio.run(server.serve(sockets))
    return EXIT_OK if server.started else EXIT_TEMPFAIL
