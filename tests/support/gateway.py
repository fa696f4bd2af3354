"""
A gateway over a real fake engine, listening on loopback in a thread of the test's process.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from finetuned.config import ServingConfig
from finetuned.layout import Layout
from finetuned.serving.gateway.app import build_app
from finetuned.serving.gateway.connection import Connection
from finetuned.serving.gateway.engines.interface import EngineMaker
from finetuned.serving.gateway.engines.own import EngineProcess, own_engine
from finetuned.serving.gateway.feedback import FeedbackRoutes, with_feedback
from finetuned.serving.gateway.guard import guarded
from finetuned.serving.gateway.http_metrics import CountHttp
from finetuned.serving.gateway.keys import KeyRing
from finetuned.serving.gateway.metrics import Metrics, metrics_router
from finetuned.serving.gateway.page import LivePage
from finetuned.serving.gateway.serve import addresses, listen
from finetuned.serving.gateway.service import Service, Setting

KEY = "a-key-of-the-tests-that-opens-everything"
SCRIPT = Path(__file__).with_name("fake_engine.py")


def fake_command(fd: int) -> tuple[str, ...]:
    """
    Return how the fake engine is started.
    """
    return (sys.executable, str(SCRIPT), "--fd", str(fd))


def fake_engine(layout: Layout, config: ServingConfig) -> EngineMaker:
    """
    Return what makes an engine whose process is the fake one.
    """
    return own_engine(
        EngineProcess(
            command=fake_command,
            cwd=layout.root,
            log=layout.logs / "engine.log",
            stuck_seconds=config.engine_stuck_seconds,
        )
    )


@dataclass(frozen=True)
class Gateway:
    """
    A running one.
    """

    url: str
    root: Path
    service: Service
    metrics: Metrics


def free_port() -> int:
    """
    Return a port of loopback that nobody listens on.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_until(true: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """
    Wait, and fail with *what* if it does not come true.
    """
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@contextmanager
def running_gateway(
    root: Path,
    config: ServingConfig,
    *,
    base: str = "micro",
    engine: EngineMaker | None = None,
    ready: bool = True,
    gives_key: bool = True,
) -> Iterator[Gateway]:
    """
    Serve *root* until the end of the block. The port of *config* is used as it is.

    The engine is the fake one unless another is given; *ready* waits until it holds a model.

    A request without a key is given one, so that a test that is about something else need not,
    unless *gives_key* is False.
    """
    feedback = FeedbackRoutes.begin(Layout(root), config)
    sockets = listen(config)
    (url, *_) = addresses(sockets, tls=False)
    metrics = Metrics(Layout(root), name=config.name, recorder=feedback.recorder)
    setting = Setting(
        layout=Layout(root),
        config=config,
        base=base,
        engine=engine or fake_engine(Layout(root), config),
        addresses=(url,),
        local_key=KEY,
        meters=(metrics, feedback),
    )
    service = Service(setting)
    ring = KeyRing(setting.layout, local_key=KEY)
    routes = build_app(service, LivePage(layout=setting.layout, closing=lambda: server.should_exit))
    routes.include_router(metrics_router(metrics))
    app: ASGIApp = CountHttp(guarded(with_feedback(routes, feedback), ring), metrics)
    if gives_key:
        app = _with_key(app)
    server = uvicorn.Server(
        uvicorn.Config(app, http=Connection, ws="none", log_config=None, access_log=False)
    )
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets)), name="gateway", daemon=True
    )
    thread.start()
    try:
        wait_until(lambda: service.ready or not ready, "the engine holds no model")
        wait_until(lambda: server.started, "the gateway does not listen")
        yield Gateway(url, root, service, metrics)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
        feedback.close()


def _with_key(app: ASGIApp) -> ASGIApp:
    async def keyed(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and not {b"authorization", b"x-api-key"} & dict(scope["headers"]).keys()
        ):
            scope["headers"] = [*scope["headers"], (b"x-api-key", KEY.encode())]
        await app(scope, receive, send)

    return keyed
